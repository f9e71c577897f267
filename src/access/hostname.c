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

bool hostname_is_address(const char *text)
{
    unsigned char octets[sizeof(struct in6_addr)];

    return inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, octets) == 1;
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
