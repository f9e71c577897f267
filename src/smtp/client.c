/* client.c - the client's side of one SMTP connection. The descriptor is non-blocking. All is written as steps that
 * can be tried again; the blocking functions try, and poll() with the step's deadline. */
#include "smtp/client.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "smtp/encoder.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define INPUT_SIZE 4096        /* octets per read */
#define INPUT_MAX (256 * 1024) /* octets of replies held while we write what is pipelined */
#define REPLY_WIRE_MAX (256 * 1024)
#define PATIENCE 10                /* a reply, or a write, takes this many timeouts at most */
#define EARLY_REPLY_MS 1000        /* for the rest of what came before the dot: the peer itself may wait for the dot */
#define REPLY_WARNINGS_MAX 10      /* lines logged about the form of one reply */
#define GATHER_MAX (64 * 1024 - 1) /* octets of content; one less than a power of two, so that the GString is 64 kB */
#define BUFFER_KEPT 4096           /* a buffer that grew past this is given back when it is empty */

typedef enum { CONTENT_OPEN, REFUSED_EARLY, DOT_QUEUED } ContentEnd;

struct Client {
    int fd;
    Tls *tls; /* NULL: none */
    bool tls_established;
    EndpointDial dial; /* dial.fd: while connecting */
    guint told_of;     /* dial.next when client_new_fd() gave the descriptor: each address has its own */
    char *peer;
    gint64 timeout_ms;
    bool dot_sent;   /* of the last content */
    gint64 deadline; /* of all that is said; CLOCK_NEVER: none */
    gint64 idle_since;
    GString *in; /* received; not consumed from in_at on */
    size_t in_at;
    GString *out;  /* queued commands, or content in wire form */
    size_t out_at; /* of out: sent */
    Encoder encoder;
    size_t out_complete; /* of out: up to the end of the last complete line of content */
    bool in_content;
    bool line_begun; /* of content: the open line has gone out in part */
    bool failed;     /* for good */

    /* The step under way. */
    gint64 limit;      /* for the present write or reply as a whole; 0: not begun */
    gint64 wait_until; /* for the next octet; 0: not waiting */
    short wait_events;
    short read_events, write_events; /* what reading and writing wait for: with TLS, either may be the other */
    bool asked;                      /* client_try_command() has queued its line */
    ContentEnd end;
    Reply *reply; /* being read; NULL: none is */
    GString *line;
    bool line_is_long;
    size_t reply_octets;
    unsigned reply_warnings;
    bool heard_garbage;
};

FAIL_DEFINE_DOMAIN(client_error)

static bool fail_with(Client *client, GError **error, ClientError code)
{
    client->failed = true;
    g_set_error_literal(error, CLIENT_ERROR, (int)code,
                        code == CLIENT_ERROR_TIMEOUT ? "conversation timed out" : "lost connection");
    return false;
}

static gint64 time_from_now(gint64 ms)
{
    gint64 now = clock_ms();

    return ms > CLOCK_NEVER - now ? CLOCK_NEVER : now + ms;
}

static gint64 patience_from_now(const Client *client)
{
    bool endless = client->timeout_ms > CLOCK_NEVER / PATIENCE;

    return MIN(endless ? CLOCK_NEVER : time_from_now(PATIENCE * client->timeout_ms), client->deadline);
}

static ClientStatus failed_with(Client *client, GError **error, ClientError code)
{
    fail_with(client, error, code);
    return CLIENT_FAILED;
}

/* Nothing can be done before events: until the timeout of one read or write has passed, or the limit of the whole. */
static ClientStatus wait_for(Client *client, short events, GError **error)
{
    if (!client->wait_until)
        client->wait_until = MIN(time_from_now(client->timeout_ms), client->limit);
    if (clock_ms() >= client->wait_until)
        return failed_with(client, error, CLIENT_ERROR_TIMEOUT);
    client->wait_events = events;
    return CLIENT_WAIT;
}

/* Blocks until the step can be tried again; that sees a timeout or what else is wrong. */
static void wait_here(Client *client)
{
    struct pollfd wait = {.fd = client->fd, .events = client->wait_events};

    poll(&wait, 1, clock_poll_timeout(client->wait_until));
}

