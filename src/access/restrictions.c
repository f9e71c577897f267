/* restrictions.c - the restrictions (postconf(5), smtpd_recipient_restrictions): one small function each, and their
 * table. */
#include "access/private.h"
#include "mail/address.h"

#include <string.h>

/* ---- Always ---- */

static Verdict permit(Evaluation *evaluation, const Rule *rule)
{
    return VERDICT_OK;
}

static Verdict pass_over(Evaluation *evaluation, const Rule *rule)
{
    return VERDICT_NEXT;
}

/* Of what the list is about: "<x>: Recipient address rejected: text". */
static Refusal refusal_of(const Evaluation *evaluation, gint64 code, const char *dsn, const char *text)
{
    return (Refusal){
        .code = code, .dsn = dsn, .what = evaluation->what, .class = evaluation->subject.class, .text = text};
}

static Verdict reject(Evaluation *evaluation, const Rule *rule)
{
    Refusal refusal = refusal_of(evaluation, evaluation->access->reject_code, "5.7.1", "Access denied");

    return refuse(evaluation, &refusal);
}

static Verdict defer(Evaluation *evaluation, const Rule *rule)
{
    Refusal refusal = refusal_of(evaluation, evaluation->access->defer_code, "4.3.2", "Try again later");

    return refuse(evaluation, &refusal);
}

static Verdict ask_defer_if_permit(Evaluation *evaluation, const Rule *rule)
{
    Refusal refusal = refusal_of(evaluation, 450, "4.7.0", "defer_if_permit requested");

    defer_if_permit(evaluation, &refusal);
    return VERDICT_NEXT;
}

static Verdict ask_defer_if_reject(Evaluation *evaluation, const Rule *rule)
{
    Refusal refusal = refusal_of(evaluation, 450, "4.7.0", "defer_if_reject requested");

    defer_if_reject(evaluation, &refusal);
    return VERDICT_NEXT;
}

/* ---- The client ---- */

static Verdict permit_mynetworks(Evaluation *evaluation, const Rule *rule)
{
    switch (
        match_host(evaluation->access->mynetworks, evaluation->facts->client_name, evaluation->facts->client_addr)) {
    case MATCH_YES:
        return VERDICT_OK;
    case MATCH_FAILED:
        return refuse_for_lookup(evaluation, evaluation->what);
    default:
        return VERDICT_NEXT;
    }
}

static Verdict permit_inet_interfaces(Evaluation *evaluation, const Rule *rule)
{
    return route_is_own_address(evaluation->access->route, evaluation->facts->client_addr) ? VERDICT_OK : VERDICT_NEXT;
}

static Verdict permit_sasl_authenticated(Evaluation *evaluation, const Rule *rule)
{
    return evaluation->facts->sasl_enabled && evaluation->facts->sasl_username ? VERDICT_OK : VERDICT_NEXT;
}

static Verdict reject_unauth_pipelining(Evaluation *evaluation, const Rule *rule)
{
    Refusal refusal = refusal_of(evaluation, 503, "5.5.0", "Improper use of SMTP command pipelining");

    return evaluation->facts->improper_pipelining ? refuse(evaluation, &refusal) : VERDICT_NEXT;
}

/* ---- The HELO name ---- */

static char *without_last_dot(const char *name)
{
    size_t len = strlen(name);
    bool has_dot = len > 1 && name[len - 1] == '.' && name[len - 2] != '.';

    return g_strndup(name, has_dot ? len - 1 : len);
}

static Verdict refuse_helo(Evaluation *evaluation, gint64 code, const char *text)
{
    return refuse(
        evaluation,
        &(Refusal){
            .code = code, .dsn = "5.5.2", .what = evaluation->facts->helo, .class = "Helo command", .text = text});
}

Verdict refuse_invalid_literal(Evaluation *evaluation)
{
    if (hostname_is_literal(evaluation->facts->helo))
        return VERDICT_NEXT;
    return refuse_helo(evaluation, evaluation->access->invalid_code, "invalid ip address");
}

static Verdict reject_invalid_helo_hostname(Evaluation *evaluation, const Rule *rule)
{
    const char *helo = evaluation->facts->helo;

    if (!helo)
        return VERDICT_NEXT;
    if (*helo == '[')
        return refuse_invalid_literal(evaluation);
    g_autofree char *name = without_last_dot(helo);
    if (hostname_is_valid(name) || hostname_is_address(name))
        return VERDICT_NEXT;
    return refuse_helo(evaluation, evaluation->access->invalid_code, "Invalid name");
}

static Verdict reject_non_fqdn_helo_hostname(Evaluation *evaluation, const Rule *rule)
{
    const char *helo = evaluation->facts->helo;

    if (!helo)
        return VERDICT_NEXT;
    if (*helo == '[')
        return refuse_invalid_literal(evaluation);
    g_autofree char *name = without_last_dot(helo);
    if (hostname_is_valid(name) && strchr(name, '.'))
        return VERDICT_NEXT;
    return refuse_helo(evaluation, evaluation->access->non_fqdn_code, "need fully-qualified hostname");
}

