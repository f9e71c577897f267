/* computed.c - defaults that depend on the machine. */
#include "config/computed.h"
#include "config/config.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define UNKNOWN_DOMAIN "localdomain"

char *computed_hostname(const char *mydomain)
{
    char name[256] = "";

    if (gethostname(name, sizeof name - 1) < 0 || name[0] == '\0')
        g_strlcpy(name, "localhost", sizeof name);
    return strchr(name, '.') ? g_strdup(name) : g_strdup_printf("%s.%s", name, mydomain ? mydomain : UNKNOWN_DOMAIN);
}

char *computed_domain(const char *myhostname)
{
    const char *dot = strchr(myhostname, '.');

    return g_strdup(dot && dot[1] ? dot + 1 : UNKNOWN_DOMAIN);
}

char *computed_mail_owner(void)
{
    bool only_postfix = !getpwnam("gatepost") && getpwnam("postfix");

    return g_strdup(only_postfix ? "postfix" : "gatepost");
}

static int class_length(const struct in_addr *address)
{
    guint8 first = ntohl(address->s_addr) >> 24;

    return first < 128 ? 8 : first < 192 ? 16 : first < 224 ? 24 : 4;
}

static int mask_length(const guint8 *mask, size_t len)
{
    int bits = 0;

    for (size_t i = 0; i < len; i++)
        bits += __builtin_popcount(mask[i]);
    return bits;
}

static void clear_host_bits(guint8 *address, size_t len, int bits)
{
    for (size_t i = 0; i < len; i++) {
        int kept = CLAMP(bits - (int)i * 8, 0, 8);
        address[i] &= (guint8)(0xff00 >> kept);
    }
}

typedef struct {
    const char *style;
    GPtrArray *interfaces;
    bool all, loopback_only;
    GString *list;
    GHashTable *seen;
} Networks;

static void add_network(Networks *networks, const struct ifaddrs *at)
{
    bool is_v6 = at->ifa_addr->sa_family == AF_INET6;
    size_t len = is_v6 ? 16 : 4;
    guint8 address[16], mask[16];
    char text[INET6_ADDRSTRLEN];

    if (is_v6) {
        memcpy(address, &((const struct sockaddr_in6 *)(const void *)at->ifa_addr)->sin6_addr, 16);
        memcpy(mask, &((const struct sockaddr_in6 *)(const void *)at->ifa_netmask)->sin6_addr, 16);
    } else {
        memcpy(address, &((const struct sockaddr_in *)(const void *)at->ifa_addr)->sin_addr, 4);
        memcpy(mask, &((const struct sockaddr_in *)(const void *)at->ifa_netmask)->sin_addr, 4);
    }
    inet_ntop(is_v6 ? AF_INET6 : AF_INET, address, text, sizeof text);

    bool wanted = networks->all || (networks->loopback_only && (at->ifa_flags & IFF_LOOPBACK));
    for (guint i = 0; !wanted && i < networks->interfaces->len; i++)
        wanted = strcmp(g_ptr_array_index(networks->interfaces, i), text) == 0;
    if (!wanted)
        return;

    int bits = (int)len * 8;
    if (strcmp(networks->style, "subnet") == 0)
        bits = mask_length(mask, len);
    else if (strcmp(networks->style, "class") == 0)
        bits = is_v6 ? mask_length(mask, len) : class_length((const struct in_addr *)(const void *)address);
    clear_host_bits(address, len, bits);
    inet_ntop(is_v6 ? AF_INET6 : AF_INET, address, text, sizeof text);

    char *element = g_strdup_printf(is_v6 ? "[%s]/%d" : "%s/%d", text, bits);
    if (!g_hash_table_add(networks->seen, element))
        return;
    g_string_append_printf(networks->list, "%s%s", networks->list->len > 0 ? " " : "", element);
}

char *computed_networks(const char *style, const char *interfaces, const char *protocols)
{
    g_autoptr(GPtrArray) wanted = config_split(interfaces);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Networks networks = {.style = style, .interfaces = wanted, .list = g_string_new(NULL), .seen = seen};
    struct ifaddrs *addresses = NULL;

    networks.all = g_ascii_strcasecmp(interfaces, "all") == 0;
    networks.loopback_only = g_ascii_strcasecmp(interfaces, "loopback-only") == 0;
    for (guint i = 0; i < wanted->len; i++) { /* "[::1]" is compared as "::1" */
        char *word = g_ptr_array_index(wanted, i);
        size_t len = strlen(word);
        if (word[0] == '[' && word[len - 1] == ']') {
            memmove(word, word + 1, len);
            word[len - 2] = '\0';
        }
    }
    if (getifaddrs(&addresses) < 0)
        addresses = NULL;
    for (int family = 0; family < 2; family++) {
        int wanted_family = family == 0 ? AF_INET : AF_INET6;
        const char *wanted_name = family == 0 ? "ipv4" : "ipv6";
        if (!strstr(protocols, "all") && !strstr(protocols, wanted_name))
            continue;
        for (struct ifaddrs *at = addresses; at; at = at->ifa_next)
            if (at->ifa_addr && at->ifa_netmask && at->ifa_addr->sa_family == wanted_family)
                add_network(&networks, at);
    }
    if (addresses)
        freeifaddrs(addresses);
    return g_string_free(networks.list, FALSE);
}
