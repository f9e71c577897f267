/* client_content.c - a message's content, the answer to it, and leaving in the middle of it. */
#include "base/clock.h"
#include "smtp/client_private.h"

#define EARLY_REPLY_MS 1000        /* for the rest of what came before the dot: the peer itself may wait for the dot */
#define GATHER_MAX (64 * 1024 - 1) /* octets of content; one less than a power of two, so that the GString is 64 kB */

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

    return full ? client_try_flush(client, error) : CLIENT_DONE;
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
    if (client->out->len > 0 && client_content_would_write(client, len) && !client_flush(client, error))
        return false;
    client_add_content(client, data, len, ends_line);
    return client->out->len < GATHER_MAX || client_flush(client, error);
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
        client_read_some(client);
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
    ClientStatus status = client_try_flush(client, error);

    if (status != CLIENT_DONE)
        return status;
    client->deadline = CLOCK_NEVER; /* nobody may guess now */
    client->dot_sent = true;
    return client_try_reply(client, ret_reply, error);
}

ClientStatus client_try_end_content(Client *client, Reply **ret_reply, GError **error)
{
    ClientStatus status;

    g_clear_pointer(ret_reply, reply_free);
    if (client->end == CONTENT_OPEN)
        client_begin_content(client);
    if (client->failed)
        return client_fail(client, error, CLIENT_ERROR_LOST);
    if (client->end == CONTENT_OPEN)
        end_content(client);
    if (client->end == DOT_QUEUED) {
        status = try_verdict(client, ret_reply, error);
    } else {
        status = client_try_reply(client, ret_reply, error);
        if (status == CLIENT_DONE && !reply_is(*ret_reply, 4) && !reply_is(*ret_reply, 5)) {
            g_clear_pointer(ret_reply, reply_free);
            status = client_fail(client, error, CLIENT_ERROR_LOST);
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
        client_block(client);
    return status == CLIENT_DONE;
}

/* Unread input would turn close() into a reset, which may overtake what was just written. */
static void drain_input(Client *client)
{
    for (int i = 0; i < 16; i++) {
        g_string_truncate(client->in, client->in_at = 0);
        if (client_read_some(client) != READ_SOME)
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
        client_write_some(client, client->out->str + client->out_at, client->out->len - client->out_at);
        drain_input(client);
    }
    client_free(client);
}
