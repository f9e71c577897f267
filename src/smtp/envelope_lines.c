/* envelope_lines.c - MAIL and RCPT as a client says them. */
#include "smtp/envelope_lines.h"
#include "mail/address.h"
#include "mail/xtext.h"

#include <string.h>

unsigned offer_find(const char *keyword)
{
    static const struct {
        const char *keyword;
        unsigned bit;
    } keywords[] = {{"PIPELINING", OFFER_PIPELINING},
                    {"8BITMIME", OFFER_8BITMIME},
                    {"SIZE", OFFER_SIZE},
                    {"DSN", OFFER_DSN},
                    {"SMTPUTF8", OFFER_SMTPUTF8},
                    {"STARTTLS", OFFER_STARTTLS},
                    {"REQUIRETLS", OFFER_REQUIRETLS}};

    for (size_t i = 0; i < G_N_ELEMENTS(keywords); i++)
        if (g_ascii_strcasecmp(keyword, keywords[i].keyword) == 0)
            return keywords[i].bit;
    return 0;
}

unsigned offers_in(const char *reply_text)
{
    g_auto(GStrv) lines = g_strsplit(reply_text, "\n", 0);
    unsigned offers = 0;

    for (guint i = 1; lines[0] && lines[i]; i++) {
        if (strlen(lines[i]) <= 4)
            continue;
        lines[i][4 + strcspn(lines[i] + 4, " =")] = '\0';
        offers |= offer_find(lines[i] + 4);
    }
    return offers;
}

/* An address for a command: one line, whatever stands in it. */
static char *wire_address(const char *address, bool quote)
{
    char *text = quote ? address_quote(address) : g_strdup(address);

    return g_strdelimit(text, "\r\n", '?');
}

char *envelope_mail_line(const Envelope *envelope, unsigned offers, guint64 size, bool quote)
{
    g_autofree char *sender = wire_address(envelope->sender ? envelope->sender : "", quote);
    g_autoptr(GString) line = g_string_new("MAIL FROM:<");

    g_string_append_printf(line, "%s>", sender);
    if (offers & OFFER_SIZE)
        g_string_append_printf(line, " SIZE=%" G_GUINT64_FORMAT, size);
    if (offers & OFFER_8BITMIME && envelope->body != BODY_UNSPECIFIED)
        g_string_append(line, envelope->body == BODY_8BITMIME ? " BODY=8BITMIME" : " BODY=7BIT");
    if (offers & OFFER_SMTPUTF8 && envelope->smtputf8)
        g_string_append(line, " SMTPUTF8");
    if (offers & OFFER_REQUIRETLS && envelope->requiretls)
        g_string_append(line, " REQUIRETLS");
    if (offers & OFFER_DSN) {
        if (envelope->envid)
            g_string_append_printf(line, " ENVID=%s", envelope->envid);
        if (envelope->ret != DSN_RET_NONE)
            g_string_append(line, envelope->ret == DSN_RET_FULL ? " RET=FULL" : " RET=HDRS");
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

char *envelope_rcpt_line(const Recipient *recipient, unsigned offers, bool quote)
{
    g_autofree char *address = wire_address(recipient->address, quote);
    g_autoptr(GString) line = g_string_new("RCPT TO:<");

    g_string_append_printf(line, "%s>", address);
    if (offers & OFFER_DSN) {
        if (recipient->dsn_orcpt && recipient->dsn_orcpt[0]) {
            g_string_append_printf(line, " ORCPT=%s", recipient->dsn_orcpt);
        } else {
            bool has_original = recipient->original && recipient->original[0];
            g_autofree char *quoted = wire_address(has_original ? recipient->original : recipient->address, quote);
            g_autofree char *encoded = xtext_encode(quoted);
            g_string_append_printf(line, " ORCPT=rfc822;%s", encoded);
        }
        append_notify(line, recipient->notify);
    }
    return g_string_free(g_steal_pointer(&line), FALSE);
}
