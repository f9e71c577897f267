/* relay_nexthop.c - the filter's connection to what is behind it. */
#include "base/log.h"
#include "filter/relay.h"
#include "smtp/envelope_lines.h"

#include <string.h>

void relay_log_failure(const Relay *relay, const GError *error)
{
    const char *name = relay->service->nexthop->name;
    g_autofree char *trace = message_trace_note(&relay->message);

    if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_CONNECT))
        log_warning("connect to next hop %s: %s%s", name, error->message, trace);
    else if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TLS))
        log_warning("next hop %s: %s%s", name, error->message, trace);
    else if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT))
        log_warning("timeout talking to next hop %s%s", name, trace);
    else
        log_warning("lost connection with next hop %s%s", name, trace);
}

void relay_drop_nexthop(Relay *relay)
{
    client_free(g_steal_pointer(&relay->nexthop));
    g_queue_clear_full(&relay->ahead, g_free);
    relay->watch = (ClientWatch){0};
}

/* The reply for our client, or NULL: connected and greeted. */
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
        relay_log_failure(relay, error);
    }
    relay_drop_nexthop(relay);
    return reply_new(RELAY_FAILED);
}

Reply *relay_exchange(Relay *relay, const char *line)
{
    g_autoptr(GError) error = NULL;
    Reply *reply = NULL;

    if (!relay->nexthop)
        return reply_new(RELAY_FAILED);
    if (!client_heard_too_much(relay->nexthop) && client_command_line(relay->nexthop, &reply, &error, line))
        return reply;
    relay_log_failure(relay, error);
    relay_drop_nexthop(relay);
    return reply_new(RELAY_FAILED);
}

/* filter_tls_security_level. Afterwards *reply is what our client is told of the next hop. */
static void secure_nexthop(Relay *relay, const char *hello, Reply **reply)
{
    const RelayService *service = relay->service;
    g_autoptr(GError) error = NULL;

    if (hop_tls_upgrade(service->nexthop_tls, relay->nexthop, service->nexthop, hello, reply, &error))
        return;
    relay_log_failure(relay, error);
    relay_drop_nexthop(relay);
    reply_free(*reply);
    *reply = reply_new(RELAY_FAILED);
}

Reply *relay_hello(Relay *relay, const char *line)
{
    g_autofree char *hello = g_strdup(line); /* it may be relay->hello */
    Reply *reply = relay->nexthop ? NULL : connect_nexthop(relay);

    if (!reply)
        reply = relay_exchange(relay, hello);
    if (relay->nexthop && reply_is(reply, 2) && !client_tls(relay->nexthop))
        secure_nexthop(relay, hello, &reply);
    g_free(relay->hello);
    relay->hello = reply_is(reply, 2) ? g_steal_pointer(&hello) : NULL;
    relay->pipelining = reply_is(reply, 2) && (offers_in(reply_text(reply)) & OFFER_PIPELINING);
    return reply;
}

/* --- in steps --- */

static bool begins_with_verb(const char *line, const char *verb)
{
    size_t len = strlen(verb);

    return g_ascii_strncasecmp(line, verb, len) == 0 && (line[len] == '\0' || line[len] == ' ' || line[len] == '\t');
}

/* Commands that relay_class passes on as they are whatever the replies before them say. DATA is one without inspectors,
 * and then the last. */
static bool passes_unseen(const Relay *relay, const char *line, bool *is_last)
{
    *is_last = begins_with_verb(line, "DATA");
    if (*is_last)
        return inspectors_are_none(relay->service->inspectors);
    return begins_with_verb(line, "XFORWARD") || begins_with_verb(line, "MAIL") || begins_with_verb(line, "RCPT") ||
           begins_with_verb(line, "RSET");
}

/* The next of the lines that our client has sent behind the one under way, as the engine will read it. NULL: there is
 * none, or one that the engine may read otherwise. Caller frees. */
