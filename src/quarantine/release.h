/* release.h - a message leaves the quarantine on the way that it would have gone: by SMTP to the filter's next hop,
 * with its envelope, its client's attributes (XFORWARD), and its content as it came. Behind the filter, so it is not
 * judged again.
 *
 * Once: before the final dot goes out the message is marked "uncertain", on stable storage; the reply then makes it
 * "released" or "quarantined" again. Whoever dies, or loses the reply, leaves the mark: it may have been delivered, and
 * only force releases it once more. Two administrators at once meet at the lock of the content file. */
#pragma once
#include "dns/resolver.h"
#include "quarantine/quarantine.h"
#include "smtp/hop_tls.h"

typedef struct {
    Resolver *resolver;
    const char *families; /* $inet_protocols */
    const char *base_dir; /* $queue_directory, for unix:path */
    const char *nexthop;  /* host:port, unix:path; NULL: where the filter would have sent it */
    const char *hostname; /* for EHLO */
    gint64 timeout_ms;    /* of a connect, read or write */
    const HopTls *(*find_tls)(const void *user, const char *nexthop); /* what its filter asks for; NULL: none */
    const void *tls_user;
    const char *who;       /* kept with the message */
    const char *recipient; /* only to recipients that quarantine_matches(); NULL: all. Not those that have it already */
    bool force;            /* also to those that have it, or may have */
} QuarantineRelease;

/* To all recipients wanted, or, where the next hop refuses one of them, to none. True: *ret_reply (caller frees) is the
 * next hop's answer. False: a QUARANTINE_ERROR or, for trouble of our own, FAIL_ERROR. Blocks. */
bool quarantine_release(Quarantine *quarantine, const char *id, const QuarantineRelease *release, char **ret_reply,
                        GError **error);
