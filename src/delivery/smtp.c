/* smtp.c - the smtp agent: one delivery over the addresses of its next hop. */
#include "base/log.h"
#include "delivery/agents.h"
#include "delivery/smtp_private.h"
#include "route/route.h"

#include <string.h>

#define RESOLVER_TIMEOUT 60 /* seconds for one search */

static const char *families_of(const Config *config)
{
    g_autoptr(GPtrArray) words = config_split(config_string(config, "inet_protocols"));
    bool ipv4 = false, ipv6 = false;

    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        ipv4 |= g_ascii_strcasecmp(word, "ipv6") != 0;
        ipv6 |= g_ascii_strcasecmp(word, "ipv4") != 0;
    }
    return ipv4 && ipv6 ? "all" : ipv6 ? "ipv6" : "ipv4";
}

/* smtp_dns_support_level, where it is set, has taken the place of disable_dns_lookups. */
static bool uses_dns(const Config *config)
{
    const char *level = config_string(config, "smtp_dns_support_level");

    return level[0] ? !config_list_has(level, "disabled") : !config_bool(config, "disable_dns_lookups");
}

/* What a message with REQUIRETLS needs of any connection (REQUIRETLS_README). */
static TlsLevel level_for_requiretls(const Config *config)
{
    const char *policy = config_string(config, "smtp_requiretls_policy");

    if (g_ascii_strcasecmp(policy, "opportunistic") == 0)
        return TLS_LEVEL_NONE;
    return g_ascii_strcasecmp(policy, "opportunistic+starttls") == 0 ? TLS_LEVEL_ENCRYPT : TLS_LEVEL_SECURE;
}

static void *open_smtp(const Config *config, const char *service_name, GError **error)
{
    g_autofree char *sample = g_strconcat("127.0.0.1:", config_string(config, "smtp_tcp_port"), NULL);
    g_autoptr(Endpoint) endpoint = endpoint_parse(sample, ".", 0, error);

    if (!endpoint) {
        g_prefix_error(error, "smtp_tcp_port: ");
        return NULL;
    }
    Smtp *smtp = g_new0(Smtp, 1);
    smtp->config = config;
    smtp->port = endpoint->port;
    smtp->families = families_of(config);
    smtp->asks_mx = uses_dns(config);
    smtp->asks_dns = smtp->asks_mx && config_list_has(config_string(config, "smtp_host_lookup"), "dns");
    smtp->asks_system = !smtp->asks_mx || config_list_has(config_string(config, "smtp_host_lookup"), "native");
    smtp->requiretls_level = level_for_requiretls(config);
    smtp->own = route_own_addresses(config, error);
    if (!smtp_tls_open(config, &smtp->tls, error))
        return NULL;
    smtp->resolver = smtp->own ? resolver_open(config, RESOLVER_TIMEOUT, error) : NULL;
    return smtp->resolver ? smtp : NULL; /* without it the process ends */
}

/* A next hop that has no address. One that the configuration names is the administrator's mistake: his mail is not lost
 * for it. */
static void finish_unrouted(const Smtp *smtp, Attempt *attempt, SmtpRouteResult result, const SmtpRoute *route)
{
    const char *nexthop = attempt->request->nexthop;
    Outcome outcome = {.status = RESULT_DEFERRED, .dsn = route->dsn, .text = route->text, .kind = REPORT_SITE_FAILED};

    if (result == ROUTE_BAD ||
        (result == ROUTE_NOT_FOUND && g_str_equal(nexthop, config_string(smtp->config, "relayhost")))) {
        log_warning("next hop %s: configuration problem: %s", nexthop, route->text);
        if (result == ROUTE_NOT_FOUND)
            outcome.dsn = "4.4.4";
    } else if (result == ROUTE_NOT_FOUND) {
        outcome.status = RESULT_BOUNCED;
        outcome.kind = REPORT_PLAIN;
    }
    attempt_finish_rest(attempt, &outcome);
}

/* A limit of 0 is none. */
static guint limit_of(const Smtp *smtp, const char *name)
{
    gint64 limit = config_int(smtp->config, name);

    return limit > 0 ? (guint)MIN(limit, G_MAXINT) : G_MAXUINT;
}

