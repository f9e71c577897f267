/* command_mail.c - MAIL FROM. */
#include "base/clock.h"
#include "base/log.h"
#include "base/root.h"
#include "smtpd/proxy.h"

#include <sys/statvfs.h>

/* The grammar as this client may use it. */
static CommandRules rules_of(const Smtpd *smtpd)
{
    CommandRules rules = smtpd->settings->rules;
    unsigned discard = smtpd->client.discard;

    rules.smtputf8 &= !(discard & EHLO_SMTPUTF8);
    rules.dsn = !(discard & EHLO_DSN);
    rules.requiretls = smtpd->settings->requiretls && session_tls(smtpd->session) && !(discard & EHLO_REQUIRETLS);
    return rules;
}

/* Refusals that come before the command's grammar. NULL: none. */
static const char *out_of_order(const Smtpd *smtpd)
{
    if (smtpd->settings->helo_required && !smtpd->helo)
        return "503 5.5.1 Error: send HELO/EHLO first";
    if (smtpd->transaction || smtpd->chunk_in_mail)
        return "503 5.5.1 Error: nested MAIL command";
    return smtpd_in_chunks(smtpd) ? "503 5.5.1 Error: MAIL after BDAT" : NULL;
}

static const char *too_large(const Smtpd *smtpd, gint64 size)
{
    gint64 limit = smtpd->settings->message_size_limit;

    return limit > 0 && size > limit ? "552 5.3.4 Message size exceeds fixed limit" : NULL;
}

static const char *too_little_space(const Smtpd *smtpd)
{
    const Settings *settings = smtpd->settings;
    struct statvfs disk;

    if (!smtpd->service->sink->checks_space(smtpd) || statvfs(root_path(smtpd->service->content_directory), &disk) != 0)
        return NULL;
    double available = (double)disk.f_bavail * (double)disk.f_frsize;
    bool enough =
        available > (double)settings->queue_minfree && available / 1.5 >= (double)settings->message_size_limit;
    if (enough)
        return NULL;
    log_warning("not enough free space in mail queue: %.0f bytes < 1.5*message size limit", available);
    return "452 4.3.1 Insufficient system storage";
}

static const char *too_busy(const Smtpd *smtpd)
{
    const SmtpdService *service = smtpd->service;

    if (smtpd_memory_is_full(smtpd))
        return "452 4.3.1 Insufficient system resources";
    if (!service->slots || !slots_line_is_full(service->slots))
        return NULL;
    proxy_log_busy(smtpd);
    return "451 4.3.2 Error: try again later";
}

/* Our own checks. DONE: a refusal is left in smtpd->refusal; without one the decision is still to be acted on. */
static Outcome check(Smtpd *smtpd, const MailCommand *mail)
{
    AccessFacts facts = smtpd_facts(smtpd, "MAIL");
    const char *refusal = too_large(smtpd, mail->size);

    facts.sender = mail->address;
    facts.sender_text = mail->text;
    facts.size = (guint64)MAX(mail->size, 0);
    facts.sasl_sender = mail->auth;
    if (!refusal) {
        Outcome outcome = smtpd_decide(smtpd, ACCESS_MAIL, &facts);
        if (outcome.kind != OUTCOME_DONE)
            return outcome;
        if (smtpd->decision->kind == DECISION_REJECT) {
            smtpd->refusal = smtpd_take_decision(smtpd, &facts);
            return outcome;
        }
        refusal = too_little_space(smtpd);
        facts.sender = NULL; /* the log shows the disk's fault as nobody's */
    }
    if (!refusal)
        refusal = too_busy(smtpd);
    if (refusal) {
        g_clear_pointer(&smtpd->decision, decision_free);
        smtpd_log_reject(smtpd, &facts, refusal);
        smtpd->refusal = reply_new(refusal);
    }
    return outcome_done();
}

Outcome command_mail(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    const SinkClass *sink = smtpd->service->sink;
    CommandRules rules = rules_of(smtpd);
    MailCommand mail;
    g_autofree char *bad_address = NULL;

    if (!smtpd->transaction || !session->waiting) { /* not run again for the sink */
        const char *disorder = out_of_order(smtpd);
        if (disorder) {
            session_reply(session, disorder);
            return outcome_done();
        }
        g_autofree char *error = mail_command_parse(line, &rules, &mail, &bad_address);
        if (!session->waiting && !command_lacks_path(error) && limits_refuse(smtpd, RATE_MESSAGE)) {
            mail_command_clear(&mail);
            return outcome_done();
        }
        if (bad_address)
            log_warning("Illegal address syntax from %s in MAIL command: %s", smtpd->client.text, bad_address);
        if (error) {
            session_reply(session, error);
            return outcome_done();
        }
        Outcome outcome = check(smtpd, &mail);
        if (outcome.kind != OUTCOME_DONE || smtpd->refusal) {
            mail_command_clear(&mail);
            if (smtpd->refusal)
                session_reply_take(session, g_steal_pointer(&smtpd->refusal));
            return outcome;
        }
        transaction_begin(smtpd, &mail, smtpd_as_typed(smtpd, line)); /* it keeps what the decision asks for */
        AccessFacts facts = smtpd_facts(smtpd, "MAIL");
        smtpd_take_decision(smtpd, &facts);
    }
    if (!smtpd->settings->delay_open) {
        Outcome outcome = sink->mail(smtpd);
        if (outcome.kind != OUTCOME_DONE)
            return outcome;
        if (smtpd->refusal) {
            session_reply_take(session, g_steal_pointer(&smtpd->refusal));
            transaction_end(smtpd, true);
            return outcome_done();
        }
    }
    session_reply(session, "250 2.1.0 Ok");
    return outcome_done();
}
