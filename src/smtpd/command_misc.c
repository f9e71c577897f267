/* command_misc.c - the commands that are neither greeting nor transaction. */
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

/* TLS and SASL are not there: as a server that has them switched off. */
Outcome command_auth(Session *session, const char *line)
{
    session_reply(session, "503 5.5.1 Error: authentication not enabled");
    return outcome_done();
}

Outcome command_starttls(Session *session, const char *line)
{
    if (*arguments(line))
        session_reply(session, "501 5.5.4 Syntax: STARTTLS");
    else
        session_reply(session, "502 5.5.1 Error: command not implemented");
    return outcome_done();
}

/* "VRFY user" has RCPT's argument without "TO:": the grammar is the same. The reply shows it as it was given. */
Outcome command_vrfy(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    bool utf8 = smtpd->settings->rules.smtputf8;
    const char *address = arguments(line);
    g_autoptr(GPtrArray) words = command_words(line);
    g_autofree char *as_rcpt = g_strdup_printf("RCPT TO:%s", words && words->len > 1 ? (char *)words->pdata[1] : "");
    RcptCommand rcpt;

    if (smtpd->settings->disable_vrfy || (smtpd->client.discard & EHLO_VRFY)) {
        session_reply(session, "502 5.5.1 VRFY command is disabled");
        return outcome_done();
    }
    if (!words || words->len < 2 || words->len > 3 ||
        (words->len == 3 && (!utf8 || g_ascii_strcasecmp(words->pdata[2], "SMTPUTF8") != 0))) {
        session_replyf(session, "501 5.5.4 Syntax: VRFY address%s", utf8 ? " [SMTPUTF8]" : "");
        return outcome_done();
    }
    g_autofree char *error = rcpt_command_parse(as_rcpt, &smtpd->settings->rules, &rcpt, NULL);
    if (error) {
        session_reply(session, error);
        return outcome_done();
    }
    AccessFacts facts = smtpd_facts(smtpd, "VRFY");
    facts.recipient = rcpt.address;
    facts.recipient_text = rcpt.text;
    smtpd->decision = access_check(smtpd->settings->access, ACCESS_VRFY, &facts);
    if (!smtpd_act_on_decision(smtpd, &facts))
        session_replyf(session, "252 2.0.0 %s", words->len == 2 ? address : (char *)words->pdata[1]);
    rcpt_command_clear(&rcpt);
    return outcome_done();
}

static bool is_domain(const char *text)
{
    bool label = false;

    for (; *text; text++) {
        if (*text == '.' && !label)
            return false;
        label = *text != '.';
        if (label && !g_ascii_isalnum(*text) && *text != '-' && *text != '_')
            return false;
    }
    return label;
}

/* Fast flush is a later part: nobody is served, and the reply says so. */
Outcome command_etrn(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    const char *domain = arguments(line);

    if ((smtpd->client.discard & EHLO_ETRN)) {
        session_reply(session, "502 5.5.1 Error: command not implemented");
    } else if (!smtpd->helo) {
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
        smtpd->decision = access_check(smtpd->settings->access, ACCESS_ETRN, &facts);
        if (!smtpd_act_on_decision(smtpd, &facts))
            session_replyf(session, "459 <%s>: service unavailable", domain);
    }
    return outcome_done();
}
