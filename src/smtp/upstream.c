/* upstream.c - PROXY protocol headers. The reasons are Postfix's words. */
#include "smtp/upstream.h"

#include <arpa/inet.h>
#include <string.h>

#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_SIGNATURE_LEN 12
#define V2_FIXED 16 /* signature, version and command, family and protocol, length */
#define V1_SIGNATURE "PROXY "
#define V1_SIGNATURE_LEN 6

static const char short_header[] = "short protocol header";

static UpstreamResult bad(const char **ret_why, const char *why)
{
    *ret_why = why;
    return UPSTREAM_BAD;
}

/* octets: wherever they stand in the header. */
static void format_address(int family, const guint8 *octets, char *addr, size_t size)
{
    static const guint8 v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (family == AF_INET6 && memcmp(octets, v4_mapped, sizeof v4_mapped) == 0)
        inet_ntop(AF_INET, octets + sizeof v4_mapped, addr, (socklen_t)size);
    else
        inet_ntop(family, octets, addr, (socklen_t)size);
}

/* --- version 1 --- */

/* The next word of the line in words of one or more blanks. False: there is none, or it does not fit. */
static bool take_word(const char **at, const char *end, char *word, size_t size)
{
    while (*at < end && **at == ' ')
        ++*at;
    const char *begin = *at;
    while (*at < end && **at != ' ')
        ++*at;
    size_t len = (size_t)(*at - begin);
    if (len == 0 || len >= size || memchr(begin, '\0', len))
        return false;
    memcpy(word, begin, len);
    word[len] = '\0';
    return true;
}

static bool take_address(const char **at, const char *end, int family, char *addr, size_t size)
{
    char word[64];
    guint8 octets[16]; /* room for both */

    if (!take_word(at, end, word, sizeof word) || inet_pton(family, word, octets) != 1)
        return false;
    format_address(family, octets, addr, size);
    return true;
}

static bool take_port(const char **at, const char *end, char *port, size_t size)
{
    if (!take_word(at, end, port, size) || strspn(port, "0123456789") != strlen(port))
        return false;
    return (port[0] != '0' || port[1] == '\0') && g_ascii_strtoull(port, NULL, 10) <= G_MAXUINT16;
}

static int family_of(const char *word, bool ipv4, bool ipv6)
{
    if (ipv4 && g_ascii_strcasecmp(word, "TCP4") == 0)
        return AF_INET;
    if (ipv6 && g_ascii_strcasecmp(word, "TCP6") == 0)
        return AF_INET6;
    return AF_UNSPEC;
}

static UpstreamResult parse_line(const char *at, const char *end, bool ipv4, bool ipv6, UpstreamHeader *ret,
                                 const char **ret_why)
{
    char word[8];
    int family = take_word(&at, end, word, sizeof word) ? family_of(word, ipv4, ipv6) : AF_UNSPEC;

    if (family == AF_UNSPEC)
        return bad(ret_why, "bad or missing protocol type");
    if (!take_address(&at, end, family, ret->addr, sizeof ret->addr))
        return bad(ret_why, "bad or missing client address");
    if (!take_address(&at, end, family, ret->server_addr, sizeof ret->server_addr))
        return bad(ret_why, "bad or missing server address");
    if (!take_port(&at, end, ret->port, sizeof ret->port))
        return bad(ret_why, "bad or missing client port");
    if (!take_port(&at, end, ret->server_port, sizeof ret->server_port))
        return bad(ret_why, "bad or missing server port");
    return UPSTREAM_DONE;
}

static UpstreamResult parse_v1(const char *data, size_t len, bool ipv4, bool ipv6, UpstreamHeader *ret,
                               const char **ret_why)
{
    const char *line_end = memchr(data, '\n', MIN(len, UPSTREAM_HEADER_MAX));

    if (!line_end)
        return len < UPSTREAM_HEADER_MAX ? UPSTREAM_MORE : bad(ret_why, "missing protocol header terminator");
    ret->len = (size_t)(line_end - data) + 1;
    const char *end = line_end[-1] == '\r' ? line_end - 1 : line_end;
    return parse_line(data + V1_SIGNATURE_LEN, end, ipv4, ipv6, ret, ret_why);
}

/* --- version 2 --- */

static guint16 read_16(const unsigned char *at)
{
    return (guint16)(at[0] << 8 | at[1]);
}

/* Both addresses, then both ports. */
static UpstreamResult read_addresses(const unsigned char *at, size_t len, int family, UpstreamHeader *ret,
                                     const char **ret_why)
{
    size_t size = family == AF_INET ? 4 : 16;

    if (len < 2 * size + 4)
        return bad(ret_why, "short address field");
    format_address(family, at, ret->addr, sizeof ret->addr);
    format_address(family, at + size, ret->server_addr, sizeof ret->server_addr);
    g_snprintf(ret->port, sizeof ret->port, "%u", read_16(at + 2 * size));
    g_snprintf(ret->server_port, sizeof ret->server_port, "%u", read_16(at + 2 * size + 2));
    return UPSTREAM_DONE;
}

static UpstreamResult parse_v2(const char *data, size_t len, bool ipv4, bool ipv6, UpstreamHeader *ret,
                               const char **ret_why)
{
    const unsigned char *at = (const unsigned char *)data;

    if (len < V2_FIXED)
        return UPSTREAM_MORE;
    if (at[12] >> 4 != 2)
        return bad(ret_why, "unrecognized protocol version");
    size_t rest = read_16(at + 14);
    ret->len = V2_FIXED + rest;
    if (ret->len > UPSTREAM_HEADER_MAX)
        return bad(ret_why, "short version 2 protocol header"); /* Postfix sees no more of it than that */
    if (len < ret->len)
        return UPSTREAM_MORE;
    switch (at[12] & 0xf) {
    case 0:
        ret->is_local = true;
        return UPSTREAM_DONE;
    case 1:
        break;
    default:
        return bad(ret_why, "bad command in proxy header");
    }
    if (at[13] == 0x11)
        return ipv4 ? read_addresses(at + V2_FIXED, rest, AF_INET, ret, ret_why)
                    : bad(ret_why, "IPv4 support is disabled");
    if (at[13] == 0x21)
        return ipv6 ? read_addresses(at + V2_FIXED, rest, AF_INET6, ret, ret_why)
                    : bad(ret_why, "IPv6 support is disabled");
    return bad(ret_why, "unsupported network protocol");
}

/* --- both --- */

UpstreamResult upstream_parse(const char *data, size_t len, bool ipv4, bool ipv6, UpstreamHeader *ret,
                              const char **ret_why)
{
    *ret = (UpstreamHeader){0};
    if (memcmp(data, V2_SIGNATURE, MIN(len, V2_SIGNATURE_LEN)) == 0)
        return parse_v2(data, len, ipv4, ipv6, ret, ret_why);
    if (memcmp(data, V1_SIGNATURE, MIN(len, V1_SIGNATURE_LEN)) == 0)
        return parse_v1(data, len, ipv4, ipv6, ret, ret_why);
    return bad(ret_why, len < V2_SIGNATURE_LEN ? short_header : "unrecognized protocol header");
}

const char *upstream_cut_short(const char *data, size_t len)
{
    if (len >= V1_SIGNATURE_LEN && memcmp(data, V1_SIGNATURE, V1_SIGNATURE_LEN) == 0)
        return "missing protocol header terminator";
    return len < V2_SIGNATURE_LEN ? short_header : "short version 2 protocol header";
}
