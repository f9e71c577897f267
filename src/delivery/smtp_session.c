/* smtp_session.c - one dialogue with an SMTP server.
 *
 * The rule that counts: after the final dot was sent, only the server's reply decides. When it does not come, the
 * recipients are deferred, and the log says that they may get the message twice. */
#include "base/clock.h"
#include "base/log.h"
#include "delivery/smtp_private.h"
#include "mail/address.h"
#include "mail/xtext.h"
#include "smtp/xforward.h"

#include <stdlib.h>
#include <string.h>

#define PIPELINE_MAX                                                                                                   \
    100             /* recipients whose commands go out before a reply is read: both ends' buffers have room for that */
#define PIECE 32768 /* octets of content read at once */

enum { OFFER_PIPELINING = 1, OFFER_8BITMIME = 2, OFFER_SIZE = 4, OFFER_DSN = 8, OFFER_SMTPUTF8 = 16 };
static const struct {
    const char *keyword;
    unsigned bit;
} keywords[] = {{"PIPELINING", OFFER_PIPELINING},
                {"8BITMIME", OFFER_8BITMIME},
                {"SIZE", OFFER_SIZE},
                {"DSN", OFFER_DSN},
                {"SMTPUTF8", OFFER_SMTPUTF8}};

typedef struct {
    const Smtp *smtp;
    Attempt *attempt;
    const SmtpRoute *route;
    const SmtpPeer *peer;
    Client *client;
    Reply *reply;
    SmtpFailure *failure;
    unsigned offers;   /* OFFER_ set */
    guint64 size_max;  /* of SIZE; 0: not told */
    unsigned xforward; /* XForward attributes offered */
    bool *accepted;    /* by index into the attempt's recipients */
} Session;

void smtp_failure_clear(SmtpFailure *failure)
{
    g_clear_pointer(&failure->text, g_free);
    g_clear_pointer(&failure->relay, g_free);
}

void smtp_failure_set(SmtpFailure *failure, const char *dsn, bool site, const char *relay, const char *text)
{
    smtp_failure_clear(failure);
    g_strlcpy(failure->dsn, dsn, sizeof failure->dsn);
    failure->site = site;
    failure->relay = g_strdup(relay);
    failure->text = g_strdup(text);
}

/* Remembers why the session is over for those who are not done. Always false. */
static bool give_up(Session *session, const char *dsn, bool site, const char *text)
{
    smtp_failure_set(session->failure, dsn, site, session->peer->relay, text);
    session->failure->connected_us = session->attempt->connected_us;
    return false;
}

static char *failure_text(const Session *session, const GError *error, const char *doing)
{
    if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT))
        return g_strdup_printf("conversation with %s timed out while %s", session->peer->name, doing);
    return g_strdup_printf("lost connection with %s while %s", session->peer->name, doing);
}

static bool connection_failed(Session *session, const GError *error, const char *doing)
{
    g_autofree char *text = failure_text(session, error, doing);

    return give_up(session, "4.4.2", true, text);
}

/* A reply in one line. */
static char *reply_line(const Reply *reply)
{
    return g_strdelimit(g_strdup(reply_text(reply)), "\n", ' ');
}

static char *said(const Session *session, const char *command)
{
    g_autofree char *line = reply_line(session->reply);

    return g_strdup_printf("host %s said: %s (in reply to %s)", session->peer->name, line, command);
}

typedef struct {
    char code[12];
} Dsn;

/* The reply's enhanced status code where it has one of its own class, else X.0.0. A reply of no final class counts as
 * 4xx. */
static Dsn reply_dsn(const Reply *reply)
{
    int class = reply_is(reply, 2) ? 2 : reply_is(reply, 5) ? 5 : 4;
    const char *text = reply_text(reply);
    Dsn dsn, found;

    g_snprintf(dsn.code, sizeof dsn.code, "%d.0.0", class);
    if (strlen(text) < 9)
        return dsn;
    size_t len = strcspn(text + 4, " \n");
    if (len < sizeof found.code) {
        memcpy(found.code, text + 4, len);
        found.code[len] = '\0';
        if (result_dsn_is_valid(found.code) && found.code[0] == dsn.code[0])
            return found;
    }
    return dsn;
}

