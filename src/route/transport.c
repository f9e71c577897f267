/* transport.c - which delivery agent a recipient's mail goes to, and which host that gives it to (transport(5)). */
#include "mail/address.h"
#include "route/private.h"

#include <string.h>

void transport_clear(Transport *transport)
{
    g_free(transport->transport);
    g_free(transport->nexthop);
}

/* "transport:nexthop", either of which may be empty. */
static Transport split(const char *value)
{
    const char *colon = strchr(value, ':');
    size_t len = colon ? (size_t)(colon - value) : strlen(value);

    return (Transport){g_strstrip(g_strndup(value, len)), g_strstrip(g_strdup(colon ? colon + 1 : ""))};
}

/* What holds where no table says otherwise. */
static Transport default_of(const Route *route, const Resolved *resolved)
{
    const char *domain = resolved->domain ? resolved->domain : "";
    const char *fallback = domain;
    Transport transport;

    switch (resolved->class) {
    case CLASS_LOCAL:
        transport = split(route->local_transport);
        break;
    case CLASS_VIRTUAL_ALIAS:
        return (Transport){g_strdup("error"), g_strdup("5.1.1 User unknown in virtual alias table")};
    case CLASS_VIRTUAL_MAILBOX:
        transport = split(route->virtual_transport);
        break;
    case CLASS_RELAY:
    default:
        transport = split(resolved->class == CLASS_RELAY ? route->relay_transport : route->default_transport);
        fallback = *route->relayhost ? route->relayhost : domain;
        break;
    }
    if (!*transport.nexthop) {
        g_free(transport.nexthop);
        transport.nexthop = g_strdup(fallback);
    }
    return transport;
}

/* The domain, and with a dot in front its parents. */
static TableResult look_up_domain(const Route *route, const char *domain, char **ret_value)
{
    TableResult result = tables_lookup_part(route->transports, domain, ret_value);

    for (const char *dot = strchr(domain, '.'); result == TABLE_ABSENT && dot; dot = strchr(dot + 1, '.')) {
        const char *parent = route->transport_parents ? dot + 1 : dot;
        if (*parent)
            result = tables_lookup_part(route->transports, parent, ret_value);
    }
    return result;
}

static TableResult look_up(const Route *route, const Resolved *resolved, char **ret_value)
{
    AddressLookup how = {.delimiters = route->delimiters};
    TableResult result = tables_lookup_address(route->transports, resolved->address, &how, ret_value, NULL);

    if (result == TABLE_ABSENT && resolved->domain)
        result = look_up_domain(route, resolved->domain, ret_value);
    if (result == TABLE_ABSENT)
        result = tables_lookup_part(route->transports, "*", ret_value);
    return result;
}

/* A value without nexthop sends the mail to the recipient's own domain; one without transport leaves that as it is.
 * "error:" and "retry:" have a text there, or none. */
static void apply(const char *value, const Resolved *resolved, Transport *transport)
{
    g_auto(Transport) given = split(value);

    if (*given.transport) {
        bool says_no = strcmp(given.transport, "error") == 0 || strcmp(given.transport, "retry") == 0;
        g_free(transport->nexthop);
        transport->nexthop = g_strdup(says_no ? "Address is undeliverable" : resolved->domain ? resolved->domain : "");
        g_free(transport->transport);
        transport->transport = g_steal_pointer(&given.transport);
    }
    if (*given.nexthop) {
        g_free(transport->nexthop);
        transport->nexthop = g_steal_pointer(&given.nexthop);
    }
}

bool route_find_transport(const Route *route, const Resolved *resolved, Transport *ret)
{
    g_autofree char *value = NULL;

    if (resolved->class == CLASS_FAILED)
        return false;
    *ret = default_of(route, resolved);
    if (resolved->class == CLASS_VIRTUAL_ALIAS || tables_is_empty(route->transports))
        return true;
    TableResult result = look_up(route, resolved, &value);
    if (result == TABLE_FOUND)
        apply(value, resolved, ret);
    return result != TABLE_FAILED;
}

bool route_resolve(const Route *route, const char *sender, const char *address, char **ret_transport,
                   char **ret_nexthop)
{
    g_auto(Resolved) resolved = route_follow(route, address);
    g_auto(Transport) transport = {0};

    if (!route_find_transport(route, &resolved, &transport))
        return false;
    *ret_transport = g_steal_pointer(&transport.transport);
    *ret_nexthop = g_steal_pointer(&transport.nexthop);
    return true;
}
