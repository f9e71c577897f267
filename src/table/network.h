/* network.h - IPv4 and IPv6 networks as tables and match lists write them: "192.0.2.0/24", "[2001:db8::]/32", "::1". */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    int family; /* AF_INET or AF_INET6 */
    unsigned char octets[16];
    unsigned bits; /* length of the network part */
} Network;

/* Brackets around the address are accepted. NULL: *ret is set. Otherwise what is wrong, as Postfix words it ("bad mask
 * value in "1.2.3.4/x""); the caller frees. */
char *network_parse(const char *text, Network *ret);
/* A numeric address without brackets, with all bits. False: it is none. */
bool network_parse_address(const char *text, Network *ret);
/* Whether address, of network_parse_address(), lies in the network. Other families do not. */
bool network_contains(const Network *network, const Network *address);
