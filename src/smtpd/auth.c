/* auth.c - AUTH (RFC 4954). */
#include "base/clock.h"
#include "base/log.h"
#include "smtpd/state.h"

#include <string.h>

#define SASL_SHOWN_MAX 100 /* octets of a mechanism's name, and of a user's who failed, in log lines */

/* As if it were not there where it is not wanted. Where TLS is required, it is required for this, too. */
static bool is_active(const Smtpd *smtpd)
{
    bool needs_tls = smtpd->settings->sasl.needs_tls || smtpd->settings->tls.required;

    return smtpd->service->sasl && !(smtpd->client.discard & EHLO_AUTH) && (!needs_tls || session_tls(smtpd->session));
}

static const SaslPolicy *policy_of(const Smtpd *smtpd)
{
    return session_tls(smtpd->session) ? &smtpd->settings->sasl.tls : &smtpd->settings->sasl.plain;
}

/* DONE: *ret_names is what there is. */
static Outcome look(Smtpd *smtpd, char **ret_names, SaslKnowledge *ret_knowledge)
{
    Session *session = smtpd->session;

    *ret_knowledge = sasl_mechanisms(smtpd->service->sasl, policy_of(smtpd), session->self, ret_names);
    if (*ret_knowledge == SASL_NOT_YET && !session_timed_out(session))
        return outcome_wait(clock_ms() + 2 * SASL_TIME_MS, true);
    return outcome_done();
}

Outcome auth_mechanisms(Smtpd *smtpd, char **ret_names)
{
    const Peer *client = &smtpd->client;
    SaslKnowledge knowledge;

    *ret_names = NULL;
    if (!is_active(smtpd) || match_host(smtpd->settings->sasl.exceptions, client->name, client->addr) != MATCH_NO)
        return outcome_done();
    Outcome outcome = look(smtpd, ret_names, &knowledge);
    if (outcome.kind == OUTCOME_DONE && !*ret_names)
        log_warning("%s: AUTH is not offered: %s", client->text,
                    knowledge == SASL_KNOWN ? "no SASL authentication mechanisms"
                                            : "the authentication server cannot be reached");
    return outcome;
}

void auth_end(Smtpd *smtpd)
{
    if (smtpd->auth.number)
        sasl_cancel(smtpd->service->sasl, smtpd->auth.number, false);
    smtpd->auth.number = 0;
    g_clear_pointer(&smtpd->auth.method, g_free);
}

/* NULL: it may begin. */
static const char *out_of_order(const Smtpd *smtpd)
{
    if (smtpd->settings->helo_required && !smtpd->helo)
        return "503 5.5.1 Error: send HELO/EHLO first";
    if (!is_active(smtpd))
        return "503 5.5.1 Error: authentication not enabled";
    if (smtpd->transaction || smtpd_in_chunks(smtpd))
        return "503 5.5.1 Error: MAIL transaction in progress";
    return smtpd->sasl_username ? "503 5.5.1 Error: already authenticated" : NULL;
}

static void fail_auth(Smtpd *smtpd, bool for_now, const char *why, const char *user)
{
    log_warning("%s: SASL %s authentication failed: %s, sasl_username=%.*s", smtpd->client.text, smtpd->auth.method,
                why, SASL_SHOWN_MAX, user ? user : "(unavailable)");
    if (for_now)
        session_replyf(smtpd->session, "454 4.7.0 Temporary authentication failure: %s", why);
    else
        session_replyf(smtpd->session, "535 5.7.8 Error: authentication failed: %s", why);
    auth_end(smtpd);
}

