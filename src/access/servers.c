/* servers.c - access tables that are asked about the mail exchangers, name servers and addresses of a host or domain
 * (postconf(5), check_..._mx_access and the like), and about unverified client names. */
#include "access/private.h"
#include "dns/hosts.h"

#include <string.h>

/* What is looked into. */
typedef struct {
    const Table *table;
    const char *name;         /* of a host or domain, or an address: its domain counts */
    const char *what, *class; /* as replies show it */
    DnsType type;             /* MX, NS, ADDRESSES */
    const char *shown_type;
} Servers;

/* Nobody is to pass because of records that he writes himself. */
static Verdict forbid_permit(Evaluation *evaluation, const Rule *rule, const char *what, Verdict verdict)
{
    if (verdict != VERDICT_OK)
        return verdict;
    note(evaluation, "warning: restriction %s returns OK for %s", rule->restriction->name, what);
    note(evaluation, "warning: this is not allowed for security reasons");
    note(evaluation, "warning: use DUNNO instead of OK if you want to make an exception");
    return refuse_for_configuration(evaluation);
}

static Verdict check_addresses(Evaluation *evaluation, const Servers *servers, const DnsAnswer *addresses,
                               bool *ret_found)
{
    Verdict verdict = VERDICT_NEXT;

    *ret_found = false;
    for (guint i = 0; i < addresses->records->len && !*ret_found; i++) {
        Host host = {NULL, dns_answer_record(addresses, i)->text, servers->what, servers->class};
        verdict = check_host_access(evaluation, servers->table, &host, ret_found);
    }
    return verdict;
}

/* The first server that the table knows decides, by its name or by one of its addresses. */
static Verdict check_hosts(Evaluation *evaluation, const Servers *servers, const DnsAnswer *hosts)
{
    for (guint i = 0; i < hosts->records->len; i++) {
        const char *name = dns_answer_record(hosts, i)->text;
        bool found;
        Verdict verdict =
            check_host_access(evaluation, servers->table, &(Host){name, NULL, servers->what, servers->class}, &found);
        if (found)
            return verdict;
        const DnsAnswer *addresses = ask_dns(evaluation, name, DNS_ADDRESSES);
        if (!addresses) {
            ask_addresses_ahead(evaluation, hosts, i + 1);
            return VERDICT_NEED;
        }
        if (addresses->status != DNS_OK)
            note(evaluation, "warning: Unable to look up %s host %s for %s %s: %s", servers->shown_type, name,
                 servers->class, servers->name, address_trouble(addresses));
        verdict = check_addresses(evaluation, servers, addresses, &found);
        if (found)
            return verdict;
    }
    return VERDICT_NEXT;
}

/* Without MX the domain is its own mail exchanger. */
static Verdict check_itself(Evaluation *evaluation, const Servers *servers, const char *domain)
{
    g_autoptr(DnsAnswer) itself = dns_answer_new(DNS_OK);

    dns_answer_add_text(itself, 0, domain);
    return check_hosts(evaluation, servers, itself);
}

/* Without NS the domain is served by those of a parent. domain: where the search ended, NULL at the top. */
static const DnsAnswer *find_servers(Evaluation *evaluation, const Servers *servers, const char **domain)
{
    const DnsAnswer *answer = ask_dns(evaluation, *domain, servers->type);

    while (servers->type == DNS_NS && answer && answer->status == DNS_NOT_FOUND) {
        const char *dot = strchr(*domain, '.');
        *domain = dot && dot[1] ? dot + 1 : NULL;
        if (!*domain)
            break;
        answer = ask_dns(evaluation, *domain, DNS_NS);
    }
    return answer;
}

static Verdict check_domain(Evaluation *evaluation, const Servers *servers, const char *name)
{
    const char *domain = name;
    const DnsAnswer *answer = find_servers(evaluation, servers, &domain);
    bool found;

    if (!answer)
        return VERDICT_NEED;
    if (servers->type == DNS_ADDRESSES)
        return check_addresses(evaluation, servers, answer, &found);
    if (answer->status == DNS_OK)
        return dns_answer_is_null_mx(answer) ? VERDICT_NEXT : check_hosts(evaluation, servers, answer);
    if (servers->type == DNS_MX && answer->status == DNS_NOT_FOUND)
        return check_itself(evaluation, servers, name);
    note(evaluation, "warning: Unable to look up %s host for %s: %s", servers->shown_type,
         domain ? domain : servers->name, dns_trouble(answer));
    return VERDICT_NEXT;
}

/* "[192.0.2.1]", "[IPv6:::1]": the address; NULL: not one. */
static char *literal_address(const char *domain)
{
    if (!hostname_is_literal(domain))
        return NULL;
    size_t start = g_ascii_strncasecmp(domain, "[IPv6:", 6) == 0 ? 6 : 1;
    g_autofree char *text = g_strndup(domain + start, strlen(domain) - start - 1);
    return hosts_canonical_address(text, NULL, NULL);
}

