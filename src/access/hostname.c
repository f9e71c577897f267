/* hostname.c - what is a host name, as HELO restrictions see it. */
#include "access/private.h"

#include <arpa/inet.h>
#include <string.h>

#define NAME_MAX_LENGTH 255
#define LABEL_MAX_LENGTH 63

static bool label_is_valid(const char *label, size_t len)
{
    if (len == 0 || len > LABEL_MAX_LENGTH || label[0] == '-' || label[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isalnum(label[i]) && label[i] != '-' && label[i] != '_')
            return false;
    return true;
}

bool hostname_is_valid(const char *name)
{
    if (strlen(name) > NAME_MAX_LENGTH || strspn(name, "0123456789.") == strlen(name))
        return false;
    for (;;) {
        size_t len = strcspn(name, ".");
        if (!label_is_valid(name, len))
            return false;
        if (!name[len])
            return true;
        name += len + 1;
    }
}

/* Four numbers; zeros in front of one, which inet_pton() does not take, do no harm in a name that nobody connects to.
 */
static bool is_ipv4(const char *text)
{
    for (int part = 0; part < 4; part++) {
        size_t len = strspn(text, "0123456789");
        if (len == 0 || g_ascii_strtoull(text, NULL, 10) > 255 || text[len] != (part < 3 ? '.' : '\0'))
            return false;
        text += len + 1;
    }
    return true;
}

bool hostname_is_address(const char *text)
{
    unsigned char octets[sizeof(struct in6_addr)];

    return strchr(text, ':') ? inet_pton(AF_INET6, text, octets) == 1 : is_ipv4(text);
}

bool hostname_is_literal(const char *text)
{
    size_t len = strlen(text);
    bool is_ipv6 = g_ascii_strncasecmp(text, "[IPv6:", 6) == 0;
    size_t start = is_ipv6 ? 6 : 1;

    if (len < start + 2 || text[0] != '[' || text[len - 1] != ']')
        return false;
    g_autofree char *address = g_strndup(text + start, len - start - 1);
    return (strchr(address, ':') != NULL) == is_ipv6 && hostname_is_address(address);
}
