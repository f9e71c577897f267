/* smtp_route.c - from a next hop to the addresses that are tried, in their order (RFC 5321 section 5.1, RFC 7505).
 *
 * Hosts are looked up in the order of their preference until there are enough addresses: a domain may name a hundred.
 * All of it has one deadline. */
#include "base/clock.h"
#include "base/log.h"
#include "delivery/smtp_private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define LOOKUP_MS 60000
#define ADDRESSES_MAX 100 /* of one next hop, where smtp_mx_address_limit has no limit */
#define LOOP_PORT 25      /* on another one, our own address is another server */

typedef struct {
    const Smtp *smtp;
    SmtpRoute *route;
    gint64 deadline;
    guint wanted;           /* addresses */
    bool is_balanced;       /* of both families, where there are such */
    unsigned best;          /* preference of the first host, whether it has an address or not */
    SmtpRouteResult result; /* of the hosts that have no address, as long as none has one */
} Search;

static void clear_target(void *data)
{
    g_free(((SmtpTarget *)data)->host);
}

void smtp_route_clear(SmtpRoute *route)
{
    g_clear_pointer(&route->targets, g_array_unref);
    g_clear_pointer(&route->nexthop, g_free);
    g_clear_pointer(&route->domain, g_free);
    g_clear_pointer(&route->text, g_free);
}

static SmtpRouteResult G_GNUC_PRINTF(4, 5)
    end_search(Search *search, SmtpRouteResult result, const char *dsn, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_free(search->route->text);
    search->route->text = g_strdup_vprintf(format, args);
    va_end(args);
    search->route->dsn = dsn;
    search->result = result;
    return result;
}

/* ---- Hosts ---- */

