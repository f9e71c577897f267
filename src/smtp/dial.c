/* dial.c - connects to an endpoint, by name if need be. */
#include "smtp/dial.h"
#include "base/clock.h"
#include "base/log.h"

#include <netdb.h>

Endpoint *dial_look_up(Resolver *resolver, const Endpoint *endpoint, const char *families, gint64 deadline)
{
    g_autoptr(GPtrArray) addresses = NULL;
    Endpoint *found = g_new0(Endpoint, 1);

    found->name = g_strdup(endpoint->name);
    found->host = g_strdup(endpoint->host);
    found->port = endpoint->port;
    found->addresses = g_array_new(FALSE, FALSE, sizeof(struct sockaddr_storage));
    DnsStatus status = resolver_addresses(resolver, endpoint->host, families, deadline, &addresses);
    for (guint i = 0; addresses && i < addresses->len; i++)
        endpoint_add_address(found, g_ptr_array_index(addresses, i));
    if (found->addresses->len == 0)
        log_warning("host or service %s not found: %s", endpoint->name,
                    gai_strerror(status == DNS_TEMPORARY ? EAI_AGAIN : EAI_NONAME));
    return found;
}

Client *dial(Resolver *resolver, const Endpoint *endpoint, const char *families, const char *peer, gint64 timeout_ms,
             GError **error)
{
    if (endpoint->path || endpoint->addresses->len > 0)
        return client_connect(endpoint, peer, timeout_ms, error);
    g_autoptr(Endpoint) found = dial_look_up(resolver, endpoint, families, clock_ms() + timeout_ms);
    return client_connect(found, peer, timeout_ms, error);
}
