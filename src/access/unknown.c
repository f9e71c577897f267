/* unknown.c - clients, HELO names and mail domains that DNS does not know (postconf(5), reject_unknown_...). */
#include "access/private.h"
#include "mail/address.h"

#include <string.h>

#define TEMPORARY_CODE 450

/* ---- The client: its name was looked up when it came ---- */

static Verdict refuse_client(Evaluation *evaluation, DnsStatus status, const char *dsn, const char *problem)
{
    g_autofree char *text = g_strdup_printf("%s, [%s]", problem, evaluation->facts->client_addr);
    gint64 code = status == DNS_TEMPORARY ? TEMPORARY_CODE : evaluation->access->unknown_client_code;

    if (status == DNS_OK)
        return VERDICT_NEXT;
    return refuse(evaluation, &(Refusal){.code = code, .dsn = dsn, .class = "Client host", .text = text});
}

Verdict reject_unknown_client_hostname(Evaluation *evaluation, const Rule *rule)
{
    return refuse_client(evaluation, evaluation->facts->client_name_status, "4.7.25", "cannot find your hostname");
}

Verdict reject_unknown_reverse_client_hostname(Evaluation *evaluation, const Rule *rule)
{
    return refuse_client(evaluation, evaluation->facts->reverse_name_status, "4.7.1",
                         "cannot find your reverse hostname");
}

/* ---- Names of hosts and mail domains ---- */

typedef enum { NAME_KNOWN, NAME_UNKNOWN, NAME_UNCERTAIN, NAME_MALFORMED, NAME_NULL_MX, NAME_ASKED } NameState;

static bool is_used(const Access *access, DnsType type)
{
    return type == DNS_A ? access->ipv4 : type == DNS_AAAA ? access->ipv6 : true;
}

/* One record of one of these types is enough. What makes no sense ends the search. */
static NameState find_name(Evaluation *evaluation, const char *name, const DnsType types[3])
{
    NameState state = NAME_UNKNOWN;

    for (int i = 0; i < 3; i++) {
        if (!is_used(evaluation->access, types[i]))
            continue;
        const DnsAnswer *answer = ask_dns(evaluation, name, types[i]);
        if (!answer)
            return NAME_ASKED;
        if (answer->status == DNS_OK)
            return dns_answer_is_null_mx(answer) ? NAME_NULL_MX : NAME_KNOWN;
        if (answer->status == DNS_MALFORMED)
            return NAME_MALFORMED;
        if (answer->status != DNS_TEMPORARY)
            continue;
        state = NAME_UNCERTAIN;
        for (int j = i + 1; j < 3; j++) /* a server that is slow is not waited for each time */
            if (is_used(evaluation->access, types[j]))
                ask_dns(evaluation, name, types[j]);
    }
    return state;
}

static Verdict refuse_uncertain(Evaluation *evaluation, Refusal refusal, bool at_once)
{
    refusal.code = TEMPORARY_CODE;
    if (at_once)
        return refuse(evaluation, &refusal);
    defer_if_permit(evaluation, &refusal);
    return VERDICT_NEXT;
}

Verdict reject_unknown_helo_hostname(Evaluation *evaluation, const Rule *rule)
{
    static const DnsType types[3] = {DNS_A, DNS_AAAA, DNS_MX};
    const char *helo = evaluation->facts->helo;
    const Access *access = evaluation->access;

    if (!helo)
        return VERDICT_NEXT;
    if (*helo == '[')
        return refuse_invalid_literal(evaluation);
    Refusal refusal = {.code = access->unknown_hostname_code,
                       .dsn = "4.7.1",
                       .what = helo,
                       .class = "Helo command",
                       .text = "Host not found"};
    switch (find_name(evaluation, helo, types)) {
    case NAME_ASKED:
        return VERDICT_NEED;
    case NAME_KNOWN:
    case NAME_NULL_MX:
        return VERDICT_NEXT;
    case NAME_UNCERTAIN:
        return refuse_uncertain(evaluation, refusal, access->defer_unknown_hostname);
    case NAME_MALFORMED:
        refusal.text = "Malformed DNS server reply";
        break;
    case NAME_UNKNOWN:
        break;
    }
    return refuse(evaluation, &refusal);
}

/* A mail address whose domain should be known. */
typedef struct {
    const char *address; /* where it leads */
    const char *what, *class;
    const char *dsn;
    gint64 null_mx_code;
    const char *null_mx_dsn;
} Mailbox;

static Verdict refuse_domain(Evaluation *evaluation, const Mailbox *mailbox, const char *domain)
{
    static const DnsType types[3] = {DNS_MX, DNS_A, DNS_AAAA};
    const Access *access = evaluation->access;
    g_autofree char *text = NULL;
    Refusal refusal = {.code = access->unknown_address_code,
                       .dsn = mailbox->dsn,
                       .what = mailbox->what,
                       .class = mailbox->class,
                       .text = "Domain not found"};

    switch (find_name(evaluation, domain, types)) {
    case NAME_ASKED:
        return VERDICT_NEED;
    case NAME_KNOWN:
        return VERDICT_NEXT;
    case NAME_UNCERTAIN:
        return refuse_uncertain(evaluation, refusal, access->defer_unknown_address);
    case NAME_MALFORMED:
        refusal.text = "Malformed DNS server reply";
        break;
    case NAME_NULL_MX:
        refusal.code = mailbox->null_mx_code;
        refusal.dsn = mailbox->null_mx_dsn;
        refusal.text = text = g_strdup_printf("Domain %s does not accept mail (nullMX)", domain);
        break;
    case NAME_UNKNOWN:
        break;
    }
    return refuse(evaluation, &refusal);
}

/* Domains whose mail ends here need not be in DNS. */
static Verdict reject_unknown_domain(Evaluation *evaluation, const Mailbox *mailbox)
{
    const char *domain = mailbox->address ? address_domain(mailbox->address) : NULL;

    if (!domain || *domain == '[')
        return VERDICT_NEXT;
    switch (route_class(evaluation->access->route, mailbox->address)) {
    case CLASS_FAILED:
        return refuse_for_lookup(evaluation, mailbox->what);
    case CLASS_RELAY:
    case CLASS_DEFAULT:
        return refuse_domain(evaluation, mailbox, domain);
    default:
        return VERDICT_NEXT;
    }
}

Verdict reject_unknown_sender_domain(Evaluation *evaluation, const Rule *rule)
{
    const Mailbox mailbox = {evaluation->sender, evaluation->facts->sender, "Sender address", "4.1.8", 550, "5.7.27"};

    return reject_unknown_domain(evaluation, &mailbox);
}

Verdict reject_unknown_recipient_domain(Evaluation *evaluation, const Rule *rule)
{
    const Mailbox mailbox = {
        evaluation->recipient, evaluation->facts->recipient, "Recipient address", "4.1.2", 556, "5.1.10"};

    return reject_unknown_domain(evaluation, &mailbox);
}
