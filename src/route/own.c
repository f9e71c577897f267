/* own.c - the addresses of this system. */
#include "base/fail.h"
#include "route/private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <string.h>

static void add_address(GHashTable *own, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];
    const void *octets = address->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
                                                       : &((const struct sockaddr_in6 *)address)->sin6_addr;

    if (inet_ntop(address->sa_family, octets, text, sizeof text))
        g_hash_table_add(own, g_strdup(text));
}

static bool add_interfaces(GHashTable *own, bool loopback_only, GError **error)
{
    struct ifaddrs *interfaces;

    if (getifaddrs(&interfaces) < 0)
        return fail_errno(error, "list network interfaces");
    for (const struct ifaddrs *entry = interfaces; entry; entry = entry->ifa_next) {
        if (!entry->ifa_addr || (loopback_only && !(entry->ifa_flags & IFF_LOOPBACK)))
            continue;
        if (entry->ifa_addr->sa_family == AF_INET || entry->ifa_addr->sa_family == AF_INET6)
            add_address(own, entry->ifa_addr);
    }
    freeifaddrs(interfaces);
    return true;
}

/* An address, with or without brackets, or a host name. */
static bool add_host(GHashTable *own, const char *parameter, const char *text, GError **error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    g_autofree char *host = g_strdup(text);
    struct addrinfo *found = NULL;
    size_t len = strlen(host);

    if (*host == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        memmove(host, host + 1, len - 1);
    }
    int code = getaddrinfo(host, NULL, &hints, &found);
    if (code != 0)
        return fail(error, "config variable %s: host not found: %s", parameter, text);
    for (const struct addrinfo *entry = found; entry; entry = entry->ai_next)
        if (entry->ai_family == AF_INET || entry->ai_family == AF_INET6)
            add_address(own, entry->ai_addr);
    freeaddrinfo(found);
    return true;
}

GHashTable *route_own_addresses(const Config *config, GError **error)
{
    static const char *const parameters[] = {"inet_interfaces", "proxy_interfaces"};
    g_autoptr(GHashTable) own = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(parameters); i++) {
        g_autoptr(GPtrArray) elements = config_split(config_string(config, parameters[i]));
        for (guint j = 0; j < elements->len; j++) {
            const char *element = g_ptr_array_index(elements, j);
            bool loopback_only = g_ascii_strcasecmp(element, "loopback-only") == 0;
            bool ok = loopback_only || g_ascii_strcasecmp(element, "all") == 0
                          ? add_interfaces(own, loopback_only, error)
                          : add_host(own, parameters[i], element, error);
            if (!ok)
                return NULL;
        }
    }
    return g_steal_pointer(&own);
}

bool route_is_own_address(const Route *route, const char *addr)
{
    unsigned char octets[sizeof(struct in6_addr)];
    char text[INET6_ADDRSTRLEN];
    int family = strchr(addr, ':') ? AF_INET6 : AF_INET;

    return inet_pton(family, addr, octets) == 1 && inet_ntop(family, octets, text, sizeof text) &&
           g_hash_table_contains(route->own_addresses, text);
}

bool route_is_own_literal(const Route *route, const char *domain)
{
    size_t len = strlen(domain);

    if (len < 3 || domain[0] != '[' || domain[len - 1] != ']')
        return false;
    size_t prefix = g_ascii_strncasecmp(domain, "[IPv6:", 6) == 0 ? 6 : 1;
    g_autofree char *addr = g_strndup(domain + prefix, len - prefix - 1);
    return route_is_own_address(route, addr);
}
