/* verify.h - whether mail for an address would be delivered: what is known, and probes for what is not
 * (ADDRESS_VERIFICATION_README). The asker's side, for any thread; the queue manager writes what comes out (cache.h).
 */
#pragma once
#include "cleanup/cleanup.h"
#include "route/route.h"
#include "spool/queue_notify.h"
#include "verify/cache.h"

typedef struct Verify Verify;

/* What it is given must outlive it. As the user that the process runs as. NULL: error. */
Verify *verify_new(const Config *config, const Route *route, Cleanup *cleanup, QueueNotify *notify, GError **error);
void verify_free(Verify *verify); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Verify, verify_free)

#define VERIFY_IN_PROGRESS "Address verification in progress"

/* What is known of an address (complete, internal form). Never waits. UNKNOWN: nothing (yet). ret_text: why; the caller
 * frees. *ret_wants_probe: nothing is known, or what is known is old, and no probe is on its way. */
AddressStatus verify_look(Verify *verify, const char *address, char **ret_text, bool *ret_wants_probe);
/* Sends that probe, unless somebody did meanwhile. Waits for tables and makes a file: behind a gate. What fails is
 * logged, and tried again by a later asker. */
void verify_probe(Verify *verify, const char *address);
