/* smtp_route.c - from a next hop to the addresses that are tried, in their order (RFC 5321 section 5.1, RFC 7505).
 *
 * Hosts are looked up in the order of their preference until there are enough addresses: a domain may name a hundred.
 * All of it has one deadline. */
#include "base/clock.h"
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

#define NAME_ERROR "Host or domain name not found. Name service error for name=%s type=%s: Host not found%s"

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

static void add_host(Search *search, const char *host, unsigned preference)
{
    g_autoptr(GPtrArray) found = NULL;
    const char *families = search->smtp->families;
    DnsStatus status = resolver_addresses(search->smtp->resolver, host, families, search->deadline, &found);
    bool any = false;

    for (guint i = 0; i < found->len && search->route->targets->len < ADDRESSES_MAX; i++)
        any |= add_target(search, host, g_ptr_array_index(found, i), preference);
    if (any || search->result == ROUTE_TEMPORARY)
        return;
    bool again = status == DNS_TEMPORARY;
    end_search(search, again ? ROUTE_TEMPORARY : ROUTE_NOT_FOUND, again ? "4.4.3" : "5.4.4", NAME_ERROR, host,
               g_str_equal(families, "ipv6") ? "AAAA" : "A", again ? ", try again" : "");
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

/* Mail goes only to who is preferred to us: else two hosts that are each other's spare would pass it to and fro. */
static SmtpRouteResult leave_out_ourselves(Search *search, const char *host)
{
    GArray *targets = search->route->targets;

    for (guint i = 0; i < targets->len; i++) {
        const SmtpTarget *target = &g_array_index(targets, SmtpTarget, i);
        if (search->route->port != LOOP_PORT || !is_own(search, target))
            continue;
        unsigned preference = target->preference;
        while (targets->len > 0 && g_array_index(targets, SmtpTarget, targets->len - 1).preference >= preference)
            g_array_remove_index(targets, targets->len - 1);
        break;
    }
    return targets->len > 0 ? ROUTE_FOUND
                            : end_search(search, ROUTE_NOT_FOUND, "5.4.6", "mail for %s loops back to myself", host);
}

/* ---- Next hops ---- */

static void add_mx_hosts(Search *search, const DnsAnswer *answer)
{
    unsigned last = 0;

    for (guint i = 0; i < answer->records->len; i++) {
        const DnsRecord *record = dns_answer_record(answer, i);
        if (search->route->targets->len >= search->wanted && record->preference != last)
            return;
        add_host(search, record->text, record->preference);
        last = record->preference;
    }
}

static SmtpRouteResult look_up_domain(Search *search, const char *domain)
{
    g_autoptr(DnsAnswer) answer = resolver_records(search->smtp->resolver, domain, DNS_MX, search->deadline);

    if (dns_answer_is_null_mx(answer))
        return end_search(search, ROUTE_NOT_FOUND, "5.1.0", "Domain %s does not accept mail (nullMX)", domain);
    switch (answer->status) {
    case DNS_OK:
        add_mx_hosts(search, answer);
        break;
    case DNS_NOT_FOUND:
        if (answer->no_such_name)
            return end_search(search, ROUTE_NOT_FOUND, "5.4.4", NAME_ERROR, domain, "MX", "");
        add_host(search, domain, 0);
        break;
    case DNS_MALFORMED:
        return end_search(search, ROUTE_NOT_FOUND, "5.4.4",
                          "Name service error for name=%s type=MX: Malformed or unexpected name server reply", domain);
    case DNS_TEMPORARY:
        return end_search(search, ROUTE_TEMPORARY, "4.4.3", NAME_ERROR, domain, "MX", ", try again");
    }
    return ROUTE_FOUND;
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
        end_search(search, ROUTE_NOT_FOUND, "5.4.4", NAME_ERROR, host, "A", "");
}

static bool has_no_mx(const Endpoint *endpoint, const char *nexthop)
{
    return nexthop[0] == '[' || g_hostname_is_ip_address(endpoint->host);
}

SmtpRouteResult smtp_route(const Smtp *smtp, const char *nexthop, SmtpRoute *ret_route)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Endpoint) endpoint = endpoint_parse(nexthop, ".", smtp->port, &error);
    gint64 limit = config_int(smtp->config, "smtp_mx_address_limit");
    Search search = {.smtp = smtp, .route = ret_route, .deadline = clock_ms() + LOOKUP_MS};

    search.wanted = limit > 0 && limit < ADDRESSES_MAX ? (guint)limit : ADDRESSES_MAX;
    *ret_route = (SmtpRoute){.targets = g_array_new(FALSE, FALSE, sizeof(SmtpTarget)), .nexthop = g_strdup(nexthop)};
    g_array_set_clear_func(ret_route->targets, clear_target);
    if (!endpoint || endpoint->path)
        return end_search(&search, ROUTE_BAD, "4.3.5", "bad next hop: %s", endpoint ? nexthop : error->message);
    ret_route->port = endpoint->port;
    if (is_localhost(endpoint)) {
        add_localhost(&search, endpoint->host);
    } else if (has_no_mx(endpoint, nexthop)) {
        add_host(&search, endpoint->host, 0);
    } else {
        SmtpRouteResult result = look_up_domain(&search, endpoint->host);
        if (result != ROUTE_FOUND)
            return result;
    }
    if (ret_route->targets->len == 0)
        return search.result;
    put_in_order(&search);
    return leave_out_ourselves(&search, endpoint->host);
}
