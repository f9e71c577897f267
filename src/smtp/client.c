/* client.c - the client's side of one SMTP connection. The descriptor is non-blocking; waiting is poll() with a
 * deadline. */
#include "smtp/client.h"
#include "base/clock.h"
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

struct Client {
    int fd;
    char *peer;
    gint64 timeout_ms;
    gint64 deadline; /* of all that is said; CLOCK_NEVER: none */
    gint64 idle_since;
    GString *in; /* received; not consumed from in_at on */
    size_t in_at;
    GString *out; /* queued commands, or content in wire form */
    Encoder encoder;
    size_t out_complete; /* of out: up to the end of the last complete line of content */
    bool in_content;
    bool line_begun; /* of content: the open line has gone out in part */
    bool failed;     /* for good */
};

G_DEFINE_QUARK(client_error_quark, client_error)

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

/* What poll() says of events, until the timeout of one read or write has passed, or the limit of the whole. 0: error is
 * set. */
static short wait_for(Client *client, short events, gint64 limit, GError **error)
{
    gint64 deadline = MIN(time_from_now(client->timeout_ms), limit);
    struct pollfd wait = {.fd = client->fd, .events = events};

    for (;;) {
        int ready = poll(&wait, 1, clock_poll_timeout(deadline));
        if (ready > 0)
            return wait.revents;
        if (ready == 0 && clock_ms() >= deadline)
            return fail_with(client, error, CLIENT_ERROR_TIMEOUT);
        if (ready < 0 && errno != EINTR)
            return fail_with(client, error, CLIENT_ERROR_LOST);
    }
}

typedef enum { READ_SOME, READ_NOTHING_NOW, READ_END } ReadResult;

