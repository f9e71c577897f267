/* mx_backup.c - recipients for whom DNS names us as a mail exchanger, but not as the first (postconf(5),
 * permit_mx_backup). Whoever writes the domain's DNS could make us relay his mail, so its first exchangers have to be
 * in permit_mx_backup_networks. */
#include "access/private.h"
#include "mail/address.h"

#include <string.h>

typedef enum { BACKUP_NO, BACKUP_YES, BACKUP_ASKED } Backup;

static Verdict defer_for_dns(Evaluation *evaluation, const char *problem, const char *why)
{
    g_autofree char *text = g_strdup_printf("%s: %s", problem, why);

    defer_if_reject(evaluation, &(Refusal){.code = 450,
                                           .dsn = "4.4.4",
                                           .what = evaluation->facts->recipient,
                                           .class = "Recipient address",
                                           .text = text});
    return VERDICT_NEXT;
}

/* NULL: asked. */
static const DnsAnswer *addresses_of(Evaluation *evaluation, const DnsAnswer *exchangers, guint i)
{
    const char *host = dns_answer_record(exchangers, i)->text;
    const DnsAnswer *addresses = ask_dns(evaluation, host, DNS_ADDRESSES);

    if (!addresses) {
        ask_addresses_ahead(evaluation, exchangers, i + 1);
    } else if (addresses->status != DNS_OK) {
        g_autofree char *problem = g_strdup_printf("Unable to look up mail exchanger host %s", host);
        defer_for_dns(evaluation, problem, address_trouble(addresses));
    }
    return addresses;
}

/* Whether one of the first count exchangers is this system. */
static Backup are_we_in(Evaluation *evaluation, const DnsAnswer *exchangers, guint count)
{
    for (guint i = 0; i < count; i++) {
        const DnsAnswer *addresses = addresses_of(evaluation, exchangers, i);
        if (!addresses)
            return BACKUP_ASKED;
        for (guint j = 0; j < addresses->records->len; j++)
            if (route_is_own_address(evaluation->access->route, dns_answer_record(addresses, j)->text))
                return BACKUP_YES;
    }
    return BACKUP_NO;
}

static Backup are_in_networks(Evaluation *evaluation, const DnsAnswer *exchangers, guint count)
{
    for (guint i = 0; i < count; i++) {
        const DnsAnswer *addresses = addresses_of(evaluation, exchangers, i);
        if (!addresses)
            return BACKUP_ASKED;
        for (guint j = 0; j < addresses->records->len; j++)
            if (match_host(evaluation->access->mx_backup_networks, dns_answer_record(exchangers, i)->text,
                           dns_answer_record(addresses, j)->text) != MATCH_YES)
                return BACKUP_NO;
        if (addresses->records->len == 0)
            return BACKUP_NO;
    }
    return BACKUP_YES;
}

/* Those of the lowest preference stand first. */
static guint count_primaries(const DnsAnswer *exchangers)
{
    guint count = 1;

    while (count < exchangers->records->len &&
           dns_answer_record(exchangers, count)->preference == dns_answer_record(exchangers, 0)->preference)
        count++;
    return count;
}

static Backup is_backup(Evaluation *evaluation, const DnsAnswer *exchangers)
{
    guint primaries = count_primaries(exchangers);
    Backup backup = are_we_in(evaluation, exchangers, exchangers->records->len);

    if (backup != BACKUP_YES)
        return backup;
    switch (are_we_in(evaluation, exchangers, primaries)) {
    case BACKUP_NO:
        return evaluation->access->mx_backup_anywhere ? BACKUP_YES : are_in_networks(evaluation, exchangers, primaries);
    case BACKUP_ASKED:
        return BACKUP_ASKED;
    default:
        return BACKUP_NO;
    }
}

static Verdict check_exchangers(Evaluation *evaluation, const char *domain)
{
    const DnsAnswer *exchangers = ask_dns(evaluation, domain, DNS_MX);

    if (!exchangers)
        return VERDICT_NEED;
    if (exchangers->status == DNS_TEMPORARY || exchangers->status == DNS_MALFORMED)
        return defer_for_dns(evaluation, "Unable to look up mail exchanger information", dns_trouble(exchangers));
    if (exchangers->status != DNS_OK || dns_answer_is_null_mx(exchangers))
        return VERDICT_NEXT;
    switch (is_backup(evaluation, exchangers)) {
    case BACKUP_YES:
        return VERDICT_OK;
    case BACKUP_ASKED:
        return VERDICT_NEED;
    default:
        return VERDICT_NEXT;
    }
}

Verdict permit_mx_backup(Evaluation *evaluation, const Rule *rule)
{
    const char *domain = evaluation->recipient ? address_domain(evaluation->recipient) : NULL;
    Verdict verdict = permit_auth_destination(evaluation, rule);

    if (verdict != VERDICT_NEXT || !evaluation->facts->recipient)
        return verdict;
    if (!evaluation->access->allow_routing &&
        route_has_sender_routing(evaluation->access->route, evaluation->recipient))
        return VERDICT_NEXT;
    if (!domain || *domain == '[')
        return VERDICT_NEXT;
    return check_exchangers(evaluation, domain);
}
