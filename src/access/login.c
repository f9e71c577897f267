/* login.c - restrictions about who may use which sender address (SASL_README, smtpd_sender_login_maps). */
#include "access/private.h"
#include "mail/address.h"

#include <string.h>

static bool is_own_domain(const Evaluation *evaluation, const char *domain)
{
    return g_ascii_strcasecmp(domain, config_string(evaluation->access->config, "myorigin")) == 0 ||
           route_class(evaluation->access->route, evaluation->sender) == CLASS_LOCAL;
}

static TableResult find_owners_by(const Evaluation *evaluation, const char *address, char **ret_owners)
{
    g_autofree char *quoted = address_quote(address);
    g_autofree char *key = address_fold(quoted);

    return tables_lookup(evaluation->access->sender_logins, key, ret_owners);
}

/* Looks for joe+ext@example.com, joe@example.com, where the domain is ours joe+ext and joe, and @example.com. */
static TableResult find_owners(const Evaluation *evaluation, char **ret_owners)
{
    const char *domain = address_domain(evaluation->sender);
    g_autofree char *full = address_local_part(evaluation->sender);
    const char *extension = address_extension(full, evaluation->access->delimiters);
    g_autofree char *bare = extension ? g_strndup(full, (size_t)(extension - full) - 1) : NULL;
    const char *const names[] = {full, bare};
    TableResult result = TABLE_ABSENT;

    if (!domain)
        return find_owners_by(evaluation, evaluation->sender, ret_owners);
    for (size_t i = 0; i < G_N_ELEMENTS(names) && names[i] && result == TABLE_ABSENT; i++) {
        g_autofree char *address = g_strconcat(names[i], "@", domain, NULL);
        result = find_owners_by(evaluation, address, ret_owners);
    }
    bool is_own = result == TABLE_ABSENT && is_own_domain(evaluation, domain);
    for (size_t i = 0; is_own && i < G_N_ELEMENTS(names) && names[i] && result == TABLE_ABSENT; i++)
        result = find_owners_by(evaluation, names[i], ret_owners);
    if (result != TABLE_ABSENT)
        return result;
    g_autofree char *all = g_ascii_strdown(domain - 1, -1); /* with its '@' */
    return tables_lookup(evaluation->access->sender_logins, all, ret_owners);
}

static Verdict refuse_sender(Evaluation *evaluation, const char *text)
{
    return refuse(
        evaluation,
        &(Refusal){
            .code = 553, .dsn = "5.7.1", .what = evaluation->facts->sender, .class = "Sender address", .text = text});
}

enum { LOGGED_IN = 1, NOT_LOGGED_IN = 2, KNOWN_ADDRESSES = 4 }; /* whom, and which, a restriction is about */

static Verdict reject_mismatch(Evaluation *evaluation, const Rule *rule, unsigned about)
{
    const AccessFacts *facts = evaluation->facts;
    g_autofree char *owners = NULL;

    if (!facts->sasl_enabled)
        note(evaluation, "warning: restriction `%s' ignored: no SASL support", rule->word);
    if (!facts->sasl_enabled || !facts->sender || !*facts->sender ||
        !(about & (facts->sasl_username ? LOGGED_IN : NOT_LOGGED_IN)))
        return VERDICT_NEXT;
    TableResult result = find_owners(evaluation, &owners);
    if (result == TABLE_FAILED)
        return refuse_for_lookup(evaluation, facts->sender);
    if (!facts->sasl_username)
        return result == TABLE_FOUND ? refuse_sender(evaluation, "not logged in") : VERDICT_NEXT;
    if (result == TABLE_FOUND ? config_list_has(owners, facts->sasl_username) : (about & KNOWN_ADDRESSES) != 0)
        return VERDICT_NEXT;
    g_autofree char *text = g_strdup_printf("not owned by user %s", facts->sasl_username);
    return refuse_sender(evaluation, text);
}

Verdict reject_sender_login_mismatch(Evaluation *evaluation, const Rule *rule)
{
    return reject_mismatch(evaluation, rule, LOGGED_IN | NOT_LOGGED_IN);
}

Verdict reject_known_sender_login_mismatch(Evaluation *evaluation, const Rule *rule)
{
    return reject_mismatch(evaluation, rule, LOGGED_IN | NOT_LOGGED_IN | KNOWN_ADDRESSES);
}

Verdict reject_authenticated_sender_login_mismatch(Evaluation *evaluation, const Rule *rule)
{
    return reject_mismatch(evaluation, rule, LOGGED_IN);
}

Verdict reject_unauthenticated_sender_login_mismatch(Evaluation *evaluation, const Rule *rule)
{
    return reject_mismatch(evaluation, rule, NOT_LOGGED_IN);
}
