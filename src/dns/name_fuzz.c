/* Names in wire format, and files like /etc/hosts. */
#include "dns/hosts.h"
#include "dns/name.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *name = dns_name_from_wire(data, size);
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(Hosts) hosts = hosts_new_from_text((const char *)data, size);

    if (name)
        g_assert_true(dns_name_is_valid(name) && strlen(name) <= DNS_NAME_MAX);
    g_autofree char *addr = hosts_canonical_address(text, NULL, NULL);
    if (addr && hosts_name(hosts, addr))
        g_assert_nonnull(hosts_addresses(hosts, hosts_name(hosts, addr)));
    return 0;
}
