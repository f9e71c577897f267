/* smtp_peer.c - connecting to one address of a next hop. */
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

void smtp_peer_clear(SmtpPeer *peer)
{
    g_clear_pointer(&peer->host, g_free);
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
    const SmtpTarget *target = &g_array_index(route->targets, SmtpTarget, index);
    const struct sockaddr_storage *address = &target->address;
    char numeric[NI_MAXHOST] = "unknown";

    getnameinfo((const struct sockaddr *)address, address_len(address), numeric, sizeof numeric, NULL, 0,
                NI_NUMERICHOST);
    ret_peer->port = route->port;
    ret_peer->host = g_strdup(target->host);
    ret_peer->name = g_strdup_printf("%s[%s]", target->host, numeric);
    ret_peer->relay = g_strdup_printf("%s:%u", ret_peer->name, ret_peer->port);
    int fd = dial(smtp, address);
    if (fd < 0) {
        *ret_text = g_strdup_printf("connect to %s: %s", ret_peer->relay, g_strerror(errno));
        return NULL;
    }
    return client_new(fd, ret_peer->name, config_seconds(smtp->config, "smtp_helo_timeout") * 1000);
}
