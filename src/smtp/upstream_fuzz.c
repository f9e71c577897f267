/* upstream_fuzz.c - a PROXY header from any octets, in pieces of any size: the pieces change nothing, what was read of
 * it lies within what came, and addresses and ports are texts that can be read again. */
#include "smtp/upstream.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

static bool is_address(const char *text)
{
    struct in6_addr octets;

    return inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, &octets) == 1;
}

static bool is_port(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text) && g_ascii_strtoull(text, NULL, 10) < 65536;
}

static void check(const UpstreamHeader *header, size_t size)
{
    g_assert(header->len >= 16 && header->len <= MIN(size, UPSTREAM_HEADER_MAX));
    if (header->is_local)
        return;
    g_assert(is_address(header->addr) && is_address(header->server_addr));
    g_assert(is_port(header->port) && is_port(header->server_port));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    UpstreamHeader whole, header;
    const char *why = NULL, *other_why = NULL;

    if (size == 0)
        return 0;
    bool ipv4 = !(data[0] & 1), ipv6 = !(data[0] & 2);
    size_t step = 1 + data[0] / 4;
    data++;
    size--;
    UpstreamResult result = upstream_parse((const char *)data, size, ipv4, ipv6, &whole, &why);
    if (result == UPSTREAM_DONE)
        check(&whole, size);
    g_assert(result != UPSTREAM_BAD || why);
    g_assert(result != UPSTREAM_MORE || (size < UPSTREAM_HEADER_MAX && upstream_cut_short((const char *)data, size)));

    size_t end = result == UPSTREAM_DONE ? whole.len : size;
    for (size_t len = 0; len < end; len += step) {
        g_autofree char *part = g_memdup2(data, len);
        UpstreamResult early = upstream_parse(part ? part : "", len, ipv4, ipv6, &header, &other_why);
        g_assert(early == UPSTREAM_MORE || (early == UPSTREAM_BAD && result == UPSTREAM_BAD));
    }
    if (result == UPSTREAM_DONE) {
        g_autofree char *part = g_memdup2(data, whole.len);
        g_assert(upstream_parse(part, whole.len, ipv4, ipv6, &header, &other_why) == UPSTREAM_DONE);
        g_assert(memcmp(&header, &whole, sizeof header) == 0);
    }
    return 0;
}
