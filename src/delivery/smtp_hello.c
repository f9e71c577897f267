/* smtp_hello.c - the beginning of a dialogue: who is there, what it can do, and on whose behalf we come. */
#include "base/log.h"
#include "delivery/smtp_session.h"
#include "smtp/xforward.h"

#include <string.h>

/* ---- greeting and HELO ---- */

static bool is_discarded(const GPtrArray *discard, const char *keyword)
{
    for (guint i = 0; i < discard->len; i++)
        if (g_ascii_strcasecmp(g_ptr_array_index(discard, i), keyword) == 0)
            return true;
    return false;
}

static void take_offer(SmtpSession *session, const char *line, const GPtrArray *discard)
{
    g_auto(GStrv) words = g_strsplit_set(line, " =", 3);

    if (!words[0] || is_discarded(discard, words[0]))
        return;
    if (g_ascii_strcasecmp(words[0], "SIZE") == 0) {
        if (!words[1])
            return; /* as Postfix has it */
        session->size_max = g_ascii_strtoull(words[1], NULL, 10);
    }
    session->offers |= offer_find(words[0]);
    if (g_ascii_strcasecmp(words[0], "XFORWARD") == 0)
        session->xforward = xforward_offer_parse(line);
}

static void take_offers(SmtpSession *session)
{
    g_autoptr(GPtrArray) discard = config_split(config_string(session->smtp->config, "smtp_discard_ehlo_keywords"));
    g_auto(GStrv) lines = g_strsplit(reply_text(session->reply), "\n", 0);

    for (guint i = 1; lines[0] && lines[i]; i++)
        if (strlen(lines[i]) > 4)
            take_offer(session, lines[i] + 4, discard);
}

static bool refused_to_talk(SmtpSession *session, bool greeting)
{
    g_autofree char *line = smtp_reply_line(session->reply);
    g_autofree char *text = g_strdup_printf("host %s refused to talk to me: %s", session->peer->name, line);
    SmtpDsn dsn = smtp_reply_dsn(session->reply);
    bool skipped =
        greeting && reply_is(session->reply, 5) && config_bool(session->smtp->config, "smtp_skip_5xx_greeting");
    bool permanent = !reply_is(session->reply, 4) && !skipped;

    if (!permanent)
        dsn.code[0] = '4';
    return smtp_give_up(session, dsn.code, true, text);
}

/* Our own name in the reply to EHLO, on the port that we serve ourselves, is a loop. */
static bool is_ourselves(const SmtpSession *session)
{
    const char *text = reply_text(session->reply);
    const char *name = config_string(session->smtp->config, "myhostname");

    if (session->peer->port != 25 || strlen(text) < 5)
        return false;
    size_t len = strcspn(text + 4, " \n");
    return len == strlen(name) && g_ascii_strncasecmp(text + 4, name, len) == 0;
}

static bool wants_extended(const SmtpSession *session)
{
    const Config *config = session->smtp->config;

    return !config_bool(config, "smtp_never_send_ehlo") &&
           (config_bool(config, "smtp_always_send_ehlo") || strstr(reply_text(session->reply), "ESMTP"));
}

/* Whatever the server offered before is forgotten. */
static bool say_hello(SmtpSession *session, bool extended)
{
    const Config *config = session->smtp->config;
    const char *name = config_string(config, "smtp_helo_name");
    g_autoptr(GError) error = NULL;

    session->offers = session->xforward = 0;
    session->size_max = 0;
    smtp_set_timeout(session, "smtp_helo_timeout");

    if (extended && !client_command(session->client, &session->reply, &error, "EHLO %s", name))
        return smtp_connection_failed(session, error, "performing the EHLO handshake");
    if (extended && reply_is(session->reply, 2)) {
        take_offers(session);
    } else if (extended && reply_code(session->reply) == 421) {
        return refused_to_talk(session, false);
    } else {
        if (!client_command(session->client, &session->reply, &error, "HELO %s", name))
            return smtp_connection_failed(session, error, "performing the HELO handshake");
        if (!reply_is(session->reply, 2))
            return refused_to_talk(session, false);
    }
    if (!client_tls(session->client))
        session->offers &= ~(unsigned)OFFER_REQUIRETLS;
    if (!is_ourselves(session))
        return true;
    g_autofree char *text = g_strdup_printf("mail for %s loops back to myself", session->route->nexthop);
    log_warning("host %s greeted me with my own hostname %s", session->peer->name, name);
    return smtp_give_up(session, "5.4.6", false, text);
}

/* ---- TLS ---- */

