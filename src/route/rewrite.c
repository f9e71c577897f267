/* rewrite.c - completing addresses, and following the routing in them. */
#include "route/private.h"

#include <arpa/inet.h>
#include <string.h>

/* An address cannot name more local domains than this: "a%b%c@d" is followed step by step. */
#define ROUTING_MAX 100

char *route_swap(const Route *route, const char *local_part)
{
    const char *bang = route->swap_bangpath ? strchr(local_part, '!') : NULL;
    const char *percent = route->percent_hack ? strrchr(local_part, '%') : NULL;

    if (bang) {
        g_autofree char *site = g_strndup(local_part, (size_t)(bang - local_part));
        return g_strdup_printf("%s@%s", bang + 1, site);
    }
    if (!percent)
        return NULL;
    g_autofree char *user = g_strndup(local_part, (size_t)(percent - local_part));
    return g_strdup_printf("%s@%s", user, percent + 1);
}

/* "user@domain." names the same place as "user@domain". */
static void drop_last_dot(char *address)
{
    size_t len = strlen(address);

    if (len > 2 && address[len - 1] == '.' && address[len - 2] != '.' && address[len - 2] != '@')
        address[len - 1] = '\0';
}

char *route_complete(const Route *route, const char *address)
{
    g_autofree char *complete = NULL;

    if (!*address)
        return g_strdup("");
    if (strchr(address, '@'))
        complete = g_strdup(address);
    else
        complete = route_swap(route, address);
    if (!complete && route->append_at_myorigin)
        complete = g_strdup_printf("%s@%s", address, route->myorigin);
    if (!complete)
        return g_strdup(address);
    drop_last_dot(complete);
    const char *domain = strrchr(complete, '@') + 1;
    if (!route->append_dot_mydomain || !*domain || *domain == '[' || strchr(domain, '.'))
        return g_steal_pointer(&complete);
    return g_strdup_printf("%s.%s", complete, route->mydomain);
}

void resolved_clear(Resolved *resolved)
{
    g_free(resolved->address);
}

/* "user@1.2.3.4", where that is taken for "user@[1.2.3.4]". */
static char *bracket_numeric(const Route *route, char *address)
{
    char *domain = strrchr(address, '@');
    unsigned char octets[sizeof(struct in6_addr)];

    if (!route->resolve_numeric || !domain || inet_pton(AF_INET, domain + 1, octets) != 1)
        return address;
    *domain = '\0';
    char *bracketed = g_strdup_printf("%s@[%s]", address, domain + 1);
    g_free(address);
    return bracketed;
}

static AddressClass from_match(MatchResult result, AddressClass class)
{
    return result == MATCH_FAILED ? CLASS_FAILED : result == MATCH_YES ? class : CLASS_DEFAULT;
}

static AddressClass class_of_domain(const Route *route, const char *domain)
{
    AddressClass class;

    if (!domain || route_is_own_literal(route, domain))
        return CLASS_LOCAL;
    class = from_match(match_string(route->mydestination, domain), CLASS_LOCAL);
    if (class == CLASS_DEFAULT)
        class = from_match(match_string(route->virtual_alias_domains, domain), CLASS_VIRTUAL_ALIAS);
    if (class == CLASS_DEFAULT)
        class = from_match(match_string(route->virtual_mailbox_domains, domain), CLASS_VIRTUAL_MAILBOX);
    if (class == CLASS_DEFAULT)
        class = from_match(match_domain(route->relay_domains, domain), CLASS_RELAY);
    route_warn_of_doubles(route, domain, class);
    return class;
}

/* What a local part names beyond this system; NULL: nothing. */
static char *routing_of(const Route *route, const char *local_part)
{
    if (route->resolve_dequoted && strchr(local_part, '@'))
        return g_strdup(local_part);
    return route_swap(route, local_part);
}

Resolved route_follow(const Route *route, const char *address)
{
    Resolved resolved = {.address = route_complete(route, address)};

    for (int i = 0; i < ROUTING_MAX; i++) {
        resolved.address = bracket_numeric(route, resolved.address);
        const char *at = strrchr(resolved.address, '@');
        resolved.domain = at ? at + 1 : NULL;
        resolved.class = class_of_domain(route, resolved.domain);
        if (!at || resolved.class != CLASS_LOCAL)
            return resolved;
        g_autofree char *local_part = g_strndup(resolved.address, (size_t)(at - resolved.address));
        g_autofree char *next = routing_of(route, local_part);
        if (!next)
            return resolved;
        g_free(resolved.address);
        resolved.address = route_complete(route, next);
    }
    resolved.domain = NULL;
    resolved.class = CLASS_FAILED;
    return resolved;
}

char *route_destination(const Route *route, const char *address)
{
    g_auto(Resolved) resolved = route_follow(route, address);

    return g_steal_pointer(&resolved.address);
}

AddressClass route_class(const Route *route, const char *address)
{
    g_auto(Resolved) resolved = route_follow(route, address);

    return resolved.class;
}

bool route_has_sender_routing(const Route *route, const char *address)
{
    g_auto(Resolved) resolved = route_follow(route, address);

    if (!resolved.domain || resolved.class == CLASS_LOCAL)
        return false;
    g_autofree char *local_part = g_strndup(resolved.address, (size_t)(resolved.domain - 1 - resolved.address));
    g_autofree char *next = routing_of(route, local_part);
    return next != NULL;
}
