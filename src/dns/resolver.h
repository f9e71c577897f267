/* resolver.h - DNS through libunbound's asynchronous interface: one caching context per process, answered on the
 * scheduler. /etc/hosts is asked first, both ways. No call here blocks. */
#pragma once
#include "net/sched.h"

typedef struct Resolver Resolver;

typedef struct {
    const char
        *servers; /* dns_servers: "192.0.2.53 ::1 127.0.0.1@5353", blanks or commas; "": those of /etc/resolv.conf */
    const char *hosts_file; /* "/etc/hosts"; may be missing */
    int timeout;            /* seconds for one search, all its questions together; at least 1 */
} ResolverOptions;

/* Reads all files: before the sandbox and before threads. The options are not kept. libunbound starts its thread with
 * the first question. The search list of resolv.conf is not used: names are asked as they are. */
Resolver *resolver_new(const ResolverOptions *options, GError **error);
/* Adds the task that takes answers; it never ends (sched_quit() does). Before sched_run(). From here on
 * resolver_addresses() needs sched to be running; in a process without a scheduler leave this call out. */
void resolver_start(Resolver *resolver, Sched *sched);
/* After sched_run() has returned, and when no thread is in resolver_addresses(). NULL is fine. */
void resolver_free(Resolver *resolver);

typedef enum { DNS_OK, DNS_NOT_FOUND, DNS_TEMPORARY } DnsStatus;

/* The name of a client address: reverse lookup, then forward check, as smtpd(8) does it. Plain record, texts owned by it. */
typedef struct {
    DnsStatus status; /* OK: verified. NOT_FOUND: none, or it does not resolve back. TEMPORARY: try later */
    char *name;       /* the verified name, or "unknown" */
    char *reverse;    /* the unverified name, or "unknown" */
    char *warning;    /* NULL, or "hostname X does not resolve to address A[: why]" for the log */
} PeerName;
void peer_name_free(PeerName *name);

/* Starts the search. Answered at once (hosts file, numeric unix peer): returns it. Otherwise NULL: task gets
 * WAKE_ANSWER later, and resolver_take_peer_name() with *ret_query gives it then, NULL while it is not there yet. A
 * query that is not wanted any more is cancelled; after take or cancel the number is dead. */
PeerName *resolver_peer_name(Resolver *resolver, const char *addr, TaskRef task, guint64 *ret_query);
PeerName *resolver_take_peer_name(Resolver *resolver, guint64 query);
void resolver_cancel(Resolver *resolver, guint64 query);

/* Addresses of a host name, numeric texts, blocking until deadline, for use behind a gate or in a delivery thread. IPv4
 * and IPv6 as families says ("ipv4", "ipv6", "all"). Empty array and NOT_FOUND or TEMPORARY on failure. Caller frees
 * the array. */
DnsStatus resolver_addresses(Resolver *resolver, const char *host, const char *families, gint64 deadline,
                             GPtrArray **ret_addresses);
