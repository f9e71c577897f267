/* command_misc.c - the commands that are neither greeting nor transaction. */
#include "base/log.h"
#include "mail/address.h"
#include "smtp/command.h"
#include "smtpd/state.h"

#include <string.h>

static const char *arguments(const char *line)
{
    const char *at = line + strcspn(line, " \t");

    return at + strspn(at, " \t");
}

Outcome command_rset(Session *session, const char *line)
{
    if (*arguments(line)) {
        session_reply(session, "501 5.5.4 Syntax: RSET");
        return outcome_done();
    }
    transaction_end(smtpd_of(session), true);
    session_reply(session, "250 2.0.0 Ok");
    return outcome_done();
}

Outcome command_noop(Session *session, const char *line)
{
    session_reply(session, "250 2.0.0 Ok");
    return outcome_done();
}

Outcome command_quit(Session *session, const char *line)
{
    session_reply(session, "221 2.0.0 Bye");
    session_hang_up(session);
    return outcome_done();
}

Outcome command_help(Session *session, const char *line)
{
    session_reply(session, "214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS "
                           "VRFY XCLIENT XFORWARD");
    return outcome_done();
}

/* "VRFY address [SMTPUTF8]": the address is all words but the keyword. NULL: there is none. */
static char *vrfy_address(const char *line, bool utf8_enabled, bool *ret_utf8)
{
    static const char keyword[] = "SMTPUTF8";
    char *address = g_strchomp(g_strdup(arguments(line)));
    size_t len = strlen(address), keyword_len = strlen(keyword);
    char *last = len >= keyword_len ? address + len - keyword_len : address;

    *ret_utf8 = utf8_enabled && g_ascii_strcasecmp(last, keyword) == 0 && (last == address || strchr(" \t", last[-1]));
    if (*ret_utf8)
        *last = '\0';
    g_strchomp(address);
    if (!*address)
        g_clear_pointer(&address, g_free);
    return address;
}

/* The checks are RCPT's, and so is the reply but that it shows the address as it was given. */
Outcome command_vrfy(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    const CommandRules *rules = &smtpd->settings->rules;
    bool utf8;
    g_autofree char *address = vrfy_address(line, rules->smtputf8, &utf8);
    RcptCommand rcpt;
    Reply *refusal = NULL;
    g_autofree char *bad_address = NULL;

    if (smtpd->settings->disable_vrfy) {
        session_reply(session, "502 5.5.1 VRFY command is disabled");
        return outcome_done();
    }
    if (!address) {
        session_replyf(session, "501 5.5.4 Syntax: VRFY address%s", rules->smtputf8 ? " [SMTPUTF8]" : "");
        return outcome_done();
    }
    g_autofree char *error = vrfy_address_parse(address, rules, utf8, &rcpt, &bad_address);
    if (bad_address)
        log_warning("Illegal address syntax from %s in VRFY command: %s", smtpd->client.text, bad_address);
    if (error) {
        session_reply(session, error);
        return outcome_done();
    }
    AccessFacts facts = smtpd_facts(smtpd, "VRFY");
    facts.recipient = rcpt.address;
    facts.recipient_text = rcpt.text;
    Outcome outcome = smtpd_check_command(smtpd, ACCESS_VRFY, &facts, &refusal);
    if (refusal)
        session_reply_take(session, refusal);
    else if (outcome.kind == OUTCOME_DONE)
        session_replyf(session, "252 2.0.0 %s", address);
    rcpt_command_clear(&rcpt);
    return outcome;
}

/* A name as it stands in front of a mail address, but for the dot at its end. */
static bool is_domain(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && text[len - 1] != '.' && address_domain_is_valid(text, false);
}

/* Fast flush is a later part: nobody is served, and the reply says so. */
Outcome command_etrn(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    const char *domain = arguments(line);

    if (smtpd->settings->helo_required && !smtpd->helo) {
        session_reply(session, "503 Error: send HELO/EHLO first");
    } else if (smtpd->transaction) {
        session_reply(session, "503 Error: MAIL transaction in progress");
    } else if (!*domain || strpbrk(domain, " \t")) {
        session_reply(session, "500 Syntax: ETRN domain");
    } else {
        domain += *domain == '@' || *domain == '#';
        if (!is_domain(domain)) {
            session_reply(session, "501 Error: invalid parameter syntax");
            return outcome_done();
        }
        AccessFacts facts = smtpd_facts(smtpd, "ETRN");
        facts.etrn_domain = domain;
        Reply *refusal = NULL;
        Outcome outcome = smtpd_check_command(smtpd, ACCESS_ETRN, &facts, &refusal);
        if (refusal) {
            session_reply_take(session, refusal);
        } else if (outcome.kind == OUTCOME_DONE) {
            log_warning("reject: ETRN %s... from %s", domain, smtpd->client.text);
            session_replyf(session, "459 <%s>: service unavailable", domain);
        }
        return outcome;
    }
    return outcome_done();
}