/* The server's no to everything that is not done: for good when it said 5xx, else another address may be tried. */
static bool refused(Session *session, const char *command)
{
    g_autofree char *text = said(session, command);
    Dsn dsn = reply_dsn(session->reply);

    if (!reply_is(session->reply, 5))
        return give_up(session, reply_is(session->reply, 4) ? dsn.code : "4.5.0", false, text);
    attempt_finish_rest(
        session->attempt,
        &(Outcome){.status = RESULT_BOUNCED, .dsn = dsn.code, .relay = session->peer->relay, .text = text});
    return true;
}

static void set_timeout(Session *session, const char *parameter)
{
    client_set_timeout(session->client, config_seconds(session->smtp->config, parameter) * 1000);
}

/* ---- greeting and HELO ---- */

static bool is_discarded(const GPtrArray *discard, const char *keyword)
{
    for (guint i = 0; i < discard->len; i++)
        if (g_ascii_strcasecmp(g_ptr_array_index(discard, i), keyword) == 0)
            return true;
    return false;
}

static void take_offer(Session *session, const char *line, const GPtrArray *discard)
{
    g_auto(GStrv) words = g_strsplit_set(line, " =", 3);

    if (!words[0] || is_discarded(discard, words[0]))
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(keywords); i++)
        if (g_ascii_strcasecmp(words[0], keywords[i].keyword) == 0)
            session->offers |= keywords[i].bit;
    if (words[1] && g_ascii_strcasecmp(words[0], "SIZE") == 0)
        session->size_max = g_ascii_strtoull(words[1], NULL, 10);
    if (g_ascii_strcasecmp(words[0], "XFORWARD") == 0)
        session->xforward = xforward_offer_parse(line);
}

static void take_offers(Session *session)
{
    g_autoptr(GPtrArray) discard = config_split(config_string(session->smtp->config, "smtp_discard_ehlo_keywords"));
    g_auto(GStrv) lines = g_strsplit(reply_text(session->reply), "\n", 0);

    for (guint i = 1; lines[0] && lines[i]; i++)
        if (strlen(lines[i]) > 4)
            take_offer(session, lines[i] + 4, discard);
}

static bool refused_to_talk(Session *session)
{
    g_autofree char *line = reply_line(session->reply);
    g_autofree char *text = g_strdup_printf("host %s refused to talk to me: %s", session->peer->name, line);
    Dsn dsn = reply_dsn(session->reply);
    bool permanent = reply_is(session->reply, 5) && !config_bool(session->smtp->config, "smtp_skip_5xx_greeting");

    if (!permanent)
        dsn.code[0] = '4';
    return give_up(session, dsn.code, true, text);
}

/* Our own name in the reply to EHLO, on the port that we serve ourselves, is a loop. */
static bool is_ourselves(const Session *session)
{
    const char *text = reply_text(session->reply);
    const char *name = config_string(session->smtp->config, "myhostname");

    if (session->peer->port != 25 || strlen(text) < 5)
        return false;
    size_t len = strcspn(text + 4, " \n");
    return len == strlen(name) && g_ascii_strncasecmp(text + 4, name, len) == 0;
}

static bool say_hello(Session *session)
{
    const Config *config = session->smtp->config;
    const char *name = config_string(config, "smtp_helo_name");
    bool extended = !config_bool(config, "smtp_never_send_ehlo") &&
                    (config_bool(config, "smtp_always_send_ehlo") || strstr(reply_text(session->reply), "ESMTP"));
    g_autoptr(GError) error = NULL;

    if (extended && !client_command(session->client, &session->reply, &error, "EHLO %s", name))
        return connection_failed(session, error, "performing the EHLO handshake");
    if (extended && reply_is(session->reply, 2)) {
        take_offers(session);
    } else if (extended && reply_code(session->reply) == 421) {
        return refused_to_talk(session);
    } else {
        if (!client_command(session->client, &session->reply, &error, "HELO %s", name))
            return connection_failed(session, error, "performing the HELO handshake");
        if (!reply_is(session->reply, 2))
            return refused_to_talk(session);
    }
    if (!is_ourselves(session))
        return true;
    g_autofree char *text = g_strdup_printf("mail for %s loops back to myself", session->route->nexthop);
    log_warning("host %s greeted me with my own hostname %s", session->peer->name, name);
    return give_up(session, "5.4.6", false, text);
}

static bool greet(Session *session)
{
    g_autoptr(GError) error = NULL;

    set_timeout(session, "smtp_helo_timeout");
    if (!client_read_reply(session->client, &session->reply, &error))
        return connection_failed(session, error, "receiving the initial server greeting");
    if (!reply_is(session->reply, 2))
        return refused_to_talk(session);
    return say_hello(session);
}

