/* smtp_session.c - one dialogue with an SMTP server.
 *
 * The rule that counts: after the final dot was sent, only the server's reply decides. When it does not come, the
 * recipients are deferred, and the log says that they may get the message twice. */
#include "delivery/smtp_session.h"
#include "base/clock.h"

#include <string.h>

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
    failure->retry_plain = false;
    failure->relay = g_strdup(relay);
    failure->text = g_strdup(text);
}

bool smtp_give_up(SmtpSession *session, const char *dsn, bool site, const char *text)
{
    smtp_failure_set(session->failure, dsn, site, session->peer->relay, text);
    session->failure->connected_us = session->attempt->connected_us;
    return false;
}

char *smtp_failure_text(const SmtpSession *session, const GError *error, const char *doing)
{
    if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT))
        return g_strdup_printf("conversation with %s timed out while %s", session->peer->name, doing);
    return g_strdup_printf("lost connection with %s while %s", session->peer->name, doing);
}

/* A destination whose TLS is broken would never get its mail, where nobody asked for TLS in the first place. But a
 * disturbance for a moment, which others may cause, is no reason to go without. */
static bool may_go_plain(const SmtpSession *session)
{
    const Attempt *attempt = session->attempt;
    gint64 waited_us = attempt->request->active_us - attempt_envelope(attempt)->arrival_us;

    return session->policy->level == TLS_LEVEL_MAY &&
           waited_us >= config_seconds(session->smtp->config, "minimal_backoff_time") * G_USEC_PER_SEC;
}

bool smtp_requires_tls(const SmtpSession *session)
{
    return attempt_envelope(session->attempt)->requiretls && session->smtp->requiretls_level == TLS_LEVEL_SECURE;
}

/* A handshake that came about, with somebody else, is no disturbance that may pass. */
bool smtp_tls_failed(SmtpSession *session, const char *why)
{
    bool plain = may_go_plain(session);
    bool for_good = smtp_requires_tls(session) && session->client && client_tls(session->client);

    smtp_give_up(session, for_good ? "5.7.10" : "4.7.5", !for_good, why);
    session->failure->retry_plain = plain;
    return false;
}

SmtpTlsPeer smtp_tls_peer(const SmtpSession *session)
{
    return (SmtpTlsPeer){.policy = session->policy,
                         .domain = session->route->domain,
                         .host = session->peer->host,
                         .relay = session->peer->relay};
}

bool smtp_connection_failed(SmtpSession *session, const GError *error, const char *doing)
{
    g_autofree char *text = smtp_failure_text(session, error, doing);

    smtp_give_up(session, "4.4.2", true, text);
    session->failure->retry_plain = client_tls(session->client) && may_go_plain(session);
    return false;
}

char *smtp_reply_line(const Reply *reply)
{
    return g_strdelimit(g_strdup(reply_text(reply)), "\n", ' ');
}

char *smtp_said(const SmtpSession *session, const char *command)
{
    g_autofree char *line = smtp_reply_line(session->reply);
    const char *kind = reply_is(session->reply, 2) ? "Protocol error: " : "";

    return g_strdup_printf("%shost %s said: %s (in reply to %s)", kind, session->peer->name, line, command);
}

SmtpDsn smtp_reply_dsn(const Reply *reply)
{
    int class = reply_is(reply, 2) ? 2 : reply_is(reply, 4) ? 4 : 5;
    bool known = class != 5 || reply_is(reply, 5);
    const char *text = reply_text(reply);
    SmtpDsn dsn, found;

    g_snprintf(dsn.code, sizeof dsn.code, known ? "%d.0.0" : "%d.5.0", class);
    if (!known || strlen(text) < 9)
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

bool smtp_refused(SmtpSession *session, const char *command)
{
    g_autofree char *text = smtp_said(session, command);
    SmtpDsn dsn = reply_is(session->reply, 2) ? (SmtpDsn){"5.5.0"} : smtp_reply_dsn(session->reply);

    if (reply_is(session->reply, 4))
        return smtp_give_up(session, dsn.code, false, text);
    for (guint i = 0; i < attempt_count(session->attempt); i++)
        if (!session->attempt->done[i] && !session->kept[i])
            attempt_finish(
                session->attempt, i,
                &(Outcome){.status = RESULT_BOUNCED, .dsn = dsn.code, .relay = session->peer->relay, .text = text});
    return true;
}

bool smtp_is_last_command(const SmtpSession *session, const char *target)
{
    return attempt_is_probe(session->attempt) &&
           g_str_equal(config_string(session->smtp->config, "smtp_address_verify_target"), target);
}

void smtp_finish_probe(SmtpSession *session, guint index)
{
    g_autofree char *text = smtp_reply_line(session->reply);
    SmtpDsn dsn = reply_is(session->reply, 2) ? smtp_reply_dsn(session->reply) : (SmtpDsn){"2.0.0"};

    attempt_finish(session->attempt, index,
                   &(Outcome){.status = RESULT_SENT, .dsn = dsn.code, .relay = session->peer->relay, .text = text});
}

void smtp_set_timeout(SmtpSession *session, const char *parameter)
{
    client_set_timeout(session->client, config_seconds(session->smtp->config, parameter) * 1000);
}

static bool any_accepted(const SmtpSession *session)
{
    for (guint i = 0; i < attempt_count(session->attempt); i++)
        if (session->accepted[i])
            return true;
    return false;
}

static bool all_done(const SmtpSession *session)
{
    for (guint i = 0; i < attempt_count(session->attempt); i++)
        if (!session->attempt->done[i])
            return false;
    return true;
}

static bool transact(SmtpSession *session)
{
    if (!smtp_greet(session))
        return false;
    session->attempt->connected_us = clock_wall_us();
    if (!smtp_forward_attributes(session) || !smtp_send_envelope(session))
        return false;
    if (any_accepted(session))
        return smtp_send_message(session);
    smtp_abandon_data(session);
    return true;
}

static void keep_tls(const SmtpSession *session)
{
    SmtpTlsPeer peer = smtp_tls_peer(session);

    smtp_tls_end(session->smtp->tls, &peer, session->client);
}

static void say_goodbye(SmtpSession *session)
{
    if (!session->client)
        return;
    if (session->begun) {
        smtp_set_timeout(session, "smtp_rset_timeout");
        client_command(session->client, &session->reply, NULL, "RSET");
    }
    if (!config_bool(session->smtp->config, "smtp_skip_quit_response")) {
        smtp_set_timeout(session, "smtp_quit_timeout");
        client_command(session->client, &session->reply, NULL, "QUIT");
        keep_tls(session);
        client_free(g_steal_pointer(&session->client));
    } else {
        keep_tls(session);
        client_quit(g_steal_pointer(&session->client));
    }
}

bool smtp_session(const Smtp *smtp, Attempt *attempt, const SmtpRoute *route, const SmtpPeer *peer,
                  const TlsPolicy *policy, Client *client, bool last, SmtpFailure *failure)
{
    g_autofree bool *accepted = g_new0(bool, attempt_count(attempt));
    g_autofree bool *kept = g_new0(bool, attempt_count(attempt));
    SmtpSession session = {.smtp = smtp,
                           .attempt = attempt,
                           .route = route,
                           .peer = peer,
                           .policy = policy,
                           .client = client,
                           .failure = failure,
                           .last = last,
                           .accepted = accepted,
                           .kept = kept};

    transact(&session);
    say_goodbye(&session);
    reply_free(session.reply);
    return all_done(&session);
}
