/* relay_nexthop.c - the filter's connection to what is behind it. */
#include "base/log.h"
#include "filter/relay.h"

void relay_log_failure(const Relay *relay, const GError *error)
{
    const char *name = relay->service->nexthop->name;

    if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_CONNECT))
        log_warning("connect to next hop %s: %s", name, error->message);
    else if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT))
        log_warning("timeout talking to next hop %s", name);
    else
        log_warning("lost connection with next hop %s", name);
}

void relay_drop_nexthop(Relay *relay)
{
    client_free(g_steal_pointer(&relay->nexthop));
}

Reply *relay_connect(Relay *relay)
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

Reply *relay_reconnect(Relay *relay)
{
    Reply *refusal = relay_connect(relay);

    if (refusal)
        return refusal;
    g_autoptr(Reply) reply = relay_exchange(relay, relay->hello);
    return reply_is(reply, 2) ? NULL : reply_new(RELAY_FAILED);
}
