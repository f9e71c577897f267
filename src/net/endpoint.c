/* endpoint.c - endpoints as text, their addresses, and dialling them. No DNS here: see dns/. */
#include "net/endpoint.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/root.h"
#include "base/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/un.h>

#define FILE_MAX (4 * 1024 * 1024) /* octets read of /etc/hosts and /etc/services */
#define ADDRESSES_MAX 64

/* The words of one line of /etc/hosts or /etc/services, without its comment. */
static GPtrArray *split_line(const char *line)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
    size_t end = strcspn(line, "#");

    for (size_t at = 0; at < end;) {
        size_t len = strcspn(line + at, " \t\r\f\v#");
        if (len > 0)
            g_ptr_array_add(words, g_strndup(line + at, len));
        at += len + 1;
    }
    return words;
}

/* Calls take with the words of each line that has at least two; until it returns true. */
static bool search_text(const char *text, bool (*take)(GPtrArray *words, void *data), void *data)
{
    g_auto(GStrv) lines = text ? g_strsplit(text, "\n", 0) : NULL;

    for (size_t i = 0; lines && lines[i]; i++) {
        g_autoptr(GPtrArray) words = split_line(lines[i]);
        if (words->len >= 2 && take(words, data))
            return true;
    }
    return false;
}

static bool search_file(const char *path, bool (*take)(GPtrArray *words, void *data), void *data)
{
    g_autofree char *text = fd_read_file(path, FILE_MAX, NULL, NULL);

    return search_text(text, take, data);
}

/* Services have numbers for good, and later the file may be out of reach. */
static char *services;

static void read_services(void)
{
    services = fd_read_file("/etc/services", FILE_MAX, NULL, NULL);
}

typedef struct {
    const char *name;
    guint16 port;
} ServiceSearch;

/* "smtp 25/tcp mail" */
static bool take_service(GPtrArray *words, void *data)
{
    ServiceSearch *search = data;
    bool is_named = strcmp(search->name, g_ptr_array_index(words, 0)) == 0;
    const char *port = g_ptr_array_index(words, 1);

    for (guint i = 2; i < words->len; i++)
        is_named = is_named || strcmp(search->name, g_ptr_array_index(words, i)) == 0;
    if (!is_named || !g_str_has_suffix(port, "/tcp"))
        return false;
    search->port = (guint16)g_ascii_strtoull(port, NULL, 10);
    return search->port != 0;
}

/* 0: error is set. */
static guint16 parse_port(const char *port, const char *text, GError **error)
{
    char *end;
    guint64 number = g_ascii_strtoull(port, &end, 10);
    ServiceSearch search = {.name = port};
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, read_services);
    if (g_ascii_isdigit(port[0])) {
        if (*end != '\0')
            fail(error, "garbage after numerical service in \"%s\"", text);
        else if (number < 1 || number > G_MAXUINT16)
            fail(error, "bad port number in \"%s\": 1 to 65535 is right", text);
        else
            return (guint16)number;
        return 0;
    }
    if (search_text(services, take_service, &search))
        return search.port;
    if (strcmp(port, "smtp") == 0) /* a machine without /etc/services sends mail all the same */
        return 25;
    fail(error, "unknown service \"%s\" in \"%s\"", port, text);
    return 0;
}

void endpoint_add_address(Endpoint *endpoint, const char *numeric)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;
    struct sockaddr_storage address = {0};

    if (endpoint->addresses->len >= ADDRESSES_MAX || getaddrinfo(numeric, NULL, &hints, &found) != 0)
        return;
    memcpy(&address, found->ai_addr, MIN(found->ai_addrlen, sizeof address));
    freeaddrinfo(found);
    if (address.ss_family == AF_INET)
        ((struct sockaddr_in *)&address)->sin_port = htons(endpoint->port);
    else
        ((struct sockaddr_in6 *)&address)->sin6_port = htons(endpoint->port);
    for (guint i = 0; i < endpoint->addresses->len; i++)
        if (memcmp(&g_array_index(endpoint->addresses, struct sockaddr_storage, i), &address, sizeof address) == 0)
            return;
    g_array_append_val(endpoint->addresses, address);
}

static bool is_numeric(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    /* A zone ("fe80::1%eth0") is looked at by getaddrinfo() later. */
    g_autofree char *bare = g_strndup(host, strcspn(host, "%"));
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, bare, address) == 1;
}

/* "127.0.1.1 mx.example mx" */
static bool take_host(GPtrArray *words, void *data)
{
    Endpoint *endpoint = data;

    for (guint i = 1; i < words->len; i++)
        if (g_ascii_strcasecmp(endpoint->host, g_ptr_array_index(words, i)) == 0)
            endpoint_add_address(endpoint, g_ptr_array_index(words, 0));
    return false; /* a name may stand in several lines */
}

