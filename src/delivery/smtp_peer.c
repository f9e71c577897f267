/* smtp_peer.c - from a next hop to a connection. No MX records yet: a host's own addresses are used. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "delivery/smtp_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define LOOKUP_MS 60000

void smtp_route_clear(SmtpRoute *route)
{
    g_clear_pointer(&route->endpoint, endpoint_free);
    g_clear_pointer(&route->nexthop, g_free);
}

static bool family_is_wanted(const Smtp *smtp, int family)
{
    return g_str_equal(smtp->families, "all") || (family == AF_INET6) == g_str_equal(smtp->families, "ipv6");
}

static gint compare_family(gconstpointer a, gconstpointer b, gpointer first)
{
    int family = *(int *)first;
    bool a_first = ((const struct sockaddr_storage *)a)->ss_family == family;
    bool b_first = ((const struct sockaddr_storage *)b)->ss_family == family;

    return (int)b_first - (int)a_first;
}

/* inet_protocols, then smtp_address_preference (the sort is stable). */
static void choose_addresses(const Smtp *smtp, GArray *addresses)
{
    const char *preference = config_string(smtp->config, "smtp_address_preference");
    int first = g_str_equal(preference, "ipv4") ? AF_INET : AF_INET6;

    for (guint i = addresses->len; i > 0; i--)
        if (!family_is_wanted(smtp, g_array_index(addresses, struct sockaddr_storage, i - 1).ss_family))
            g_array_remove_index(addresses, i - 1);
    if (!g_str_equal(preference, "any"))
        g_array_sort_with_data(addresses, compare_family, &first);
}

static DnsStatus add_addresses(const Smtp *smtp, Endpoint *endpoint)
{
    g_autoptr(GPtrArray) found = NULL;
    DnsStatus status =
        resolver_addresses(smtp->resolver, endpoint->host, smtp->families, clock_ms() + LOOKUP_MS, &found);

    for (guint i = 0; found && i < found->len; i++)
        endpoint_add_address(endpoint, g_ptr_array_index(found, i));
    return status;
}

SmtpRouteResult smtp_route(const Smtp *smtp, const char *nexthop, SmtpRoute *ret_route, char **ret_text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Endpoint) endpoint = endpoint_parse(nexthop, ".", smtp->port, &error);
    DnsStatus status = DNS_OK;

    if (!endpoint || endpoint->path) {
        *ret_text = g_strdup_printf("bad next hop: %s", endpoint ? nexthop : error->message);
        return ROUTE_BAD;
    }
    if (endpoint->addresses->len == 0)
        status = add_addresses(smtp, endpoint);
    choose_addresses(smtp, endpoint->addresses);
    if (endpoint->addresses->len == 0) {
        bool again = status == DNS_TEMPORARY;
        *ret_text =
            g_strdup_printf("Host or domain name not found. Name service error for name=%s type=A: Host not found%s",
                            endpoint->host, again ? ", try again" : "");
        return again ? ROUTE_TEMPORARY : ROUTE_NOT_FOUND;
    }
    ret_route->endpoint = g_steal_pointer(&endpoint);
    ret_route->nexthop = g_strdup(nexthop);
    return ROUTE_FOUND;
}

void smtp_peer_clear(SmtpPeer *peer)
{
    g_clear_pointer(&peer->name, g_free);
    g_clear_pointer(&peer->relay, g_free);
}

static socklen_t address_len(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* smtp_bind_address, smtp_bind_address6. False: errno, and it is enforced. */
static bool bind_source(const Smtp *smtp, int fd, int family)
{
    const char *parameter = family == AF_INET ? "smtp_bind_address" : "smtp_bind_address6";
    const char *source = config_string(smtp->config, parameter);
    struct addrinfo hints = {.ai_family = family, .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;

    if (source[0] == '\0')
        return true;
    errno = EADDRNOTAVAIL;
    if (getaddrinfo(source, NULL, &hints, &found) == 0) {
        int bound = bind(fd, found->ai_addr, found->ai_addrlen);
        int saved = errno;
        freeaddrinfo(found);
        errno = saved;
        if (bound == 0)
            return true;
    }
    log_warning("%s: bind %s: %s", parameter, source, g_strerror(errno));
    return !config_bool(smtp->config, "smtp_bind_address_enforce");
}

static bool wait_connected(int fd, gint64 deadline)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int ready, why = 0;
    socklen_t len = sizeof why;

    do
        ready = poll(&wait, 1, clock_poll_timeout(deadline));
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        errno = ETIMEDOUT;
    if (ready <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) < 0)
        return false;
    errno = why;
    return why == 0;
}

/* Non-blocking, as client_new() wants it. -1: errno. smtp_connect_timeout 0: the system's. */
static int dial(const Smtp *smtp, const struct sockaddr_storage *address)
{
    gint64 seconds = config_seconds(smtp->config, "smtp_connect_timeout");
    gint64 deadline = seconds > 0 ? clock_ms() + seconds * 1000 : CLOCK_NEVER;
    auto_fd fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0 || !bind_source(smtp, fd, address->ss_family))
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)address, address_len(address)) < 0 &&
        (errno != EINPROGRESS || !wait_connected(fd, deadline)))
        return -1;
    return fd_steal(&fd);
}

Client *smtp_connect(const Smtp *smtp, const SmtpRoute *route, guint index, SmtpPeer *ret_peer, char **ret_text)
{
    const struct sockaddr_storage *address = &g_array_index(route->endpoint->addresses, struct sockaddr_storage, index);
    char numeric[NI_MAXHOST] = "unknown";

    getnameinfo((const struct sockaddr *)address, address_len(address), numeric, sizeof numeric, NULL, 0,
                NI_NUMERICHOST);
    ret_peer->port = route->endpoint->port;
    ret_peer->name = g_strdup_printf("%s[%s]", route->endpoint->host, numeric);
    ret_peer->relay = g_strdup_printf("%s:%u", ret_peer->name, ret_peer->port);
    int fd = dial(smtp, address);
    if (fd < 0) {
        *ret_text = g_strdup_printf("connect to %s: %s", ret_peer->relay, g_strerror(errno));
        return NULL;
    }
    return client_new(fd, ret_peer->name, config_seconds(smtp->config, "smtp_helo_timeout") * 1000);
}