static bool add_target(Search *search, const char *host, const char *numeric, unsigned preference)
{
    SmtpTarget target = {.preference = preference, .order = search->route->targets->len};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&target.address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&target.address;
    const char *families = search->smtp->families;

    if (inet_pton(AF_INET, numeric, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(search->route->port);
    } else if (inet_pton(AF_INET6, numeric, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(search->route->port);
    } else {
        return false;
    }
    if (!g_str_equal(families, "all") && (target.address.ss_family == AF_INET6) != g_str_equal(families, "ipv6"))
        return false;
    target.host = g_strdup(host);
    g_array_append_val(search->route->targets, target);
    return true;
}

static void add_host(Search *search, const char *name, unsigned preference)
{
    SmtpHost host;
    bool any = false;

    smtp_host_look_up(search->smtp, name, search->deadline, &host);
    for (guint i = 0; i < host.addresses->len && search->route->targets->len < ADDRESSES_MAX; i++)
        any |= add_target(search, name, g_ptr_array_index(host.addresses, i), preference);
    if (!any && search->result != ROUTE_TEMPORARY) {
        if (host.result == ROUTE_FOUND)
            end_search(search, ROUTE_NOT_FOUND, "5.4.4", "host %s has no address of a protocol in inet_protocols",
                       name);
        else
            end_search(search, host.result, host.dsn, "%s", host.text);
    }
    smtp_host_clear(&host);
}

/* ---- Order ---- */

static gint compare_targets(gconstpointer a, gconstpointer b, gpointer first_family)
{
    const SmtpTarget *left = a, *right = b;
    int family = *(int *)first_family;
    bool left_first = left->address.ss_family == family, right_first = right->address.ss_family == family;

    if (left->preference != right->preference)
        return left->preference < right->preference ? -1 : 1;
    if (left_first != right_first)
        return left_first ? -1 : 1;
    return (left->order > right->order) - (left->order < right->order);
}

/* smtp_randomize_addresses, smtp_address_preference. */
static void put_in_order(const Search *search)
{
    const Config *config = search->smtp->config;
    const char *preference = config_string(config, "smtp_address_preference");
    int first = g_str_equal(preference, "ipv4") ? AF_INET : g_str_equal(preference, "ipv6") ? AF_INET6 : AF_UNSPEC;
    GArray *targets = search->route->targets;

    for (guint i = 0; config_bool(config, "smtp_randomize_addresses") && i < targets->len; i++) {
        guint32 order;
        if (getrandom(&order, sizeof order, 0) == (ssize_t)sizeof order)
            g_array_index(targets, SmtpTarget, i).order = order;
    }
    g_array_sort_with_data(targets, compare_targets, &first);
}

/* ---- Ourselves ---- */

static bool is_own(const Search *search, const SmtpTarget *target)
{
    char text[INET6_ADDRSTRLEN];
    const void *octets = target->address.ss_family == AF_INET
                             ? (const void *)&((const struct sockaddr_in *)&target->address)->sin_addr
                             : &((const struct sockaddr_in6 *)&target->address)->sin6_addr;

    return inet_ntop(target->address.ss_family, octets, text, sizeof text) &&
           g_hash_table_contains(search->smtp->own, text);
}

/* Mail goes only to who is preferred to us: else two hosts that are each other's spare would pass it to and fro. Who is
 * may have no address for the moment. */
static SmtpRouteResult leave_out_ourselves(Search *search, const char *host)
{
    GArray *targets = search->route->targets;
    unsigned found = g_array_index(targets, SmtpTarget, 0).preference;

    for (guint i = 0; i < targets->len; i++) {
        const SmtpTarget *target = &g_array_index(targets, SmtpTarget, i);
        if (search->route->port != LOOP_PORT || !is_own(search, target))
            continue;
        unsigned preference = target->preference;
        while (targets->len > 0 && g_array_index(targets, SmtpTarget, targets->len - 1).preference >= preference)
            g_array_remove_index(targets, targets->len - 1);
        break;
    }
    if (targets->len > 0)
        return ROUTE_FOUND;
    if (found != search->best)
        return end_search(search, ROUTE_TEMPORARY, "4.4.4", "unable to find primary relay for %s", host);
    return end_search(search, ROUTE_NOT_FOUND, "5.4.6", "mail for %s loops back to myself", host);
}

/* ---- As many as are tried ---- */

static bool is_ipv6(const SmtpTarget *target)
{
    return target->address.ss_family == AF_INET6;
}

static guint count_ipv6(const GArray *targets)
{
    guint count = 0;

    for (guint i = 0; i < targets->len; i++)
        count += is_ipv6(&g_array_index(targets, SmtpTarget, i));
    return count;
}

/* smtp_balance_inet_protocols: half of them of either family, the odd one of the family that comes first; what one
 * family does not use is the other's. */
static void keep_wanted(const Search *search)
{
    GArray *targets = search->route->targets;
    guint wanted = search->wanted, ipv6 = count_ipv6(targets), ipv4 = targets->len - ipv6;
    guint left[2] = {wanted, wanted}; /* of IPv4, IPv6 */

    if (targets->len <= wanted)
        return;
    if (search->is_balanced) {
        guint half = (wanted + is_ipv6(&g_array_index(targets, SmtpTarget, 0))) / 2;
        left[1] = MIN(ipv6, MAX(half, wanted > ipv4 ? wanted - ipv4 : 0));
        left[0] = wanted - left[1];
    }
    for (guint i = 0; i < targets->len;) {
        guint *room = &left[is_ipv6(&g_array_index(targets, SmtpTarget, i))];
        if (*room == 0) {
            g_array_remove_index(targets, i);
            continue;
        }
        (*room)--;
        i++;
    }
    if (targets->len > wanted)
        g_array_set_size(targets, wanted);
}

/* ---- Next hops ---- */

static bool has_enough(const Search *search)
{
    const GArray *targets = search->route->targets;
    guint ipv6 = search->is_balanced ? count_ipv6(targets) : 0;

    return targets->len >= search->wanted && (!search->is_balanced || (ipv6 > 0 && ipv6 < targets->len));
}

static SmtpRouteResult add_mx_hosts(Search *search, const char *domain, const DnsAnswer *answer)
{
    unsigned last = search->best = dns_answer_record(answer, 0)->preference;

    for (guint i = 0; i < answer->records->len; i++) {
        const DnsRecord *record = dns_answer_record(answer, i);
        if (record->preference != last && has_enough(search))
            break;
        add_host(search, record->text, record->preference);
        last = record->preference;
    }
    if (search->route->targets->len > 0)
        return ROUTE_FOUND;
    log_warning("no MX host for %s has a valid address record", domain);
    if (search->result == ROUTE_NOT_FOUND && config_bool(search->smtp->config, "smtp_defer_if_no_mx_address_found")) {
        search->route->dsn = "4.4.4";
        search->result = ROUTE_TEMPORARY;
    }
    return search->result;
}

static SmtpRouteResult look_up_domain(Search *search, const char *domain)
{
    g_autoptr(DnsAnswer) answer = resolver_records(search->smtp->resolver, domain, DNS_MX, search->deadline);
    bool is_failure = answer->status == DNS_MALFORMED || answer->status == DNS_TEMPORARY;

    if (dns_answer_is_null_mx(answer))
        return end_search(search, ROUTE_NOT_FOUND, "5.1.0", "Domain %s does not accept mail (nullMX)", domain);
    if (answer->status == DNS_OK)
        return add_mx_hosts(search, domain, answer);
    if (is_failure && !config_bool(search->smtp->config, "ignore_mx_lookup_error")) {
        if (answer->status == DNS_MALFORMED)
            return end_search(search, ROUTE_NOT_FOUND, "5.4.4",
                              "Name service error for name=%s type=MX: Malformed or unexpected name server reply",
                              domain);
        return end_search(search, ROUTE_TEMPORARY, "4.4.3",
                          "Host or domain name not found. Name service error for name=%s type=MX: Host not found, try "
                          "again",
                          domain);
    }
    add_host(search, domain, 0); /* it may have an address, of which DNS need not know */
    return search->route->targets->len > 0 ? ROUTE_FOUND : search->result;
}

static bool is_localhost(const Endpoint *endpoint)
{
    return g_ascii_strcasecmp(endpoint->host, "localhost") == 0;
}

/* Nobody may redirect it. */
static void add_localhost(Search *search, const char *host)
{
    bool v4 = add_target(search, host, "127.0.0.1", 0);

    if (!add_target(search, host, "::1", 0) && !v4)
        end_search(search, ROUTE_NOT_FOUND, "5.4.4", "host %s has no address of a protocol in inet_protocols", host);
}

static bool has_no_mx(const Smtp *smtp, const Endpoint *endpoint, const char *nexthop)
{
    return !smtp->asks_mx || nexthop[0] == '[' || g_hostname_is_ip_address(endpoint->host);
}

SmtpRouteResult smtp_route(const Smtp *smtp, const char *nexthop, SmtpRoute *ret_route)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Endpoint) endpoint = endpoint_parse(nexthop, ".", smtp->port, &error);
    gint64 limit = config_int(smtp->config, "smtp_mx_address_limit");
    Search search = {.smtp = smtp, .route = ret_route, .deadline = clock_ms() + LOOKUP_MS};

    search.wanted = limit > 0 && limit < ADDRESSES_MAX ? (guint)limit : ADDRESSES_MAX;
    search.is_balanced = g_str_equal(smtp->families, "all") && config_bool(smtp->config, "smtp_balance_inet_protocols");
    *ret_route = (SmtpRoute){.targets = g_array_new(FALSE, FALSE, sizeof(SmtpTarget)), .nexthop = g_strdup(nexthop)};
    g_array_set_clear_func(ret_route->targets, clear_target);
    if (!endpoint || endpoint->path)
        return end_search(&search, ROUTE_BAD, "4.3.5", "bad next hop: %s", endpoint ? nexthop : error->message);
    ret_route->port = endpoint->port;
    ret_route->domain = g_strdup(endpoint->host);
    if (is_localhost(endpoint)) {
        add_localhost(&search, endpoint->host);
    } else if (has_no_mx(smtp, endpoint, nexthop)) {
        add_host(&search, endpoint->host, 0);
    } else {
        SmtpRouteResult result = look_up_domain(&search, endpoint->host);
        if (result != ROUTE_FOUND)
            return result;
    }
    if (ret_route->targets->len == 0)
        return search.result;
    put_in_order(&search);
    SmtpRouteResult result = leave_out_ourselves(&search, endpoint->host);
    keep_wanted(&search);
    return result;
}
