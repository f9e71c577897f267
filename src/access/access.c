/* access.c - the lists of a service, and which of them each SMTP command runs. */
#include "access/access.h"
#include "access/private.h"
#include "base/fail.h"

#include <string.h>

static const Subject about_client = {"Client host", "check_client_access"};
static const Subject about_helo = {"Helo command", "check_helo_access"};
static const Subject about_sender = {"Sender address", "check_sender_access"};
static const Subject about_recipient = {"Recipient address", "check_recipient_access"};
static const Subject about_etrn = {"Etrn command", "check_etrn_access"};
static const Subject about_data = {"Data command", NULL};
static const Subject about_end_of_data = {"End-of-data", NULL};

/* ---- Compiling ---- */

static void free_list(gpointer list)
{
    list_free(list);
}

/* All names first: classes may hold each other. */
static bool compile_classes(Access *access, const Config *config, GError **error)
{
    g_autoptr(GPtrArray) names = config_split(config_string(config, "smtpd_restriction_classes"));

    access->classes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_list);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        const char *text = config_lookup(config, name);
        if (!text || !*text)
            return fail(error, "restriction class `%s' needs a definition", name);
        g_hash_table_insert(access->classes, g_strdup(name), list_new());
    }
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        List *list = g_hash_table_lookup(access->classes, name);
        if (list->rules->len > 0) /* named twice */
            continue;
        if (!list_compile(list, access, config_lookup(config, name), false, error)) {
            g_prefix_error(error, "%s: ", name);
            return false;
        }
    }
    return true;
}

static bool compile(Access *access, const Config *config, const char *name, List **ret, GError **error)
{
    *ret = list_new();
    if (list_compile(*ret, access, config_string(config, name), false, error))
        return true;
    g_prefix_error(error, "%s: ", name);
    return false;
}

static bool compile_lists(Access *access, const Config *config, GError **error)
{
    return compile_classes(access, config, error) &&
           compile(access, config, "smtpd_client_restrictions", &access->client, error) &&
           compile(access, config, "smtpd_helo_restrictions", &access->helo, error) &&
           compile(access, config, "smtpd_sender_restrictions", &access->sender, error) &&
           compile(access, config, "smtpd_relay_restrictions", &access->relay, error) &&
           compile(access, config, "smtpd_recipient_restrictions", &access->recipient, error) &&
           compile(access, config, "smtpd_data_restrictions", &access->data, error) &&
           compile(access, config, "smtpd_end_of_data_restrictions", &access->end_of_data, error) &&
           compile(access, config, "smtpd_etrn_restrictions", &access->etrn, error);
}

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (g_ascii_strcasecmp(word, *words) == 0)
            return true;
    return false;
}

/* Whether something in the list keeps strangers from relaying through us. What only warns does not, nor what comes
 * after `permit`. */
static bool keeps_strangers_out(const List *list, int depth)
{
    static const char *const guards[] = {
        "reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit", NULL};

    for (guint i = 0; depth > 0 && i < list->rules->len; i++) {
        const Rule *rule = &g_array_index(list->rules, Rule, i);
        if (strcmp(rule->word, "warn_if_reject") == 0) {
            i++;
            continue;
        }
        if (strcmp(rule->word, "permit") == 0)
            return false;
        if (is_one_of(rule->word, guards) || (rule->class && keeps_strangers_out(rule->class, depth - 1)))
            return true;
    }
    return false;
}

#define CLASS_DEPTH_MAX 10

static bool check_relaying(const Access *access, GError **error)
{
    if (keeps_strangers_out(access->relay, CLASS_DEPTH_MAX) || keeps_strangers_out(access->recipient, CLASS_DEPTH_MAX))
        return true;
    return fail(error, "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one "
                       "working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, "
                       "defer_if_permit or check_relay_domains");
}

static bool lists_word(const Config *config, const char *name, const char *word)
{
    g_autoptr(GPtrArray) words = config_split(config_string(config, name));

    return g_ptr_array_find_with_equal_func(words, word, g_str_equal, NULL);
}

