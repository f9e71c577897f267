/* account.h - one account per process of the octets that clients make it hold (content, envelopes, buffers). Thread-safe. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t limit;        /* octets; 0: no limit. Constant once threads run */
    _Atomic size_t used; /* octets */
} Account;

/* Takes octets from the account. False, with nothing taken, when that would pass the limit: the caller refuses with 452. */
bool account_take(Account *account, size_t octets);
/* For what cannot be refused any more (a buffer that holds a command already read): always taken. */
void account_take_anyway(Account *account, size_t octets);
void account_return(Account *account, size_t octets);