static bool is_hostname(const char *host)
{
    size_t len = strlen(host);

    if (len == 0 || len > 255)
        return false;
    for (const char *at = host; *at; at++)
        if (!g_ascii_isalnum(*at) && !strchr(".-_", *at) && !(*at & 0x80))
            return false;
    return host[0] != '.' && host[0] != '-';
}

static bool find_addresses(Endpoint *endpoint, const char *text, GError **error)
{
    if (g_ascii_strcasecmp(endpoint->host, "localhost") == 0) { /* needs no hosts file, and nobody may redirect it */
        endpoint_add_address(endpoint, "127.0.0.1");
        endpoint_add_address(endpoint, "::1");
    } else if (is_numeric(endpoint->host)) {
        endpoint_add_address(endpoint, endpoint->host);
        if (endpoint->addresses->len == 0)
            return fail(error, "valid hostname or network address required in \"%s\"", text);
    } else if (!is_hostname(endpoint->host) || strchr(endpoint->host, ':') ||
               endpoint->host[strspn(endpoint->host, "0123456789.")] == '\0') {
        return fail(error, "valid hostname or network address required in \"%s\"", text);
    } else {
        search_file("/etc/hosts", take_host, endpoint);
    }
    return true;
}

/* Splits "host:port" in all its forms. *ret_host, *ret_port: NULL where not given. */
static bool split_host_port(const char *spec, bool bare_is_host, char **ret_host, char **ret_port, GError **error)
{
    if (spec[0] == '[') {
        const char *close = strchr(spec, ']');
        if (!close)
            return fail(error, "missing \"]\" in \"%s\"", spec);
        if (close[1] != '\0' && close[1] != ':')
            return fail(error, "garbage after \"]\" in \"%s\"", spec);
        size_t prefix = g_ascii_strncasecmp(spec + 1, "ipv6:", 5) == 0 ? 6 : 1;
        if (close < spec + prefix + 1)
            return fail(error, "valid hostname or network address required in \"%s\"", spec);
        *ret_host = g_strndup(spec + prefix, (gsize)(close - spec) - prefix);
        if (prefix == 6 && !strchr(*ret_host, ':'))
            return fail(error, "malformed IPv6 address in \"%s\"", spec);
        *ret_port = close[1] == ':' ? g_strdup(close + 2) : NULL;
    } else {
        const char *colon = strrchr(spec, ':');
        if (colon) {
            *ret_host = colon > spec ? g_strndup(spec, (gsize)(colon - spec)) : NULL;
            *ret_port = g_strdup(colon + 1);
        } else {
            *(bare_is_host ? ret_host : ret_port) = g_strdup(spec);
        }
    }
    if (*ret_port && **ret_port == '\0')
        return fail(error, "missing service information in \"%s\" (HOST:PORT is right)", spec);
    return true;
}

static bool parse_inet(Endpoint *endpoint, const char *spec, guint16 default_port, GError **error)
{
    g_autofree char *host = NULL, *port = NULL;

    if (!split_host_port(spec, default_port != 0, &host, &port, error))
        return false;
    if (!port && default_port == 0)
        return fail(error, "missing service information in \"%s\" (HOST:PORT is right)", spec);
    endpoint->port = port ? parse_port(port, spec, error) : default_port;
    if (endpoint->port == 0)
        return false;
    endpoint->host = host ? g_steal_pointer(&host) : g_strdup("localhost");
    return find_addresses(endpoint, spec, error);
}

static bool parse_unix(Endpoint *endpoint, const char *path, const char *base_dir, GError **error)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_un *local = (struct sockaddr_un *)&address;

    if (path[0] == '\0')
        return fail(error, "missing path in \"%s\" (unix:PATH is right)", endpoint->name);
    endpoint->path = path[0] == '/' || !base_dir ? g_strdup(path) : g_build_filename(base_dir, path, NULL);
    if (strlen(endpoint->path) >= sizeof local->sun_path)
        return fail(error, "socket path is longer than %zu octets: %s", sizeof local->sun_path - 1, endpoint->path);
    if (!root_check(endpoint->path, error))
        return false;
    local->sun_family = AF_UNIX;
    strncpy(local->sun_path, endpoint->path, sizeof local->sun_path - 1);
    g_array_append_val(endpoint->addresses, address);
    return true;
}

Endpoint *endpoint_parse(const char *text, const char *base_dir, guint16 default_port, GError **error)
{
    g_autoptr(Endpoint) endpoint = g_new0(Endpoint, 1);
    bool is_good;

    endpoint->name = g_strdup(text);
    endpoint->addresses = g_array_new(FALSE, TRUE, sizeof(struct sockaddr_storage));
    if (g_ascii_strncasecmp(text, "unix:", 5) == 0)
        is_good = parse_unix(endpoint, text + 5, base_dir, error);
    else
        is_good =
            parse_inet(endpoint, g_ascii_strncasecmp(text, "inet:", 5) == 0 ? text + 5 : text, default_port, error);
    return is_good ? g_steal_pointer(&endpoint) : NULL;
}

