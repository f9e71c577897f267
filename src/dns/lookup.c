/* lookup.c - what a search asks and what follows from the answers. No I/O, no locks: see resolver.c.
 *
 * The name of a client (behaviour of smtpd): the first name of the reverse lookup counts, if it is a proper host name;
 * it is verified when one of its addresses of the same family is the client's. /etc/hosts is asked before DNS both
 * times. */
#include "dns/name.h"
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

static void take_data(Answer *answer, const struct ub_result *result)
{
    int family = answer->type == DNS_A ? AF_INET : AF_INET6, size = answer->type == DNS_A ? 4 : 16;

    for (int i = 0; result->data[i]; i++) {
        char text[INET6_ADDRSTRLEN], *name;
        if (answer->type == DNS_PTR && (name = dns_name_from_wire(result->data[i], (size_t)result->len[i])))
            g_ptr_array_add(answer->texts, name);
        else if (answer->type != DNS_PTR && result->len[i] == size &&
                 inet_ntop(family, result->data[i], text, sizeof text))
            g_ptr_array_add(answer->texts, g_strdup(text));
        if (answer->type == DNS_PTR)
            return;
    }
}

Answer *answer_new_temporary(int type)
{
    Answer *answer = g_new0(Answer, 1);

    answer->type = type;
    answer->status = DNS_TEMPORARY;
    answer->gai = EAI_AGAIN;
    answer->texts = g_ptr_array_new_with_free_func(g_free);
    return answer;
}

Answer *answer_new(int type, int err, const struct ub_result *result)
{
    Answer *answer = answer_new_temporary(type);

    if (err != 0 || !result || result->bogus)
        return answer;
    if (result->havedata)
        take_data(answer, result);
    if (answer->texts->len > 0) {
        answer->status = DNS_OK;
        answer->gai = 0;
    } else if (result->nxdomain || result->rcode == RCODE_NXDOMAIN) {
        answer->status = DNS_NOT_FOUND;
        answer->gai = EAI_NONAME;
    } else if (result->rcode == RCODE_NOERROR) {
        answer->status = DNS_NOT_FOUND;
        answer->gai = EAI_NODATA;
    }
    return answer;
}

void answer_free(Answer *answer)
{
    if (!answer)
        return;
    g_ptr_array_unref(answer->texts);
    g_free(answer);
}

static bool has_text(const GPtrArray *texts, const char *text)
{
    for (guint i = 0; i < texts->len; i++)
        if (strcmp(g_ptr_array_index(texts, i), text) == 0)
            return true;
    return false;
}

/* The end of a search for a name; addresses: those of the name, or NULL with the reason why there are none. */
static void end_peer(Lookup *lookup, const GPtrArray *addresses, DnsStatus status, int gai)
{
    PeerName *peer = lookup->peer;

    lookup->done = true;
    if (addresses && has_text(addresses, lookup->addr)) {
        peer->status = DNS_OK;
        g_free(peer->name);
        peer->name = g_strdup(peer->reverse);
        return;
    }
    peer->status = status;
    peer->warning = g_strdup_printf("hostname %s does not resolve to address %s%s%s", peer->reverse, lookup->addr,
                                    addresses ? "" : ": ", addresses ? "" : gai_strerror(gai));
}

static Question take_name(Lookup *lookup, const Hosts *hosts, const Answer *answer)
{
    PeerName *peer = lookup->peer;

    if (answer->status != DNS_OK) {
        peer->status = answer->status;
        lookup->done = true;
        return (Question){0};
    }
    g_free(peer->reverse);
    peer->reverse = g_strdup(g_ptr_array_index(answer->texts, 0));

    const GPtrArray *known = hosts_addresses(hosts, peer->reverse);
    if (known) {
        end_peer(lookup, known, DNS_NOT_FOUND, 0);
        return (Question){0};
    }
    return (Question){.type = lookup->family == AF_INET ? DNS_A : DNS_AAAA, .name = g_strdup(peer->reverse)};
}

static void take_addresses(Lookup *lookup, const Answer *answer)
{
    for (guint i = 0; i < answer->texts->len && lookup->found->len < RESOLVER_ADDRESSES_MAX; i++)
        g_ptr_array_add(lookup->found, g_strdup(g_ptr_array_index(answer->texts, i)));
    if (answer->status == DNS_TEMPORARY && lookup->status == DNS_NOT_FOUND)
        lookup->status = DNS_TEMPORARY;
    if (--lookup->missing > 0)
        return;
    lookup->done = true;
    if (lookup->found->len > 0)
        lookup->status = DNS_OK;
}

Question lookup_take(Lookup *lookup, const Hosts *hosts, const Answer *answer)
{
    if (lookup->done)
        return (Question){0};
    if (lookup->peer && answer->type == DNS_PTR)
        return take_name(lookup, hosts, answer);
    if (lookup->peer && answer->status == DNS_OK)
        end_peer(lookup, answer->texts, DNS_NOT_FOUND, 0);
    else if (lookup->peer)
        end_peer(lookup, NULL, answer->status, answer->gai);
    else
        take_addresses(lookup, answer);
    return (Question){0};
}

void lookup_expire(Lookup *lookup)
{
    if (lookup->peer && strcmp(lookup->peer->reverse, "unknown") != 0)
        end_peer(lookup, NULL, DNS_TEMPORARY, EAI_AGAIN);
    else if (lookup->peer)
        lookup->peer->status = DNS_TEMPORARY;
    else
        lookup->status = lookup->found->len > 0 ? DNS_OK : DNS_TEMPORARY;
    lookup->done = true;
}

void lookup_free(Lookup *lookup)
{
    peer_name_free(lookup->peer);
    g_clear_pointer(&lookup->found, g_ptr_array_unref);
    g_free(lookup->addr);
    g_free(lookup);
}