/* ---- Sender and recipient ---- */

static Verdict reject_non_fqdn_address(Evaluation *evaluation, const char *address, const char *class)
{
    const char *domain = address_domain(address);
    g_autofree char *name = without_last_dot(domain ? domain : "");

    if (*name == '[' || (strchr(name, '.') && address_domain_is_valid(name, true) && !hostname_is_address(name)))
        return VERDICT_NEXT;
    return refuse(evaluation, &(Refusal){.code = evaluation->access->non_fqdn_code,
                                         .dsn = "5.5.2",
                                         .what = address,
                                         .class = class,
                                         .text = "need fully-qualified address"});
}

static Verdict reject_non_fqdn_sender(Evaluation *evaluation, const Rule *rule)
{
    const char *sender = evaluation->facts->sender;

    return sender && *sender ? reject_non_fqdn_address(evaluation, sender, "Sender address") : VERDICT_NEXT;
}

static Verdict reject_non_fqdn_recipient(Evaluation *evaluation, const Rule *rule)
{
    const char *recipient = evaluation->facts->recipient;

    return recipient && *recipient ? reject_non_fqdn_address(evaluation, recipient, "Recipient address") : VERDICT_NEXT;
}

static Verdict from_existence(Evaluation *evaluation, Existence existence, const char *address, const char *reply)
{
    if (existence == EXISTS_FAILED)
        return refuse_for_lookup(evaluation, address);
    return existence == EXISTS_NO ? refuse_with(evaluation, reply) : VERDICT_NEXT;
}

static Verdict reject_unlisted_recipient(Evaluation *evaluation, const Rule *rule)
{
    const char *recipient = evaluation->facts->recipient;
    g_autofree char *reply = NULL;

    if (!recipient || !*recipient || evaluation->access->anybody_exists)
        return VERDICT_NEXT;
    evaluation->recipient_checked |= !evaluation->warn_if_reject; /* who was only warned of is refused at the end */
    Existence existence = route_recipient_exists(evaluation->access->route, evaluation->recipient, recipient, &reply);
    return from_existence(evaluation, existence, recipient, reply);
}

static Verdict reject_unlisted_sender(Evaluation *evaluation, const Rule *rule)
{
    const char *sender = evaluation->facts->sender;
    g_autofree char *reply = NULL;

    if (!sender || !*sender || evaluation->access->anybody_exists)
        return VERDICT_NEXT;
    evaluation->sender_checked |= !evaluation->warn_if_reject;
    Existence existence = route_sender_exists(evaluation->access->route, evaluation->sender, sender, &reply);
    return from_existence(evaluation, existence, sender, reply);
}

static Verdict reject_multi_recipient_bounce(Evaluation *evaluation, const Rule *rule)
{
    const AccessFacts *facts = evaluation->facts;
    unsigned allowed = strcmp(facts->state, "RCPT") == 0 ? 0 : 1;
    Refusal refusal = refusal_of(evaluation, evaluation->access->multi_bounce_code, "5.5.3", "Multi-recipient bounce");

    if (!facts->sender || *facts->sender || facts->recipient_count <= allowed)
        return VERDICT_NEXT;
    return refuse(evaluation, &refusal);
}

/* ---- Relaying ---- */

Destination find_destination(const Evaluation *evaluation)
{
    const Route *route = evaluation->access->route;

    switch (route_class(route, evaluation->recipient)) {
    case CLASS_FAILED:
        return DESTINATION_UNCERTAIN;
    case CLASS_DEFAULT:
        return DESTINATION_ELSEWHERE;
    case CLASS_LOCAL:
        return DESTINATION_OURS;
    default:
        return !evaluation->access->allow_routing && route_has_sender_routing(route, evaluation->recipient)
                   ? DESTINATION_ELSEWHERE
                   : DESTINATION_OURS;
    }
}

Verdict permit_auth_destination(Evaluation *evaluation, const Rule *rule)
{
    if (!evaluation->facts->recipient)
        return VERDICT_NEXT;
    switch (find_destination(evaluation)) {
    case DESTINATION_OURS:
        return VERDICT_OK;
    case DESTINATION_UNCERTAIN:
        return refuse_for_lookup(evaluation, evaluation->facts->recipient);
    default:
        return VERDICT_NEXT;
    }
}

