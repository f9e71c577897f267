/* account.c - octets held for clients. */
#include "base/account.h"
#include "base/clock.h"

#define NEWS_MS 60000

bool account_take(Account *account, size_t octets)
{
    size_t used = atomic_load_explicit(&account->used, memory_order_relaxed);

    do {
        if (account->limit && (octets > account->limit || used > account->limit - octets))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&account->used, &used, used + octets, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void account_take_anyway(Account *account, size_t octets)
{
    atomic_fetch_add_explicit(&account->used, octets, memory_order_relaxed);
}

void account_return(Account *account, size_t octets)
{
    atomic_fetch_sub_explicit(&account->used, octets, memory_order_relaxed);
}

bool account_limit_is_news(Account *account)
{
    long long next = atomic_load(&account->next_news_ms);
    long long now = clock_ms();

    return now >= next && atomic_compare_exchange_strong(&account->next_news_ms, &next, now + NEWS_MS);
}
