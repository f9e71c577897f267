/* command_hello.c - HELO and EHLO. */
#include "base/log.h"
#include "smtpd/state.h"

#include <string.h>

/* What a name may not hold in log lines and headers. */
static void neuter(char *name)
{
    for (char *at = name; *at; at++)
        if (g_ascii_iscntrl(*at) || strchr(" <>()\\\";@", *at))
            *at = '?';
}

/* The argument, words joined with one blank. NULL: there is none. */
static char *argument_of(const char *line)
{
    g_autoptr(GPtrArray) words = command_words(line);
    g_autoptr(GString) name = g_string_new(NULL);

    for (guint i = 1; words && i < words->len; i++)
        g_string_append_printf(name, "%s%s", i > 1 ? " " : "", (char *)g_ptr_array_index(words, i));
    if (!words) /* an unclosed group: names are not parsed, only made harmless */
        g_string_assign(name, line + strcspn(line, " \t") + strspn(line + strcspn(line, " \t"), " \t"));
    if (name->len == 0)
        return NULL;
    neuter(name->str);
    return g_string_free(g_steal_pointer(&name), FALSE);
}

/* Both begin anew. DONE and *ret_greeted: the name is taken; DONE without: replied. */
static Outcome greet(Session *session, const char *line, bool extended, bool *ret_greeted)
{
    Smtpd *smtpd = smtpd_of(session);
    g_autofree char *name = argument_of(line);
    Reply *refusal = NULL;

    *ret_greeted = false;
    if (!name) {
        session_replyf(session, "501 Syntax: %s hostname", extended ? "EHLO" : "HELO");
        return outcome_done();
    }
    AccessFacts facts = smtpd_facts(smtpd, extended ? "EHLO" : "HELO");
    facts.helo = name;
    Outcome outcome = smtpd_check_command(smtpd, ACCESS_HELO, &facts, &refusal);
    if (refusal) /* as if it had not been said */
        session_reply_take(session, refusal);
    if (outcome.kind != OUTCOME_DONE || refusal)
        return outcome;
    transaction_end(smtpd, true);
    g_free(smtpd->helo);
    smtpd->helo = g_steal_pointer(&name);
    if (extended) {
        smtpd->protocol = "ESMTP";
        session->esmtp = true;
    }
    *ret_greeted = true;
    return outcome;
}

Outcome command_helo(Session *session, const char *line)
{
    bool greeted;
    Outcome outcome = greet(session, line, false, &greeted);

    if (greeted)
        session_replyf(session, "250 %s", smtpd_of(session)->settings->hostname);
    return outcome;
}

static void log_discarded(const Smtpd *smtpd, unsigned discard)
{
    static const struct {
        unsigned bit;
        const char *word;
    } names[] = {
        {EHLO_8BITMIME, "8BITMIME"},
        {EHLO_AUTH, "AUTH"},
        {EHLO_ETRN, "ETRN"},
        {EHLO_PIPELINING, "PIPELINING"},
        {EHLO_SIZE, "SIZE"},
        {EHLO_XVERP, "VERP"},
        {EHLO_VRFY, "VRFY"},
        {EHLO_XCLIENT, "XCLIENT"},
        {EHLO_XFORWARD, "XFORWARD"},
        {EHLO_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES"},
        {EHLO_STARTTLS, "STARTTLS"},
        {EHLO_DSN, "DSN"},
        {EHLO_SMTPUTF8, "SMTPUTF8"},
        {EHLO_CHUNKING, "CHUNKING"},
        {EHLO_REQUIRETLS, "REQUIRETLS"},
        {EHLO_LIMITS, "LIMITS"},
    };
    g_autoptr(GString) words = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (discard & names[i].bit)
            g_string_append_printf(words, " %s", names[i].word);
    if (words->len > 0 && !(discard & EHLO_SILENT_DISCARD))
        log_info("discarding EHLO keywords:%s", words->str);
}

Outcome command_ehlo(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    const Settings *settings = smtpd->settings;
    const Peer *client = &smtpd->client;

    if (client->discard & EHLO_UNKNOWN) {
        log_warning("don't know what EHLO features to announce to %s", client->text);
        smtpd_refuse_for_trouble(smtpd, "EHLO");
        return outcome_done();
    }
    bool greeted;
    g_autofree char *mechanisms = NULL;
    Outcome outcome = auth_mechanisms(smtpd, &mechanisms);
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    outcome = greet(session, line, true, &greeted);
    if (!greeted)
        return outcome;

    unsigned discard = client->discard;
    bool sized = settings->message_size_limit > 0;
    g_autofree char *size =
        sized ? g_strdup_printf("SIZE %" G_GINT64_FORMAT, settings->message_size_limit) : g_strdup("SIZE");
    g_autofree char *auth = g_strconcat("AUTH ", mechanisms, NULL);
    g_autofree char *limits = g_strdup_printf("LIMITS RCPTMAX=%d", settings->recipient_limit);
    g_autofree char *old_auth = g_strconcat("AUTH=", mechanisms, NULL);
    const struct {
        bool offered;
        unsigned bit;
        const char *text;
    } rows[] = {
        {true, EHLO_PIPELINING, "PIPELINING"},
        {true, EHLO_SIZE, size},
        {!settings->disable_vrfy, EHLO_VRFY, "VRFY"},
        {true, EHLO_ETRN, "ETRN"},
        {settings->tls.on && !session->stream.tls, EHLO_STARTTLS, "STARTTLS"},
        {mechanisms != NULL, EHLO_AUTH, auth},
        {mechanisms && settings->sasl.old_keyword, EHLO_AUTH, old_auth},
        {client->xclient, EHLO_XCLIENT, "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"},
        {client->xforward, EHLO_XFORWARD, "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"},
        {true, EHLO_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES"},
        {true, EHLO_8BITMIME, "8BITMIME"},
        {true, EHLO_DSN, "DSN"},
        {settings->rules.smtputf8, EHLO_SMTPUTF8, "SMTPUTF8"},
        {true, EHLO_CHUNKING, "CHUNKING"},
        {settings->requiretls && session_tls(session), EHLO_REQUIRETLS, "REQUIRETLS"},
        {settings->announce_limits, EHLO_LIMITS, limits},
    };
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_printf(text, "250 %s", settings->hostname);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        if (rows[i].offered && !(discard & rows[i].bit))
            g_string_append_printf(text, "\n250 %s", rows[i].text);
    log_discarded(smtpd, discard);
    session_reply_take(session, reply_new(text->str));
    return outcome;
}
