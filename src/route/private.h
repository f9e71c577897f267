/* private.h - the parts of a Route. For the files of this folder alone. */
#pragma once
#include "route/route.h"
#include "table/match.h"
#include "table/table.h"

#include <pthread.h>

/* Domains that were looked for in all classes. */
typedef struct {
    pthread_mutex_t lock;
    GHashTable *domains; /* set of char* */
} Doubles;
Doubles *route_doubles_new(void);
void route_doubles_free(Doubles *doubles);

struct Route {
    /* Rewriting */
    char *myorigin, *mydomain, *delimiters;
    bool append_at_myorigin, append_dot_mydomain, swap_bangpath, percent_hack, resolve_dequoted, resolve_numeric;

    /* Classes */
    GHashTable *own_addresses; /* set of char*, as inet_ntop() writes them */
    MatchList *mydestination, *virtual_alias_domains, *virtual_mailbox_domains, *relay_domains;
    Doubles *doubles;

    /* Existence */
    Tables *recipient_canonical, *sender_canonical, *canonical, *virtual_alias, *local_recipients, *virtual_mailboxes,
        *relay_recipients;
    gint64 code_local, code_virtual_alias, code_virtual_mailbox, code_relay;
    bool show_table_name;

    /* Transports */
    Tables *transports;
    bool transport_parents; /* "dom" in transports also stands for its subdomains */
    char *probe_sender;     /* as configured, not completed; "": the null sender */
    gint64 probe_sender_ttl;
    char *local_transport, *virtual_transport, *relay_transport, *default_transport, *relayhost;
};

/* Where an address leads when routing of its own is followed: "x%b@a" with a local leads to "x@b". */
typedef struct {
    char *address;      /* complete */
    const char *domain; /* in address; NULL: it has none, and is local */
    AddressClass class;
} Resolved;
void resolved_clear(Resolved *resolved);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Resolved, resolved_clear)
Resolved route_follow(const Route *route, const char *address);

/* "[1.2.3.4]" or "[IPv6:::1]" that is ours. */
bool route_is_own_literal(const Route *route, const char *domain);

/* Logs "do not list domain ... in BOTH ... and ...", once for a domain; class is the first that lists it. Lists that
 * wait for another system are not asked. */
void route_warn_of_doubles(const Route *route, const char *domain, AddressClass class);

/* "site!user" and "user%domain" as "user@domain"; NULL where there is no such routing. Caller frees. */
char *route_swap(const Route *route, const char *local_part);

typedef struct {
    char *transport, *nexthop;
} Transport;
void transport_clear(Transport *transport);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Transport, transport_clear)
/* False: a table did not answer. */
bool route_find_transport(const Route *route, const Resolved *resolved, Transport *ret);
