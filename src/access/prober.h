/* prober.h - whether mail for an address would be delivered, as restrictions ask for it (reject_unverified_recipient,
 * reject_unverified_sender). Who finds out stands elsewhere: verify/verify.h. */
#pragma once
#include "access/inquiry.h"

typedef enum { ADDRESS_OK, ADDRESS_DEFERRED, ADDRESS_BOUNCED, ADDRESS_UNKNOWN } AddressStatus;

/* An answer to the question of an inquiry. */
typedef struct {
    AddressStatus status; /* not UNKNOWN */
    char *text;           /* why: "host x[::1] said: 550 ..." */
} AddressAnswer;

/* The kind's question is an address, complete, in internal form. An answer wakes nobody: who waits for it looks again.
 */
typedef struct {
    const InquiryKind *kind;
    void *source;
} Prober;
