/* network.c - networks. */
#include "table/network.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_TEXT_MAX INET6_ADDRSTRLEN

static unsigned address_bits(int family)
{
    return family == AF_INET ? 32 : 128;
}

bool network_parse_address(const char *text, Network *ret)
{
    ret->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    ret->bits = address_bits(ret->family);
    memset(ret->octets, 0, sizeof ret->octets);
    return inet_pton(ret->family, text, ret->octets) == 1;
}

/* Clears the bits behind the network part. Returns whether one of them was set. */
static bool clear_host_bits(Network *network)
{
    bool found = false;

    for (unsigned i = network->bits; i < address_bits(network->family); i++) {
        unsigned char bit = (unsigned char)(0x80 >> i % 8);
        found |= network->octets[i / 8] & bit;
        network->octets[i / 8] &= (unsigned char)~bit;
    }
    return found;
}

/* Digits alone, no larger than an address has bits. */
static bool parse_length(const char *text, unsigned *ret)
{
    if (!*text || strspn(text, "0123456789") != strlen(text))
        return false;
    *ret = strlen(text) > 4 ? G_MAXUINT : (unsigned)strtoul(text, NULL, 10);
    return true;
}

/* Takes "[" and "]" from around the address, wherever the length stands: "[::]/0" and "[::/0]". False: they are no
 * pair. */
static bool drop_brackets(char *text)
{
    char *close = strchr(text, ']');

    if (*text != '[')
        return close == NULL;
    if (!close || strchr(close + 1, ']') || (close[1] && close[1] != '/'))
        return false;
    memmove(close, close + 1, strlen(close));
    memmove(text, text + 1, strlen(text));
    return true;
}

char *network_parse(const char *text, Network *ret)
{
    g_autofree char *address = g_strdup(text);
    char shown[ADDRESS_TEXT_MAX];
    unsigned bits = 0;

    if (!drop_brackets(address))
        return g_strdup_printf("bad address pattern: \"%s\"", text);
    char *slash = strchr(address, '/');
    if (slash) {
        *slash++ = '\0';
        if (!parse_length(slash, &bits))
            return g_strdup_printf("bad mask value in \"%s\"", text);
    }
    if (!network_parse_address(address, ret))
        return g_strdup_printf(slash ? "bad network value in \"%s\"" : "bad address pattern: \"%s\"", text);
    if (!slash)
        return NULL;
    if (bits > ret->bits)
        return g_strdup_printf("bad mask length in \"%s\"", text);
    ret->bits = bits;
    if (!clear_host_bits(ret))
        return NULL;
    inet_ntop(ret->family, ret->octets, shown, sizeof shown);
    return g_strdup_printf("non-null host address bits in \"%s\", perhaps you should use \"%s/%u\" instead", text,
                           shown, bits);
}

bool network_contains(const Network *network, const Network *address)
{
    unsigned whole = network->bits / 8;
    unsigned rest = network->bits % 8;

    if (network->family != address->family || memcmp(network->octets, address->octets, whole) != 0)
        return false;
    return rest == 0 || ((network->octets[whole] ^ address->octets[whole]) & (0xff00 >> rest) & 0xff) == 0;
}