/* What the server said, or will say. */
static Outcome act_on_answer(Smtpd *smtpd)
{
    Session *session = smtpd->session;
    g_auto(SaslAnswer) answer = sasl_take(smtpd->service->sasl, smtpd->auth.number);

    if (answer.status == SASL_WAIT && !session_timed_out(session))
        return outcome_wait(clock_ms() + SASL_TIME_MS, true);
    if (answer.status == SASL_CHALLENGE) {
        session_replyf(session, "334 %s", answer.text);
        return outcome_line(MIN(smtpd->settings->sasl.response_limit, sasl_response_max(smtpd->service->sasl)));
    }
    if (answer.status == SASL_WAIT)
        sasl_cancel(smtpd->service->sasl, smtpd->auth.number, true);
    smtpd->auth.number = 0; /* it is over */
    switch (answer.status) {
    case SASL_DONE:
        smtpd->sasl_method = g_steal_pointer(&smtpd->auth.method);
        smtpd->sasl_username = g_steal_pointer(&answer.user);
        session_reply(session, "235 2.7.0 Authentication successful");
        break;
    case SASL_FAILED:
        fail_auth(smtpd, false, answer.text, answer.user);
        break;
    case SASL_TEMPORARY:
        fail_auth(smtpd, true, answer.text, answer.user);
        break;
    default:
        fail_auth(smtpd, true, "Connection lost to authentication server", NULL);
        break;
    }
    return outcome_done();
}

/* A further line of the client. */
static Outcome take_response(Smtpd *smtpd, const char *response)
{
    if (!response) {
        session_reply(smtpd->session, "500 5.5.6 SASL response limit exceeded");
        auth_end(smtpd);
    } else if (strcmp(response, "*") == 0) {
        log_warning("%s: SASL %s authentication aborted", smtpd->client.text, smtpd->auth.method);
        session_reply(smtpd->session, "501 5.7.0 Authentication aborted");
        auth_end(smtpd);
    } else {
        sasl_continue(smtpd->service->sasl, smtpd->auth.number, response);
        return act_on_answer(smtpd);
    }
    return outcome_done();
}

static void begin(Smtpd *smtpd, const char *response)
{
    const Connection *connection = &smtpd->connection;
    SaslStart start = {.mechanism = smtpd->auth.method,
                       .policy = policy_of(smtpd),
                       .number = smtpd->session->number,
                       .response = response,
                       .local_addr = connection->local_addr,
                       .local_port = connection->local_port,
                       .remote_addr = smtpd->client.addr,
                       .remote_port = smtpd->client.port,
                       .secured = session_tls(smtpd->session) != NULL};

    smtpd->auth.number = sasl_start(smtpd->service->sasl, &start, smtpd->session->self);
}

Outcome command_auth(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    g_autofree char *names = NULL;
    SaslKnowledge knowledge;

    if (smtpd->auth.number) /* the client has answered, or the server may have */
        return session->more && !session->waiting ? take_response(smtpd, line) : act_on_answer(smtpd);
    if (!session->waiting && limits_refuse(smtpd, RATE_AUTH))
        return outcome_done();
    const char *disorder = out_of_order(smtpd);
    const char *method = line + strlen("AUTH");
    method += strspn(method, " \t");
    size_t method_len = strcspn(method, " \t");
    const char *response = method + method_len + strspn(method + method_len, " \t"); /* stays where it is: no copies */
    size_t response_len = strcspn(response, " \t");
    if (disorder || method_len == 0 || response[response_len + strspn(response + response_len, " \t")]) {
        session_reply(session, disorder ? disorder : "501 5.5.4 Syntax: AUTH mechanism");
        return outcome_done();
    }
    Outcome outcome = look(smtpd, &names, &knowledge);
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    g_free(smtpd->auth.method);
    smtpd->auth.method = g_strndup(method, MIN(method_len, SASL_SHOWN_MAX)); /* as it was typed, for the log */
    for (char *at = smtpd->auth.method; *at; at++)
        if (!g_ascii_isgraph(*at))
            *at = '?';
    session->line->str[response - line + (gssize)response_len] = '\0'; /* blanks behind it */
    if (knowledge != SASL_KNOWN)
        fail_auth(smtpd, true, "Can't connect to authentication server", NULL);
    else
        begin(smtpd, *response ? response : NULL);
    return smtpd->auth.number ? act_on_answer(smtpd) : outcome_done();
}