static ReadResult read_some(Client *client)
{
    char chunk[INPUT_SIZE];
    ssize_t count;

    do
        count = recv(client->fd, chunk, sizeof chunk, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return READ_NOTHING_NOW;
    if (count <= 0)
        return READ_END;
    if (client->in_at == client->in->len)
        g_string_truncate(client->in, client->in_at = 0);
    g_string_append_len(client->in, chunk, count);
    client->idle_since = clock_ms();
    return READ_SOME;
}

/* Octets that were sent; 0: not now; -1: the connection is lost. */
static ssize_t write_some(Client *client, const char *data, size_t len)
{
    ssize_t count;

    do
        count = send(client->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
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
    client->out_complete = 0;
    client->line_begun = client->in_content && client->encoder.in_line;
}

/* Writes all that is queued. Replies that come meanwhile are taken in, so that a peer that answers before it reads on
 * is not blocked by us. */
static bool flush(Client *client, GError **error)
{
    gint64 limit = patience_from_now(client);
    size_t at = 0;

    if (client->failed)
        return fail_with(client, error, CLIENT_ERROR_LOST);
    while (at < client->out->len) {
        ssize_t sent = write_some(client, client->out->str + at, client->out->len - at);
        if (sent < 0)
            return fail_with(client, error, CLIENT_ERROR_LOST);
        at += (size_t)sent;
        if (sent > 0)
            continue;
        bool takes_input = !client->in_content && client->in->len - client->in_at < INPUT_MAX;
        short events = wait_for(client, takes_input ? POLLIN | POLLOUT : POLLOUT, limit, error);
        if (events == 0)
            return false;
        if (takes_input && (events & POLLIN) && read_some(client) == READ_END)
            return fail_with(client, error, CLIENT_ERROR_LOST);
    }
    reset_out(client);
    return true;
}

/* How much of one reply has been read, and logged about. */
typedef struct {
    gint64 limit;
    size_t octets;
    unsigned warnings;
} ReplyBudget;

static bool may_warn(ReplyBudget *budget)
{
    return budget->warnings++ < REPLY_WARNINGS_MAX;
}

/* One more octet of a reply. -1: error is set. */
static int next_octet(Client *client, ReplyBudget *budget, GError **error)
{
    while (client->in_at == client->in->len) {
        if (wait_for(client, POLLIN, budget->limit, error) ==
            0) /* first: the answer to what was just sent is not there yet */
            return -1;
        if (read_some(client) == READ_END) {
            fail_with(client, error, CLIENT_ERROR_LOST);
            return -1;
        }
        if (clock_ms() >= budget->limit) {
            fail_with(client, error, CLIENT_ERROR_TIMEOUT);
            return -1;
        }
    }
    if (++budget->octets > REPLY_WIRE_MAX) {
        fail_with(client, error, CLIENT_ERROR_LOST);
        return -1;
    }
    return (unsigned char)client->in->str[client->in_at++];
}

/* One line, without its end; what is past REPLY_LINE_MAX is skipped. */
static bool read_line(Client *client, ReplyBudget *budget, GString *line, GError **error)
{
    bool is_long = false;
    int octet;

    g_string_truncate(line, 0);
    while ((octet = next_octet(client, budget, error)) != '\n') {
        if (octet < 0)
            return false;
        if (line->len < REPLY_LINE_MAX)
            g_string_append_c(line, (char)octet);
        else
            is_long = true; /* if only by its CR: as Postfix counts */
    }
    while (line->len > 0 && line->str[line->len - 1] == '\r')
        g_string_truncate(line, line->len - 1);
    if (is_long && may_warn(budget)) {
        g_autofree char *shown = log_quote(line->str, MIN(line->len, 30));
        const char *word = strrchr(client->peer, ' ');
        log_warning("%s: response longer than %d: %s...", word ? word + 1 : client->peer, REPLY_LINE_MAX, shown);
    }
    return true;
}

static Reply *read_reply(Client *client, GError **error)
{
    ReplyBudget budget = {.limit = patience_from_now(client)};
    g_autoptr(Reply) reply = reply_new_empty();
    g_autoptr(GString) line = g_string_new(NULL);
    bool is_last, is_garbage;

    do {
        if (!read_line(client, &budget, line, error))
            return NULL;
        reply_add_line(reply, line->str, line->len, &is_last, &is_garbage);
        if (is_garbage && may_warn(&budget)) {
            g_autofree char *shown = log_quote(line->str, MIN(line->len, 100));
            log_warning("received garbage from %s: %s", client->peer, shown);
        }
    } while (!is_last);
    return g_steal_pointer(&reply);
}

/* fd: non-blocking. */
static Client *take_connection(int fd, const char *peer, gint64 timeout_ms)
{
    Client *client = g_new0(Client, 1);

    client->fd = fd;
    client->peer = g_strdup(peer);
    client->timeout_ms = timeout_ms;
    client->deadline = CLOCK_NEVER;
    client->idle_since = clock_ms();
    client->in = g_string_new(NULL);
    client->out = g_string_new(NULL);
    return client;
}

Client *client_new(int fd, const char *peer, gint64 timeout_ms)
{
    fd_set_nonblock(fd, true);
    return take_connection(fd, peer, timeout_ms);
}

Client *client_connect(const Endpoint *endpoint, const char *peer, gint64 timeout_ms, GError **error)
{
    g_autoptr(GError) why = NULL;
    int fd = endpoint_connect(endpoint, time_from_now(timeout_ms), &why);

    if (fd < 0) {
        g_set_error_literal(error, CLIENT_ERROR, CLIENT_ERROR_CONNECT, why->message);
        return NULL;
    }
    return take_connection(fd, peer, timeout_ms);
}

void client_free(Client *client)
{
    if (!client)
        return;
    fd_clear(&client->fd);
    g_string_free(client->in, TRUE);
    g_string_free(client->out, TRUE);
    g_free(client->peer);
    g_free(client);
}

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

bool client_read_reply(Client *client, Reply **ret_reply, GError **error)
{
    g_clear_pointer(ret_reply, reply_free);
    if (flush(client, error))
        *ret_reply = read_reply(client, error);
    return *ret_reply != NULL;
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
    return client->in->len > client->in_at;
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
    if (!client->in_content)
        client->encoder = (Encoder){0};
    client->in_content = true;
}

/* A piece grows by a stuffed dot and a line end at most. */
bool client_content_would_write(const Client *client, size_t len)
{
    return !client->failed && client->out->len + len + 3 > GATHER_MAX;
}

bool client_content(Client *client, const char *data, size_t len, bool ends_line, GError **error)
{
    client_begin_content(client);
    if (client->failed)
        return true;
    if (client->out->len > 0 && client_content_would_write(client, len) && !flush(client, error))
        return false;
    encoder_add(&client->encoder, client->out, data, len, ends_line);
    if (ends_line) {
        client->out_complete = client->out->len;
        client->line_begun = false;
    }
    return client->out->len < GATHER_MAX || flush(client, error);
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

bool client_end_content(Client *client, Reply **ret_reply, GError **error)
{
    g_clear_pointer(ret_reply, reply_free);
    client_begin_content(client);
    if (client->failed)
        return fail_with(client, error, CLIENT_ERROR_LOST);
    if (has_early_input(client)) {
        client->timeout_ms = MIN(client->timeout_ms, EARLY_REPLY_MS);
        g_autoptr(Reply) early = read_reply(client, error);
        if (!early)
            return false;
        if (!reply_is(early, 4) && !reply_is(early, 5))
            return fail_with(client, error, CLIENT_ERROR_LOST);
        client->failed = true; /* inside its content: of no more use */
        *ret_reply = g_steal_pointer(&early);
        return true;
    }
    encoder_finish(&client->encoder, client->out);
    client->in_content = false;
    if (!flush(client, error))
        return false;
    client->deadline = CLOCK_NEVER; /* nobody may guess now */
    return client_read_reply(client, ret_reply, error);
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
    if (!client->failed) {
        if (client->in_content && client->encoder.in_line) {
            if (client->line_begun)
                g_string_append(client->out, "\r\n");
            else
                g_string_truncate(client->out, client->out_complete);
        }
        g_string_append(client->out, "QUIT\r\n");
        write_some(client, client->out->str, client->out->len);
        drain_input(client);
    }
    client_free(client);
}
