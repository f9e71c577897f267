/* listen.c - the endpoints of master.cf lines, bound and listening. */
#include "master/listen.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_US 50000

typedef struct {
    bool ipv4, ipv6;
} Protocols;

static Protocols protocols_of(const Config *config)
{
    g_autoptr(GPtrArray) words = config_split(config_string(config, "inet_protocols"));
    Protocols protocols = {false, false};

    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        protocols.ipv4 |= g_ascii_strcasecmp(word, "ipv6") != 0; /* "ipv4", "all" */
        protocols.ipv6 |= g_ascii_strcasecmp(word, "ipv4") != 0;
    }
    if (protocols.ipv6) { /* a kernel without IPv6 is no error with "all" */
        auto_fd probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        protocols.ipv6 = probe >= 0 || errno != EAFNOSUPPORT || !protocols.ipv4;
    }
    return protocols;
}

static bool wanted(const Protocols *protocols, int family)
{
    return family == AF_INET ? protocols->ipv4 : family == AF_INET6 && protocols->ipv6;
}

static void add_address(GPtrArray *addresses, const struct sockaddr *address, socklen_t len)
{
    char text[NI_MAXHOST];

    if (getnameinfo(address, len, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0 &&
        !g_ptr_array_find_with_equal_func(addresses, text, g_str_equal, NULL))
        g_ptr_array_add(addresses, g_strdup(text));
}

static bool resolve(GPtrArray *addresses, const char *host, const Protocols *protocols, GError **error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    g_autofree char *bare = NULL;
    bool any = false;

    if (host[0] == '[') { /* inet_interfaces may have [address] */
        bare = g_strndup(host + 1, strcspn(host + 1, "]"));
        host = bare;
    }
    if (g_ascii_strncasecmp(host, "ipv6:", 5) == 0)
        host += 5;
    int failed = getaddrinfo(host, NULL, &hints, &found);
    if (failed)
        return fail(error, "bad hostname or network address: %s: %s", host, gai_strerror(failed));
    for (const struct addrinfo *at = found; at; at = at->ai_next)
        if (wanted(protocols, at->ai_family)) {
            add_address(addresses, at->ai_addr, at->ai_addrlen);
            any = true;
        }
    freeaddrinfo(found);
    if (!any)
        return fail(error, "no valid IP address found: %s", host);
    return true;
}

static void add_loopback_interfaces(GPtrArray *addresses, const Protocols *protocols)
{
    struct ifaddrs *interfaces = NULL;

    if (getifaddrs(&interfaces) < 0)
        return;
    for (const struct ifaddrs *at = interfaces; at; at = at->ifa_next)
        if (at->ifa_addr && (at->ifa_flags & IFF_LOOPBACK) && wanted(protocols, at->ifa_addr->sa_family))
            add_address(addresses, at->ifa_addr,
                        at->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    freeifaddrs(interfaces);
}

static bool add_interfaces(GPtrArray *addresses, const Config *config, const Protocols *protocols, GError **error)
{
    g_autoptr(GPtrArray) words = config_split(config_string(config, "inet_interfaces"));

    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        if (g_ascii_strcasecmp(word, "all") == 0) {
            g_ptr_array_set_size(addresses, 0);
            if (protocols->ipv4)
                g_ptr_array_add(addresses, g_strdup("0.0.0.0"));
            if (protocols->ipv6)
                g_ptr_array_add(addresses, g_strdup("::"));
            return true;
        }
        if (g_ascii_strcasecmp(word, "loopback-only") == 0)
            add_loopback_interfaces(addresses, protocols);
        else if (!resolve(addresses, word, protocols, error))
            return false;
    }
    if (addresses->len == 0)
        return fail(error, "inet_interfaces: no address to listen on");
    return true;
}

GPtrArray *listen_addresses(const Service *line, const Config *config, GError **error)
{
    g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
    const Protocols protocols = protocols_of(config);

    if (line->host ? !resolve(addresses, line->host, &protocols, error)
                   : !add_interfaces(addresses, config, &protocols, error))
        return NULL;
    return g_steal_pointer(&addresses);
}

bool listen_is_loopback(const char *address)
{
    return g_str_has_prefix(address, "127.") || strcmp(address, "::1") == 0;
}

static int bind_inet(const char *address, guint16 port, GError **error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[8];
    int on = 1;

    snprintf(service, sizeof service, "%u", port);
    int failed = getaddrinfo(address, service, &hints, &found);
    if (failed) {
        fail(error, "bad address %s: %s", address, gai_strerror(failed));
        return -1;
    }
    auto_fd fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool bound = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                 (found->ai_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
                 bind(fd, found->ai_addr, found->ai_addrlen) == 0;
    int saved = errno;
    freeaddrinfo(found);
    errno = saved;
    if (!bound) {
        fail_errno(error, "bind %s port %u", address, port);
        return -1;
    }
    return fd_steal(&fd);
}

/* Not SO_REUSEPORT: with it, a port that another system of the same user has taken would be shared silently. */
static int bind_inet_patiently(const char *address, guint16 port, gint64 deadline, GError **error)
{
    for (;;) {
        g_autoptr(GError) local = NULL;
        int fd = bind_inet(address, port, &local);

        if (fd >= 0)
            return fd;
        if (local->code != EADDRINUSE || clock_ms() >= deadline) {
            g_propagate_error(error, g_steal_pointer(&local));
            return -1;
        }
        g_usleep(RETRY_US);
    }
}

static bool open_inet(Listeners *listeners, const Service *line, const Config *config, int backlog, gint64 deadline,
                      GError **error)
{
    g_autoptr(GPtrArray) addresses = listen_addresses(line, config, error);

    if (!addresses)
        return false;
    if (addresses->len > SERVICE_LISTENERS_MAX)
        return fail(error, "service %s: more than %d addresses", line->name, SERVICE_LISTENERS_MAX);
    listeners->confined = true;
    for (guint i = 0; i < addresses->len; i++) {
        const char *address = g_ptr_array_index(addresses, i);
        int fd = bind_inet_patiently(address, line->port, deadline, error);

        if (fd < 0)
            return false;
        g_array_append_val(listeners->fds, fd);
        listeners->confined &= listen_is_loopback(address);
        if (listen(fd, backlog) < 0)
            return fail_errno(error, "listen on %s port %u", address, line->port);
    }
    return true;
}

/* Only a socket is ours to remove: a file of that name is somebody's mistake, which he should see. */
static void remove_socket(const char *path)
{
    struct stat status;

    if (lstat(path, &status) == 0 && (S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode)))
        unlink(path);
}

static bool open_unix(Listeners *listeners, const Service *line, int type, int backlog, const Owner *owner,
                      GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *path = g_build_filename(line->is_private ? "private" : "public", line->name, NULL);

    listeners->confined = true;
    if (strchr(line->name, '/') || strlen(path) >= sizeof address.sun_path)
        return fail(error, "service %s: not a name for a unix socket", line->name);
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    auto_fd fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_errno(error, "socket");
    owner_enter(owner);
    remove_socket(path);
    bool bound = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && chmod(path, 0666) == 0 &&
                 (type == SOCK_DGRAM || listen(fd, backlog) == 0);
    owner_leave(owner);
    if (!bound)
        return fail_errno(error, "bind %s", path);
    int taken = fd_steal(&fd);
    g_array_append_val(listeners->fds, taken);
    listeners->path = g_steal_pointer(&path);
    return true;
}

static void close_one(void *fd)
{
    fd_clear(fd);
}

Listeners *listeners_open(const Service *line, const Program *program, const Config *config, const Owner *owner,
                          int patience_ms, GError **error)
{
    Listeners *listeners = g_new0(Listeners, 1);
    int backlog = (int)MAX(line->maxproc, config_int(config, "default_process_limit"));
    int type = program->kind == PROGRAM_SERVER ? SOCK_STREAM
               : program->kind == PROGRAM_QMGR ? SOCK_DGRAM
                                               : SOCK_SEQPACKET;

    listeners->references = 1;
    listeners->fds = g_array_new(FALSE, FALSE, sizeof(int));
    g_array_set_clear_func(listeners->fds, close_one);
    if (line->type == SERVICE_INET ? !open_inet(listeners, line, config, backlog, clock_ms() + patience_ms, error)
                                   : !open_unix(listeners, line, type, backlog, owner, error)) {
        listeners_unref(listeners);
        return NULL;
    }
    return listeners;
}

Listeners *listeners_ref(Listeners *listeners)
{
    listeners->references++;
    return listeners;
}

void listeners_unref(Listeners *listeners)
{
    if (!listeners || --listeners->references > 0)
        return;
    g_array_unref(listeners->fds);
    if (listeners->path)
        remove_socket(listeners->path);
    g_free(listeners->path);
    g_free(listeners);
}
