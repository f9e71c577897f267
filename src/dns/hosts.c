/* hosts.c - /etc/hosts. */
#include "dns/hosts.h"
#include "base/fd.h"
#include "dns/name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define BLANKS " \t\r\f\v"

struct Hosts {
    GHashTable *by_name;    /* lower case -> GPtrArray of char * */
    GHashTable *by_address; /* -> char *, as written in the file */
};

char *hosts_canonical_address(const char *text, int *ret_family, guint8 *ret_octets)
{
    static const guint8 mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char canonical[INET6_ADDRSTRLEN];
    guint8 octets[16] = {0};
    int family = AF_INET;

    if (inet_pton(AF_INET, text, octets) != 1) {
        if (inet_pton(AF_INET6, text, octets) != 1)
            return NULL;
        if (memcmp(octets, mapped, sizeof mapped) == 0)
            memmove(octets, octets + 12, 4);
        else
            family = AF_INET6;
    }
    if (!inet_ntop(family, octets, canonical, sizeof canonical))
        return NULL;
    if (ret_family)
        *ret_family = family;
    if (ret_octets)
        memcpy(ret_octets, octets, sizeof octets);
    return g_strdup(canonical);
}

static void add_name(Hosts *hosts, const char *addr, const char *name)
{
    g_autofree char *key = g_ascii_strdown(name, -1);
    GPtrArray *addresses = g_hash_table_lookup(hosts->by_name, key);

    if (!addresses) {
        addresses = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(hosts->by_name, g_steal_pointer(&key), addresses);
    }
    for (guint i = 0; i < addresses->len; i++)
        if (strcmp(g_ptr_array_index(addresses, i), addr) == 0)
            return;
    g_ptr_array_add(addresses, g_strdup(addr));
}

/* One line, which is cut up. */
static void add_line(Hosts *hosts, char *line)
{
    char *rest = NULL;

    line[strcspn(line, "#")] = '\0';
    char *word = strtok_r(line, BLANKS, &rest);
    g_autofree char *addr = word ? hosts_canonical_address(word, NULL, NULL) : NULL;
    if (!addr)
        return;
    while ((word = strtok_r(NULL, BLANKS, &rest))) {
        if (!dns_name_is_valid(word))
            continue;
        add_name(hosts, addr, word);
        if (!g_hash_table_contains(hosts->by_address, addr))
            g_hash_table_insert(hosts->by_address, g_strdup(addr), g_strdup(word));
    }
}

Hosts *hosts_new_from_text(const char *text, size_t len)
{
    Hosts *hosts = g_new0(Hosts, 1);

    hosts->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    hosts->by_address = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t size = end ? (size_t)(end - text) - at : len - at;
        g_autofree char *line = g_strndup(text + at, size);
        add_line(hosts, line);
        at += size + 1;
    }
    return hosts;
}

Hosts *hosts_new(const char *path, GError **error)
{
    g_autoptr(GError) failure = NULL;
    size_t len = 0;
    g_autofree char *text = fd_read_file(path, HOSTS_FILE_MAX, &len, &failure);

    if (text)
        return hosts_new_from_text(text, len);
    if (failure->code == ENOENT)
        return hosts_new_from_text("", 0);
    g_propagate_error(error, g_steal_pointer(&failure));
    return NULL;
}

void hosts_free(Hosts *hosts)
{
    if (!hosts)
        return;
    g_clear_pointer(&hosts->by_name, g_hash_table_unref);
    g_clear_pointer(&hosts->by_address, g_hash_table_unref);
    g_free(hosts);
}

const GPtrArray *hosts_addresses(const Hosts *hosts, const char *name)
{
    g_autofree char *key = g_ascii_strdown(name, -1);

    return g_hash_table_lookup(hosts->by_name, key);
}

const char *hosts_name(const Hosts *hosts, const char *addr)
{
    return g_hash_table_lookup(hosts->by_address, addr);
}
