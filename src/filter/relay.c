/* relay.c - one session of the filter. */
#include "filter/relay.h"
#include "base/log.h"
#include "smtp/command.h"

#include <string.h>

/* The server in front hands replies on to strangers, so they say no more than it would itself; the log says all. */
#define NEXTHOP_FAILED "451 4.3.0 Error: queue file write error"

static Relay *relay_of(const Session *session)
{
    return session->service;
}

Relay *relay_new(const RelayService *service, const Connection *connection)
{
    Relay *relay = g_new0(Relay, 1);

    relay->service = service;
    relay->connection = *connection;
    relay->peer = g_strdup_printf("%s[%s]", connection->addr[0] ? "unknown" : "localhost",
                                  connection->addr[0] ? connection->addr : "unix");
    return relay;
}

/* --- the next hop --- */

static void log_failure(const Relay *relay, const GError *error)
{
    const char *name = relay->service->nexthop->name;

    if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_CONNECT))
        log_warning("connect to next hop %s: %s", name, error->message);
    else if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT))
        log_warning("timeout talking to next hop %s", name);
    else
        log_warning("lost connection with next hop %s", name);
}

/* Closes without a word: a message under way is never completed. */
static void drop_nexthop(Relay *relay)
{
    client_free(g_steal_pointer(&relay->nexthop));
}

static void forget_transaction(Relay *relay)
{
    g_clear_pointer(&relay->sender, g_free);
    g_clear_pointer(&relay->recipient, g_free);
    relay->recipients = 0;
    relay->lost = false;
}

/* Connects and reads the greeting. NULL: fine; else the reply for our client. Blocks. */
static Reply *connect_nexthop(Relay *relay)
{
    const RelayService *service = relay->service;
    g_autofree char *peer = g_strdup_printf("next hop %s", service->nexthop->name);
    g_autoptr(GError) error = NULL;
    g_autoptr(Reply) greeting = NULL;

    relay->nexthop =
        dial(service->resolver, service->nexthop, service->inet_protocols, peer, service->timeout_ms, &error);
    if (relay->nexthop && client_read_reply(relay->nexthop, &greeting, &error)) {
        if (reply_is(greeting, 2))
            return NULL;
        g_autofree char *shown = reply_for_log(greeting);
        log_warning("next hop %s greets with \"%s\"", service->nexthop->name, shown);
    } else {
        log_failure(relay, error);
    }
    drop_nexthop(relay);
    return reply_new(NEXTHOP_FAILED);
}

/* One line there, its reply back. Never NULL. Blocks. */
static Reply *exchange(Relay *relay, const char *line)
{
    g_autoptr(GError) error = NULL;
    Reply *reply = NULL;

    if (!relay->nexthop)
        return reply_new(NEXTHOP_FAILED);
    if (!client_heard_too_much(relay->nexthop) && client_command_line(relay->nexthop, &reply, &error, line))
        return reply;
    log_failure(relay, error);
    drop_nexthop(relay);
    return reply_new(NEXTHOP_FAILED);
}

/* The next hop failed in an earlier message: this one gets a new connection. NULL: fine; else the reply for our client.
 */
static Reply *reconnect(Relay *relay)
{
    Reply *refusal = connect_nexthop(relay);

    if (refusal)
        return refusal;
    g_autoptr(Reply) reply = exchange(relay, relay->hello);
    return reply_is(reply, 2) ? NULL : reply_new(NEXTHOP_FAILED);
}

/* Passes line on. GATE: not yet, run again. DONE: *ret_reply is what the next hop said. */
static Outcome pass(Session *session, const char *line, Reply **ret_reply)
{
    Relay *relay = relay_of(session);
    Gate *gate = relay->service->gate;

    if (!session_at_gate(session, gate))
        return outcome_gate(gate);
    /* At the beginning of a message only; nor when the next hop was told whose it is: a new one would take it for ours.
     */
    bool begins = g_ascii_strncasecmp(line, "MAIL", 4) == 0 || g_ascii_strncasecmp(line, "XFORWARD", 8) == 0;
    bool anew = begins && !relay->nexthop && relay->hello && !relay->sender && !relay->client.given;
    Reply *refusal = anew ? reconnect(relay) : NULL;
    *ret_reply = refusal ? refusal : exchange(relay, line);
    return outcome_done();
}

static Outcome pass_and_reply(Session *session, const char *line, Reply **ret_reply)
{
    Outcome outcome = pass(session, line, ret_reply);

    if (outcome.kind == OUTCOME_DONE)
        session_reply_take(session, reply_copy(*ret_reply));
    return outcome;
}

/* --- greeting --- */

