/* client_reply.c - commands, and the replies to them. */
#include "base/clock.h"
#include "base/log.h"
#include "smtp/client_private.h"

#include <string.h>

#define REPLY_WIRE_MAX (256 * 1024)
#define REPLY_WARNINGS_MAX 10 /* lines logged about the form of one reply */

static bool may_warn(Client *client)
{
    client->heard_garbage = true;
    return client->reply_warnings++ < REPLY_WARNINGS_MAX;
}

/* DONE: there is an octet of the reply. */
static ClientStatus try_input(Client *client, GError **error)
{
    while (client->in_at == client->in->len) {
        ReadResult got = client_read_some(client);
        if (got == READ_END)
            return client_fail(client, error, CLIENT_ERROR_LOST);
        if (got == READ_NOTHING_NOW)
            return client_wait_for(client, client->read_events, error);
        client->wait_until = 0;
        if (clock_ms() >= client->limit)
            return client_fail(client, error, CLIENT_ERROR_TIMEOUT);
    }
    if (++client->reply_octets > REPLY_WIRE_MAX)
        return client_fail(client, error, CLIENT_ERROR_LOST);
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

ClientStatus client_try_reply(Client *client, Reply **ret_reply, GError **error)
{
    bool is_last, is_garbage;

    if (!client->reply) {
        client->reply = reply_new_empty();
        client->reply_octets = client->reply_warnings = 0;
        client->limit = client_patience_from_now(client);
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

ClientStatus client_try_command(Client *client, const char *line, Reply **ret_reply, GError **error)
{
    if (line && !client->asked)
        client_queue_line(client, line);
    client->asked = true;
    g_clear_pointer(ret_reply, reply_free);
    ClientStatus status = client_try_flush(client, error);
    if (status == CLIENT_DONE)
        status = client_try_reply(client, ret_reply, error);
    client->asked = status == CLIENT_WAIT;
    return status;
}

bool client_read_reply(Client *client, Reply **ret_reply, GError **error)
{
    ClientStatus status;

    while ((status = client_try_command(client, NULL, ret_reply, error)) == CLIENT_WAIT)
        client_block(client);
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
