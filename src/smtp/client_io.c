/* client_io.c - octets from and to a server, in time. The descriptor is non-blocking. */
#include "base/clock.h"
#include "base/fail.h"
#include "smtp/client_private.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define INPUT_SIZE 4096        /* octets per read */
#define INPUT_MAX (256 * 1024) /* octets of replies held while we write what is pipelined */
#define PATIENCE 10            /* a reply, or a write, takes this many timeouts at most */
#define BUFFER_KEPT 4096       /* a buffer that grew past this is given back when it is empty */

FAIL_DEFINE_DOMAIN(client_error)

static bool fail_with(Client *client, GError **error, ClientError code)
{
    client->failed = true;
    g_set_error_literal(error, CLIENT_ERROR, (int)code,
                        code == CLIENT_ERROR_TIMEOUT ? "conversation timed out" : "lost connection");
    return false;
}

gint64 client_time_from_now(gint64 ms)
{
    gint64 now = clock_ms();

    return ms > CLOCK_NEVER - now ? CLOCK_NEVER : now + ms;
}

gint64 client_patience_from_now(const Client *client)
{
    bool endless = client->timeout_ms > CLOCK_NEVER / PATIENCE;

    return MIN(endless ? CLOCK_NEVER : client_time_from_now(PATIENCE * client->timeout_ms), client->deadline);
}

ClientStatus client_fail(Client *client, GError **error, ClientError code)
{
    fail_with(client, error, code);
    return CLIENT_FAILED;
}

ClientStatus client_wait_for(Client *client, short events, GError **error)
{
    if (!client->wait_until)
        client->wait_until = MIN(client_time_from_now(client->timeout_ms), client->limit);
    if (clock_ms() >= client->wait_until)
        return client_fail(client, error, CLIENT_ERROR_TIMEOUT);
    client->wait_events = events;
    return CLIENT_WAIT;
}

void client_block(Client *client)
{
    struct pollfd wait = {.fd = client->fd, .events = client->wait_events};

    poll(&wait, 1, clock_poll_timeout(client->wait_until));
}

short client_events_of(TlsStatus status)
{
    return status == TLS_WANT_WRITE ? POLLOUT : POLLIN;
}

/* Octets that came; 0: none now; -1: none will. */
static ssize_t receive_plain(Client *client, char *chunk, size_t size)
{
    ssize_t count;

    do
        count = recv(client->fd, chunk, size, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    client->read_events = POLLIN;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    return count > 0 ? count : -1;
}

static ssize_t receive_tls(Client *client, char *chunk, size_t size)
{
    size_t len;
    TlsStatus status = tls_read(client->tls, chunk, size, &len);

    if (status == TLS_DONE)
        return (ssize_t)len;
    client->read_events = client_events_of(status);
    return status == TLS_WANT_READ || status == TLS_WANT_WRITE ? 0 : -1;
}

ReadResult client_read_some(Client *client)
{
    char chunk[INPUT_SIZE];
    ssize_t count = client->tls ? receive_tls(client, chunk, sizeof chunk) : receive_plain(client, chunk, sizeof chunk);

    if (count <= 0)
        return count < 0 ? READ_END : READ_NOTHING_NOW;
    if (client->in_at == client->in->len)
        g_string_truncate(client->in, client->in_at = 0);
    g_string_append_len(client->in, chunk, count);
    client->idle_since = clock_ms();
    return READ_SOME;
}

static ssize_t send_plain(Client *client, const char *data, size_t len)
{
    ssize_t count;

    do
        count = send(client->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (count < 0 && errno == EINTR);
    client->write_events = POLLOUT;
    if (count < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    return count;
}

static ssize_t send_tls(Client *client, const char *data, size_t len)
{
    size_t sent;
    TlsStatus status = tls_write(client->tls, data, len, &sent);

    if (status == TLS_DONE)
        return (ssize_t)sent;
    client->write_events = client_events_of(status);
    return status == TLS_WANT_READ || status == TLS_WANT_WRITE ? 0 : -1;
}

ssize_t client_write_some(Client *client, const char *data, size_t len)
{
    ssize_t count = client->tls ? send_tls(client, data, len) : send_plain(client, data, len);

    if (count > 0)
        client->idle_since = clock_ms();
    return count;
}

static void reset_out(Client *client)
{
    if (client->out->allocated_len > BUFFER_KEPT && !client->in_content) {
        g_string_free(client->out, TRUE);
        client->out = g_string_new(NULL);
    }
    g_string_truncate(client->out, 0);
    client->out_complete = client->out_at = 0;
    client->line_begun = client->in_content && client->encoder.in_line;
}

ClientStatus client_try_flush(Client *client, GError **error)
{
    if (client->failed)
        return client_fail(client, error, CLIENT_ERROR_LOST);
    if (client->out->len > 0 && !client->limit)
        client->limit = client_patience_from_now(client);
    while (client->out_at < client->out->len) {
        ssize_t sent = client_write_some(client, client->out->str + client->out_at, client->out->len - client->out_at);
        if (sent < 0)
            return client_fail(client, error, CLIENT_ERROR_LOST);
        if (sent > 0) {
            client->out_at += (size_t)sent;
            client->wait_until = 0;
            continue;
        }
        bool takes_input = !client->in_content && client->in->len - client->in_at < INPUT_MAX;
        ReadResult got = takes_input ? client_read_some(client) : READ_NOTHING_NOW;
        if (got == READ_END)
            return client_fail(client, error, CLIENT_ERROR_LOST);
        if (got == READ_NOTHING_NOW)
            return client_wait_for(
                client, takes_input ? client->read_events | client->write_events : client->write_events, error);
        client->wait_until = 0;
    }
    if (client->out->len > 0) {
        reset_out(client);
        client->limit = client->wait_until = 0;
    }
    return CLIENT_DONE;
}

bool client_flush(Client *client, GError **error)
{
    ClientStatus status;

    while ((status = client_try_flush(client, error)) == CLIENT_WAIT)
        client_block(client);
    return status == CLIENT_DONE;
}