typedef enum { READ_SOME, READ_NOTHING_NOW, READ_END } ReadResult;

static short events_of(TlsStatus status)
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
    client->read_events = events_of(status);
    return status == TLS_WANT_READ || status == TLS_WANT_WRITE ? 0 : -1;
}

static ReadResult read_some(Client *client)
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
    client->write_events = events_of(status);
    return status == TLS_WANT_READ || status == TLS_WANT_WRITE ? 0 : -1;
}

/* Octets that were sent; 0: not now; -1: the connection is lost. */
static ssize_t write_some(Client *client, const char *data, size_t len)
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

/* Writes all that is queued. Replies that come meanwhile are taken in, so that a peer that answers before it reads on
 * is not blocked by us. */
static ClientStatus try_flush(Client *client, GError **error)
{
    if (client->failed)
        return failed_with(client, error, CLIENT_ERROR_LOST);
    if (client->out->len > 0 && !client->limit)
        client->limit = patience_from_now(client);
    while (client->out_at < client->out->len) {
        ssize_t sent = write_some(client, client->out->str + client->out_at, client->out->len - client->out_at);
        if (sent < 0)
            return failed_with(client, error, CLIENT_ERROR_LOST);
        if (sent > 0) {
            client->out_at += (size_t)sent;
            client->wait_until = 0;
            continue;
        }
        bool takes_input = !client->in_content && client->in->len - client->in_at < INPUT_MAX;
        ReadResult got = takes_input ? read_some(client) : READ_NOTHING_NOW;
        if (got == READ_END)
            return failed_with(client, error, CLIENT_ERROR_LOST);
        if (got == READ_NOTHING_NOW)
            return wait_for(client, takes_input ? client->read_events | client->write_events : client->write_events,
                            error);
        client->wait_until = 0;
    }
    if (client->out->len > 0) {
        reset_out(client);
        client->limit = client->wait_until = 0;
    }
    return CLIENT_DONE;
}

static bool flush(Client *client, GError **error)
{
    ClientStatus status;

    while ((status = try_flush(client, error)) == CLIENT_WAIT)
        wait_here(client);
    return status == CLIENT_DONE;
}

static bool may_warn(Client *client)
{
    client->heard_garbage = true;
    return client->reply_warnings++ < REPLY_WARNINGS_MAX;
}

/* DONE: there is an octet of the reply. */
static ClientStatus try_input(Client *client, GError **error)
{
    while (client->in_at == client->in->len) {
        ReadResult got = read_some(client);
        if (got == READ_END)
            return failed_with(client, error, CLIENT_ERROR_LOST);
        if (got == READ_NOTHING_NOW)
            return wait_for(client, client->read_events, error);
        client->wait_until = 0;
        if (clock_ms() >= client->limit)
            return failed_with(client, error, CLIENT_ERROR_TIMEOUT);
    }
    if (++client->reply_octets > REPLY_WIRE_MAX)
        return failed_with(client, error, CLIENT_ERROR_LOST);
    return CLIENT_DONE;
}

/* One line, without its end; what is past REPLY_LINE_MAX is skipped. */
static ClientStatus try_line(Client *client, GError **error)
{
    GString *line = client->line;
    ClientStatus status;
    char octet;

    while ((status = try_input(client, error)) == CLIENT_DONE && (octet = client->in->str[client->in_at++]) != '\n') {
        if (line->len < REPLY_LINE_MAX)
            g_string_append_c(line, octet);
        else
            client->line_is_long = true; /* if only by its CR: as Postfix counts */
    }
    if (status != CLIENT_DONE)
        return status;
    while (line->len > 0 && line->str[line->len - 1] == '\r')
        g_string_truncate(line, line->len - 1);
    if (client->line_is_long && may_warn(client)) {
        g_autofree char *shown = log_quote(line->str, MIN(line->len, 30));
        const char *word = strrchr(client->peer, ' ');
        log_warning("%s: response longer than %d: %s...", word ? word + 1 : client->peer, REPLY_LINE_MAX, shown);
    }
    client->line_is_long = false;
    return CLIENT_DONE;
}

