/* verify.h - whether mail for an address would be delivered: what is known, and probes for what is not
 * (ADDRESS_VERIFICATION_README). The asker's side, for any thread; the queue manager writes what comes out (cache.h).
 */
#pragma once
#include "cleanup/cleanup.h"
#include "route/route.h"
#include "spool/queue_notify.h"
#include "verify/cache.h"

typedef struct Verify Verify;

/* What it is given must outlive it, and so must spool, the cleanup's. As the user that the process runs as. NULL:
 * error. */
typedef struct {
    const Config *config;
    const Route *route;
    const Spool *spool;
    Cleanup *cleanup;
    QueueNotify *notify;
} VerifyOptions;
Verify *verify_new(const VerifyOptions *options, GError **error);
void verify_free(Verify *verify); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Verify, verify_free)

/* The kind of inquiry whose source is a Verify. Asking for an address sends a probe if one is due. */
extern const InquiryKind verify_inquiry;

/* What is known of an address (complete, internal form). Never waits. UNKNOWN: nothing (yet), and *ret_text is NULL;
 * else it is the reason, which the caller frees. *ret_wants_probe: nothing is known, or what is known is old, and no
 * probe is on its way. */
AddressStatus verify_look(Verify *verify, const char *address, char **ret_text, bool *ret_wants_probe);
/* Sends that probe, unless somebody did meanwhile. Makes a file, and waits for tables that wait. What fails is logged,
 * and tried again by a later asker. */
void verify_probe(Verify *verify, const char *address);