static bool is_defer(const Config *config, const char *name)
{
    return g_str_equal(config_string(config, name), "defer");
}

static bool uses_protocol(const Config *config, const char *protocol)
{
    return lists_word(config, "inet_protocols", "all") || lists_word(config, "inet_protocols", protocol);
}

static void read_settings(Access *access, const Config *config)
{
    access->delay_reject = config_bool(config, "smtpd_delay_reject");
    access->relay_first = config_bool(config, "smtpd_relay_before_recipient_restrictions");
    access->allow_routing = config_bool(config, "allow_untrusted_routing");
    access->check_senders = config_bool(config, "smtpd_reject_unlisted_sender");
    access->anybody_exists = lists_word(config, "receive_override_options", "no_unknown_recipient_checks");
    access->check_recipients = config_bool(config, "smtpd_reject_unlisted_recipient") && !access->anybody_exists;
    access->parents_match = lists_word(config, "parent_domain_matches_subdomains", "smtpd_access_maps");
    access->delimiters = g_strdup(config_string(config, "recipient_delimiter"));
    access->null_key = g_strdup(config_string(config, "smtpd_null_access_lookup_key"));
    access->reject_code = config_int(config, "reject_code");
    access->defer_code = config_int(config, "defer_code");
    access->map_reject_code = config_int(config, "access_map_reject_code");
    access->map_defer_code = config_int(config, "access_map_defer_code");
    access->relay_code = config_int(config, "relay_domains_reject_code");
    access->invalid_code = config_int(config, "invalid_hostname_reject_code");
    access->non_fqdn_code = config_int(config, "non_fqdn_reject_code");
    access->multi_bounce_code = config_int(config, "multi_recipient_bounce_reject_code");
    unverified_read(access, config);
    access->unknown_client_code = config_int(config, "unknown_client_reject_code");
    access->unknown_hostname_code = config_int(config, "unknown_hostname_reject_code");
    access->unknown_address_code = config_int(config, "unknown_address_reject_code");
    access->rbl_code = config_int(config, "maps_rbl_reject_code");
    access->defer_unknown_hostname = is_defer(config, "unknown_helo_hostname_tempfail_action");
    access->defer_unknown_address = is_defer(config, "unknown_address_tempfail_action");
    access->ipv4 = uses_protocol(config, "ipv4");
    access->ipv6 = uses_protocol(config, "ipv6");
    access->rbl_reply = g_strdup(config_string(config, "default_rbl_reply"));
    access->expansion_filter = g_strdup(config_string(config, "smtpd_expansion_filter"));
    access->hostname = g_strdup(config_string(config, "myhostname"));
    access->mx_backup_anywhere = *config_string(config, "permit_mx_backup_networks") == '\0';
}

Access *access_new(const Config *config, const Route *route, GError **error)
{
    g_autoptr(Access) access = g_new0(Access, 1);
    unsigned flags = lists_word(config, "parent_domain_matches_subdomains", "mynetworks") ? MATCH_PARENT : 0;

    access->config = config;
    access->route = route;
    read_settings(access, config);
    access->mynetworks = match_list_new("mynetworks", config_string(config, "mynetworks"), flags, error);
    access->mx_backup_networks = match_list_new(
        "permit_mx_backup_networks", config_string(config, "permit_mx_backup_networks"),
        lists_word(config, "parent_domain_matches_subdomains", "permit_mx_backup_networks") ? MATCH_PARENT : 0, error);
    access->permit_log = match_list_new("smtpd_log_access_permit_actions",
                                        config_string(config, "smtpd_log_access_permit_actions"), 0, error);
    if (!access->mynetworks || !access->mx_backup_networks || !access->permit_log)
        return NULL;
    access->rbl_replies = tables_open(config_string(config, "rbl_reply_maps"), error);
    access->clientcerts = tables_open(config_string(config, "relay_clientcerts"), error);
    access->sender_logins = tables_open(config_string(config, "smtpd_sender_login_maps"), error);
    if (!access->rbl_replies || !access->clientcerts || !access->sender_logins ||
        !compile_lists(access, config, error) || !check_relaying(access, error))
        return NULL;
    return g_steal_pointer(&access);
}