/* ---- XFORWARD ---- */

static bool forward_attributes(Session *session)
{
    const Origin *origin = &attempt_envelope(session->attempt)->origin;
    g_autoptr(GError) error = NULL;
    g_autofree char *warning = NULL;
    XfAttrs attrs = {0};
    const struct {
        XfAttr attr;
        const char *value;
    } values[] = {{XF_NAME, origin->name},
                  {XF_ADDR, origin->addr},
                  {XF_PORT, origin->port},
                  {XF_HELO, origin->helo},
                  {XF_PROTO, origin->protocol},
                  {XF_IDENT, session->attempt->request->id},
                  {XF_SOURCE, origin->is_local ? "LOCAL" : "REMOTE"}};

    if (session->xforward == 0 || !config_bool(session->smtp->config, "smtp_send_xforward_command"))
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++)
        if (values[i].value && !g_str_equal(values[i].value, "unknown"))
            xf_attrs_set(&attrs, values[i].attr, values[i].value);
    g_autoptr(GPtrArray) commands = xforward_commands(&attrs, session->xforward, &warning);
    xf_attrs_clear(&attrs);
    if (warning)
        log_warning("%s", warning);
    set_timeout(session, "smtp_xforward_timeout");
    for (guint i = 0; i < commands->len; i++) {
        if (!client_command_line(session->client, &session->reply, &error, g_ptr_array_index(commands, i)))
            return connection_failed(session, error, "sending XFORWARD name/address");
        if (!reply_is(session->reply, 2)) {
            g_autofree char *line = reply_line(session->reply);
            log_warning("host %s said: %s (in reply to XFORWARD)", session->peer->name, line);
        }
    }
    return true;
}

/* ---- MAIL and RCPT ---- */

/* An address for a command: one line, whatever stands in it. */
static char *wire_address(const Session *session, const char *address)
{
    char *text =
        config_bool(session->smtp->config, "smtp_quote_rfc821_envelope") ? address_quote(address) : g_strdup(address);

    return g_strdelimit(text, "\r\n", '?');
}

static char *make_mail(const Session *session)
{
    const Envelope *envelope = attempt_envelope(session->attempt);
    g_autofree char *sender = wire_address(session, envelope->sender ? envelope->sender : "");
    g_autoptr(GString) line = g_string_new("MAIL FROM:<");

    g_string_append_printf(line, "%s>", sender);
    if (session->offers & OFFER_SIZE)
        g_string_append_printf(line, " SIZE=%" G_GUINT64_FORMAT, spool_message_wire_size(session->attempt->message));
    if (session->offers & OFFER_8BITMIME && envelope->body != BODY_UNSPECIFIED)
        g_string_append(line, envelope->body == BODY_8BITMIME ? " BODY=8BITMIME" : " BODY=7BIT");
    if (session->offers & OFFER_SMTPUTF8 && envelope->smtputf8)
        g_string_append(line, " SMTPUTF8");
    if (session->offers & OFFER_DSN) {
        if (envelope->ret != DSN_RET_NONE)
            g_string_append(line, envelope->ret == DSN_RET_FULL ? " RET=FULL" : " RET=HDRS");
        if (envelope->envid)
            g_string_append_printf(line, " ENVID=%s", envelope->envid);
    }
    return g_string_free(g_steal_pointer(&line), FALSE);
}

static void append_notify(GString *line, unsigned notify)
{
    static const struct {
        unsigned bit;
        const char *name;
    } rows[] = {{DSN_NOTIFY_NEVER, "NEVER"},
                {DSN_NOTIFY_SUCCESS, "SUCCESS"},
                {DSN_NOTIFY_FAILURE, "FAILURE"},
                {DSN_NOTIFY_DELAY, "DELAY"}};
    const char *before = " NOTIFY=";

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (!(notify & rows[i].bit))
            continue;
        g_string_append_printf(line, "%s%s", before, rows[i].name);
        before = ",";
    }
}

static char *make_rcpt(const Session *session, const Recipient *recipient)
{
    g_autofree char *address = wire_address(session, recipient->address);
    g_autoptr(GString) line = g_string_new("RCPT TO:<");

    g_string_append_printf(line, "%s>", address);
    if (session->offers & OFFER_DSN) {
        append_notify(line, recipient->notify);
        if (recipient->dsn_orcpt && recipient->dsn_orcpt[0]) {
            g_string_append_printf(line, " ORCPT=%s", recipient->dsn_orcpt);
        } else if (recipient->original && recipient->original[0]) {
            g_autofree char *quoted = wire_address(session, recipient->original);
            g_autofree char *encoded = xtext_encode(quoted);
            g_string_append_printf(line, " ORCPT=rfc822;%s", encoded);
        }
    }
    return g_string_free(g_steal_pointer(&line), FALSE);
}

