/* remote.c - asking the servers of tables. */
#include "table/remote.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "table/connecting.h"
#include "table/kept.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define KEEP_MS 10000

struct Remote {
    Endpoint *endpoint;
    gint64 timeout_ms;
    size_t reply_max;
    Kept kept; /* of descriptors */
};

static void close_kept(void *connection)
{
    int fd = GPOINTER_TO_INT(connection);

    fd_clear(&fd);
}

Remote *remote_new(Endpoint *endpoint, gint64 timeout_ms, size_t reply_max)
{
    Remote *remote = g_atomic_rc_box_new0(Remote);

    remote->endpoint = endpoint;
    remote->timeout_ms = timeout_ms;
    remote->reply_max = reply_max;
    kept_init(&remote->kept, KEEP_MS, close_kept);
    return remote;
}

static void clear_remote(void *data)
{
    Remote *remote = data;

    kept_clear(&remote->kept);
    endpoint_free(remote->endpoint);
}

void remote_free(Remote *remote)
{
    if (remote)
        g_atomic_rc_box_release_full(remote, clear_remote);
}

/* Has the server closed it, or said what nobody asked for? */
static bool is_quiet(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLIN | POLLRDHUP};

    return poll(&look, 1, 0) == 0;
}

/* -1: none is kept that could be used. */
static int take_kept(Remote *remote)
{
    void *kept;

    if (!kept_take(&remote->kept, &kept))
        return -1;
    auto_fd fd = GPOINTER_TO_INT(kept);
    return is_quiet(fd) ? fd_steal(&fd) : -1;
}

/* Adds the addresses that the system's resolver knows. */
static void resolve(Endpoint *endpoint)
{
    struct addrinfo hints = {.ai_flags = AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (getaddrinfo(endpoint->host, NULL, &hints, &found) != 0)
        return;
    for (const struct addrinfo *address = found; address; address = address->ai_next) {
        char numeric[NI_MAXHOST];
        if (getnameinfo(address->ai_addr, address->ai_addrlen, numeric, sizeof numeric, NULL, 0, NI_NUMERICHOST) == 0)
            endpoint_add_address(endpoint, numeric);
    }
    freeaddrinfo(found);
}

static const char *skip_word(const char *text, const char *word)
{
    return g_str_has_prefix(text, word) ? text + strlen(word) : text;
}

/* As pointers, which descriptors are kept as. NULL would be one. */
static void *dial_name(void *data, const void *nothing, gint64 deadline, GError **error)
{
    const Remote *remote = data;
    Endpoint endpoint = *remote->endpoint;
    g_autoptr(GArray) addresses = g_array_new(FALSE, TRUE, sizeof(struct sockaddr_storage));

    endpoint.addresses = addresses;
    resolve(&endpoint);
    return GINT_TO_POINTER(endpoint_connect(&endpoint, deadline, error) + 1);
}

static void close_dialled(void *connection)
{
    close_kept(GINT_TO_POINTER(GPOINTER_TO_INT(connection) - 1));
}

static int dial(Remote *remote, gint64 deadline, GError **error)
{
    static const Connecting how = {dial_name, close_dialled, clear_remote};
    const Endpoint endpoint = *remote->endpoint;
    g_autoptr(GError) why = NULL;
    int fd = endpoint.path || endpoint.addresses->len > 0
                 ? endpoint_connect(&endpoint, deadline, &why)
                 : GPOINTER_TO_INT(connect_by(&how, remote, NULL, deadline, &why)) - 1;

    if (fd < 0)
        fail(error, "connect to %s: %s", endpoint.path ? endpoint.path : skip_word(endpoint.name, "inet:"),
             why->message);
    return fd;
}

typedef enum {
    EXCHANGE_DONE,
    EXCHANGE_LOST, /* the server hung up before it answered */
    EXCHANGE_FAILED,
} Exchange;

/* Waits for events. False: the deadline has come (error). */
static bool wait_for(int fd, short events, gint64 deadline, GError **error)
{
    struct pollfd wait = {.fd = fd, .events = events};

    for (;;) {
        int timeout = clock_poll_timeout(deadline);
        int ready = timeout == 0 ? 0 : poll(&wait, 1, timeout);
        if (ready > 0)
            return true;
        if (ready == 0)
            return fail(error, "timeout");
        if (errno != EINTR)
            return fail_errno(error, "poll");
    }
}

static Exchange lost(GError **error)
{
    fail(error, "unexpected disconnect");
    return EXCHANGE_LOST;
}

static Exchange failed_io(GError **error)
{
    if (errno == EPIPE || errno == ECONNRESET)
        return lost(error);
    fail_errno(error, "input or output");
    return EXCHANGE_FAILED;
}

static Exchange send_request(int fd, const char *request, size_t len, gint64 deadline, GError **error)
{
    while (len > 0) {
        ssize_t sent = send(fd, request, len, MSG_NOSIGNAL);
        if (sent >= 0) {
            request += sent;
            len -= (size_t)sent;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return failed_io(error);
        if (!wait_for(fd, POLLOUT, deadline, error))
            return EXCHANGE_FAILED;
    }
    return EXCHANGE_DONE;
}

/* reply: what has come; in the end it holds the reply and nothing after it. */
static Exchange read_reply(const Remote *remote, int fd, RemoteFrame *frame, gint64 deadline, GString *reply,
                           bool *ret_surplus, GError **error)
{
    for (;;) {
        char chunk[16384];
        ssize_t got = recv(fd, chunk, sizeof chunk, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!wait_for(fd, POLLIN, deadline, error))
                return EXCHANGE_FAILED;
            continue;
        }
        if (got < 0 && reply->len == 0)
            return failed_io(error);
        if (got <= 0) {
            Exchange end = lost(error);
            return reply->len == 0 ? end : EXCHANGE_FAILED;
        }
        g_string_append_len(reply, chunk, got);
        gssize end = frame(reply->str, reply->len, error);
        if (end < 0)
            return EXCHANGE_FAILED;
        if ((size_t)end > remote->reply_max || (end == 0 && reply->len >= remote->reply_max)) {
            fail(error, "input exceeds size limit");
            return EXCHANGE_FAILED;
        }
        if (end > 0) {
            *ret_surplus = reply->len > (size_t)end;
            g_string_truncate(reply, (gsize)end);
            return EXCHANGE_DONE;
        }
    }
}

GString *remote_ask(Remote *remote, const char *request, size_t len, RemoteFrame *frame, GError **error)
{
    gint64 deadline = clock_ms() + remote->timeout_ms;
    auto_fd fd = take_kept(remote);

    for (;;) {
        g_autoptr(GString) reply = g_string_new(NULL);
        g_autoptr(GError) why = NULL;
        bool was_kept = fd >= 0, has_surplus = false;

        if (!was_kept && (fd = dial(remote, deadline, error)) < 0)
            return NULL;
        Exchange result = send_request(fd, request, len, deadline, &why);
        if (result == EXCHANGE_DONE)
            result = read_reply(remote, fd, frame, deadline, reply, &has_surplus, &why);
        if (result == EXCHANGE_DONE) {
            if (!has_surplus && is_quiet(fd)) /* what comes after the reply would be taken for the next one */
                kept_give(&remote->kept, GINT_TO_POINTER(fd_steal(&fd)));
            return g_steal_pointer(&reply);
        }
        fd_clear(&fd);
        if (result == EXCHANGE_FAILED || !was_kept) {
            g_propagate_error(error, g_steal_pointer(&why));
            return NULL;
        }
    }
}