static Verdict refuse_relaying(Evaluation *evaluation, gint64 code, const char *dsn)
{
    if (!evaluation->facts->recipient)
        return VERDICT_NEXT;
    switch (find_destination(evaluation)) {
    case DESTINATION_OURS:
        return VERDICT_NEXT;
    case DESTINATION_UNCERTAIN:
        return refuse_for_lookup(evaluation, evaluation->facts->recipient);
    default:
        return refuse(
            evaluation,
            &(Refusal){.code = code, .dsn = dsn, .what = evaluation->facts->recipient, .text = "Relay access denied"});
    }
}

static Verdict reject_unauth_destination(Evaluation *evaluation, const Rule *rule)
{
    return refuse_relaying(evaluation, evaluation->access->relay_code, "5.7.1");
}

static Verdict defer_unauth_destination(Evaluation *evaluation, const Rule *rule)
{
    return refuse_relaying(evaluation, evaluation->access->relay_code - 100, "4.7.1");
}

/* ---- The clock ---- */

static Verdict sleep_seconds(Evaluation *evaluation, const Rule *rule)
{
    guint64 seconds;
    g_autofree char *key = g_strdup_printf("sleep %u", evaluation->questions++);

    if (!rule->text || !g_ascii_string_to_unsigned(rule->text, 10, 0, G_MAXINT32, &seconds, NULL)) {
        note(evaluation, "warning: restriction sleep must be followed by number");
        return refuse_for_configuration(evaluation);
    }
    return inquiry_slept(evaluation->facts->inquiry, key, (gint64)seconds * 1000) ? VERDICT_NEXT : VERDICT_NEED;
}

/* ---- The table ---- */

