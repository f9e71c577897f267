/* listed.c - DNS lists of client addresses and of names, that block or allow (RFC 5782; postconf(5),
 * reject_rbl_client).
 *
 * A list that gives no answer does not block mail, and does not permit what would be refused: the client may come
 * again. */
#include "access/private.h"
#include "dns/hosts.h"
#include "dns/name.h"

#include <string.h>

#define REASON_MAX 500 /* octets */

/* ---- What is asked ---- */

/* NULL: there is no address. */
static char *address_question(const Evaluation *evaluation, const DnsList *list)
{
    guint8 octets[16];
    int family;
    g_autofree char *addr = hosts_canonical_address(evaluation->facts->client_addr, &family, octets);

    if (!addr)
        return NULL;
    g_autofree char *reversed = dns_name_of_reversed(family, octets);
    return g_strdup_printf("%s.%s", reversed, list->domain);
}

/* NULL: nothing that a list of names could know: none, or one whose last label is a number, as in an address. */
static char *name_question(const char *name, const DnsList *list)
{
    if (!name || !*name || strcmp(name, "unknown") == 0)
        return NULL;
    const char *dot = strrchr(name, '.');
    const char *top = dot ? dot + 1 : name;
    if (*top && top[strspn(top, "0123456789")] == '\0')
        return NULL;
    return g_strdup_printf("%s.%s", name, list->domain);
}

/* NULL: none, or without domain. */
static const char *mail_domain(const char *address)
{
    const char *at = address ? strrchr(address, '@') : NULL;

    return at ? at + 1 : NULL;
}

static Verdict ask(Evaluation *evaluation, const char *question)
{
    if (question)
        ask_dns(evaluation, question, DNS_A);
    return VERDICT_NEXT;
}

Verdict ask_address_list(Evaluation *evaluation, const Rule *rule)
{
    g_autofree char *question = rule->dns_list ? address_question(evaluation, rule->dns_list) : NULL;

    return ask(evaluation, question);
}

static Verdict ask_name_list(Evaluation *evaluation, const Rule *rule, const char *name)
{
    g_autofree char *question = rule->dns_list ? name_question(name, rule->dns_list) : NULL;

    return ask(evaluation, question);
}

Verdict ask_client_list(Evaluation *evaluation, const Rule *rule)
{
    return ask_name_list(evaluation, rule, evaluation->facts->client_name);
}

Verdict ask_reverse_client_list(Evaluation *evaluation, const Rule *rule)
{
    return ask_name_list(evaluation, rule, evaluation->facts->reverse_name);
}

Verdict ask_helo_list(Evaluation *evaluation, const Rule *rule)
{
    return ask_name_list(evaluation, rule, evaluation->facts->helo);
}

Verdict ask_sender_list(Evaluation *evaluation, const Rule *rule)
{
    return ask_name_list(evaluation, rule, mail_domain(evaluation->facts->sender));
}

Verdict ask_recipient_list(Evaluation *evaluation, const Rule *rule)
{
    return ask_name_list(evaluation, rule, mail_domain(evaluation->facts->recipient));
}

/* ---- What is answered ---- */

typedef enum { LISTED_NO, LISTED_YES, LISTED_UNCERTAIN, LISTED_ASKED } Listed;

static Listed find_in_list(Evaluation *evaluation, const DnsList *list, const char *question)
{
    const DnsAnswer *answer = ask_dns(evaluation, question, DNS_A);

    if (!answer)
        return LISTED_ASKED;
    if (answer->status == DNS_TEMPORARY) {
        note(evaluation,
             "warning: %s: RBL lookup error: Host or domain name not found. Name service error for name=%s type=A: "
             "Host not found, try again",
             question, question);
        return LISTED_UNCERTAIN;
    }
    for (guint i = 0; i < answer->records->len; i++)
        if (dns_list_matches(list, dns_answer_record(answer, i)->text))
            return LISTED_YES;
    return LISTED_NO;
}

/* The texts of a list, which come from outside: one line of them. NULL: not there yet. */
static char *find_reason(Evaluation *evaluation, const char *question)
{
    const DnsAnswer *answer = ask_dns(evaluation, question, DNS_TXT);

    if (!answer)
        return NULL;
    GString *reason = g_string_new(NULL);
    for (guint i = 0; i < answer->records->len && reason->len < REASON_MAX; i++)
        g_string_append_printf(reason, "%s%s", i > 0 ? " / " : "", dns_answer_record(answer, i)->text);
    g_string_truncate(reason, MIN(reason->len, REASON_MAX));
    return g_string_free(reason, FALSE);
}