enum { LISTS = 8 };

static void lists_of(const Access *access, List *ret_lists[LISTS])
{
    List *const lists[LISTS] = {access->client,    access->helo, access->sender,      access->relay,
                                access->recipient, access->data, access->end_of_data, access->etrn};

    memcpy(ret_lists, lists, sizeof lists);
}

static bool list_blocks(const List *list)
{
    bool blocks = false;

    for (guint i = 0; list && i < list->rules->len; i++) {
        const Rule *rule = &g_array_index(list->rules, Rule, i);
        blocks |= rule->table && table_blocks(rule->table);
    }
    return blocks;
}

bool access_blocks(const Access *access)
{
    List *lists[LISTS];
    GHashTableIter classes;
    gpointer class;
    bool blocks = match_list_blocks(access->mynetworks) || match_list_blocks(access->mx_backup_networks) ||
                  match_list_blocks(access->permit_log) || tables_block(access->rbl_replies) ||
                  tables_block(access->clientcerts) || tables_block(access->sender_logins) ||
                  route_blocks(access->route);

    lists_of(access, lists);
    for (size_t i = 0; i < LISTS; i++)
        blocks |= list_blocks(lists[i]);
    g_hash_table_iter_init(&classes, access->classes);
    while (g_hash_table_iter_next(&classes, NULL, &class))
        blocks |= list_blocks(class);
    return blocks;
}

static bool list_may_probe(const List *list)
{
    bool may = false;

    for (guint i = 0; list && i < list->rules->len; i++) {
        const Rule *rule = &g_array_index(list->rules, Rule, i);
        RestrictionFunc *function = rule->restriction ? rule->restriction->function : NULL;
        may |= rule->table || rule->text || rule->policy || function == reject_unverified_recipient ||
               function == reject_unverified_sender;
    }
    return may;
}

bool access_may_probe(const Access *access)
{
    List *lists[LISTS];
    GHashTableIter classes;
    gpointer class;
    bool may = false;

    lists_of(access, lists);
    for (size_t i = 0; i < LISTS; i++)
        may |= list_may_probe(lists[i]);
    g_hash_table_iter_init(&classes, access->classes);
    while (g_hash_table_iter_next(&classes, NULL, &class))
        may |= list_may_probe(class);
    return may;
}

void access_free(Access *access)
{
    List *lists[LISTS];

    if (!access)
        return;
    lists_of(access, lists);
    for (size_t i = 0; i < LISTS; i++)
        list_free(lists[i]);
    g_clear_pointer(&access->classes, g_hash_table_unref);
    match_list_free(access->mynetworks);
    match_list_free(access->mx_backup_networks);
    tables_free(access->rbl_replies);
    tables_free(access->clientcerts);
    tables_free(access->sender_logins);
    g_free(access->rbl_reply);
    g_free(access->expansion_filter);
    g_free(access->hostname);
    match_list_free(access->permit_log);
    g_free(access->delimiters);
    g_free(access->null_key);
    g_free(access->unverified_sender.reason);
    g_free(access->unverified_recipient.reason);
    g_free(access);
}

/* ---- Running ---- */

static Verdict run(Evaluation *evaluation, const List *list, const Subject *subject, const char *what)
{
    evaluation->subject = *subject;
    evaluation->what = what;
    evaluation->warn_if_reject = 0;
    return evaluate_list(evaluation, list);
}

/* The lists of one SMTP command: what one of them says about a later reject does not reach those of the next. */
static Verdict run_group(Evaluation *evaluation, const List *list, const Subject *subject, const char *what)
{
    g_clear_pointer(&evaluation->defer_if_reject, g_free);
    return what ? run(evaluation, list, subject, what) : VERDICT_NEXT;
}

static Verdict check_client(Evaluation *evaluation)
{
    return run_group(evaluation, evaluation->access->client, &about_client, evaluation->client);
}

