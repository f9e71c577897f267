/* client.c - the client's side of one SMTP connection: how it begins and ends, TLS, times. */
#include "base/clock.h"
#include "base/fd.h"
#include "smtp/client_private.h"

#include <poll.h>

/* fd: non-blocking, or -1: client_try_connect() makes it. */
static Client *take_connection(int fd, const char *peer, gint64 timeout_ms)
{
    Client *client = g_new0(Client, 1);

    client->fd = fd;
    client->dial.fd = -1;
    client->peer = g_strdup(peer);
    client->timeout_ms = timeout_ms;
    client->deadline = CLOCK_NEVER;
    client->idle_since = clock_ms();
    client->in = g_string_new(NULL);
    client->out = g_string_new(NULL);
    client->line = g_string_new(NULL);
    return client;
}

Client *client_new(int fd, const char *peer, gint64 timeout_ms)
{
    fd_set_nonblock(fd, true);
    return take_connection(fd, peer, timeout_ms);
}

Client *client_begin(const Endpoint *endpoint, const char *peer, gint64 timeout_ms)
{
    Client *client = take_connection(-1, peer, timeout_ms);

    client->dial = endpoint_dial(endpoint, client_time_from_now(timeout_ms));
    return client;
}

static ClientStatus step_connect(Client *client, bool wait, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (client->fd >= 0)
        return CLIENT_DONE;
    DialStatus status = endpoint_dial_step(&client->dial, wait, &why);
    switch (status) {
    case DIAL_CONNECTED:
        client->fd = client->dial.fd;
        client->dial.fd = -1;
        client->wait_until = 0;
        return CLIENT_DONE;
    case DIAL_WAIT:
        client->wait_until = client->dial.until;
        return CLIENT_WAIT;
    case DIAL_FAILED:
        break;
    }
    client->failed = true;
    g_set_error_literal(error, CLIENT_ERROR, CLIENT_ERROR_CONNECT, why->message);
    return CLIENT_FAILED;
}

ClientStatus client_try_connect(Client *client, GError **error)
{
    return step_connect(client, false, error);
}

Client *client_connect(const Endpoint *endpoint, const char *peer, gint64 timeout_ms, GError **error)
{
    g_autoptr(Client) client = client_begin(endpoint, peer, timeout_ms);

    return step_connect(client, true, error) == CLIENT_DONE ? g_steal_pointer(&client) : NULL;
}

void client_free(Client *client)
{
    if (!client)
        return;
    if (client->tls && client->tls_established)
        tls_close_notify(client->tls);
    tls_free(client->tls);
    fd_clear(&client->fd);
    fd_clear(&client->dial.fd);
    reply_free(client->reply);
    g_string_free(client->in, TRUE);
    g_string_free(client->out, TRUE);
    g_string_free(client->line, TRUE);
    g_free(client->peer);
    g_free(client);
}

/* ---- TLS ---- */

static ClientStatus end_handshake(Client *client, TlsStatus status, GError **error)
{
    tls_log_failure(client->tls, status);
    client->failed = true;
    g_set_error_literal(error, CLIENT_ERROR, CLIENT_ERROR_TLS, "Cannot start TLS: handshake failure");
    return CLIENT_FAILED;
}

/* Before the handshake: what came in plaintext is nobody's answer to what will be asked inside TLS. */
static void begin_tls(Client *client, Tls *tls)
{
    g_assert(!client->tls && client->fd >= 0 && client->out->len == 0 && !client->reply);
    client->tls = tls;
    g_string_truncate(client->in, client->in_at = 0);
    client->limit = MIN(client_time_from_now(client->timeout_ms), client->deadline);
    tls_log_begin(tls);
}

ClientStatus client_try_start_tls(Client *client, Tls *tls, GError **error)
{
    if (client->failed) {
        tls_free(tls);
        return client_fail(client, error, CLIENT_ERROR_LOST);
    }
    if (tls)
        begin_tls(client, tls);
    TlsStatus status = tls_handshake(client->tls);
    if (status == TLS_WANT_READ || status == TLS_WANT_WRITE) {
        client->wait_until = client->limit;
        client->wait_events = client_events_of(status);
        return clock_ms() < client->limit ? CLIENT_WAIT : end_handshake(client, TLS_DONE, error);
    }
    if (status != TLS_DONE)
        return end_handshake(client, status, error);
    client->limit = client->wait_until = 0;
    client->tls_established = true;
    client->idle_since = clock_ms();
    return CLIENT_DONE;
}

bool client_start_tls(Client *client, Tls *tls, GError **error)
{
    ClientStatus status = client_try_start_tls(client, tls, error);

    while (status == CLIENT_WAIT) {
        client_block(client);
        status = client_try_start_tls(client, NULL, error);
    }
    return status == CLIENT_DONE;
}

Tls *client_tls(const Client *client)
{
    return client->tls_established ? client->tls : NULL;
}

/* ---- times ---- */

void client_set_timeout(Client *client, gint64 timeout_ms)
{
    client->timeout_ms = timeout_ms;
}

void client_set_deadline(Client *client, gint64 deadline)
{
    client->deadline = deadline;
}

gint64 client_idle_since(const Client *client)
{
    return client->idle_since;
}

int client_new_fd(Client *client)
{
    if (client->told_of == client->dial.next)
        return -1;
    client->told_of = client->dial.next;
    return client_fd(client);
}

gint64 client_wait_until(const Client *client)
{
    return client->wait_until;
}

int client_fd(const Client *client)
{
    return client->fd >= 0 ? client->fd : client->dial.fd;
}

bool client_waits_for_output(const Client *client)
{
    return client->fd < 0 || (client->wait_events & POLLOUT);
}

bool client_is_quiet(Client *client)
{
    bool quiet = client->fd >= 0 && !client->failed && client->in_at == client->in->len;

    return quiet && client_read_some(client) == READ_NOTHING_NOW;
}
