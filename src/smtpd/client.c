/* client.c - who the client is: its name, what it may do, the greeting, and how the session ends in the log. */
#include "base/clock.h"
#include "base/log.h"
#include "smtpd/state.h"

#include <stdio.h>
#include <string.h>

#define NAME_WAIT_MS 100000 /* the resolver's own time limit is shorter; this is for a lost answer */

void client_reset(Smtpd *smtpd)
{
    Peer *client = &smtpd->client;

    if (client->name_query)
        resolver_cancel(smtpd->service->resolver, client->name_query);
    limits_leave(smtpd);
    g_free(client->name);
    g_free(client->reverse_name);
    g_free(client->addr);
    g_free(client->port);
    g_free(client->text);
    g_free(client->denied);
    *client = (Peer){0};
}

void client_set_identity(Smtpd *smtpd, const char *name, const char *reverse_name, const char *addr, const char *port)
{
    Peer *client = &smtpd->client;
    char *text = smtpd->settings->port_logging ? g_strdup_printf("%s[%s]:%s", name, addr, port)
                                               : g_strdup_printf("%s[%s]", name, addr);
    char *parts[] = {g_strdup(name), g_strdup(reverse_name), g_strdup(addr), g_strdup(port)};

    g_free(client->name);
    g_free(client->reverse_name);
    g_free(client->addr);
    g_free(client->port);
    g_free(client->text);
    client->name = parts[0];
    client->reverse_name = parts[1];
    client->name_status = strcmp(name, "unknown") == 0 ? DNS_NOT_FOUND : DNS_OK;
    client->reverse_name_status = strcmp(reverse_name, "unknown") == 0 ? DNS_NOT_FOUND : DNS_OK;
    client->addr = parts[2];
    client->port = parts[3];
    client->text = text;
    smtpd->session->peer = text;
}

static bool is_in(const MatchList *list, const Peer *client)
{
    return match_host(list, client->name, client->addr) == MATCH_YES;
}

static unsigned discarded_keywords(const Smtpd *smtpd)
{
    g_autofree char *keywords = NULL;

    switch (tables_lookup(smtpd->settings->discard_maps, smtpd->client.addr, &keywords)) {
    case TABLE_FOUND:
        return settings_parse_discard(keywords);
    case TABLE_FAILED:
        return EHLO_UNKNOWN;
    default:
        return smtpd->settings->discard;
    }
}

void client_authorize(Smtpd *smtpd)
{
    const Settings *settings = smtpd->settings;
    Peer *client = &smtpd->client;

    client->discard = discarded_keywords(smtpd);
    client->xforward = is_in(settings->xforward_hosts, client);
    client->xclient = is_in(settings->xclient_hosts, client);
    client->rewrite_local =
        (settings->rewrite_for_inet_interfaces && strcmp(smtpd->connection.addr, smtpd->connection.local_addr) == 0) ||
        (settings->rewrite_for_inet_interfaces && smtpd->connection.addr[0] == '\0') ||
        is_in(settings->rewrite_networks, client);
    smtpd->session->bare_newline =
        is_in(settings->bare_newline_exclusions, client) ? BARE_NEWLINE_NO : settings->bare_newline;
}

/* --- the name --- */

static void take_name(Smtpd *smtpd, PeerName *found)
{
    if (found->warning)
        log_warning("%s", found->warning);
    client_set_identity(smtpd, found->name, found->reverse, smtpd->connection.addr, smtpd->connection.port);
    smtpd->client.name_status = found->status;
    smtpd->client.reverse_name_status = found->reverse_status;
    peer_name_free(found);
}

/* True: the name is known (or is known to be unknown). */
static bool name_is_known(Smtpd *smtpd)
{
    Peer *client = &smtpd->client;
    PeerName *found = NULL;

    if (client->name)
        return true;
    if (smtpd->connection.addr[0] == '\0') { /* a unix-domain socket: as Postfix shows it */
        client_set_identity(smtpd, "localhost", "localhost", "127.0.0.1", "unknown");
        return true;
    }
    if (!smtpd->settings->peername_lookup) {
        client_set_identity(smtpd, "unknown", "unknown", smtpd->connection.addr, smtpd->connection.port);
        return true;
    }
    if (client->name_query)
        found = resolver_take_peer_name(smtpd->service->resolver, client->name_query);
    else if (!client->name_asked)
        found = resolver_peer_name(smtpd->service->resolver, smtpd->connection.addr, smtpd->session->self,
                                   &client->name_query);
    client->name_asked = true;
    if (!found)
        return false;
    client->name_query = 0;
    take_name(smtpd, found);
    return true;
}

/* --- the greeting --- */

bool client_early(Session *session, const char *after)
{
    Smtpd *smtpd = smtpd_of(session);
    size_t len;
    const char *data;

    if (session->stream.in_len == 0)
        stream_fill(&session->stream, STREAM_READ_MAX);
    data = stream_peek(&session->stream, &len);
    g_autofree char *shown = log_escape(data, strcmp(after, "AUTH") == 0 ? 0 : session_shown_len(data, MIN(len, 100)));
    log_info("improper command pipelining after %s from %s: %s", after, smtpd->client.text, shown);
    if (!smtpd->settings->forbid_unauth_pipelining)
        return false;
    session_reply(session, "554 5.5.0 Error: SMTP protocol synchronization");
    session_hang_up(session);
    return true;
}

