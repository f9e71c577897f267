/* name.h - host names as they come from strangers' DNS data (RFC 1035 section 2.3.1, RFC 1123 section 2.1, and '_'). */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define DNS_NAME_MAX 255 /* octets of a name in text form */
#define DNS_LABEL_MAX 63

/* Letters, digits, '-' (not at an end of a label) and '_' in labels of 1 to 63 octets; no dot at the end; not digits
 * and dots alone, which would pass for an address. */
bool dns_name_is_valid(const char *name);

/* The host name in an uncompressed wire-format name (the data of a PTR record), without the last dot. NULL: not such a
 * name, or none that dns_name_is_valid() but for being digits and dots alone. The caller frees. */
char *dns_name_from_wire(const void *data, size_t len);

/* "4.3.2.1", or the 32 digits of an IPv6 address, as lists of addresses have them in DNS (RFC 5782 section 2). The
 * caller frees. */
char *dns_name_of_reversed(int family, const void *address);
/* "4.3.2.1.in-addr.arpa." or its ip6.arpa counterpart. address: 4 octets (AF_INET) or 16 (AF_INET6). The caller frees.
 */
char *dns_name_of_address(int family, const void *address);
