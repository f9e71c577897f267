/* name.c - host names from strangers. */
#include "dns/name.h"

#include <string.h>
#include <sys/socket.h>

static bool label_is_valid(const char *label, size_t len)
{
    if (len == 0 || len > DNS_LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isalnum(label[i]) && label[i] != '-' && label[i] != '_')
            return false;
    return true;
}

bool dns_name_is_valid(const char *name)
{
    if (strnlen(name, DNS_NAME_MAX + 1) > DNS_NAME_MAX || name[strspn(name, "0123456789.")] == '\0')
        return false;
    for (;;) {
        size_t len = strcspn(name, ".");
        if (!label_is_valid(name, len))
            return false;
        if (name[len] == '\0')
            return true;
        name += len + 1;
    }
}

char *dns_name_from_wire(const void *data, size_t len)
{
    const guint8 *octets = data;
    g_autoptr(GString) name = g_string_new(NULL);
    size_t at = 0;

    while (at < len && octets[at] != 0) {
        size_t label = octets[at];
        if (label > DNS_LABEL_MAX || label >= len - at || !label_is_valid((const char *)octets + at + 1, label))
            return NULL;
        if (name->len > 0)
            g_string_append_c(name, '.');
        g_string_append_len(name, (const char *)octets + at + 1, (gssize)label);
        if (name->len > DNS_NAME_MAX)
            return NULL;
        at += 1 + label;
    }
    if (at >= len || name->len == 0)
        return NULL;
    return g_string_free(g_steal_pointer(&name), FALSE);
}

char *dns_name_of_reversed(int family, const void *address)
{
    const guint8 *octets = address;
    GString *name = g_string_new(NULL);

    if (family == AF_INET)
        g_string_printf(name, "%u.%u.%u.%u", octets[3], octets[2], octets[1], octets[0]);
    else
        for (int i = 15; i >= 0; i--)
            g_string_append_printf(name, "%s%x.%x", i < 15 ? "." : "", octets[i] & 15u, octets[i] >> 4u);
    return g_string_free(name, FALSE);
}

char *dns_name_of_address(int family, const void *address)
{
    g_autofree char *reversed = dns_name_of_reversed(family, address);

    return g_strconcat(reversed, family == AF_INET ? ".in-addr.arpa." : ".ip6.arpa.", NULL);
}
