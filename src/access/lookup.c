/* lookup.c - access tables: under which keys a client, name or address is looked for (access(5)). */
#include "access/private.h"
#include "mail/address.h"

#include <string.h>

/* One search: the table, what was found, and whether keys are only parts by now. */
typedef struct {
    Evaluation *evaluation;
    const Table *table;
    bool is_part, is_mail_address;
    TableResult result;
    char *key, *value;
} Search;

static void search_clear(Search *search)
{
    g_free(search->key);
    g_free(search->value);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Search, search_clear)

static void refuse_empty_value(Search *search)
{
    const char *table = table_spec(search->table);

    if (search->result != TABLE_FOUND || *search->value)
        return;
    note(search->evaluation, "warning: %s lookup of %s returns an empty string result", table, search->key);
    note(search->evaluation, "warning: %s should return NO RESULT in case of NOT FOUND", table);
    search->result = TABLE_FAILED;
}

/* Returns whether the search goes on. Mail addresses are folded here, for all tables, so that patterns see them folded,
 * too; names are not. */
static bool try_key(Search *search, const char *key)
{
    if (search->result != TABLE_ABSENT)
        return false;
    if (*key && !(search->is_part && table_takes_whole_keys(search->table))) {
        g_free(search->key);
        search->key = search->is_mail_address ? address_fold(key) : g_strdup(key);
        search->result = table_lookup(search->table, search->key, &search->value);
        refuse_empty_value(search);
    }
    search->is_part = true;
    return search->result == TABLE_ABSENT;
}

/* A name, then its parents: "example.com", or ".example.com" where parents do not stand for their subdomains. */
static void try_domain(Search *search, const char *domain)
{
    if (!try_key(search, domain))
        return;
    for (const char *dot = strchr(domain, '.'); dot; dot = strchr(dot + 1, '.'))
        if (!try_key(search, search->evaluation->access->parents_match ? dot + 1 : dot))
            return;
}

/* An address, then its networks at octets, or at colons. */
static void try_address(Search *search, const char *addr)
{
    g_autofree char *network = g_strdup(addr);
    char separator = strchr(addr, ':') ? ':' : '.';

    while (try_key(search, network)) {
        char *last = strrchr(network, separator);
        if (!last)
            return;
        *last = '\0';
    }
}

/* user+ext@dom, user@dom, dom and parents, user+ext@, user@. */
static void try_mail_address(Search *search, const char *address)
{
    const char *domain = address_domain(address);
    g_autofree char *local_part = address_local_part(address);
    const char *extension = address_extension(local_part, search->evaluation->access->delimiters);
    g_autofree char *user = extension ? g_strndup(local_part, (size_t)(extension - local_part) - 1) : NULL;
    g_autofree char *bare = user ? g_strdup_printf("%s@%s", user, domain ? domain : "") : NULL;
    g_autofree char *external = address_quote(address);

    search->is_mail_address = true;
    try_key(search, external);
    if (strcmp(external, address) != 0) {
        search->is_part = false;
        try_key(search, address);
    }
    if (bare && domain)
        try_key(search, bare);
    if (domain)
        try_domain(search, domain);
    g_autofree char *local_key = g_strconcat(local_part, "@", NULL);
    g_autofree char *user_key = user ? g_strconcat(user, "@", NULL) : NULL;
    try_key(search, local_key);
    if (user_key)
        try_key(search, user_key);
}

static Verdict finish(Search *search, const char *what, const char *class)
{
    Evaluation *evaluation = search->evaluation;

    if (search->result == TABLE_ABSENT)
        return VERDICT_NEXT;
    if (search->result == TABLE_FAILED) {
        g_autofree char *reply =
            g_strdup_printf("451 4.3.5 <%s>: %s rejected: Server configuration error", what, class);
        return refuse_for_trouble(evaluation, reply);
    }
    return apply_action(evaluation, &(Found){.table = table_spec(search->table),
                                             .key = search->key,
                                             .what = what,
                                             .class = class,
                                             .default_check = evaluation->subject.default_check,
                                             .value = search->value});
}

Verdict check_host_access(Evaluation *evaluation, const Table *table, const Host *host, bool *ret_found)
{
    g_auto(Search) search = {.evaluation = evaluation, .table = table};

    if (host->name)
        try_domain(&search, host->name);
    search.is_part = false;
    if (host->addr && search.result == TABLE_ABSENT)
        try_address(&search, host->addr);
    *ret_found = search.result != TABLE_ABSENT;
    return finish(&search, host->what, host->class);
}

Verdict check_client_access(Evaluation *evaluation, const Rule *rule)
{
    const AccessFacts *facts = evaluation->facts;
    bool found;

    return check_host_access(evaluation, rule->table,
                             &(Host){facts->client_name, facts->client_addr, evaluation->client, "Client host"},
                             &found);
}

static Verdict check_domain_access(Evaluation *evaluation, const Rule *rule, const char *domain, const char *class)
{
    g_auto(Search) search = {.evaluation = evaluation, .table = rule->table};

    if (!domain)
        return VERDICT_NEXT;
    try_domain(&search, domain);
    return finish(&search, domain, class);
}

Verdict check_ccert_access(Evaluation *evaluation, const Rule *rule)
{
    const TlsFacts *tls = evaluation->facts->tls;
    g_auto(Search) search = {.evaluation = evaluation, .table = rule->table};

    if (!tls || tls->peer == TLS_PEER_NONE)
        return VERDICT_NEXT;
    for (const char *what = rule->text; *what; what++) {
        search.is_part = false;
        try_key(&search, *what == SEARCH_CERT ? tls->cert_fingerprint : tls->key_fingerprint);
    }
    return finish(&search, tls->peer_name, "Client certificate");
}

Verdict check_sasl_access(Evaluation *evaluation, const Rule *rule)
{
    const char *login = evaluation->facts->sasl_enabled ? evaluation->facts->sasl_username : NULL;
    g_auto(Search) search = {.evaluation = evaluation, .table = rule->table};

    if (!login)
        return VERDICT_NEXT;
    try_key(&search, login);
    return finish(&search, login, "SASL login name");
}

Verdict check_helo_access(Evaluation *evaluation, const Rule *rule)
{
    return check_domain_access(evaluation, rule, evaluation->facts->helo, "Helo command");
}

Verdict check_etrn_access(Evaluation *evaluation, const Rule *rule)
{
    return check_domain_access(evaluation, rule, evaluation->facts->etrn_domain, "Etrn command");
}

Verdict check_sender_access(Evaluation *evaluation, const Rule *rule)
{
    g_auto(Search) search = {.evaluation = evaluation, .table = rule->table};

    if (!evaluation->facts->sender)
        return VERDICT_NEXT;
    if (*evaluation->facts->sender)
        try_mail_address(&search, evaluation->sender);
    else
        try_key(&search, evaluation->access->null_key);
    return finish(&search, evaluation->facts->sender, "Sender address");
}

Verdict check_recipient_access(Evaluation *evaluation, const Rule *rule)
{
    g_auto(Search) search = {.evaluation = evaluation, .table = rule->table};

    if (!evaluation->facts->recipient)
        return VERDICT_NEXT;
    try_mail_address(&search, evaluation->recipient);
    return finish(&search, evaluation->facts->recipient, "Recipient address");
}