void endpoint_announce(const Endpoint *endpoint)
{
    if (endpoint && !endpoint->path)
        sandbox_will_connect(endpoint->port);
}

void endpoint_free(Endpoint *endpoint)
{
    if (!endpoint)
        return;
    g_free(endpoint->name);
    g_free(endpoint->path);
    g_free(endpoint->host);
    g_array_free(endpoint->addresses, TRUE);
    g_free(endpoint);
}

static socklen_t address_len(const struct sockaddr_storage *address)
{
    switch (address->ss_family) {
    case AF_INET:
        return sizeof(struct sockaddr_in);
    case AF_INET6:
        return sizeof(struct sockaddr_in6);
    default:
        return sizeof(struct sockaddr_un);
    }
}

/* connect() to a unix socket whose backlog is full fails at once on a non-blocking descriptor, with nothing to poll
 * for. So it blocks, within the send timeout. */
static int connect_unix(const struct sockaddr_storage *configured, gint64 deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    gint64 left = MAX(deadline - clock_ms(), 1);
    struct timeval limit = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
    static const struct timeval none;
    int result;

    g_strlcpy(address.sun_path, root_path(((const struct sockaddr_un *)configured)->sun_path), sizeof address.sun_path);
    if (fd < 0 || (deadline != CLOCK_NEVER && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0))
        return -1;
    do
        result = connect(fd, (const struct sockaddr *)&address, sizeof address);
    while (result < 0 && errno == EINTR);
    if (result < 0) {
        if (errno == EAGAIN)
            errno = ETIMEDOUT;
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none) < 0 || !fd_set_nonblock(fd, true))
        return -1;
    return fd_steal(&fd);
}

static int start_inet(const struct sockaddr_storage *address)
{
    auto_fd fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)address, address_len(address)) < 0 && errno != EINPROGRESS &&
        errno != EINTR)
        return -1;
    return fd_steal(&fd);
}

/* Is it connected? Waits until the deadline (0: looks only). 1: yes, 0: not yet, -1: no, errno tells. */
static int connected(int fd, gint64 deadline)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int status = 0, ready;
    socklen_t len = sizeof status;

    do
        ready = poll(&wait, 1, deadline ? clock_poll_timeout(deadline) : 0);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return ready;
    if (wait.revents != POLLOUT && getsockopt(fd, SOL_SOCKET, SO_ERROR, &status, &len) < 0)
        return -1;
    errno = status;
    /* reset: there was a connection; who reads will see that it is gone */
    return status == 0 || status == ECONNRESET ? 1 : -1;
}

/* Errors that say that this machine lacks the address family, rather than what the peer is like. */
static bool is_about_us(int number)
{
    return number == EAFNOSUPPORT || number == EADDRNOTAVAIL || number == ENETUNREACH;
}

static void note_failure(EndpointDial *dial, int number)
{
    fd_clear(&dial->fd);
    if (dial->failure == 0 || !is_about_us(number))
        dial->failure = number;
}

/* Begins with the next address. False: there is none. */
static bool try_next(EndpointDial *dial)
{
    GArray *addresses = dial->endpoint->addresses;

    if (dial->next == addresses->len)
        return false;
    const struct sockaddr_storage *address = &g_array_index(addresses, struct sockaddr_storage, dial->next);
    gint64 now = clock_ms();
    dial->until = dial->deadline;
    if (dial->deadline != CLOCK_NEVER && dial->deadline > now) /* who swallows packets leaves time for the others */
        dial->until = now + (dial->deadline - now) / (addresses->len - dial->next);
    dial->next++;
    dial->fd = address->ss_family == AF_UNIX ? connect_unix(address, dial->until) : start_inet(address);
    if (dial->fd < 0)
        note_failure(dial, errno);
    return true;
}

EndpointDial endpoint_dial(const Endpoint *endpoint, gint64 deadline)
{
    return (EndpointDial){.endpoint = endpoint, .deadline = deadline, .fd = -1};
}

DialStatus endpoint_dial_step(EndpointDial *dial, bool wait, GError **error)
{
    for (;;) {
        while (dial->fd < 0) {
            if (try_next(dial))
                continue;
            const char *why = g_strerror(dial->endpoint->addresses->len > 0 ? dial->failure : EADDRNOTAVAIL);
            g_set_error_literal(error, FAIL_ERROR, dial->failure, why);
            return DIAL_FAILED;
        }
        int state = connected(dial->fd, wait ? dial->until : 0);
        if (state > 0)
            return DIAL_CONNECTED;
        if (state == 0 && !wait && clock_ms() < dial->until)
            return DIAL_WAIT;
        note_failure(dial, state == 0 ? ETIMEDOUT : errno);
    }
}

int endpoint_connect(const Endpoint *endpoint, gint64 deadline, GError **error)
{
    EndpointDial dial = endpoint_dial(endpoint, deadline);

    return endpoint_dial_step(&dial, true, error) == DIAL_CONNECTED ? dial.fd : -1;
}
