/* dns.c - what restrictions ask DNS. */
#include "access/private.h"

#include <netdb.h>
#include <string.h>

#define AHEAD_MAX 10 /* hosts whose addresses one session asks for at once */

typedef struct {
    const char *name;
    DnsType type;
} DnsQuestion;

static guint64 ask(void *source, const void *data, TaskRef task, void **ret_answer)
{
    const DnsQuestion *question = data;
    guint64 number;

    *ret_answer = resolver_ask(source, question->name, question->type, task, &number);
    return number;
}

static void *take(void *source, guint64 number)
{
    return resolver_take(source, number);
}

static void cancel(void *source, guint64 number)
{
    resolver_cancel(source, number);
}

static void free_answer(void *answer)
{
    dns_answer_free(answer);
}

static size_t size_of(const void *data)
{
    const DnsAnswer *answer = data;
    size_t octets = sizeof *answer + sizeof *answer->records;

    for (guint i = 0; i < answer->records->len; i++)
        octets += sizeof(DnsRecord) + strlen(dns_answer_record(answer, i)->text) + 1;
    return octets;
}

/* A failure, too: who asks for each recipient a server that does not answer waits for it once. */
static bool lasts(const void *answer)
{
    return true;
}

static const InquiryKind dns_kind = {
    .ask = ask, .take = take, .cancel = cancel, .free = free_answer, .size = size_of, .lasts = lasts};

const DnsAnswer *ask_dns(Evaluation *evaluation, const char *name, DnsType type)
{
    g_autofree char *folded = g_ascii_strdown(name, -1);
    g_autofree char *key = g_strdup_printf("dns %d %s", (int)type, folded);
    DnsQuestion question = {.name = folded, .type = type};

    return inquiry_answer(evaluation->facts->inquiry, &dns_kind, evaluation->facts->resolver, key, &question);
}

const char *dns_trouble(const DnsAnswer *answer)
{
    switch (answer->status) {
    case DNS_TEMPORARY:
        return "Host not found, try again";
    case DNS_MALFORMED:
        return "Malformed DNS server reply";
    default:
        return answer->no_such_name ? "Host not found" : "Host found but no data record of requested type";
    }
}

const char *address_trouble(const DnsAnswer *answer)
{
    return gai_strerror(answer->status == DNS_TEMPORARY ? EAI_AGAIN : answer->no_such_name ? EAI_NONAME : EAI_NODATA);
}

const char *domain_of(const char *address)
{
    const char *at = strrchr(address, '@');

    return at ? at + 1 : address;
}

void ask_addresses_ahead(Evaluation *evaluation, const DnsAnswer *hosts, guint start)
{
    for (guint i = start; i < hosts->records->len && i < start + AHEAD_MAX; i++)
        ask_dns(evaluation, dns_answer_record(hosts, i)->text, DNS_ADDRESSES);
}