static ClientStatus try_read_reply(Client *client, Reply **ret_reply, GError **error)
{
    bool is_last, is_garbage;

    if (!client->reply) {
        client->reply = reply_new_empty();
        client->reply_octets = client->reply_warnings = 0;
        client->limit = patience_from_now(client);
    }
    do {
        ClientStatus status = try_line(client, error);
        if (status != CLIENT_DONE)
            return status;
        reply_add_line(client->reply, client->line->str, client->line->len, &is_last, &is_garbage);
        if (is_garbage && may_warn(client)) {
            g_autofree char *shown = log_quote(client->line->str, MIN(client->line->len, 100));
            log_warning("received garbage from %s: %s", client->peer, shown);
        }
        g_string_truncate(client->line, 0);
    } while (!is_last);
    client->limit = client->wait_until = 0;
    *ret_reply = g_steal_pointer(&client->reply);
    return CLIENT_DONE;
}

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

    client->dial = endpoint_dial(endpoint, time_from_now(timeout_ms));
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
    client->limit = MIN(time_from_now(client->timeout_ms), client->deadline);
    tls_log_begin(tls);
}

ClientStatus client_try_start_tls(Client *client, Tls *tls, GError **error)
{
    if (client->failed) {
        tls_free(tls);
        return failed_with(client, error, CLIENT_ERROR_LOST);
    }
    if (tls)
        begin_tls(client, tls);
    TlsStatus status = tls_handshake(client->tls);
    if (status == TLS_WANT_READ || status == TLS_WANT_WRITE) {
        client->wait_until = client->limit;
        client->wait_events = events_of(status);
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
        wait_here(client);
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

ClientStatus client_try_command(Client *client, const char *line, Reply **ret_reply, GError **error)
{
    if (line && !client->asked)
        client_queue_line(client, line);
    client->asked = true;
    g_clear_pointer(ret_reply, reply_free);
    ClientStatus status = try_flush(client, error);
    if (status == CLIENT_DONE)
        status = try_read_reply(client, ret_reply, error);
    client->asked = status == CLIENT_WAIT;
    return status;
}

bool client_read_reply(Client *client, Reply **ret_reply, GError **error)
{
    ClientStatus status;

    while ((status = client_try_command(client, NULL, ret_reply, error)) == CLIENT_WAIT)
        wait_here(client);
    return status == CLIENT_DONE;
}

void client_queue_line(Client *client, const char *line)
{
    if (client->failed)
        return;
    g_assert(!client->in_content);
    size_t start = client->out->len;
    g_string_append(client->out, line);
    g_strdelimit(client->out->str + start, "\r\n", ' ');
    g_string_append(client->out, "\r\n");
}

bool client_heard_too_much(const Client *client)
{
    return !client->asked && client->in->len > client->in_at;
}

bool client_heard_garbage(const Client *client)
{
    return client->heard_garbage;
}

bool client_is_quiet(Client *client)
{
    bool quiet = client->fd >= 0 && !client->failed && client->in_at == client->in->len;

    return quiet && read_some(client) == READ_NOTHING_NOW;
}

bool client_command_line(Client *client, Reply **ret_reply, GError **error, const char *line)
{
    client_queue_line(client, line);
    return client_read_reply(client, ret_reply, error);
}

bool client_command(Client *client, Reply **ret_reply, GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    return client_command_line(client, ret_reply, error, line);
}

void client_begin_content(Client *client)
{
    g_assert(client->failed || client->in_content || client->out->len == 0);
    if (!client->in_content) {
        client->encoder = (Encoder){0};
        client->dot_sent = false;
    }
    client->in_content = true;
}

/* A piece grows by a stuffed dot and a line end at most. */
bool client_content_would_write(const Client *client, size_t len)
{
    return !client->failed && client->out->len + len + 3 > GATHER_MAX;
}

ClientStatus client_try_room(Client *client, size_t len, GError **error)
{
    bool full = client->out->len > 0 && client_content_would_write(client, len);

    return full ? try_flush(client, error) : CLIENT_DONE;
}

void client_add_content(Client *client, const char *data, size_t len, bool ends_line)
{
    client_begin_content(client);
    if (client->failed)
        return;
    encoder_add(&client->encoder, client->out, data, len, ends_line);
    if (ends_line) {
        client->out_complete = client->out->len;
        client->line_begun = false;
    }
}

bool client_content(Client *client, const char *data, size_t len, bool ends_line, GError **error)
{
    client_begin_content(client);
    if (client->failed)
        return true;
    if (client->out->len > 0 && client_content_would_write(client, len) && !flush(client, error))
        return false;
    client_add_content(client, data, len, ends_line);
    return client->out->len < GATHER_MAX || flush(client, error);
}

bool client_dot_sent(const Client *client)
{
    return client->dot_sent;
}

bool client_content_failed(const Client *client)
{
    return client->in_content && client->failed;
}

/* Takes in what has come without being asked for, if anything. */
static bool has_early_input(Client *client)
{
    if (client->in_at == client->in->len)
        read_some(client);
    return client->in_at < client->in->len;
}

/* Sends the dot, unless the peer has spoken before it. */
static void end_content(Client *client)
{
    client->end = has_early_input(client) ? REFUSED_EARLY : DOT_QUEUED;
    if (client->end == REFUSED_EARLY) {
        client->timeout_ms = MIN(client->timeout_ms, EARLY_REPLY_MS);
        return;
    }
    encoder_finish(&client->encoder, client->out);
    client->in_content = false;
}

static ClientStatus try_verdict(Client *client, Reply **ret_reply, GError **error)
{
    ClientStatus status = try_flush(client, error);

    if (status != CLIENT_DONE)
        return status;
    client->deadline = CLOCK_NEVER; /* nobody may guess now */
    client->dot_sent = true;
    return try_read_reply(client, ret_reply, error);
}

ClientStatus client_try_end_content(Client *client, Reply **ret_reply, GError **error)
{
    ClientStatus status;

    g_clear_pointer(ret_reply, reply_free);
    if (client->end == CONTENT_OPEN)
        client_begin_content(client);
    if (client->failed)
        return failed_with(client, error, CLIENT_ERROR_LOST);
    if (client->end == CONTENT_OPEN)
        end_content(client);
    if (client->end == DOT_QUEUED) {
        status = try_verdict(client, ret_reply, error);
    } else {
        status = try_read_reply(client, ret_reply, error);
        if (status == CLIENT_DONE && !reply_is(*ret_reply, 4) && !reply_is(*ret_reply, 5)) {
            g_clear_pointer(ret_reply, reply_free);
            status = failed_with(client, error, CLIENT_ERROR_LOST);
        }
        client->failed |= status != CLIENT_WAIT; /* inside its content: of no more use */
    }
    if (status != CLIENT_WAIT)
        client->end = CONTENT_OPEN;
    return status;
}

bool client_end_content(Client *client, Reply **ret_reply, GError **error)
{
    ClientStatus status;

    while ((status = client_try_end_content(client, ret_reply, error)) == CLIENT_WAIT)
        wait_here(client);
    return status == CLIENT_DONE;
}

/* Unread input would turn close() into a reset, which may overtake what was just written. */
static void drain_input(Client *client)
{
    for (int i = 0; i < 16; i++) {
        g_string_truncate(client->in, client->in_at = 0);
        if (read_some(client) != READ_SOME)
            return;
    }
}

void client_quit(Client *client)
{
    if (!client)
        return;
    bool dot_unsent = client->end == DOT_QUEUED && client->out_at < client->out->len; /* must not go out any more */
    if (client->fd >= 0 && !client->failed && !dot_unsent) {
        if (client->in_content && client->encoder.in_line) {
            if (client->line_begun || client->out_complete < client->out_at)
                g_string_append(client->out, "\r\n");
            else
                g_string_truncate(client->out, client->out_complete);
        }
        g_string_append(client->out, "QUIT\r\n");
        write_some(client, client->out->str + client->out_at, client->out->len - client->out_at);
        drain_input(client);
    }
    client_free(client);
}