static const Restriction restrictions[] = {
    {"permit", permit, ARGUMENT_FINAL},
    {"reject", reject, ARGUMENT_FINAL},
    {"defer", defer, ARGUMENT_FINAL},
    {"warn_if_reject", pass_over, ARGUMENT_NONE}, /* evaluate.c acts on it */
    {"defer_if_permit", ask_defer_if_permit, ARGUMENT_NONE},
    {"defer_if_reject", ask_defer_if_reject, ARGUMENT_NONE},

    {"sleep", sleep_seconds, ARGUMENT_TEXT},

    {"permit_mynetworks", permit_mynetworks, ARGUMENT_NONE},
    {"permit_inet_interfaces", permit_inet_interfaces, ARGUMENT_NONE},
    {"permit_sasl_authenticated", permit_sasl_authenticated, ARGUMENT_NONE},
    {"permit_tls_clientcerts", permit_tls_clientcerts, ARGUMENT_NONE},
    {"permit_tls_all_clientcerts", permit_tls_all_clientcerts, ARGUMENT_NONE},
    {"reject_plaintext_session", reject_plaintext_session, ARGUMENT_NONE},
    {"permit_auth_destination", permit_auth_destination, ARGUMENT_NONE},
    {"reject_unauth_destination", reject_unauth_destination, ARGUMENT_NONE},
    {"defer_unauth_destination", defer_unauth_destination, ARGUMENT_NONE},
    {"reject_unauth_pipelining", reject_unauth_pipelining, ARGUMENT_NONE},

    {"reject_invalid_helo_hostname", reject_invalid_helo_hostname, ARGUMENT_NONE},
    {"reject_invalid_hostname", reject_invalid_helo_hostname, ARGUMENT_NONE},
    {"reject_non_fqdn_helo_hostname", reject_non_fqdn_helo_hostname, ARGUMENT_NONE},
    {"reject_non_fqdn_hostname", reject_non_fqdn_helo_hostname, ARGUMENT_NONE},
    {"reject_non_fqdn_sender", reject_non_fqdn_sender, ARGUMENT_NONE},
    {"reject_non_fqdn_recipient", reject_non_fqdn_recipient, ARGUMENT_NONE},
    {"reject_unlisted_recipient", reject_unlisted_recipient, ARGUMENT_NONE},
    {"check_recipient_maps", reject_unlisted_recipient, ARGUMENT_NONE},
    {"reject_unlisted_sender", reject_unlisted_sender, ARGUMENT_NONE},
    {"reject_unverified_recipient", reject_unverified_recipient, ARGUMENT_NONE},
    {"reject_unverified_sender", reject_unverified_sender, ARGUMENT_NONE},
    {"reject_sender_login_mismatch", reject_sender_login_mismatch, ARGUMENT_NONE},
    {"reject_known_sender_login_mismatch", reject_known_sender_login_mismatch, ARGUMENT_NONE},
    {"reject_authenticated_sender_login_mismatch", reject_authenticated_sender_login_mismatch, ARGUMENT_NONE},
    {"reject_unauthenticated_sender_login_mismatch", reject_unauthenticated_sender_login_mismatch, ARGUMENT_NONE},
    {"reject_multi_recipient_bounce", reject_multi_recipient_bounce, ARGUMENT_NONE},

    {"check_policy_service", check_policy_service, ARGUMENT_POLICY},

    {"reject_unknown_client_hostname", reject_unknown_client_hostname, ARGUMENT_NONE},
    {"reject_unknown_client", reject_unknown_client_hostname, ARGUMENT_NONE},
    {"reject_unknown_reverse_client_hostname", reject_unknown_reverse_client_hostname, ARGUMENT_NONE},
    {"reject_unknown_helo_hostname", reject_unknown_helo_hostname, ARGUMENT_NONE},
    {"reject_unknown_hostname", reject_unknown_helo_hostname, ARGUMENT_NONE},
    {"reject_unknown_sender_domain", reject_unknown_sender_domain, ARGUMENT_NONE},
    {"reject_unknown_address", reject_unknown_sender_domain, ARGUMENT_NONE},
    {"reject_unknown_recipient_domain", reject_unknown_recipient_domain, ARGUMENT_NONE},
    {"permit_mx_backup", permit_mx_backup, ARGUMENT_NONE},

    {"reject_rbl_client", reject_rbl_client, ARGUMENT_LIST, ask_address_list},
    {"reject_rbl", reject_rbl_client, ARGUMENT_LIST, ask_address_list},
    {"reject_rhsbl_client", reject_rhsbl_client, ARGUMENT_LIST, ask_client_list},
    {"reject_rhsbl_reverse_client", reject_rhsbl_reverse_client, ARGUMENT_LIST, ask_reverse_client_list},
    {"reject_rhsbl_helo", reject_rhsbl_helo, ARGUMENT_LIST, ask_helo_list},
    {"reject_rhsbl_sender", reject_rhsbl_sender, ARGUMENT_LIST, ask_sender_list},
    {"reject_rhsbl_recipient", reject_rhsbl_recipient, ARGUMENT_LIST, ask_recipient_list},
    {"permit_dnswl_client", permit_dnswl_client, ARGUMENT_LIST, ask_address_list},
    {"permit_rhswl_client", permit_rhswl_client, ARGUMENT_LIST, ask_client_list},

    {"check_client_a_access", check_client_a_access, ARGUMENT_TABLE},
    {"check_client_mx_access", check_client_mx_access, ARGUMENT_TABLE},
    {"check_client_ns_access", check_client_ns_access, ARGUMENT_TABLE},
    {"check_reverse_client_hostname_access", check_reverse_client_hostname_access, ARGUMENT_TABLE},
    {"check_reverse_client_hostname_a_access", check_reverse_client_a_access, ARGUMENT_TABLE},
    {"check_reverse_client_hostname_mx_access", check_reverse_client_mx_access, ARGUMENT_TABLE},
    {"check_reverse_client_hostname_ns_access", check_reverse_client_ns_access, ARGUMENT_TABLE},
    {"check_helo_a_access", check_helo_a_access, ARGUMENT_TABLE},
    {"check_helo_mx_access", check_helo_mx_access, ARGUMENT_TABLE},
    {"check_helo_ns_access", check_helo_ns_access, ARGUMENT_TABLE},
    {"check_sender_a_access", check_sender_a_access, ARGUMENT_TABLE},
    {"check_sender_mx_access", check_sender_mx_access, ARGUMENT_TABLE},
    {"check_sender_ns_access", check_sender_ns_access, ARGUMENT_TABLE},
    {"check_recipient_a_access", check_recipient_a_access, ARGUMENT_TABLE},
    {"check_recipient_mx_access", check_recipient_mx_access, ARGUMENT_TABLE},
    {"check_recipient_ns_access", check_recipient_ns_access, ARGUMENT_TABLE},

    {"check_client_access", check_client_access, ARGUMENT_TABLE},
    {"check_ccert_access", check_ccert_access, ARGUMENT_CCERT},
    {"check_sasl_access", check_sasl_access, ARGUMENT_TABLE},
    {"check_helo_access", check_helo_access, ARGUMENT_TABLE},
    {"check_sender_access", check_sender_access, ARGUMENT_TABLE},
    {"check_recipient_access", check_recipient_access, ARGUMENT_TABLE},
    {"check_etrn_access", check_etrn_access, ARGUMENT_TABLE},
};

/* Postfix had these until 3.8. */
static const struct {
    const char *name, *successor;
} removed[] = {
    {"permit_naked_ip_address", "\"permit_mynetworks\" or \"permit_sasl_authenticated\""},
    {"check_relay_domains", "\"permit_mynetworks\" and \"reject_unauth_destination\""},
    {"reject_maps_rbl", "\"reject_rbl_client\" with the name of each list"},
};

const Restriction *restriction_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(restrictions); i++)
        if (g_ascii_strcasecmp(restrictions[i].name, name) == 0)
            return &restrictions[i];
    return NULL;
}

const char *restriction_successor(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(removed); i++)
        if (g_ascii_strcasecmp(removed[i].name, name) == 0)
            return removed[i].successor;
    return NULL;
}
