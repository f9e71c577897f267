/* smtp_content.c - the message itself, and the answer to it. */
#include "base/log.h"
#include "delivery/smtp_session.h"

#include <string.h>

#define PIECE 32768 /* octets of content read at once */

/* Lines as the wire has them: no longer than smtp_line_length_limit, the rest of a longer one after a blank. */
typedef struct {
    Client *client;
    gint64 limit;
    gint64 column;
    const char *id; /* NULL: it was logged that a line was broken */
} LineWriter;

static bool write_piece(LineWriter *writer, const char *data, size_t len, bool ends_line, GError **error)
{
    while (writer->limit > 0 && writer->column + (gint64)len > writer->limit) {
        size_t part = (size_t)(writer->limit - writer->column);
        if (writer->id)
            log_info_as("smtp", "%s: breaking line > %" G_GINT64_FORMAT " bytes with <CR><LF>SPACE", writer->id,
                        writer->limit);
        writer->id = NULL;
        if (!client_content(writer->client, data, part, true, error) ||
            !client_content(writer->client, " ", 1, false, error))
            return false;
        data += part;
        len -= part;
        writer->column = MIN(1, writer->limit - 1); /* the blank; a limit of 1 leaves no room to count it */
    }
    writer->column = ends_line ? 0 : writer->column + (gint64)len;
    return client_content(writer->client, data, len, ends_line, error);
}

static bool write_lines(LineWriter *writer, const char *data, size_t len, GError **error)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t part = end ? (size_t)(end - data) : len;
        if (!write_piece(writer, data, part, end != NULL, error))
            return false;
        data += part + (end ? 1 : 0);
        len -= part + (end ? 1 : 0);
    }
    return true;
}

/* Everything but the final dot. */
static bool send_content(SmtpSession *session)
{
    SpoolContent content = {.message = session->attempt->message};
    LineWriter writer = {.client = session->client,
                         .limit = config_int(session->smtp->config, "smtp_line_length_limit"),
                         .id = session->attempt->request->id};
    g_autofree char *piece = g_malloc(PIECE);
    g_autoptr(GError) error = NULL;
    ssize_t count;

    client_begin_content(session->client);
    smtp_set_timeout(session, "smtp_data_xfer_timeout");
    while ((count = spool_content_read(&content, piece, PIECE, &error)) > 0)
        if (!write_lines(&writer, piece, (size_t)count, &error))
            return smtp_connection_failed(session, error, "sending message body");
    if (count == 0)
        return true;
    attempt_finish_rest(session->attempt,
                        &(Outcome){.status = RESULT_DEFERRED,
                                   .dsn = "4.3.0",
                                   .text = error->message,
                                   .relay = session->peer->relay,
                                   .kind = error->code == SPOOL_ERROR_CORRUPT ? REPORT_CORRUPT : REPORT_PLAIN});
    return false;
}

static void finish_accepted(SmtpSession *session, const Outcome *outcome)
{
    for (guint i = 0; i < attempt_count(session->attempt); i++)
        if (session->accepted[i] && !session->attempt->done[i])
            attempt_finish(session->attempt, i, outcome);
}

/* From here on nobody guesses, and no other address is tried. */
static void end_content(SmtpSession *session)
{
    g_autoptr(GError) error = NULL;

    smtp_set_timeout(session, "smtp_data_done_timeout");
    if (!client_end_content(session->client, &session->reply, &error)) {
        g_autofree char *text =
            smtp_failure_text(session, error, "sending end of data -- message may be sent more than once");
        finish_accepted(session, &(Outcome){.status = RESULT_DEFERRED,
                                            .dsn = "4.4.2",
                                            .relay = session->peer->relay,
                                            .text = text,
                                            .kind = REPORT_SITE_FAILED});
        return;
    }
    SmtpDsn dsn = smtp_reply_dsn(session->reply);
    bool sent = reply_is(session->reply, 2);
    session->begun = false;
    g_autofree char *text = sent ? smtp_reply_line(session->reply) : smtp_said(session, "end of DATA command");
    finish_accepted(session, &(Outcome){.status = sent                          ? RESULT_SENT
                                                  : reply_is(session->reply, 4) ? RESULT_DEFERRED
                                                                                : RESULT_BOUNCED,
                                        .dsn = dsn.code,
                                        .relay = session->peer->relay,
                                        .text = text,
                                        .durable = true});
}

bool smtp_send_message(SmtpSession *session)
{
    g_autoptr(GError) error = NULL;

    smtp_set_timeout(session, "smtp_data_init_timeout");
    if (session->data_sent ? !client_read_reply(session->client, &session->reply, &error)
                           : !client_command(session->client, &session->reply, &error, "DATA"))
        return smtp_connection_failed(session, error, "sending DATA command");
    if (!reply_is(session->reply, 3))
        return smtp_refused(session, "DATA command");
    if (smtp_is_last_command(session, "data")) {
        for (guint i = 0; i < attempt_count(session->attempt); i++)
            if (session->accepted[i] && !session->attempt->done[i])
                smtp_finish_probe(session, i);
        client_free(g_steal_pointer(&session->client)); /* nothing but a dot would end it, and that would deliver */
        return true;
    }
    if (!send_content(session)) {
        /* In the middle of the message: no QUIT, nothing that could end it. */
        client_free(g_steal_pointer(&session->client));
        return false;
    }
    end_content(session);
    return true;
}