static Outcome connected(Session *session)
{
    Relay *relay = relay_of(session);
    const RelayService *service = relay->service;
    const char *addr = relay->connection.addr;

    session->peer = relay->peer;
    session->bare_newline = BARE_NEWLINE_NORMALIZE;
    log_info("connect from %s", relay->peer);
    if (addr[0] && match_host(service->authorized, "unknown", addr) != MATCH_YES) {
        log_warning("%s is not in filter_authorized_hosts: refused", relay->peer);
        session_reply(session, "554 5.7.1 Access denied");
        session_hang_up(session);
        return outcome_done();
    }
    session_replyf(session, "220 %s ESMTP", service->limits.hostname);
    return outcome_done();
}

/* What both the next hop and we can do. Of what it offers, we pass on what needs nothing of us. */
static bool passes_through(const char *keyword)
{
    static const char *const known[] = {"PIPELINING", "SIZE",     "XFORWARD", "ENHANCEDSTATUSCODES",
                                        "8BITMIME",   "SMTPUTF8", "DSN",      "XVERP"};
    size_t len = strcspn(keyword, " \t=");

    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        if (strlen(known[i]) == len && g_ascii_strncasecmp(keyword, known[i], len) == 0)
            return true;
    return false;
}

static Reply *offer(const Relay *relay, const Reply *ehlo)
{
    g_auto(GStrv) lines = g_strsplit(reply_text(ehlo), "\n", -1);
    g_autoptr(GString) text = g_string_new(NULL);

    g_string_printf(text, "250 %s", relay->service->limits.hostname);
    for (char **line = lines; *line; line++)
        if (line != lines && strlen(*line) > 4 && passes_through(*line + 4))
            g_string_append_printf(text, "\n250 %s", *line + 4);
    return reply_new(text->str);
}

static Outcome hello(Session *session, const char *line)
{
    Relay *relay = relay_of(session);
    Gate *gate = relay->service->gate;
    g_autoptr(Reply) reply = NULL;
    bool extended = g_ascii_strncasecmp(line, "EHLO", 4) == 0;

    if (!session_at_gate(session, gate))
        return outcome_gate(gate);
    forget_transaction(relay);
    xf_attrs_clear(&relay->client);
    if (!relay->nexthop)
        reply = connect_nexthop(relay);
    if (!reply)
        reply = exchange(relay, line);
    g_free(relay->hello);
    relay->hello = reply_is(reply, 2) ? g_strdup(line) : NULL;
    if (reply_is(reply, 2) && extended)
        session->esmtp = true;
    session_reply_take(session, reply_is(reply, 2) && extended ? offer(relay, reply) : reply_copy(reply));
    return outcome_done();
}

/* --- the transaction --- */

static Outcome xforward(Session *session, const char *line)
{
    Relay *relay = relay_of(session);
    g_autoptr(Reply) reply = NULL;
    Outcome outcome = pass_and_reply(session, line, &reply);

    if (outcome.kind == OUTCOME_DONE && reply_is(reply, 2))
        g_free(xforward_command_parse(line, false, true, true, &relay->client));
    return outcome;
}

static char *argument_of(const char *line)
{
    const char *colon = strchr(line, ':');

    return g_strdup(colon ? colon + 1 : line);
}

static Outcome mail(Session *session, const char *line)
{
    Relay *relay = relay_of(session);
    g_autoptr(Reply) reply = NULL;
    Outcome outcome = pass_and_reply(session, line, &reply);

    if (outcome.kind == OUTCOME_DONE && reply_is(reply, 2)) {
        forget_transaction(relay);
        relay->sender = argument_of(line);
    }
    return outcome;
}

static Outcome rcpt(Session *session, const char *line)
{
    Relay *relay = relay_of(session);
    g_autoptr(Reply) reply = NULL;
    Outcome outcome = pass_and_reply(session, line, &reply);

    if (outcome.kind == OUTCOME_DONE && reply_is(reply, 2) && relay->recipients++ == 0)
        relay->recipient = argument_of(line);
    return outcome;
}

static Outcome data(Session *session, const char *line)
{
    Relay *relay = relay_of(session);
    g_autoptr(Reply) reply = NULL;
    Outcome outcome = pass(session, line, &reply);

    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    if (!reply_is(reply, 3)) {
        bool refusal = reply_is(reply, 4) || reply_is(reply, 5);
        session_reply_take(session, refusal ? reply_copy(reply) : reply_new(NEXTHOP_FAILED));
        return outcome;
    }
    client_begin_content(relay->nexthop);
    session_reply_take(session, reply_copy(reply));
    session_begin_data(session, session->bare_newline);
    return outcome;
}