static char *peek_line(const Session *session, size_t *at)
{
    size_t len;
    const char *data = stream_peek(&session->stream, &len);
    const char *end = *at < len ? memchr(data + *at, '\n', len - *at) : NULL;

    if (!end || end == data + *at || end[-1] != '\r')
        return NULL;
    size_t line_len = (size_t)(end - 1 - (data + *at));
    const char *line = data + *at;
    if (line_len > session->limits->line_max || memchr(line, '\r', line_len) || memchr(line, '\0', line_len))
        return NULL;
    *at += line_len + 2;
    return g_strndup(line, line_len);
}

static void send_on(Relay *relay, char *line)
{
    client_queue_line(relay->nexthop, line);
    g_queue_push_tail(&relay->ahead, line);
}

static void send_with_what_follows(Session *session, Relay *relay, const char *line)
{
    bool is_last = false, goes = passes_unseen(relay, line, &is_last);
    size_t at = 0;

    send_on(relay, g_strdup(line));
    while (relay->pipelining && goes && !is_last) {
        char *next = peek_line(session, &at);
        goes = next && passes_unseen(relay, next, &is_last);
        if (goes)
            send_on(relay, next);
        else
            g_free(next);
    }
}

static Outcome fail(Relay *relay, const GError *error, Reply **ret_reply)
{
    relay_log_failure(relay, error);
    relay_drop_nexthop(relay);
    *ret_reply = reply_new(RELAY_FAILED);
    return outcome_done();
}

Outcome relay_pass(Session *session, const char *line, Reply **ret_reply)
{
    Relay *relay = session->service;
    Gate *gate = relay->service->gate;
    g_autoptr(GError) error = NULL;
    /* At the beginning of a message only; nor when the next hop was told whose it is: a new one would take it for ours.
     */
    bool begins = (begins_with_verb(line, "MAIL") && !relay->stranger) || begins_with_verb(line, "XFORWARD");
    bool untold = !relay->message.mail && relay->message.xforward->len == 0;

    if (!relay->nexthop && begins && relay->hello && untold) {
        if (!session_at_gate(session, gate))
            return outcome_gate(gate);
        g_autoptr(Reply) hello = relay_hello(relay, relay->hello);
        if (!reply_is(hello, 2))
            relay_drop_nexthop(relay);
    }
    if (!relay->nexthop) {
        *ret_reply = reply_new(RELAY_FAILED);
        return outcome_done();
    }
    if (relay->ahead.length == 0) {
        if (client_heard_too_much(relay->nexthop))
            return fail(relay, NULL, ret_reply);
        send_with_what_follows(session, relay, line);
    }
    if (strcmp(g_queue_peek_head(&relay->ahead), line) != 0) /* the engine has read it otherwise */
        return fail(relay, NULL, ret_reply);
    switch (client_try_command(relay->nexthop, NULL, ret_reply, &error)) {
    case CLIENT_WAIT:
        return client_wait(relay->nexthop, session, &relay->watch);
    case CLIENT_FAILED:
        return fail(relay, error, ret_reply);
    case CLIENT_DONE:
        break;
    }
    g_free(g_queue_pop_head(&relay->ahead));
    return outcome_done();
}

/* In content a lost next hop is no answer yet: the engine reads on and asks at the final dot. */
static Outcome in_content(Session *session, ClientStatus status, const GError *error)
{
    Relay *relay = session->service;

    if (status == CLIENT_WAIT)
        return client_wait(relay->nexthop, session, &relay->watch);
    if (status == CLIENT_FAILED) {
        relay_log_failure(relay, error);
        relay->lost = true;
    }
    return outcome_done();
}

Outcome relay_room(Session *session, size_t len)
{
    Relay *relay = session->service;
    g_autoptr(GError) error = NULL;
    ClientStatus status = client_try_room(relay->nexthop, len, &error);

    return in_content(session, status, error);
}

Outcome relay_end_content(Session *session, Reply **ret_reply)
{
    Relay *relay = session->service;
    g_autoptr(GError) error = NULL;
    ClientStatus status = client_try_end_content(relay->nexthop, ret_reply, &error);

    return in_content(session, status, error);
}
