/* hosts.h - /etc/hosts, both ways, read once (hosts(5)). Constant afterwards: any thread. */
#pragma once
#include <glib.h>

typedef struct Hosts Hosts;

#define HOSTS_FILE_MAX (16 * 1024 * 1024) /* octets; a larger file is an error */

/* A missing file is an empty one. Lines without a proper address, and names that dns_name_is_valid() refuses, are
 * passed over. */
Hosts *hosts_new(const char *path, GError **error);
Hosts *hosts_new_from_text(const char *text, size_t len); /* may hold anything, NULs too */
void hosts_free(Hosts *hosts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Hosts, hosts_free)

/* Numeric addresses (of char *) of a name, any case, in the order of the file; NULL: it does not stand there. Owned by
 * hosts. */
const GPtrArray *hosts_addresses(const Hosts *hosts, const char *name);
/* The first name on the first line of an address, which is written as inet_ntop() does. NULL: none. Owned by hosts. */
const char *hosts_name(const Hosts *hosts, const char *addr);

/* An address as inet_ntop() writes it, IPv4 also for an IPv4-mapped IPv6 address. NULL: text is no address. The caller
 * frees. ret_family: AF_INET or AF_INET6; ret_octets: 16, of which IPv4 uses 4. Both may be NULL. */
char *hosts_canonical_address(const char *text, int *ret_family, guint8 *ret_octets);
