/* commands.c - the table of an SMTP server's commands, and what is looked at before one of them runs. */
#include "base/log.h"
#include "smtpd/state.h"

#include <string.h>

static const Command commands[] = {
    {"HELO", "helo", COMMAND_JUNK | COMMAND_LAST, command_helo},
    {"EHLO", "ehlo", COMMAND_JUNK | COMMAND_LAST, command_ehlo},
    {"XCLIENT", "xclient", COMMAND_LAST | COMMAND_RESTARTS, command_xclient},
    {"XFORWARD", "xforward", 0, command_xforward},
    {"STARTTLS", "starttls", 0, command_starttls},
    {"AUTH", "auth", 0, command_auth},
    {"MAIL", "mail", 0, command_mail},
    {"RCPT", "rcpt", 0, command_rcpt},
    {"DATA", "data", COMMAND_LAST, command_data},
    {"BDAT", "bdat", 0, command_bdat},
    {"RSET", "rset", COMMAND_JUNK, command_rset},
    {"NOOP", "noop", COMMAND_JUNK | COMMAND_LAST, command_noop},
    {"VRFY", "vrfy", COMMAND_JUNK | COMMAND_LAST, command_vrfy},
    {"ETRN", "etrn", COMMAND_JUNK, command_etrn},
    {"QUIT", "quit", 0, command_quit},
    {"HELP", "help", 0, command_help},
    {NULL, "unknown", 0, NULL},
};

G_STATIC_ASSERT(G_N_ELEMENTS(commands) <= SESSION_COMMANDS_MAX);

/* A header's name and ':', and maybe more: the client speaks to us as if we were past DATA. */
static bool looks_like_header(const char *word)
{
    size_t len = 0;

    while (g_ascii_isgraph(word[len]) && word[len] != ':')
        len++;
    return len > 0 && word[len] == ':';
}

static bool is_no_smtp(const Smtpd *smtpd, const char *line)
{
    g_autofree char *word = g_strndup(line, strcspn(line, " \t"));

    return looks_like_header(word) || match_string(smtpd->settings->forbidden_commands, word) == MATCH_YES;
}

/* smtpd_delay_reject=no and the client was refused when it came: nothing but QUIT is left to it. What speaks no SMTP is
 * hung up on like anybody else. */
static bool deny(Session *session, const Command *command)
{
    Smtpd *smtpd = smtpd_of(session);

    if (tls_aborts(smtpd))
        return true;
    if (!smtpd->client.denied || command->run == command_quit ||
        (!command->verb && is_no_smtp(smtpd, session->line->str)))
        return tls_is_lacking(smtpd, command);
    session_replyf(session, "503 5.7.0 Error: access denied for %s", smtpd->client.text);
    return true;
}

/* The log names the command before the line that is refused, which is not looked at. */
static void refuse_bare_newline(Session *session)
{
    Smtpd *smtpd = smtpd_of(session);
    AccessFacts facts = smtpd_facts(smtpd, session->where);

    smtpd_refuse_bare_newline(smtpd, &facts);
}

/* smtpd_command_filter: a table that sees every line first. False: it cannot be asked, and nothing passes it unseen;
 * replied. */
static bool rewrite_line(Smtpd *smtpd, GString *line)
{
    g_autofree char *replacement = NULL;

    switch (tables_lookup(smtpd->settings->command_filter, line->str, &replacement)) {
    case TABLE_ABSENT:
        return true;
    case TABLE_FAILED:
        smtpd_refuse_for_trouble(smtpd, smtpd->session->where);
        session_uncounted(smtpd->session);
        return false;
    case TABLE_FOUND:
        break;
    }
    log_info("%s: replacing command \"%.*s\" with \"%.*s\"", smtpd->client.text,
             (int)session_shown_len(line->str, line->len), line->str,
             (int)session_shown_len(replacement, strlen(replacement)), replacement);
    g_string_assign(line, replacement);
    line->str[strcspn(line->str, "\r\n")] = '\0'; /* a table cannot make two commands of one */
    line->len = strlen(line->str);
    return true;
}

/* smtpd_noop_commands: words that do nothing, whether they are commands or not. */
static bool is_noop(Session *session, const char *line)
{
    g_autofree char *word = g_strndup(line, strcspn(line, " \t"));

    if (match_string(smtpd_of(session)->settings->noop_commands, word) != MATCH_YES)
        return false;
    session_reply(session, "250 2.0.0 Ok");
    session_uncounted(session);
    if (session->junk++ > session->limits->junk_limit)
        session->errors++;
    return true;
}

bool command_filter(Session *session, GString *line)
{
    Smtpd *smtpd = smtpd_of(session);

    if (!rewrite_line(smtpd, line))
        return true;
    if (smtpd->settings->rules.smtputf8 && !g_utf8_validate(line->str, (gssize)line->len, NULL)) {
        session_reply(session, "500 5.5.2 Error: bad UTF-8 syntax");
        return true;
    }
    if (line->str[strspn(line->str, " \t")] == '\0') {
        session_reply(session, "500 5.5.2 Error: bad syntax");
        return true;
    }
    size_t blanks = strspn(line->str, " \t");
    g_clear_pointer(&smtpd->typed, g_free);
    if (blanks > 0) {
        if (g_ascii_strncasecmp(line->str + blanks, "AUTH", 4) != 0) /* no copies of passwords; no filter gets it */
            smtpd->typed = g_strdup(line->str);
        g_string_erase(line, 0, (gssize)blanks);
    }
    return is_noop(session, line->str);
}

Outcome command_unknown(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);

    if (is_no_smtp(smtpd, line)) {
        g_autofree char *shown = log_escape(line, MIN(strlen(line), 100));
        log_warning("non-SMTP command from %s: %s", smtpd->client.text, shown);
        session_reply(session, "221 2.7.0 Error: I can break rules, too. Goodbye.");
        session_hang_up(session);
        return outcome_done();
    }
    session_reply(session, "500 5.5.2 Error: command not recognized");
    return outcome_done();
}

const ServerClass smtpd_class = {
    .commands = commands,
    .connect = client_connected,
    .line_filter = command_filter,
    .deny = deny,
    .unknown = command_unknown,
    .early_talker = client_early,
    .content = content_piece,
    .end = content_end,
    .footer = smtpd_footer,
    .in_transaction = transaction_in,
    .secured = tls_secured,
    .bare_newline = refuse_bare_newline,
    .broken = client_broken,
    .disconnect = client_disconnected,
};