/* What can be told from the offers alone. */
static bool check_offers(Session *session)
{
    const Attempt *attempt = session->attempt;
    guint64 size = spool_message_wire_size(attempt->message);

    if (session->size_max > 0 && size > session->size_max) {
        g_autofree char *text =
            g_strdup_printf("message size %" G_GUINT64_FORMAT " exceeds size limit %" G_GUINT64_FORMAT " of server %s",
                            size, session->size_max, session->peer->name);
        return give_up(session, "5.3.4", false, text);
    }
    if (attempt_envelope(attempt)->smtputf8 && !(session->offers & OFFER_SMTPUTF8)) {
        g_autofree char *text =
            g_strdup_printf("SMTPUTF8 is required, but was not offered by host %s", session->peer->name);
        return give_up(session, "5.6.7", false, text);
    }
    return true;
}

static void take_rcpt_reply(Session *session, guint index)
{
    if (reply_is(session->reply, 2)) {
        session->accepted[index] = true;
        return;
    }
    g_autofree char *text = said(session, "RCPT TO command");
    Dsn dsn = reply_dsn(session->reply);
    attempt_finish(session->attempt, index,
                   &(Outcome){.status = reply_is(session->reply, 5) ? RESULT_BOUNCED : RESULT_DEFERRED,
                              .dsn = dsn.code,
                              .relay = session->peer->relay,
                              .text = text});
}

static bool send_envelope_pipelined(Session *session, const char *mail)
{
    Attempt *attempt = session->attempt;
    g_autoptr(GError) error = NULL;
    bool mail_refused;

    client_queue_line(session->client, mail);
    for (guint i = 0; i < attempt_count(attempt); i++) {
        g_autofree char *rcpt = attempt->done[i] ? NULL : make_rcpt(session, attempt_recipient(attempt, i));
        if (rcpt)
            client_queue_line(session->client, rcpt);
    }
    if (!client_read_reply(session->client, &session->reply, &error))
        return connection_failed(session, error, "sending MAIL FROM");
    mail_refused = !reply_is(session->reply, 2);
    if (mail_refused)
        return refused(session, "MAIL FROM command"); /* the replies to RCPT are not of interest: the session ends */
    set_timeout(session, "smtp_rcpt_timeout");
    for (guint i = 0; i < attempt_count(attempt); i++) {
        if (attempt->done[i])
            continue;
        if (!client_read_reply(session->client, &session->reply, &error))
            return connection_failed(session, error, "sending RCPT TO");
        take_rcpt_reply(session, i);
    }
    return true;
}

static bool send_envelope_in_turn(Session *session, const char *mail)
{
    Attempt *attempt = session->attempt;
    g_autoptr(GError) error = NULL;

    if (!client_command_line(session->client, &session->reply, &error, mail))
        return connection_failed(session, error, "sending MAIL FROM");
    if (!reply_is(session->reply, 2))
        return refused(session, "MAIL FROM command");
    set_timeout(session, "smtp_rcpt_timeout");
    for (guint i = 0; i < attempt_count(attempt); i++) {
        g_autofree char *rcpt = attempt->done[i] ? NULL : make_rcpt(session, attempt_recipient(attempt, i));
        if (!rcpt)
            continue;
        if (!client_command_line(session->client, &session->reply, &error, rcpt))
            return connection_failed(session, error, "sending RCPT TO");
        take_rcpt_reply(session, i);
    }
    return true;
}

static bool any_accepted(const Session *session)
{
    for (guint i = 0; i < attempt_count(session->attempt); i++)
        if (session->accepted[i])
            return true;
    return false;
}

static bool all_done(const Session *session)
{
    for (guint i = 0; i < attempt_count(session->attempt); i++)
        if (!session->attempt->done[i])
            return false;
    return true;
}

/* ---- content ---- */

/* Lines as the wire has them: no longer than smtp_line_length_limit, the rest of a longer one after a blank. */
typedef struct {
    Client *client;
    gint64 limit;
    gint64 column;
} LineWriter;