Outcome client_greet(Smtpd *smtpd)
{
    Session *session = smtpd->session;
    AccessFacts facts = smtpd_facts(smtpd, session->where);

    Outcome outcome = smtpd_decide(smtpd, ACCESS_CONNECT, &facts);
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    if (smtpd->decision->kind == DECISION_REJECT)
        smtpd->client.denied = g_strdup(smtpd->decision->reply);
    Reply *refusal = smtpd_take_decision(smtpd, &facts);
    if (refusal)
        session_reply_take(session, refusal);
    else
        session_replyf(session, "220 %s", smtpd->settings->banner);
    return outcome;
}

/* Before any list is asked. True: replied. */
static bool turned_away(Smtpd *smtpd)
{
    Session *session = smtpd->session;

    if (limits_refuse_connection(smtpd))
        return true;
    if (!stream_has_more(&session->stream))
        return false;
    session->early_talked = true;
    return client_early(session, "CONNECT");
}

Outcome client_connected(Session *session)
{
    Smtpd *smtpd = smtpd_of(session);
    Outcome outcome;

    smtpd->session = session;
    if (!smtpd->inquiry)
        smtpd->inquiry = inquiry_new(session->self, server_account(smtpd->service->server));
    if (!balancer_heard(smtpd, &outcome))
        return outcome;
    if (!name_is_known(smtpd))
        return outcome_wait(clock_ms() + NAME_WAIT_MS, true);
    if (smtpd_lacks_lookup_place(smtpd))
        return outcome_gate(smtpd->service->lookup_gate);
    if (!smtpd->client.known) {
        log_info("connect from %s", smtpd->client.text);
        client_authorize(smtpd);
        smtpd->client.known = true;
    }
    if (tls_wraps(smtpd) || tls_aborts(smtpd))
        return outcome_done();
    if (!smtpd->client.greeting && turned_away(smtpd))
        return outcome_done();
    smtpd->client.greeting = true;
    outcome = client_greet(smtpd);
    session->errors += smtpd->client.denied != NULL;
    return outcome;
}

/* --- the end --- */

void client_broken(Session *session, const char *reason)
{
    Smtpd *smtpd = smtpd_of(session);
    const char *id = smtpd->transaction ? smtpd->service->sink->queue_id(smtpd) : NULL;
    g_autofree char *prefix = id ? g_strdup_printf("%s: ", id) : g_strdup("");

    bool after_message = strcmp(session->where, "END-OF-MESSAGE") == 0 && session->phase != PHASE_END;
    if (!smtpd->client.text || (after_message && strcmp(reason, "lost connection") == 0))
        return; /* a client that closes when its message is taken does no wrong */
    const Transaction *transaction = smtpd->transaction;
    bool in_data = session->phase == PHASE_CONTENT && !session->bdat;
    bool in_chunks = transaction && transaction->chunked && strcmp(session->where, "BDAT") == 0;
    if ((in_data || in_chunks) && transaction)
        log_info("%s%s after %s (%" G_GUINT64_FORMAT " bytes) from %s", prefix, reason, session->where,
                 transaction->size + (in_chunks ? transaction->open_octets : 0), smtpd->client.text);
    else
        log_info("%s%s after %s from %s", prefix, reason, session->where, smtpd->client.text);
}

static void log_disconnect(const Smtpd *smtpd)
{
    const Session *session = smtpd->session;
    g_autoptr(GString) line = g_string_new(NULL);
    unsigned good = 0, all = 0;

    for (size_t i = 0; i < SESSION_COMMANDS_MAX; i++) {
        const CommandCount *count = &session->counts[i];
        if (count->all == 0)
            continue;
        g_string_append_printf(line, " %s=%u", smtpd_class.commands[i].counter, count->good);
        if (count->good != count->all)
            g_string_append_printf(line, "/%u", count->all);
        good += count->good;
        all += count->all;
    }
    g_string_append_printf(line, " commands=%u", good);
    if (good != all || all == 0)
        g_string_append_printf(line, "/%u", all);
    if (session->saw_bare_lf && session->bare_newline == BARE_NEWLINE_NOTE)
        g_string_append(line, " notes=bare_lf");
    log_info("disconnect from %s%s", smtpd->client.text, line->str);
}

void client_disconnected(Session *session)
{
    Smtpd *smtpd = smtpd_of(session);

    transaction_end(smtpd, true);
    limits_leave(smtpd); /* before anybody can see that the session is over */
    if (smtpd->client.text)
        log_disconnect(smtpd);
    client_reset(smtpd);
    g_clear_pointer(&smtpd->decision, decision_free);
    smtpd_forget_doubts(smtpd, ACCESS_CONNECT);
    inquiry_free(smtpd->inquiry);
    reply_free(smtpd->refusal);
    g_free(smtpd->typed);
    xf_attrs_clear(&smtpd->forwarded);
    g_free(smtpd->helo);
    auth_end(smtpd);
    g_free(smtpd->sasl_method);
    g_free(smtpd->sasl_username);
    server_session_ended(smtpd->service->server);
    g_free(smtpd);
}
