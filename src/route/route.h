/* route.h - address classes, existence of recipients, transport and nexthop (ADDRESS_CLASS_README, trivial-rewrite(8);
 * transport(5)). */
#pragma once
#include "config/config.h"

typedef struct Route Route; /* constant, with its tables; any thread */
typedef enum {
    CLASS_LOCAL,
    CLASS_VIRTUAL_ALIAS,
    CLASS_VIRTUAL_MAILBOX,
    CLASS_RELAY,
    CLASS_DEFAULT,
    CLASS_FAILED /* a table did not answer */
} AddressClass;

/* Finds this system's addresses (inet_interfaces), which may take a name lookup, and opens all tables: before threads
 * and sandbox. config is not needed afterwards. NULL: error. */
Route *route_new(const Config *config, GError **error);
/* The same for probes: address_verify_transport_maps, address_verify_relayhost and so on take the place of transport_maps,
 * relayhost and so on. */
Route *route_new_for_probes(const Config *config, GError **error);
void route_free(Route *route); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Route, route_free)
bool route_blocks(const Route *route); /* asks a table that may wait for another system: see table_blocks() */

/* Completes an address (user -> user@$myorigin, append_dot_mydomain, bang and percent rewriting, a dot at the end
 * dropped). "" stays. Caller frees. */
char *route_complete(const Route *route, const char *address);
/* Completes, and follows routing through a local domain: "x%b@a" leads to "x@b" where a is local. Caller frees. */
char *route_destination(const Route *route, const char *address);
/* The class that the address leads to once routing through a local domain is followed: "x%b@a" with a local is x@b's.
 */
AddressClass route_class(const Route *route, const char *address);
bool route_has_sender_routing(const Route *route,
                              const char *address); /* user%a@b, a!b@c: user-specified routing that is left then */
bool route_is_own_address(const Route *route,
                          const char *addr); /* numeric, without brackets: inet_interfaces, proxy_interfaces */

typedef enum { EXISTS_YES, EXISTS_NO, EXISTS_FAILED } Existence;
/* For EXISTS_NO *ret_reply is the refusal's code, dsn and text, "550 5.1.1 <x>: Recipient address rejected: User
 * unknown in virtual mailbox table" or that of an error:/retry: transport; caller frees. text: the address as the reply
 * shows it. */
Existence route_recipient_exists(const Route *route, const char *address, const char *text, char **ret_reply);
/* The same for a sender: "550 5.1.0 <x>: Sender address rejected: ...". The null sender exists. */
Existence route_sender_exists(const Route *route, const char *address, const char *text, char **ret_reply);

/* Whether canonical_maps or virtual_alias_maps have something for the address, so that its mail goes elsewhere. False,
 * too, when they fail. */
bool route_is_mapped(const Route *route, const char *address);

/* Where a recipient goes. False: a table did not answer (defer). Strings are the caller's. */
bool route_resolve(const Route *route, const char *sender, const char *address, char **ret_transport,
                   char **ret_nexthop);

/* The addresses of this system, from inet_interfaces and proxy_interfaces: a set of char *, as inet_ntop() writes them.
 * May take a name lookup. NULL: error. */
GHashTable *route_own_addresses(const Config *config, GError **error);

/* The sender of a probe that begins now, complete; "" is the null sender. Caller frees. */
char *route_probe_sender(const Route *route);
/* Whether an address (complete) is that sender, or was it lately: mail to it is always accepted, since its domain's
 * peers probe it in turn. Never for the null sender. */
bool route_is_probe_sender(const Route *route, const char *address);
