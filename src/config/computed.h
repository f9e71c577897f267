/* computed.h - defaults that depend on the machine: myhostname, mydomain, mynetworks, mail_owner. */
#pragma once
#include <glib.h>

/* The machine's name, with ".localdomain" where it has no dot of its own: the default of myhostname. Caller frees, here and below. */
char *computed_hostname(const char *mydomain); /* mydomain: expanded, NULL where not set */
char *computed_domain(const char *myhostname); /* of an expanded myhostname */
char *computed_mail_owner(void);               /* gatepost, or postfix where only that user exists */

/* The default of mynetworks, from the machine's interfaces.
 *
 * style       host, subnet or class
 * interfaces  inet_interfaces: all, loopback-only, or addresses (names are not looked up)
 * protocols   inet_protocols: all, ipv4, ipv6 */
char *computed_networks(const char *style, const char *interfaces, const char *protocols);
