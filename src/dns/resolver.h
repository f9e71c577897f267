/* resolver.h - DNS through libunbound's asynchronous interface: one caching context per process, answered on the
 * scheduler. For names and addresses of hosts /etc/hosts is asked first. Only resolver_addresses() and
 * resolver_records() block. */
#pragma once
#include "config/config.h"
#include "dns/answer.h"
#include "net/sched.h"

typedef struct Resolver Resolver;

typedef struct {
    const char
        *servers; /* dns_servers: "192.0.2.53 ::1 127.0.0.1@5353", blanks or commas; "": those of /etc/resolv.conf */
    const char *hosts_file; /* "/etc/hosts"; may be missing */
    int timeout; /* seconds for the name of a client or the addresses of a host, all questions together; at least 1 */
    int question_timeout;     /* seconds for resolver_ask() and resolver_records(); 0: as timeout */
    const char *trust_anchor; /* a file of DS or DNSKEY records: answers from a zone of theirs, or below it, that do not
                                 prove true are TEMPORARY; NULL: nothing is proved */
} ResolverOptions;

/* Reads all files: before the sandbox and before threads. The options are not kept. libunbound starts its thread with
 * the first question. The search list of resolv.conf is not used: names are asked as they are. */
Resolver *resolver_new(const ResolverOptions *options, GError **error);
/* With what the configuration says (dns_servers, dns_validation, dns_trust_anchor_file) and /etc/hosts. timeout: seconds, as above. */
Resolver *resolver_open(const Config *config, int timeout, GError **error);
/* Adds the task that takes answers; it never ends (sched_quit() does). Before sched_run(). From here on the calls that
 * block need sched to be running; in a process without a scheduler leave this call out. */
void resolver_start(Resolver *resolver, Sched *sched);
/* After sched_run() has returned, and when no thread is in a call that blocks. NULL is fine. */
void resolver_free(Resolver *resolver);

/* The name of a client address: reverse lookup, then forward check, as smtpd(8) does it. Plain record, texts owned by
 * it. */
typedef struct {
    DnsStatus status;         /* OK: verified. NOT_FOUND: none, or it does not resolve back. TEMPORARY: try later */
    DnsStatus reverse_status; /* of the unverified name */
    char *name;               /* the verified name, or "unknown" */
    char *reverse;            /* the unverified name, or "unknown" */
    char *warning;            /* NULL, or "hostname X does not resolve to address A[: why]" for the log */
} PeerName;
void peer_name_free(PeerName *name);

/* --- parked: a task asks, and is woken ---
 *
 * Answered at once (hosts file, numeric, too many questions): returns it. Otherwise NULL: task gets WAKE_ANSWER later,
 * and the take function with *ret_query gives it then, NULL while it is not there yet. A query that is not wanted any
 * more is cancelled; after take or cancel the number is dead. */
PeerName *resolver_peer_name(Resolver *resolver, const char *addr, TaskRef task, guint64 *ret_query);
PeerName *resolver_take_peer_name(Resolver *resolver, guint64 query);

/* Records of one type. CNAME records are followed, some ten of them. A name that isn't dns_name_is_valid() does not
 * exist, for no question is asked. DNS_ADDRESSES takes numeric addresses, too; without A the answer is one of AAAA
 * alone, and the other way round. */
DnsAnswer *resolver_ask(Resolver *resolver, const char *name, DnsType type, TaskRef task, guint64 *ret_query);
DnsAnswer *resolver_take(Resolver *resolver, guint64 query);

void resolver_cancel(Resolver *resolver, guint64 query); /* of either kind; 0 and dead numbers are fine */

/* --- blocking until deadline, for use behind a gate or in a delivery thread --- */

/* As resolver_ask(). Never NULL; the caller frees it. */
DnsAnswer *resolver_records(Resolver *resolver, const char *name, DnsType type, gint64 deadline);

/* Addresses of a host name, numeric texts. IPv4 and IPv6 as families says ("ipv4", "ipv6", "all"). Empty array and
 * NOT_FOUND or TEMPORARY on failure. Caller frees the array. */
DnsStatus resolver_addresses(Resolver *resolver, const char *host, const char *families, gint64 deadline,
                             GPtrArray **ret_addresses);
