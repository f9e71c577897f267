/* limits.c - how many connections, messages, recipients and so on one client may have or make (anvil(8)). */
#include "base/log.h"
#include "smtpd/state.h"

#include <arpa/inet.h>
#include <string.h>

/* The client's network: whoever has an IPv6 network has more addresses than we could count. "192.0.2.0/24", or the
 * address itself where that is all. */
static char *network_of(const Settings *settings, const char *addr)
{
    bool ipv6 = strchr(addr, ':') != NULL;
    unsigned bits = ipv6 ? settings->ipv6_prefix : settings->ipv4_prefix;
    unsigned char octets[16];
    char text[INET6_ADDRSTRLEN];

    if (bits == (ipv6 ? 128 : 32) || inet_pton(ipv6 ? AF_INET6 : AF_INET, addr, octets) != 1)
        return g_strdup(addr);
    for (unsigned i = 0; i < (ipv6 ? 16 : 4); i++) {
        unsigned kept = CLAMP(bits, i * 8, i * 8 + 8) - i * 8;
        octets[i] &= (unsigned char)(0xff00 >> kept);
    }
    inet_ntop(ipv6 ? AF_INET6 : AF_INET, octets, text, sizeof text);
    return g_strdup_printf("%s/%u", text, bits);
}

static void warn(const Smtpd *smtpd, const char *what, unsigned count)
{
    log_warning("%s limit exceeded: %u from %s for service %s", what, count, smtpd->client.text,
                smtpd->service->process->name);
}

static unsigned count_event(const Smtpd *smtpd, RateKind kind)
{
    return server_count_event(smtpd->service->server, kind, smtpd->client.counted, smtpd->settings->rate_unit_ms);
}

/* NULL: its events are not counted. Caller frees. */
static char *counted_as(const Smtpd *smtpd)
{
    const Settings *settings = smtpd->settings;
    const Peer *client = &smtpd->client;

    if (client->xclient || match_host(settings->event_exceptions, client->name, client->addr) == MATCH_YES)
        return NULL;
    return network_of(settings, client->addr);
}

/* Both are counted before either is looked at, and also where there is no limit: for the statistics. */
bool limits_refuse_connection(Smtpd *smtpd)
{
    const Settings *settings = smtpd->settings;
    Peer *client = &smtpd->client;
    int count_limit = settings->connection_count_limit, rate_limit = settings->rate_limits[RATE_CONNECTION];

    client->counted = counted_as(smtpd);
    if (!client->counted)
        return false;
    unsigned count = server_count_enter(smtpd->service->server, client->counted);
    unsigned rate = count_event(smtpd, RATE_CONNECTION);
    if (count_limit > 0 && count > (unsigned)count_limit)
        warn(smtpd, "Connection concurrency", count);
    else if (rate_limit > 0 && rate > (unsigned)rate_limit)
        warn(smtpd, "Connection rate", rate);
    else
        return false;
    session_replyf(smtpd->session, "421 4.7.0 %s Error: too many connections from %s", settings->hostname,
                   client->addr);
    return true;
}

void limits_leave(Smtpd *smtpd)
{
    if (smtpd->client.counted)
        server_count_leave(smtpd->service->server, smtpd->client.counted);
    g_clear_pointer(&smtpd->client.counted, g_free);
}

bool limits_refuse_tls(const Smtpd *smtpd)
{
    int limit = smtpd->settings->rate_limits[RATE_NEW_TLS];
    g_autofree char *network = limit > 0 ? counted_as(smtpd) : NULL;

    return network && server_event_count(smtpd->service->server, RATE_NEW_TLS, network, smtpd->settings->rate_unit_ms) >
                          (unsigned)limit;
}

bool limits_count_tls(const Smtpd *smtpd)
{
    int limit = smtpd->settings->rate_limits[RATE_NEW_TLS];
    g_autofree char *network = counted_as(smtpd);

    if (!network)
        return false;
    unsigned rate = server_count_event(smtpd->service->server, RATE_NEW_TLS, network, smtpd->settings->rate_unit_ms);
    if (limit <= 0 || rate <= (unsigned)limit)
        return false;
    warn(smtpd, "New TLS session rate", rate);
    return true;
}

bool limits_refuse(Smtpd *smtpd, RateKind kind)
{
    static const struct {
        const char *what, *too_many;
    } texts[RATE_KINDS] = {
        [RATE_MESSAGE] = {"Message delivery request rate", "much mail"},
        [RATE_RECIPIENT] = {"Recipient address rate", "many recipients"},
        [RATE_AUTH] = {"AUTH command rate", "many AUTH commands"},
    };
    int limit = smtpd->settings->rate_limits[kind];

    if (limit <= 0 || !smtpd->client.counted)
        return false;
    unsigned rate = count_event(smtpd, kind);
    if (rate <= (unsigned)limit)
        return false;
    warn(smtpd, texts[kind].what, rate);
    session_replyf(smtpd->session, "450 4.7.1 Error: too %s from %s", texts[kind].too_many, smtpd->client.addr);
    return true;
}
