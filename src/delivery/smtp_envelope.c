/* smtp_envelope.c - MAIL and RCPT, and DATA behind them where the server takes commands in advance. */
#include "delivery/smtp_session.h"

#include <string.h>

/* Recipients whose commands go out before a reply is read: both ends' buffers have room for that. */
#define PIPELINE_MAX 100

static bool quotes(const SmtpSession *session)
{
    return config_bool(session->smtp->config, "smtp_quote_rfc821_envelope");
}

static char *rcpt_line(const SmtpSession *session, guint index)
{
    return envelope_rcpt_line(attempt_recipient(session->attempt, index), session->offers, quotes(session));
}

/* What can be told from the offers alone. */
static bool check_offers(SmtpSession *session)
{
    const Attempt *attempt = session->attempt;
    guint64 size = spool_message_wire_size(attempt->message);

    if (session->size_max > 0 && size > session->size_max) {
        g_autofree char *text =
            g_strdup_printf("message size %" G_GUINT64_FORMAT " exceeds size limit %" G_GUINT64_FORMAT " of server %s",
                            size, session->size_max, session->peer->name);
        return smtp_give_up(session, "5.3.4", false, text);
    }
    if (attempt_envelope(attempt)->smtputf8 && !(session->offers & OFFER_SMTPUTF8)) {
        g_autofree char *text =
            g_strdup_printf("SMTPUTF8 is required, but was not offered by host %s", session->peer->name);
        return smtp_give_up(session, "5.6.7", false, text);
    }
    if (smtp_requires_tls(session) && !(session->offers & OFFER_REQUIRETLS)) {
        g_autofree char *text =
            g_strdup_printf("REQUIRETLS is required, but was not offered by host %s", session->peer->name);
        return smtp_give_up(session, "5.7.30", false, text);
    }
    return true;
}

static void take_rcpt_reply(SmtpSession *session, guint index)
{
    if (reply_is(session->reply, 2) && smtp_is_last_command(session, "rcpt")) {
        smtp_finish_probe(session, index);
        return;
    }
    if (reply_is(session->reply, 2)) {
        session->accepted[index] = true;
        return;
    }
    g_autofree char *text = smtp_said(session, "RCPT TO command");
    SmtpDsn dsn = smtp_reply_dsn(session->reply);
    if (!session->last && reply_is(session->reply, 4)) {
        session->kept[index] = true;
        smtp_give_up(session, dsn.code, false, text);
        return;
    }
    attempt_finish(session->attempt, index,
                   &(Outcome){.status = reply_is(session->reply, 4) ? RESULT_DEFERRED : RESULT_BOUNCED,
                              .dsn = dsn.code,
                              .relay = session->peer->relay,
                              .text = text});
}

void smtp_abandon_data(SmtpSession *session)
{
    if (!session->data_sent)
        return;
    smtp_set_timeout(session, "smtp_data_init_timeout");
    session->data_sent = false;
    if (!client_read_reply(session->client, &session->reply, NULL) || !reply_is(session->reply, 3))
        return;
    client_begin_content(session->client);
    session->begun = false;
    smtp_set_timeout(session, "smtp_data_done_timeout");
    client_end_content(session->client, &session->reply, NULL);
}

/* MAIL was refused; count replies to RCPT and, if that was sent, one to DATA are of no more interest. */
static bool pipelined_mail_refused(SmtpSession *session, guint count)
{
    bool over = smtp_refused(session, "MAIL FROM command");

    smtp_set_timeout(session, "smtp_rcpt_timeout");
    for (guint i = 0; i < count; i++)
        client_read_reply(session->client, &session->reply, NULL);
    smtp_abandon_data(session);
    return over;
}

static bool send_envelope_pipelined(SmtpSession *session, const char *mail)
{
    Attempt *attempt = session->attempt;
    g_autoptr(GError) error = NULL;
    guint count = 0;

    client_queue_line(session->client, mail);
    for (guint i = 0; i < attempt_count(attempt); i++) {
        g_autofree char *rcpt = attempt->done[i] ? NULL : rcpt_line(session, i);
        if (!rcpt)
            continue;
        client_queue_line(session->client, rcpt);
        count++;
    }
    if (!attempt_is_probe(attempt)) {
        client_queue_line(session->client, "DATA");
        session->data_sent = true;
    }
    if (!client_read_reply(session->client, &session->reply, &error))
        return smtp_connection_failed(session, error, "sending MAIL FROM");
    if (!reply_is(session->reply, 2))
        return pipelined_mail_refused(session, count);
    smtp_set_timeout(session, "smtp_rcpt_timeout");
    for (guint i = 0; i < attempt_count(attempt); i++) {
        if (attempt->done[i])
            continue;
        if (!client_read_reply(session->client, &session->reply, &error))
            return smtp_connection_failed(session, error, "sending RCPT TO");
        take_rcpt_reply(session, i);
    }
    return true;
}

static bool send_envelope_in_turn(SmtpSession *session, const char *mail)
{
    Attempt *attempt = session->attempt;
    g_autoptr(GError) error = NULL;

    if (!client_command_line(session->client, &session->reply, &error, mail))
        return smtp_connection_failed(session, error, "sending MAIL FROM");
    if (!reply_is(session->reply, 2))
        return smtp_refused(session, "MAIL FROM command");
    smtp_set_timeout(session, "smtp_rcpt_timeout");
    for (guint i = 0; i < attempt_count(attempt); i++) {
        g_autofree char *rcpt = attempt->done[i] ? NULL : rcpt_line(session, i);
        if (!rcpt)
            continue;
        if (!client_command_line(session->client, &session->reply, &error, rcpt))
            return smtp_connection_failed(session, error, "sending RCPT TO");
        take_rcpt_reply(session, i);
    }
    return true;
}

bool smtp_send_envelope(SmtpSession *session)
{
    bool pipelined = session->offers & OFFER_PIPELINING && attempt_count(session->attempt) <= PIPELINE_MAX;
    g_autofree char *mail = NULL;

    if (!check_offers(session))
        return false;
    mail = envelope_mail_line(attempt_envelope(session->attempt), session->offers,
                              spool_message_wire_size(session->attempt->message), quotes(session));
    smtp_set_timeout(session, "smtp_mail_timeout");
    session->begun = true;
    return pipelined ? send_envelope_pipelined(session, mail) : send_envelope_in_turn(session, mail);
}
