/* relay.c - one session of the filter. */
#include "filter/relay.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

static Relay *relay_of(const Session *session)
{
    return session->service;
}

Relay *relay_new(const RelayService *service, const Connection *connection)
{
    Relay *relay = g_new0(Relay, 1);

    message_init(&relay->message);
    relay->service = service;
    relay->connection = *connection;
    relay->peer = g_strdup_printf("%s[%s]", connection->addr[0] ? "unknown" : "localhost",
                                  connection->addr[0] ? connection->addr : "unix");
    return relay;
}

static void forget_message(Relay *relay)
{
    message_forget_transaction(&relay->message);
    message_forget_client(&relay->message);
    relay->lost = relay->stranger = false;
    relay->ended_at = 0;
}

static Outcome pass_and_reply(Session *session, const char *line, Reply **ret_reply)
{
    Outcome outcome = relay_pass(session, line, ret_reply);

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
    forget_message(relay);
    reply = relay_hello(relay, line);
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

    if (outcome.kind == OUTCOME_DONE && reply_is(reply, 2)) {
        g_free(xforward_command_parse(line, false, true, true, &relay->message.client));
        g_ptr_array_add(relay->message.xforward, g_strdup(line));
    }
    relay->stranger |= outcome.kind == OUTCOME_DONE && !relay->nexthop;
    return outcome;
}

static Outcome mail(Session *session, const char *line)
{
    Relay *relay = relay_of(session);
    g_autoptr(Reply) reply = NULL;
    Outcome outcome = pass_and_reply(session, line, &reply);

    if (outcome.kind == OUTCOME_DONE && reply_is(reply, 2))
        message_begin(&relay->message, line);
    return outcome;
}

static Outcome rcpt(Session *session, const char *line)
{
    Relay *relay = relay_of(session);
    g_autoptr(Reply) reply = NULL;
    Outcome outcome = pass_and_reply(session, line, &reply);

    if (outcome.kind == OUTCOME_DONE && reply_is(reply, 2))
        message_add_recipient(&relay->message, line);
    return outcome;
}

/* The next hop hears DATA when the message has been judged. */
static Outcome hold_back(Session *session)
{
    Relay *relay = relay_of(session);

    relay->message.content = content_new(relay->service->place.directory, relay->service->place.account);
    session_reply(session, "354 End data with <CR><LF>.<CR><LF>");
    session_begin_data(session, session->bare_newline);
    return outcome_done();
}

static Outcome data(Session *session, const char *line)
{
    Relay *relay = relay_of(session);
    g_autoptr(Reply) reply = NULL;

    if (!inspectors_are_none(relay->service->inspectors) && relay->message.recipients->len > 0)
        return hold_back(session);
    Outcome outcome = relay_pass(session, line, &reply);
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    if (!reply_is(reply, 3)) {
        bool refusal = reply_is(reply, 4) || reply_is(reply, 5);
        session_reply_take(session, refusal ? reply_copy(reply) : reply_new(RELAY_FAILED));
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

    if (relay->message.content) {
        relay->message.size += len + (ends_line ? 2 : 0);
        if (relay->message.size <= relay->service->size_max) /* else it is refused at its end */
            content_add(relay->message.content, piece, len, ends_line);
        return outcome_done();
    }
    if (relay->lost)
        return outcome_done();
    Outcome outcome = relay_room(session, len);
    if (outcome.kind == OUTCOME_DONE && !relay->lost)
        client_add_content(relay->nexthop, piece, len, ends_line);
    return outcome;
}

/* Up to the final dot we may still refuse; after it the next hop's reply alone decides. */
static Outcome end_passed_content(Session *session, Reply **ret_reply)
{
    Relay *relay = relay_of(session);
    Outcome outcome = relay->lost ? outcome_done() : relay_end_content(session, ret_reply);

    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    if (relay->lost) {
        *ret_reply = reply_new(RELAY_FAILED);
        relay_drop_nexthop(relay);
    } else if (client_content_failed(relay->nexthop)) { /* it has answered before the dot */
        relay_drop_nexthop(relay);
    }
    relay_log_verdict(relay, reply_is(*ret_reply, 2) ? "accept" : "reject", *ret_reply, NULL);
    return outcome;
}

static Outcome relay_end(Session *session)
{
    Relay *relay = relay_of(session);
    Gate *gate = relay->service->gate;
    Reply *reply = NULL;

    if (relay->ended_at == 0)
        relay->ended_at = clock_ms();
    if (relay->message.content) {
        if (!session_at_gate(session, gate))
            return outcome_gate(gate);
        reply = relay_judge(relay, &session->stream);
    } else {
        Outcome outcome = end_passed_content(session, &reply);
        if (outcome.kind != OUTCOME_DONE)
            return outcome;
    }
    session_reply_take(session, reply);
    forget_message(relay);
    return outcome_done();
}

/* With the next hop gone there is nothing left to be forgotten there, and a new message may begin with a new one: the
 * server in front, which keeps its connection with us, need not know that a message was refused here. */
static Outcome rset(Session *session, const char *line)
{
    Relay *relay = relay_of(session);
    g_autoptr(Reply) reply = NULL;
    Outcome outcome = relay->nexthop ? relay_pass(session, line, &reply) : outcome_done();

    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    if (reply && !reply_is(reply, 2))
        relay_drop_nexthop(relay);
    forget_message(relay);
    if (reply && reply_is(reply, 2))
        session_reply_take(session, g_steal_pointer(&reply));
    else
        session_reply(session, "250 2.0.0 Ok");
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
    return relay_of(session)->message.mail != NULL;
}

static void broken(Session *session, const char *reason)
{
    Relay *relay = relay_of(session);

    log_info("%s after %s from %s", reason, session->where, relay->peer);
    relay_drop_nexthop(relay);
}

static void disconnect(Session *session)
{
    Relay *relay = relay_of(session);

    if (session->phase == PHASE_CONTENT || session->phase == PHASE_END)
        relay_drop_nexthop(relay);
    client_quit(g_steal_pointer(&relay->nexthop));
    log_info("disconnect from %s", relay->peer);
    message_clear(&relay->message);
    server_session_ended(relay->service->server);
    g_queue_clear_full(&relay->ahead, g_free);
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
