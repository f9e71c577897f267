/* command_rcpt.c - RCPT TO. */
#include "base/log.h"
#include "mail/address.h"
#include "smtpd/state.h"

#include <string.h>

static const char *out_of_order(const Smtpd *smtpd)
{
    if (!smtpd->transaction && !smtpd->chunk_in_mail)
        return "503 5.5.1 Error: need MAIL command";
    return smtpd_in_chunks(smtpd) ? "503 5.5.1 Error: RCPT after BDAT" : NULL;
}

/* True: the line of recipients is full, and that was said. */
static bool too_many(Smtpd *smtpd)
{
    const Settings *settings = smtpd->settings;
    Transaction *transaction = smtpd->transaction;

    if (smtpd_memory_is_full(smtpd)) {
        session_reply(smtpd->session, "452 4.3.1 Insufficient system resources");
        return true;
    }
    if (settings->recipient_limit <= 0 || transaction->envelope->recipients->len < (guint)settings->recipient_limit)
        return false;
    if (transaction->refused_over_limit++ < (unsigned)settings->recipient_overshoot)
        session_forgive(smtpd->session);
    session_reply(smtpd->session, "452 4.5.3 Error: too many recipients");
    return true;
}

/* Our own checks. DONE: a refusal is left for the caller. */
static Outcome check(Smtpd *smtpd, const RcptCommand *rcpt, Reply **ret_refusal)
{
    AccessFacts facts = smtpd_facts(smtpd, "RCPT");

    facts.recipient = rcpt->address;
    facts.recipient_text = rcpt->text;
    return smtpd_check_command(smtpd, ACCESS_RCPT, &facts, ret_refusal);
}

static void add_recipient(Smtpd *smtpd, const char *line, RcptCommand *rcpt)
{
    Transaction *transaction = smtpd->transaction;
    g_autofree char *complete = route_complete(smtpd->settings->route, rcpt->address);
    Recipient *recipient = envelope_add(transaction->envelope, complete);

    g_free(recipient->original);
    recipient->original = g_strdup(rcpt->address);
    recipient->dsn_orcpt = g_steal_pointer(&rcpt->orcpt);
    recipient->notify = rcpt->notify;
    transaction_hold(smtpd, sizeof *recipient + ADDRESS_COPIES * strlen(line));
    if (!transaction->first_recipient)
        transaction->first_recipient = address_quote(rcpt->address);
}

Outcome command_rcpt(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    CommandRules rules = smtpd->settings->rules;
    RcptCommand rcpt;
    g_autofree char *bad_address = NULL;

    const char *disorder = out_of_order(smtpd);
    if (disorder) {
        session_reply(session, disorder);
        return outcome_done();
    }
    rules.smtputf8 = smtpd->transaction->mail.smtputf8;
    rules.dsn = !(smtpd->client.discard & EHLO_DSN);
    g_autofree char *error = rcpt_command_parse(line, &rules, &rcpt, &bad_address);
    if (!session->waiting && !command_lacks_path(error) && limits_refuse(smtpd, RATE_RECIPIENT)) {
        rcpt_command_clear(&rcpt);
        return outcome_done();
    }
    if (error) {
        if (bad_address)
            log_warning("Illegal address syntax from %s in RCPT command: %s", smtpd->client.text, bad_address);
        session_reply(session, error);
        return outcome_done();
    }
    if (!session->waiting && too_many(smtpd)) {
        rcpt_command_clear(&rcpt);
        return outcome_done();
    }
    Outcome outcome = check(smtpd, &rcpt, &smtpd->refusal);
    if (outcome.kind == OUTCOME_DONE && !smtpd->refusal)
        outcome = smtpd->service->sink->rcpt(smtpd, smtpd_as_typed(smtpd, line));
    if (outcome.kind == OUTCOME_DONE && smtpd->refusal) {
        session_reply_take(session, g_steal_pointer(&smtpd->refusal));
    } else if (outcome.kind == OUTCOME_DONE) {
        add_recipient(smtpd, line, &rcpt);
        session_reply(session, "250 2.1.5 Ok");
    }
    rcpt_command_clear(&rcpt);
    return outcome;
}
