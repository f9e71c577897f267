/* wait.c - threads that wait for an answer. Where no scheduler runs one of them takes the answers for all (it pumps),
 * and hands over when it has its own. */
#include "base/clock.h"
#include "dns/resolver_private.h"

#include <poll.h>
#include <string.h>

/* Waits under the lock, which it gives up meanwhile, until the lookup is done or its deadline. */
static void wait_done(Resolver *resolver, Lookup *lookup)
{
    while (!lookup->done && clock_ms() < lookup->deadline) {
        if (!resolver->sched && !resolver->pumping && !resolver->broken) {
            struct pollfd answers = {.fd = ub_fd(resolver->ub), .events = POLLIN};
            resolver->pumping = true;
            pthread_mutex_unlock(&resolver->lock);
            poll(&answers, 1, clock_poll_timeout(lookup->deadline));
            resolver_process(resolver);
            pthread_mutex_lock(&resolver->lock);
            resolver->pumping = false;
            pthread_cond_broadcast(&resolver->changed); /* somebody else has to pump now */
        } else {
            gint64 until = lookup->deadline - 1; /* clock_ms() is never 0, so it is one ahead */
            struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
            pthread_cond_timedwait(&resolver->changed, &resolver->lock, &time);
        }
    }
}

static DnsAnswer *ask_and_wait(Resolver *resolver, const char *name, DnsType type, gint64 timeout_ms)
{
    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = resolver_add_question(resolver, 0, type, timeout_ms);
    guint64 number = lookup->number;
    pthread_mutex_unlock(&resolver->lock);

    resolver_send_questions(resolver, number, name, type);

    pthread_mutex_lock(&resolver->lock);
    wait_done(resolver, lookup); /* only its own thread removes it */
    if (!lookup->done)
        lookup_expire(lookup);
    DnsAnswer *answer = g_steal_pointer(&lookup->answer);
    resolver_remove_lookup(resolver, lookup);
    pthread_mutex_unlock(&resolver->lock);
    return answer;
}

static gint64 time_left(gint64 deadline, gint64 most)
{
    return CLAMP(deadline - clock_ms(), 0, most);
}

DnsAnswer *resolver_records(Resolver *resolver, const char *name, DnsType type, gint64 deadline)
{
    DnsAnswer *answer = resolver_answer_at_once(resolver, name, type);

    return answer ? answer : ask_and_wait(resolver, name, type, time_left(deadline, resolver->question_timeout_ms));
}

static void add_wanted(GPtrArray *addresses, const DnsAnswer *answer, bool v4, bool v6)
{
    for (guint i = 0; i < answer->records->len; i++) {
        const char *address = dns_answer_record(answer, i)->text;
        if (strchr(address, ':') ? v6 : v4)
            g_ptr_array_add(addresses, g_strdup(address));
    }
}

DnsStatus resolver_addresses(Resolver *resolver, const char *host, const char *families, gint64 deadline,
                             GPtrArray **ret_addresses)
{
    bool all = strstr(families, "all") != NULL;
    bool v4 = all || strstr(families, "ipv4"), v6 = all || strstr(families, "ipv6");
    g_autoptr(DnsAnswer) answer = resolver_answer_at_once(resolver, host, DNS_ADDRESSES);

    *ret_addresses = g_ptr_array_new_with_free_func(g_free);
    if (!answer && (v4 || v6)) {
        DnsType type = v4 && v6 ? DNS_ADDRESSES : v4 ? DNS_A : DNS_AAAA;
        answer = ask_and_wait(resolver, host, type, time_left(deadline, resolver->timeout_ms));
    }
    if (answer)
        add_wanted(*ret_addresses, answer, v4, v6);
    if ((*ret_addresses)->len > 0)
        return DNS_OK;
    return answer && answer->status == DNS_TEMPORARY ? DNS_TEMPORARY : DNS_NOT_FOUND;
}
