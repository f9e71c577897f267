/* balancer.c - smtpd_upstream_proxy_protocol: a proxy in front of us says first who its client is. Nothing is said to
 * anybody before that is known, and nothing is believed of whom smtpd_upstream_proxy_hosts does not name. */
#include "base/clock.h"
#include "base/log.h"
#include "smtp/upstream.h"
#include "smtpd/state.h"

#include <string.h>

static bool is_trusted(const Smtpd *smtpd)
{
    const Settings *settings = smtpd->settings;
    const char *addr = *smtpd->connection.addr ? smtpd->connection.addr : "127.0.0.1"; /* a unix-domain socket */

    return settings->upstream_is_anybody || match_host(settings->upstream_hosts, "unknown", addr) == MATCH_YES;
}

/* The client is whoever connected, by address alone. */
static void refuse(Smtpd *smtpd, const char *why)
{
    const Connection *connection = &smtpd->connection;
    bool is_inet = connection->addr[0] != '\0';

    log_warning("haproxy read: %s", why);
    client_set_identity(smtpd, "unknown", "unknown", is_inet ? connection->addr : "unknown",
                        is_inet ? connection->port : "unknown");
    log_info("connect from %s", smtpd->client.text);
    session_replyf(smtpd->session, "421 4.3.0 %s Server local error", smtpd->settings->hostname);
}

static void refuse_header(Smtpd *smtpd, const char *why, const char *data, size_t len)
{
    g_autofree char *shown = log_escape(data, MIN(len, UPSTREAM_HEADER_MAX));
    g_autofree char *text = g_strdup_printf("%s: %s", why, shown);

    refuse(smtpd, text);
}

static void take(Connection *connection, const UpstreamHeader *header)
{
    if (header->is_local)
        return;
    g_strlcpy(connection->addr, header->addr, sizeof connection->addr);
    g_strlcpy(connection->port, header->port, sizeof connection->port);
    g_strlcpy(connection->local_addr, header->server_addr, sizeof connection->local_addr);
    g_strlcpy(connection->local_port, header->server_port, sizeof connection->local_port);
}

/* Before the first octet is awaited. False: as of balancer_heard(). */
static bool begin(Smtpd *smtpd, Outcome *ret_outcome)
{
    if (smtpd_lacks_lookup_place(smtpd)) {
        *ret_outcome = outcome_gate(smtpd->service->lookup_gate);
        return false;
    }
    if (!is_trusted(smtpd)) {
        g_autofree char *text = g_strdup_printf("[%s] is not in smtpd_upstream_proxy_hosts", smtpd->connection.addr);
        refuse(smtpd, text);
        return false;
    }
    smtpd->balancer.deadline = clock_ms() + smtpd->settings->upstream_timeout_ms;
    return true;
}

bool balancer_heard(Smtpd *smtpd, Outcome *ret_outcome)
{
    const Settings *settings = smtpd->settings;
    Stream *stream = &smtpd->session->stream;
    UpstreamHeader header;
    const char *why = NULL;
    size_t len;

    *ret_outcome = outcome_done();
    if (settings->upstream_timeout_ms == 0 || smtpd->balancer.heard)
        return true;
    if (!smtpd->balancer.deadline && !begin(smtpd, ret_outcome))
        return false;
    StreamStatus status = stream_fill(stream, UPSTREAM_HEADER_MAX);
    const char *data = stream_peek(stream, &len);
    switch (upstream_parse(data, len, settings->ipv4, settings->ipv6, &header, &why)) {
    case UPSTREAM_DONE:
        take(&smtpd->connection, &header);
        stream_consume(stream, header.len);
        smtpd->balancer.heard = true;
        return true;
    case UPSTREAM_BAD:
        refuse_header(smtpd, why, data, len);
        return false;
    case UPSTREAM_MORE:
        break;
    }
    if ((status == STREAM_END || status == STREAM_LOST) && len > 0)
        refuse_header(smtpd, upstream_cut_short(data, len), data, len);
    else if (status == STREAM_END || status == STREAM_LOST)
        refuse(smtpd, "EOF");
    else if (clock_ms() >= smtpd->balancer.deadline)
        refuse(smtpd, "timeout error");
    else
        *ret_outcome = outcome_input(smtpd->balancer.deadline);
    return false;
}
