/* command_xforward.c - XFORWARD and XCLIENT: a peer that we trust speaks of somebody else. */
#include "base/log.h"
#include "smtpd/state.h"

#include <string.h>

/* Checks in the order that the replies are known for. True: refused, replied. */
static bool refused(Session *session, const char *line, const char *verb, bool authorized)
{
    const char *rest = line + strlen(verb);

    if (smtpd_of(session)->transaction)
        session_reply(session, "503 5.5.1 Error: MAIL transaction in progress");
    else if (rest[strspn(rest, " \t")] == '\0')
        session_replyf(session, "501 5.5.4 Syntax: %s attribute=value...", verb);
    else if (!authorized)
        session_reply(session, "550 5.7.0 Error: insufficient authorization");
    else
        return false;
    return true;
}

Outcome command_xforward(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    const Settings *settings = smtpd->settings;

    if (refused(session, line, "XFORWARD", smtpd->client.xforward))
        return outcome_done();
    g_autofree char *error = xforward_command_parse(line, false, settings->ipv4, settings->ipv6, &smtpd->forwarded);
    session_reply(session, error ? error : "250 2.0.0 Ok");
    return outcome_done();
}

static const char *given(const XfAttrs *attrs, XfAttr attr, const char *otherwise)
{
    if (!(attrs->given & (1u << attr)))
        return otherwise;
    return attrs->value[attr] && *attrs->value[attr] ? attrs->value[attr] : "unknown";
}

/* The session begins anew, as somebody else's. */
static void become(Smtpd *smtpd, const XfAttrs *attrs)
{
    Peer *client = &smtpd->client;
    g_autofree char *name = g_strdup(given(attrs, XF_NAME, client->name));
    g_autofree char *reverse = g_strdup(given(attrs, XF_REVERSE_NAME, client->reverse_name));
    g_autofree char *addr = g_strdup(given(attrs, XF_ADDR, client->addr));
    g_autofree char *port = g_strdup(given(attrs, XF_PORT, client->port));
    const char *protocol = given(attrs, XF_PROTO, "SMTP");
    Connection *connection = &smtpd->connection;
    bool may_xforward = client->xforward; /* asked once, of who connected */

    transaction_end(smtpd, true);
    client_reset(smtpd);
    client_set_identity(smtpd, name, reverse, addr, port);
    if (attrs->tempunavail & (1u << XF_NAME))
        client->name_status = DNS_TEMPORARY;
    if (attrs->tempunavail & (1u << XF_REVERSE_NAME))
        client->reverse_name_status = DNS_TEMPORARY;
    smtpd->session->esmtp = g_ascii_strcasecmp(protocol, "ESMTP") == 0;
    smtpd->protocol = smtpd->session->esmtp ? "ESMTP" : "SMTP";
    g_clear_pointer(&smtpd->helo, g_free);
    if ((attrs->given & (1u << XF_HELO)) && attrs->value[XF_HELO] && *attrs->value[XF_HELO])
        smtpd->helo = g_strdup(attrs->value[XF_HELO]);
    g_clear_pointer(&smtpd->sasl_method, g_free);
    g_clear_pointer(&smtpd->sasl_username, g_free);
    if (attrs->value[XF_LOGIN] && *attrs->value[XF_LOGIN]) {
        smtpd->sasl_method = g_strdup("XCLIENT");
        smtpd->sasl_username = g_strdup(attrs->value[XF_LOGIN]);
    }
    client->xclient_begun = true;
    client_authorize(smtpd);
    client->xforward = may_xforward;
    if (attrs->given & (1u << XF_DESTADDR))
        g_strlcpy(connection->local_addr, given(attrs, XF_DESTADDR, ""), sizeof connection->local_addr);
    if (attrs->given & (1u << XF_DESTPORT))
        g_strlcpy(connection->local_port, given(attrs, XF_DESTPORT, ""), sizeof connection->local_port);
}

Outcome command_xclient(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    const Settings *settings = smtpd->settings;
    XfAttrs attrs = {0};

    if (!session->waiting)
        smtpd->client.xclient_begun = false;
    if (smtpd->client.xclient_begun) /* it waited for what the greeting depends on */
        return client_greet(smtpd);
    if (refused(session, line, "XCLIENT", smtpd->client.xclient))
        return outcome_done();
    if (smtpd_lacks_lookup_place(smtpd)) /* for what the new client may */
        return outcome_gate(smtpd->service->lookup_gate);
    g_autofree char *error = xforward_command_parse(line, true, settings->ipv4, settings->ipv6, &attrs);
    if (error)
        session_reply(session, error);
    else
        become(smtpd, &attrs);
    xf_attrs_clear(&attrs);
    return error || limits_refuse_connection(smtpd) ? outcome_done() : client_greet(smtpd);
}