static Verdict check_helo(Evaluation *evaluation)
{
    return run_group(evaluation, evaluation->access->helo, &about_helo, evaluation->facts->helo);
}

/* Whether a restriction of this name is asked for beyond what lists say. */
static Verdict run_implicit(Evaluation *evaluation, const char *name, const Subject *subject, const char *what)
{
    evaluation->subject = *subject;
    evaluation->what = what;
    evaluation->warn_if_reject = 0;
    return evaluation->decision->discard ? VERDICT_NEXT : restriction_find(name)->function(evaluation, NULL);
}

static Verdict check_sender(Evaluation *evaluation)
{
    const char *sender = evaluation->facts->sender;
    Verdict verdict = run_group(evaluation, evaluation->access->sender, &about_sender, sender);

    if (ends_all(verdict) || !evaluation->access->check_senders || evaluation->sender_checked)
        return verdict;
    return run_implicit(evaluation, "reject_unlisted_sender", &about_sender, sender);
}

/* At RCPT all at once. */
static Verdict check_earlier(Evaluation *evaluation)
{
    Verdict verdict = check_client(evaluation);

    if (!ends_all(verdict))
        verdict = check_helo(evaluation);
    return ends_all(verdict) ? verdict : check_sender(evaluation);
}

static Verdict check_recipient_lists(Evaluation *evaluation)
{
    const Access *access = evaluation->access;
    const char *recipient = evaluation->facts->recipient;
    const List *first = access->relay_first ? access->relay : access->recipient;
    const List *second = access->relay_first ? access->recipient : access->relay;
    Verdict verdict = run_group(evaluation, first, &about_recipient, recipient);

    return ends_all(verdict) ? verdict : run(evaluation, second, &about_recipient, recipient);
}

/* When all lists have permitted what one of them was not sure about. */
static Verdict settle_deferral(Evaluation *evaluation)
{
    if (!evaluation->defer_if_permit)
        return VERDICT_NEXT;
    evaluation->warn_if_reject = 0;
    return refuse_with(evaluation, evaluation->defer_if_permit);
}

/* Mail for a transport that nobody runs yet would wait in the queue until it is returned: better that the client keeps
 * it. */
static Verdict check_deliverable(Evaluation *evaluation)
{
    const Route *route = evaluation->access->route;
    g_autofree char *transport = NULL;
    g_autofree char *nexthop = NULL;

    if (evaluation->facts->behind_proxy_filter || evaluation->decision->discard ||
        route_class(route, evaluation->recipient) != CLASS_LOCAL || route_is_mapped(route, evaluation->recipient))
        return VERDICT_NEXT;
    if (!route_resolve(route, evaluation->sender, evaluation->recipient, &transport, &nexthop))
        return refuse_for_lookup(evaluation, evaluation->facts->recipient);
    if (strcmp(transport, "local") != 0)
        return VERDICT_NEXT;
    return refuse(evaluation, &(Refusal){.code = 450,
                                         .dsn = "4.3.0",
                                         .what = evaluation->facts->recipient,
                                         .class = about_recipient.class,
                                         .text = "local delivery is not available"});
}

static Verdict check_recipient(Evaluation *evaluation)
{
    const Access *access = evaluation->access;
    const char *recipient = evaluation->facts->recipient;

    if (!recipient)
        return VERDICT_NEXT;
    if (g_ascii_strcasecmp(recipient, "postmaster") == 0)
        return check_deliverable(evaluation);
    if (route_is_probe_sender(access->route, recipient)) /* whom we probe may probe that in turn */
        return VERDICT_NEXT;
    Verdict verdict = access->delay_reject ? check_earlier(evaluation) : VERDICT_NEXT;
    if (!ends_all(verdict))
        verdict = check_recipient_lists(evaluation);
    if (!ends_all(verdict))
        verdict = settle_deferral(evaluation);
    if (!ends_all(verdict) && access->check_recipients && !evaluation->recipient_checked)
        verdict = run_implicit(evaluation, "reject_unlisted_recipient", &about_recipient, recipient);
    return ends_all(verdict) ? verdict : check_deliverable(evaluation);
}