static bool start_tls(SmtpSession *session)
{
    SmtpTlsPeer peer = smtp_tls_peer(session);
    const char *why;

    smtp_set_timeout(session, "smtp_starttls_timeout");
    if (smtp_tls_start(session->smtp->tls, &peer, session->client, &why))
        return true;
    if (!client_tls(session->client)) /* the server waits for a handshake: nothing else can be said */
        client_free(g_steal_pointer(&session->client));
    return smtp_tls_failed(session, why);
}

static bool is_required(const SmtpSession *session)
{
    return session->policy->level >= TLS_LEVEL_ENCRYPT;
}

static bool not_offered(SmtpSession *session)
{
    g_autofree char *text = g_strdup_printf("TLS is required, but was not offered by host %s", session->peer->name);

    bool for_message = smtp_requires_tls(session); /* others may go on */

    return smtp_give_up(session, for_message ? "5.7.10" : "4.7.4", !for_message, text);
}

static bool refused_tls(SmtpSession *session)
{
    g_autofree char *line = smtp_reply_line(session->reply);
    g_autofree char *text =
        g_strdup_printf("TLS is required, but host %s refused to start TLS: %s", session->peer->name, line);
    SmtpDsn dsn = smtp_reply_dsn(session->reply);

    return smtp_give_up(session, dsn.code, true, text);
}

/* STARTTLS, if the policy wants it, and what follows it. */
static bool upgrade(SmtpSession *session, bool extended)
{
    g_autoptr(GError) error = NULL;

    if (session->policy->level == TLS_LEVEL_NONE) {
        if (session->offers & OFFER_STARTTLS && config_bool(session->smtp->config, "smtp_tls_note_starttls_offer"))
            log_info("Host offered STARTTLS: [%s]", session->peer->host);
        return true;
    }
    if (!(session->offers & OFFER_STARTTLS))
        return !is_required(session) || not_offered(session);
    smtp_set_timeout(session, "smtp_starttls_timeout");
    if (!client_command(session->client, &session->reply, &error, "STARTTLS"))
        return smtp_connection_failed(session, error, "receiving the STARTTLS response");
    if (!reply_is(session->reply, 2))
        return !is_required(session) || refused_tls(session);
    return start_tls(session) && say_hello(session, extended);
}

bool smtp_greet(SmtpSession *session)
{
    bool wrapped = session->smtp->tls && session->policy->level != TLS_LEVEL_NONE &&
                   config_bool(session->smtp->config, "smtp_tls_wrappermode");
    g_autoptr(GError) error = NULL;

    if (wrapped && !start_tls(session))
        return false;
    smtp_set_timeout(session, "smtp_helo_timeout");
    if (!client_read_reply(session->client, &session->reply, &error))
        return smtp_connection_failed(session, error, "receiving the initial server greeting");
    if (!reply_is(session->reply, 2))
        return refused_to_talk(session, true);
    bool extended = wants_extended(session);
    return say_hello(session, extended) && (wrapped || upgrade(session, extended));
}

/* ---- XFORWARD ---- */

bool smtp_forward_attributes(SmtpSession *session)
{
    const Origin *origin = &attempt_envelope(session->attempt)->origin;
    g_autoptr(GError) error = NULL;
    g_autofree char *warning = NULL;
    XfAttrs attrs = {0};
    const struct {
        XfAttr attr;
        const char *value;
    } values[] = {{XF_NAME, origin->name},
                  {XF_ADDR, origin->addr},
                  {XF_PORT, origin->port},
                  {XF_HELO, origin->helo},
                  {XF_PROTO, origin->protocol},
                  {XF_IDENT, session->attempt->request->id},
                  {XF_SOURCE, origin->is_local ? "LOCAL" : "REMOTE"}};

    if (session->xforward == 0 || !config_bool(session->smtp->config, "smtp_send_xforward_command"))
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++)
        if (values[i].value && g_strcmp0(values[i].value, "unknown") != 0)
            xf_attrs_set(&attrs, values[i].attr, values[i].value);
    g_autoptr(GPtrArray) commands = xforward_commands(&attrs, session->xforward, &warning);
    xf_attrs_clear(&attrs);
    if (warning)
        log_warning("%s", warning);
    smtp_set_timeout(session, "smtp_xforward_timeout");
    for (guint i = 0; i < commands->len; i++) {
        if (!client_command_line(session->client, &session->reply, &error, g_ptr_array_index(commands, i)))
            return smtp_connection_failed(session, error, "sending XFORWARD name/address");
        if (!reply_is(session->reply, 2)) {
            g_autofree char *line = smtp_reply_line(session->reply);
            log_warning("host %s said: %s (in reply to XFORWARD)", session->peer->name, line);
        }
    }
    return true;
}