static Outcome relay_content(Session *session, const char *piece, size_t len, bool ends_line)
{
    Relay *relay = relay_of(session);
    Gate *gate = relay->service->gate;
    g_autoptr(GError) error = NULL;

    if (relay->lost)
        return outcome_done();
    if (client_content_would_write(relay->nexthop, len) && !session_at_gate(session, gate))
        return outcome_gate(gate);
    if (!client_content(relay->nexthop, piece, len, ends_line, &error)) {
        log_failure(relay, error);
        relay->lost = true;
    }
    return outcome_done();
}

static void log_verdict(const Relay *relay, const Reply *reply)
{
    g_autofree char *shown = reply_for_log(reply);
    const char *name = relay->client.value[XF_NAME], *addr = relay->client.value[XF_ADDR];

    log_info("filter-%s: END-OF-MESSAGE: %s; from=%s to=%s nrcpt=%u client=%s[%s]",
             reply_is(reply, 2) ? "accept" : "reject", shown, relay->sender ? relay->sender : "",
             relay->recipient ? relay->recipient : "", relay->recipients, name && *name ? name : "unknown",
             addr && *addr ? addr : "unknown");
}

/* Up to the final dot we may still refuse; after it the next hop's reply alone decides. */
static Outcome relay_end(Session *session)
{
    Relay *relay = relay_of(session);
    Gate *gate = relay->service->gate;
    g_autoptr(GError) error = NULL;
    g_autoptr(Reply) reply = NULL;

    if (!session_at_gate(session, gate))
        return outcome_gate(gate);
    if (!relay->lost && !client_end_content(relay->nexthop, &reply, &error)) {
        log_failure(relay, error);
        relay->lost = true;
    }
    if (relay->lost) {
        drop_nexthop(relay);
        reply = reply_new(NEXTHOP_FAILED);
    }
    log_verdict(relay, reply);
    forget_transaction(relay);
    xf_attrs_clear(&relay->client);
    session_reply_take(session, g_steal_pointer(&reply));
    return outcome_done();
}

static Outcome rset(Session *session, const char *line)
{
    g_autoptr(Reply) reply = NULL;
    Outcome outcome = pass_and_reply(session, line, &reply);

    if (outcome.kind == OUTCOME_DONE) {
        forget_transaction(relay_of(session));
        xf_attrs_clear(&relay_of(session)->client);
    }
    return outcome;
}

/* --- the rest --- */

static Outcome noop(Session *session, const char *line)
{
    session_reply(session, "250 2.0.0 Ok");
    return outcome_done();
}

static Outcome quit(Session *session, const char *line)
{
    client_quit(g_steal_pointer(&relay_of(session)->nexthop));
    session_reply(session, "221 2.0.0 Bye");
    session_hang_up(session);
    return outcome_done();
}

static Outcome unknown(Session *session, const char *line)
{
    session_reply(session, "500 5.5.2 Error: command not recognized");
    return outcome_done();
}

/* Only the filter's own server speaks to us: pipelining without having asked is its affair. */
static bool early_talker(Session *session, const char *after)
{
    return false;
}

static bool in_transaction(const Session *session)
{
    return relay_of(session)->sender != NULL;
}

static void broken(Session *session, const char *reason)
{
    Relay *relay = relay_of(session);

    log_info("%s after %s from %s", reason, session->where, relay->peer);
    drop_nexthop(relay);
}

static void disconnect(Session *session)
{
    Relay *relay = relay_of(session);

    if (session->phase == PHASE_CONTENT || session->phase == PHASE_END)
        drop_nexthop(relay);
    client_quit(g_steal_pointer(&relay->nexthop));
    log_info("disconnect from %s", relay->peer);
    forget_transaction(relay);
    xf_attrs_clear(&relay->client);
    server_session_ended(relay->service->server);
    g_free(relay->peer);
    g_free(relay->hello);
    g_free(relay);
}

static const Command commands[] = {
    {"HELO", "helo", COMMAND_LAST, hello},
    {"EHLO", "ehlo", COMMAND_LAST, hello},
    {"XFORWARD", "xforward", 0, xforward},
    {"MAIL", "mail", 0, mail},
    {"RCPT", "rcpt", 0, rcpt},
    {"DATA", "data", COMMAND_LAST, data},
    {"RSET", "rset", 0, rset},
    {"NOOP", "noop", COMMAND_LAST, noop},
    {"QUIT", "quit", 0, quit},
    {NULL, "unknown", 0, NULL},
};

const ServerClass relay_class = {
    .commands = commands,
    .connect = connected,
    .unknown = unknown,
    .early_talker = early_talker,
    .content = relay_content,
    .end = relay_end,
    .in_transaction = in_transaction,
    .broken = broken,
    .disconnect = disconnect,
};
