/* smtp_host.c - the addresses of one host, in DNS, in what the system knows, or both (smtp_host_lookup). */
#include "delivery/smtp_private.h"

#include <netdb.h>
#include <string.h>

#define FOUND_NOTHING "Host or domain name not found. Name service error for name=%s type=%s: %s"

static void add_records(GPtrArray *addresses, const DnsAnswer *answer)
{
    for (guint i = 0; i < answer->records->len; i++)
        g_ptr_array_add(addresses, g_strdup(dns_answer_record(answer, i)->text));
}

static void explain(SmtpHost *host, SmtpRouteResult result, const char *dsn, char *text)
{
    host->result = result;
    host->dsn = dsn;
    g_free(host->text);
    host->text = text;
}

/* Of two failures the one that may pass is told, of two alike the later one. */
static void explain_dns(SmtpHost *host, const char *name, const char *type, const DnsAnswer *answer)
{
    if (host->result == ROUTE_TEMPORARY && answer->status != DNS_TEMPORARY)
        return;
    switch (answer->status) {
    case DNS_TEMPORARY:
        explain(host, ROUTE_TEMPORARY, "4.4.3",
                g_strdup_printf(FOUND_NOTHING, name, type, "Host not found, try again"));
        break;
    case DNS_MALFORMED:
        explain(host, ROUTE_NOT_FOUND, "5.4.4",
                g_strdup_printf("Name service error for name=%s type=%s: Malformed or unexpected name server reply",
                                name, type));
        break;
    case DNS_OK:
    case DNS_NOT_FOUND:
        explain(host, ROUTE_NOT_FOUND, "5.4.4",
                g_strdup_printf(FOUND_NOTHING, name, type,
                                answer->no_such_name ? "Host not found"
                                                     : "Host found but no data record of requested type"));
        break;
    }
}

static void look_into_dns(const Smtp *smtp, const char *name, gint64 deadline, SmtpHost *host)
{
    static const struct {
        DnsType type;
        const char *text, *unwanted_by;
    } types[] = {{DNS_A, "A", "ipv6"}, {DNS_AAAA, "AAAA", "ipv4"}};

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        if (g_str_equal(smtp->families, types[i].unwanted_by))
            continue;
        g_autoptr(DnsAnswer) answer = resolver_records(smtp->resolver, name, types[i].type, deadline);
        add_records(host->addresses, answer);
        if (answer->status != DNS_OK)
            explain_dns(host, name, types[i].text, answer);
    }
}

/* As getaddrinfo(3) does: /etc/hosts, then DNS. */
static void look_into_system(const Smtp *smtp, const char *name, gint64 deadline, SmtpHost *host)
{
    g_autoptr(DnsAnswer) answer = resolver_records(smtp->resolver, name, DNS_ADDRESSES, deadline);
    bool again = answer->status == DNS_TEMPORARY, gone = answer->no_such_name;
    int code = again ? EAI_AGAIN : gone ? EAI_NONAME : EAI_NODATA;

    add_records(host->addresses, answer);
    if (answer->status != DNS_OK)
        explain(host, again ? ROUTE_TEMPORARY : ROUTE_NOT_FOUND,
                again  ? "4.4.4"
                : gone ? "5.4.4"
                       : "5.3.0",
                g_strdup_printf("unable to look up host %s: %s", name, gai_strerror(code)));
}

/* An address needs no looking up; DNS has no name that looks like one. */
static void take_address(const Smtp *smtp, const char *address, SmtpHost *host)
{
    const char *other_family = strchr(address, ':') ? "ipv4" : "ipv6";

    if (g_str_equal(smtp->families, other_family))
        explain(host, ROUTE_NOT_FOUND, "5.4.4",
                g_strdup_printf(FOUND_NOTHING, address, strchr(address, ':') ? "A" : "AAAA", "Host not found"));
    else
        g_ptr_array_add(host->addresses, g_strdup(address));
}

void smtp_host_look_up(const Smtp *smtp, const char *name, gint64 deadline, SmtpHost *ret_host)
{
    bool is_address = g_hostname_is_ip_address(name);

    *ret_host = (SmtpHost){.result = ROUTE_NOT_FOUND, .addresses = g_ptr_array_new_with_free_func(g_free)};
    if (is_address)
        take_address(smtp, name, ret_host);
    else if (smtp->asks_dns)
        look_into_dns(smtp, name, deadline, ret_host);
    if (!is_address && ret_host->addresses->len == 0 && smtp->asks_system && ret_host->result != ROUTE_TEMPORARY)
        look_into_system(smtp, name, deadline, ret_host);
    if (ret_host->addresses->len > 0)
        ret_host->result = ROUTE_FOUND;
}

void smtp_host_clear(SmtpHost *host)
{
    g_clear_pointer(&host->addresses, g_ptr_array_unref);
    g_clear_pointer(&host->text, g_free);
}
