/* lookup.c - what a search asks and what follows from the answers. No I/O, no locks: see resolver.c.
 *
 * The name of a client (behaviour of smtpd): the first name of the reverse lookup counts, if it is a proper host name;
 * it is verified when one of its addresses of the same family is the client's. /etc/hosts is asked before DNS both
 * times. */
#include "dns/resolver_private.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#define RCODE_NOERROR 0
#define RCODE_NXDOMAIN 3

PeerName *peer_name_new(DnsStatus status, const char *name)
{
    PeerName *peer = g_new0(PeerName, 1);

    peer->status = status;
    peer->reverse_status = status;
    peer->name = g_strdup(name);
    peer->reverse = g_strdup(name);
    return peer;
}

void peer_name_free(PeerName *peer)
{
    if (!peer)
        return;
    g_free(peer->name);
    g_free(peer->reverse);
    g_free(peer->warning);
    g_free(peer);
}

DnsAnswer *answer_from_result(DnsType type, int err, const struct ub_result *result)
{
    DnsAnswer *answer = dns_answer_new(DNS_TEMPORARY);

    if (err != 0 || !result || result->bogus)
        return answer;
    if (result->havedata && result->data[0]) {
        for (int i = 0; result->data[i]; i++)
            dns_answer_add(answer, type, result->data[i], (size_t)result->len[i]);
        dns_answer_finish(answer, type);
    } else if (result->nxdomain || result->rcode == RCODE_NXDOMAIN) {
        answer->status = DNS_NOT_FOUND;
        answer->no_such_name = true;
    } else if (result->rcode == RCODE_NOERROR) {
        answer->status = DNS_NOT_FOUND;
    }
    return answer;
}

/* How getaddrinfo(3) says why there is no address. */
static int gai_code(const DnsAnswer *answer)
{
    return answer->status == DNS_TEMPORARY ? EAI_AGAIN : answer->no_such_name ? EAI_NONAME : EAI_NODATA;
}

static DnsStatus without_malformed(DnsStatus status)
{
    return status == DNS_MALFORMED ? DNS_NOT_FOUND : status;
}

static bool has_record(const DnsAnswer *answer, const char *text)
{
    for (guint i = 0; i < answer->records->len; i++)
        if (strcmp(dns_answer_record(answer, i)->text, text) == 0)
            return true;
    return false;
}

/* The end of a search for a name. why: why it has no address, or NULL. */
static void end_peer(Lookup *lookup, DnsStatus status, const char *why)
{
    PeerName *peer = lookup->peer;

    lookup->done = true;
    peer->status = status;
    if (status == DNS_OK) {
        g_free(peer->name);
        peer->name = g_strdup(peer->reverse);
        return;
    }
    peer->warning = g_strdup_printf("hostname %s does not resolve to address %s%s%s", peer->reverse, lookup->addr,
                                    why ? ": " : "", why ? why : "");
}

static Question take_name(Lookup *lookup, const Hosts *hosts, const DnsAnswer *answer)
{
    PeerName *peer = lookup->peer;

    peer->reverse_status = without_malformed(answer->status);
    if (answer->status != DNS_OK) {
        peer->status = peer->reverse_status;
        lookup->done = true;
        return (Question){0};
    }
    g_free(peer->reverse);
    peer->reverse = g_strdup(dns_answer_record(answer, 0)->text);

    const GPtrArray *known = hosts_addresses(hosts, peer->reverse);
    if (known) {
        bool is_its = g_ptr_array_find_with_equal_func((GPtrArray *)known, lookup->addr, g_str_equal, NULL);
        end_peer(lookup, is_its ? DNS_OK : DNS_NOT_FOUND, NULL);
        return (Question){0};
    }
    return (Question){.type = lookup->family == AF_INET ? DNS_A : DNS_AAAA, .name = g_strdup(peer->reverse)};
}

static void take_peer_addresses(Lookup *lookup, const DnsAnswer *answer)
{
    if (answer->status != DNS_OK)
        end_peer(lookup, without_malformed(answer->status), gai_strerror(gai_code(answer)));
    else
        end_peer(lookup, has_record(answer, lookup->addr) ? DNS_OK : DNS_NOT_FOUND, NULL);
}

static void copy_records(DnsAnswer *to, const DnsAnswer *from)
{
    for (guint i = 0; i < from->records->len; i++)
        dns_answer_add_text(to, dns_answer_record(from, i)->preference, dns_answer_record(from, i)->text);
}

/* IPv4 first, whichever answer comes first. */
static DnsAnswer *join_addresses(DnsType type, const DnsAnswer *before, const DnsAnswer *answer)
{
    DnsAnswer *joined = dns_answer_new(DNS_NOT_FOUND);

    copy_records(joined, type == DNS_A ? answer : before);
    copy_records(joined, type == DNS_A ? before : answer);
    joined->no_such_name = before->no_such_name || answer->no_such_name;
    if (joined->records->len > 0)
        joined->status = DNS_OK;
    else if (before->status == DNS_TEMPORARY || answer->status == DNS_TEMPORARY)
        joined->status = DNS_TEMPORARY;
    return joined;
}

static void take_records(Lookup *lookup, DnsType type, const DnsAnswer *answer)
{
    DnsAnswer *before = lookup->answer;
    bool is_address = type == DNS_A || type == DNS_AAAA;

    lookup->answer = is_address ? join_addresses(type, before, answer) : dns_answer_copy(answer);
    dns_answer_free(before);
    lookup->done = --lookup->missing == 0;
}

Question lookup_take(Lookup *lookup, const Hosts *hosts, DnsType type, const DnsAnswer *answer)
{
    if (lookup->done)
        return (Question){0};
    if (lookup->peer && type == DNS_PTR)
        return take_name(lookup, hosts, answer);
    if (lookup->peer)
        take_peer_addresses(lookup, answer);
    else
        take_records(lookup, type, answer);
    return (Question){0};
}

void lookup_expire(Lookup *lookup)
{
    if (lookup->peer && lookup->peer->reverse_status == DNS_OK)
        end_peer(lookup, DNS_TEMPORARY, gai_strerror(EAI_AGAIN));
    else if (lookup->peer)
        lookup->peer->status = DNS_TEMPORARY;
    else if (lookup->answer->status != DNS_OK)
        lookup->answer->status = DNS_TEMPORARY;
    lookup->done = true;
}

void lookup_free(Lookup *lookup)
{
    peer_name_free(lookup->peer);
    dns_answer_free(lookup->answer);
    g_free(lookup->addr);
    g_free(lookup);
}