static Verdict check_literal(Evaluation *evaluation, const Servers *servers, const char *domain)
{
    g_autofree char *addr = literal_address(domain);
    bool found;

    if (!addr || servers->type == DNS_NS)
        return VERDICT_NEXT;
    return check_host_access(evaluation, servers->table, &(Host){NULL, addr, servers->what, servers->class}, &found);
}

static Verdict check_servers(Evaluation *evaluation, const Rule *rule, Servers servers)
{
    g_autofree char *domain = g_strdup(domain_of(servers.name));
    size_t len = strlen(domain);

    servers.table = rule->table;
    servers.shown_type = servers.type == DNS_MX ? "MX" : "NS";
    if (len > 1 && domain[len - 1] == '.' && domain[len - 2] != '.')
        domain[len - 1] = '\0';
    Verdict verdict =
        *domain == '[' ? check_literal(evaluation, &servers, domain) : check_domain(evaluation, &servers, domain);
    return forbid_permit(evaluation, rule, servers.name, verdict);
}

/* ---- Of whom ---- */

static bool is_known(const char *name)
{
    return name && strcmp(name, "unknown") != 0;
}

static Verdict check_client(Evaluation *evaluation, const Rule *rule, DnsType type)
{
    const char *name = evaluation->facts->client_name;

    if (!is_known(name))
        return VERDICT_NEXT;
    return check_servers(evaluation, rule,
                         (Servers){.name = name, .what = evaluation->client, .class = "Client host", .type = type});
}

static Verdict check_named(Evaluation *evaluation, const Rule *rule, const char *name, const char *class, DnsType type)
{
    if (!name || !*name)
        return VERDICT_NEXT;
    return check_servers(evaluation, rule, (Servers){.name = name, .what = name, .class = class, .type = type});
}

static Verdict check_reverse(Evaluation *evaluation, const Rule *rule, DnsType type)
{
    const char *name = evaluation->facts->reverse_name;

    return check_named(evaluation, rule, is_known(name) ? name : NULL, "Unverified Client host", type);
}

Verdict check_client_mx_access(Evaluation *evaluation, const Rule *rule)
{
    return check_client(evaluation, rule, DNS_MX);
}

Verdict check_client_ns_access(Evaluation *evaluation, const Rule *rule)
{
    return check_client(evaluation, rule, DNS_NS);
}

Verdict check_client_a_access(Evaluation *evaluation, const Rule *rule)
{
    return check_client(evaluation, rule, DNS_ADDRESSES);
}

Verdict check_reverse_client_mx_access(Evaluation *evaluation, const Rule *rule)
{
    return check_reverse(evaluation, rule, DNS_MX);
}

Verdict check_reverse_client_ns_access(Evaluation *evaluation, const Rule *rule)
{
    return check_reverse(evaluation, rule, DNS_NS);
}

Verdict check_reverse_client_a_access(Evaluation *evaluation, const Rule *rule)
{
    return check_reverse(evaluation, rule, DNS_ADDRESSES);
}

Verdict check_helo_mx_access(Evaluation *evaluation, const Rule *rule)
{
    return check_named(evaluation, rule, evaluation->facts->helo, "Helo command", DNS_MX);
}

Verdict check_helo_ns_access(Evaluation *evaluation, const Rule *rule)
{
    return check_named(evaluation, rule, evaluation->facts->helo, "Helo command", DNS_NS);
}

Verdict check_helo_a_access(Evaluation *evaluation, const Rule *rule)
{
    return check_named(evaluation, rule, evaluation->facts->helo, "Helo command", DNS_ADDRESSES);
}

Verdict check_sender_mx_access(Evaluation *evaluation, const Rule *rule)
{
    return check_named(evaluation, rule, evaluation->facts->sender, "Sender address", DNS_MX);
}

Verdict check_sender_ns_access(Evaluation *evaluation, const Rule *rule)
{
    return check_named(evaluation, rule, evaluation->facts->sender, "Sender address", DNS_NS);
}

Verdict check_sender_a_access(Evaluation *evaluation, const Rule *rule)
{
    return check_named(evaluation, rule, evaluation->facts->sender, "Sender address", DNS_ADDRESSES);
}

Verdict check_recipient_mx_access(Evaluation *evaluation, const Rule *rule)
{
    return check_named(evaluation, rule, evaluation->facts->recipient, "Recipient address", DNS_MX);
}

Verdict check_recipient_ns_access(Evaluation *evaluation, const Rule *rule)
{
    return check_named(evaluation, rule, evaluation->facts->recipient, "Recipient address", DNS_NS);
}

Verdict check_recipient_a_access(Evaluation *evaluation, const Rule *rule)
{
    return check_named(evaluation, rule, evaluation->facts->recipient, "Recipient address", DNS_ADDRESSES);
}

Verdict check_reverse_client_hostname_access(Evaluation *evaluation, const Rule *rule)
{
    const AccessFacts *facts = evaluation->facts;
    const char *name = facts->reverse_name;
    bool found;
    Verdict verdict = check_host_access(evaluation, rule->table,
                                        &(Host){name, facts->client_addr, name, "Unverified Client host"}, &found);

    return forbid_permit(evaluation, rule, name, verdict);
}