static bool write_piece(LineWriter *writer, const char *data, size_t len, bool ends_line, GError **error)
{
    while (writer->limit > 0 && writer->column + (gint64)len > writer->limit) {
        size_t part = (size_t)(writer->limit - writer->column);
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
static bool send_content(Session *session)
{
    SpoolContent content = {.message = session->attempt->message};
    LineWriter writer = {.client = session->client,
                         .limit = config_int(session->smtp->config, "smtp_line_length_limit")};
    g_autofree char *piece = g_malloc(PIECE);
    g_autoptr(GError) error = NULL;
    ssize_t count;

    client_begin_content(session->client);
    set_timeout(session, "smtp_data_xfer_timeout");
    while ((count = spool_content_read(&content, piece, PIECE, &error)) > 0)
        if (!write_lines(&writer, piece, (size_t)count, &error))
            return connection_failed(session, error, "sending message body");
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

static void finish_accepted(Session *session, const Outcome *outcome)
{
    for (guint i = 0; i < attempt_count(session->attempt); i++)
        if (session->accepted[i] && !session->attempt->done[i])
            attempt_finish(session->attempt, i, outcome);
}

/* From here on nobody guesses, and no other address is tried. */
static void end_content(Session *session)
{
    g_autoptr(GError) error = NULL;

    set_timeout(session, "smtp_data_done_timeout");
    if (!client_end_content(session->client, &session->reply, &error)) {
        g_autofree char *text =
            failure_text(session, error, "sending end of data -- message may be sent more than once");
        finish_accepted(session, &(Outcome){.status = RESULT_DEFERRED,
                                            .dsn = "4.4.2",
                                            .relay = session->peer->relay,
                                            .text = text,
                                            .kind = REPORT_SITE_FAILED});
        return;
    }
    Dsn dsn = reply_dsn(session->reply);
    bool sent = reply_is(session->reply, 2);
    g_autofree char *text = sent ? reply_line(session->reply) : said(session, "end of DATA command");
    finish_accepted(session, &(Outcome){.status = sent                          ? RESULT_SENT
                                                  : reply_is(session->reply, 5) ? RESULT_BOUNCED
                                                                                : RESULT_DEFERRED,
                                        .dsn = dsn.code,
                                        .relay = session->peer->relay,
                                        .text = text,
                                        .durable = true});
}

static bool send_message(Session *session)
{
    g_autoptr(GError) error = NULL;

    set_timeout(session, "smtp_data_init_timeout");
    if (!client_command(session->client, &session->reply, &error, "DATA"))
        return connection_failed(session, error, "sending DATA command");
    if (!reply_is(session->reply, 3))
        return refused(session, "DATA command");
    if (!send_content(session)) {
        client_free(
            g_steal_pointer(&session->client)); /* in the middle of the message: no QUIT, nothing that could end it */
        return false;
    }
    end_content(session);
    return true;
}

static bool transact(Session *session)
{
    g_autofree char *mail = NULL;

    if (!greet(session))
        return false;
    session->attempt->connected_us = clock_wall_us();
    if (!check_offers(session) || !forward_attributes(session))
        return false;
    mail = make_mail(session);
    set_timeout(session, "smtp_mail_timeout");
    bool pipelined = session->offers & OFFER_PIPELINING && attempt_count(session->attempt) <= PIPELINE_MAX;
    if (!(pipelined ? send_envelope_pipelined(session, mail) : send_envelope_in_turn(session, mail)))
        return false;
    return !any_accepted(session) || send_message(session);
}

static void say_goodbye(Session *session)
{
    if (!session->client)
        return;
    if (!config_bool(session->smtp->config, "smtp_skip_quit_response")) {
        set_timeout(session, "smtp_quit_timeout");
        client_command(session->client, &session->reply, NULL, "QUIT");
        client_free(g_steal_pointer(&session->client));
    } else {
        client_quit(g_steal_pointer(&session->client));
    }
}

bool smtp_session(const Smtp *smtp, Attempt *attempt, const SmtpRoute *route, const SmtpPeer *peer, Client *client,
                  SmtpFailure *failure)
{
    g_autofree bool *accepted = g_new0(bool, attempt_count(attempt));
    Session session = {.smtp = smtp,
                       .attempt = attempt,
                       .route = route,
                       .peer = peer,
                       .client = client,
                       .failure = failure,
                       .accepted = accepted};

    transact(&session);
    say_goodbye(&session);
    reply_free(session.reply);
    return all_done(&session);
}