/* Postfix goes on behind a list that is not named, too. */
static bool has_list(Evaluation *evaluation, const Rule *rule)
{
    if (!rule->dns_list)
        note(evaluation, "warning: restriction %s requires domain name argument", rule->restriction->name);
    return rule->dns_list != NULL;
}

/* ---- Lists that block ---- */

static Verdict reject_listed(Evaluation *evaluation, const Rule *rule, const char *question, const char *what,
                             const char *class)
{
    Listed listed = question ? find_in_list(evaluation, rule->dns_list, question) : LISTED_NO;

    if (listed == LISTED_ASKED)
        return VERDICT_NEED;
    if (listed != LISTED_YES)
        return VERDICT_NEXT;
    g_autofree char *reason = find_reason(evaluation, question);
    if (!reason)
        return VERDICT_NEED;
    return refuse_listed(evaluation, &(Listing){rule->dns_list, what, class, reason});
}

Verdict reject_rbl_client(Evaluation *evaluation, const Rule *rule)
{
    if (!has_list(evaluation, rule))
        return VERDICT_NEXT;
    g_autofree char *question = address_question(evaluation, rule->dns_list);
    return reject_listed(evaluation, rule, question, evaluation->facts->client_addr, "Client host");
}

static Verdict reject_name(Evaluation *evaluation, const Rule *rule, const char *name, const char *what,
                           const char *class)
{
    if (!has_list(evaluation, rule))
        return VERDICT_NEXT;
    g_autofree char *question = name_question(name, rule->dns_list);
    return reject_listed(evaluation, rule, question, what, class);
}

Verdict reject_rhsbl_client(Evaluation *evaluation, const Rule *rule)
{
    const char *name = evaluation->facts->client_name;

    return reject_name(evaluation, rule, name, name, "Client host");
}

Verdict reject_rhsbl_reverse_client(Evaluation *evaluation, const Rule *rule)
{
    const char *name = evaluation->facts->reverse_name;

    return reject_name(evaluation, rule, name, name, "Unverified Client host");
}

Verdict reject_rhsbl_helo(Evaluation *evaluation, const Rule *rule)
{
    const char *helo = evaluation->facts->helo;

    return reject_name(evaluation, rule, helo, helo, "Helo command");
}

Verdict reject_rhsbl_sender(Evaluation *evaluation, const Rule *rule)
{
    const char *sender = evaluation->facts->sender;

    return reject_name(evaluation, rule, mail_domain(sender), sender, "Sender address");
}

Verdict reject_rhsbl_recipient(Evaluation *evaluation, const Rule *rule)
{
    const char *recipient = evaluation->facts->recipient;

    return reject_name(evaluation, rule, mail_domain(recipient), recipient, "Recipient address");
}

/* ---- Lists that allow ---- */

/* They open no way through us: for a recipient elsewhere they are as if they did not stand there. */
static Verdict permit_listed(Evaluation *evaluation, const Rule *rule, const char *question, const char *what)
{
    Refusal refusal = {.code = evaluation->access->map_defer_code,
                       .dsn = "4.7.1",
                       .what = what,
                       .class = "Client host",
                       .text = "Service unavailable"};

    switch (question ? find_in_list(evaluation, rule->dns_list, question) : LISTED_NO) {
    case LISTED_ASKED:
        return VERDICT_NEED;
    case LISTED_UNCERTAIN:
        defer_if_reject(evaluation, &refusal);
        return VERDICT_NEXT;
    case LISTED_YES:
        if (evaluation->facts->recipient && find_destination(evaluation) != DESTINATION_OURS)
            return VERDICT_NEXT;
        return VERDICT_OK;
    default:
        return VERDICT_NEXT;
    }
}

Verdict permit_dnswl_client(Evaluation *evaluation, const Rule *rule)
{
    if (!has_list(evaluation, rule))
        return VERDICT_NEXT;
    g_autofree char *question = address_question(evaluation, rule->dns_list);
    return permit_listed(evaluation, rule, question, evaluation->facts->client_addr);
}

Verdict permit_rhswl_client(Evaluation *evaluation, const Rule *rule)
{
    const char *name = evaluation->facts->client_name;

    if (!has_list(evaluation, rule))
        return VERDICT_NEXT;
    g_autofree char *question = name_question(name, rule->dns_list);
    return permit_listed(evaluation, rule, question, name);
}