static Verdict check_etrn(Evaluation *evaluation)
{
    Verdict verdict = VERDICT_NEXT;

    if (evaluation->access->delay_reject) {
        verdict = check_client(evaluation);
        if (!ends_all(verdict))
            verdict = check_helo(evaluation);
    }
    if (!ends_all(verdict))
        verdict = run_group(evaluation, evaluation->access->etrn, &about_etrn, evaluation->facts->etrn_domain);
    return ends_all(verdict) ? verdict : settle_deferral(evaluation);
}

static Verdict check_content(Evaluation *evaluation, const List *list, const Subject *subject, const char *what)
{
    Verdict verdict = run_group(evaluation, list, subject, what);

    return ends_all(verdict) ? verdict : settle_deferral(evaluation);
}

static Verdict check_stage(Evaluation *evaluation, AccessStage stage)
{
    const Access *access = evaluation->access;

    switch (stage) {
    case ACCESS_CONNECT:
        return access->delay_reject ? VERDICT_NEXT : check_client(evaluation);
    case ACCESS_HELO:
        return access->delay_reject ? VERDICT_NEXT : check_helo(evaluation);
    case ACCESS_MAIL:
        return access->delay_reject ? VERDICT_NEXT : check_sender(evaluation);
    case ACCESS_RCPT:
    case ACCESS_VRFY:
        return check_recipient(evaluation);
    case ACCESS_ETRN:
        return check_etrn(evaluation);
    case ACCESS_DATA:
        return check_content(evaluation, access->data, &about_data, "DATA");
    case ACCESS_END_OF_DATA:
        return check_content(evaluation, access->end_of_data, &about_end_of_data, "END-OF-MESSAGE");
    }
    g_assert_not_reached();
}

/* With smtpd_delay_reject=no: what a stage before this one was not sure about, though it said yes. Each began with what
 * there was before it. */
static const char *earlier_doubt(const AccessFacts *facts, AccessStage stage)
{
    static const int before[] = {
        [ACCESS_CONNECT] = -1,       [ACCESS_HELO] = ACCESS_CONNECT, [ACCESS_MAIL] = ACCESS_HELO,
        [ACCESS_RCPT] = ACCESS_MAIL, [ACCESS_VRFY] = ACCESS_MAIL,    [ACCESS_ETRN] = ACCESS_HELO,
        [ACCESS_DATA] = -1,          [ACCESS_END_OF_DATA] = -1,
    };

    for (int i = facts->doubts ? before[stage] : -1; i >= 0; i--)
        if (facts->doubts[i] && (i != ACCESS_MAIL || facts->sender))
            return facts->doubts[i];
    return NULL;
}

/* Where an address leads; "" for the null sender, NULL for none. */
static char *follow(const Access *access, const char *address)
{
    return address ? route_destination(access->route, address) : NULL;
}

Decision *access_check(const Access *access, AccessStage stage, const AccessFacts *facts)
{
    Decision *decision = decision_new();
    Evaluation evaluation = {.access = access, .facts = facts, .decision = decision};

    decision->stage = stage;
    if (facts->discarded)
        return decision;
    evaluation.sender = follow(access, facts->sender);
    evaluation.recipient = follow(access, facts->recipient);
    evaluation.client = access_client(facts);
    evaluation.defer_if_permit = g_strdup(earlier_doubt(facts, stage));
    if (check_stage(&evaluation, stage) == VERDICT_NEED)
        decision->kind = DECISION_NEED;
    g_free(evaluation.sender);
    g_free(evaluation.recipient);
    g_free(evaluation.client);
    if (stage < ACCESS_DOUBTS)
        decision->doubt = g_steal_pointer(&evaluation.defer_if_permit);
    g_free(evaluation.defer_if_permit);
    g_free(evaluation.defer_if_reject);
    return decision;
}