/* One address. *sessions counts down those that came about. True: all recipients are done. */
static bool try_address(const Smtp *smtp, Attempt *attempt, const SmtpRoute *route, guint index,
                        const TlsPolicy *policy, guint addresses, guint *sessions, SmtpFailure *failure)
{
    SmtpPeer peer = {0};
    g_autofree char *text = NULL;
    Client *client = smtp_connect(smtp, route, index, &peer, &text);
    bool done = false;

    if (failure->relay && (index > 0 || failure->retry_plain))
        log_info_as("smtp", "%s: %s", attempt->request->id,
                    failure->text); /* only the last one gets into delivery lines */
    if (client) {
        --*sessions;
        bool last = index + 1 == addresses || *sessions == 0;
        done = smtp_session(smtp, attempt, route, &peer, policy, client, last, failure);
    } else {
        log_info_as("smtp", "%s", text);
        smtp_failure_set(failure, "4.4.1", true, NULL, text);
    }
    smtp_peer_clear(&peer);
    return done;
}

static void try_addresses(const Smtp *smtp, Attempt *attempt, const SmtpRoute *route, const TlsPolicy *policy,
                          SmtpFailure *failure)
{
    static const TlsPolicy plain = {.level = TLS_LEVEL_NONE};
    guint addresses = route->targets->len;
    guint sessions = limit_of(smtp, "smtp_mx_session_limit");

    for (guint i = 0; i < addresses && sessions > 0; i++) {
        bool done = try_address(smtp, attempt, route, i, policy, addresses, &sessions, failure);
        if (!done && failure->retry_plain) {
            sessions++;
            done = try_address(smtp, attempt, route, i, &plain, addresses, &sessions, failure);
        }
        if (done)
            return;
    }
}

/* False: nothing may be sent before somebody has mended the configuration; all is deferred. */
static bool find_policy(const Smtp *smtp, Attempt *attempt, const SmtpRoute *route, TlsPolicy *ret_policy)
{
    bool wraps = config_bool(smtp->config, "smtp_tls_wrappermode");
    TlsLevel least = attempt_envelope(attempt)->requiretls ? smtp->requiretls_level : TLS_LEVEL_NONE;

    if (smtp_tls_policy(smtp->tls, attempt->request->nexthop, least, ret_policy)) {
        if (!wraps || ret_policy->level >= TLS_LEVEL_ENCRYPT)
            return true;
        log_warning("smtp_tls_wrappermode requires \"smtp_tls_security_level = encrypt\" (or stronger)");
    }
    const SmtpTarget *first = &g_array_index(route->targets, SmtpTarget, 0);
    log_warning("TLS policy lookup for %s/%s: client TLS configuration problem", attempt->request->nexthop,
                first->host);
    attempt_finish_rest(
        attempt, &(Outcome){.status = RESULT_DEFERRED, .dsn = "4.7.5", .text = "client TLS configuration problem"});
    return false;
}

static void deliver(const void *state, Attempt *attempt)
{
    const Smtp *smtp = state;
    SmtpRoute route = {0};
    SmtpFailure failure = {0};
    TlsPolicy policy = {0};
    SmtpRouteResult result = smtp_route(smtp, attempt->request->nexthop, &route);

    if (result != ROUTE_FOUND) {
        finish_unrouted(smtp, attempt, result, &route);
        smtp_route_clear(&route);
        return;
    }
    if (find_policy(smtp, attempt, &route, &policy))
        try_addresses(smtp, attempt, &route, &policy, &failure);
    tls_policy_clear(&policy);
    attempt->connected_us = failure.connected_us;
    attempt_finish_rest(attempt, &(Outcome){.status = failure.dsn[0] == '5' ? RESULT_BOUNCED : RESULT_DEFERRED,
                                            .dsn = failure.dsn,
                                            .relay = failure.relay,
                                            .text = failure.text ? failure.text : "no address to try",
                                            .kind = failure.site ? REPORT_SITE_FAILED : REPORT_PLAIN});
    smtp_failure_clear(&failure);
    smtp_route_clear(&route);
}

static bool check_smtp(const Config *config, GError **error)
{
    SmtpTls *tls;
    bool good = smtp_tls_open(config, &tls, error);

    smtp_tls_free(tls);
    return good;
}

const Agent smtp_agent = {"smtp", open_smtp, deliver, check_smtp};
