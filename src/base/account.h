/* account.h - octets that clients make a process hold: one account for sessions (envelopes, buffers), one for content.
 * Thread-safe. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t limit;        /* octets; 0: no limit. Constant once threads run */
    const char *name;    /* the parameter that says the limit, for log lines; NULL: none does */
    _Atomic size_t used; /* octets */
    _Atomic long long next_news_ms;
} Account;

/* Takes octets from the account. False, with nothing taken, when that would pass the limit: the caller refuses with
 * 452. */
bool account_take(Account *account, size_t octets);
/* For what cannot be refused any more (a buffer that holds a command already read): always taken. */
void account_take_anyway(Account *account, size_t octets);
void account_return(Account *account, size_t octets);
/* The limit has made itself felt: whether that is to be logged. True at most once a minute. */
bool account_limit_is_news(Account *account);
