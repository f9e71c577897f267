/* list.c - restriction lists, compiled when the service starts, and those that access tables hold, when they are found.
 */
#include "access/private.h"
#include "base/fail.h"

#include <string.h>

static void clear_rule(void *data)
{
    Rule *rule = data;

    g_free(rule->word);
    g_free(rule->text);
    g_free(rule->problem);
    dns_list_free(rule->dns_list);
    table_free(rule->table);
    policy_service_free(rule->policy);
}

void list_free(List *list)
{
    if (!list)
        return;
    g_array_unref(list->rules);
    g_free(list);
}

typedef struct {
    const Access *access;
    const GPtrArray *words;
    guint next;
    bool in_table;
    List *list;
} Compiler;

static bool add_rule(Compiler *compiler, Rule rule)
{
    g_array_append_val(compiler->list->rules, rule);
    return true;
}

static bool add_problem(Compiler *compiler, const char *word, char *problem)
{
    return add_rule(compiler, (Rule){.word = g_strdup(word), .problem = problem});
}

/* text: of the rule; may be NULL. */
static bool add_table(Compiler *compiler, const Restriction *restriction, const char *spec, const char *text,
                      GError **error)
{
    Rule rule = {.word = g_strdup(restriction->name), .restriction = restriction, .table = table_open(spec, error)};

    if (rule.table) {
        rule.text = g_strdup(text);
        return add_rule(compiler, rule);
    }
    g_prefix_error(error, "restriction %s: ", restriction->name);
    g_free(rule.word);
    return false;
}

/* "{ search_order = pubkey_fingerprint, cert_fingerprint }" */
static bool read_search_order(const char *option, GString *ret_order, GError **error)
{
    g_autofree char *inside = config_inside_braces(option);
    g_auto(GStrv) parts = g_strsplit(inside ? inside : option, "=", 2);

    g_string_truncate(ret_order, 0);
    if (!parts[0] || !parts[1] || strcmp(g_strstrip(parts[0]), "search_order") != 0)
        return fail(error, "bad option: \"%s\": need search_order = name...", option);
    g_autoptr(GPtrArray) names = config_split(parts[1]);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        bool is_key = g_ascii_strcasecmp(name, "pubkey_fingerprint") == 0;
        if (!is_key && g_ascii_strcasecmp(name, "cert_fingerprint") != 0)
            return fail(error, "unknown search_order name: \"%s\"", name);
        g_string_append_c(ret_order, is_key ? SEARCH_KEY : SEARCH_CERT);
    }
    return names->len > 0 || fail(error, "empty search_order");
}

static bool add_ccert(Compiler *compiler, const Restriction *restriction, const char *argument, GError **error)
{
    g_autofree char *inside = config_inside_braces(argument);
    g_autoptr(GPtrArray) words = config_split(inside ? inside : argument);
    g_autoptr(GString) order = g_string_new((const char[]){SEARCH_CERT, SEARCH_KEY, '\0'});
    const char *spec = words->len > 0 ? g_ptr_array_index(words, 0) : "";

    for (guint i = 1; i < words->len; i++) {
        if (!read_search_order(g_ptr_array_index(words, i), order, error)) {
            g_prefix_error(error, "restriction %s: ", restriction->name);
            return false;
        }
    }
    return add_table(compiler, restriction, spec, order->str, error);
}

static bool add_policy(Compiler *compiler, const Restriction *restriction, const char *text, GError **error)
{
    if (!text)
        return add_problem(compiler, restriction->name, g_strdup(POLICY_ARGUMENT_MISSING));
    PolicyService *service = policy_service_new(text, compiler->access->config, error);
    if (service)
        return add_rule(compiler,
                        (Rule){.word = g_strdup(restriction->name), .restriction = restriction, .policy = service});
    g_prefix_error(error, "restriction %s: ", restriction->name);
    return false;
}

/* A table alone: what is looked up there depends on the list in which it is evaluated. */
static bool add_bare_table(Compiler *compiler, const char *spec, GError **error)
{
    Rule rule = {.table = table_open(spec, error)};

    rule.word = g_strdup(spec);
    if (rule.table)
        return add_rule(compiler, rule);
    g_free(rule.word);
    return false;
}

static const char *next_word(Compiler *compiler)
{
    return compiler->next < compiler->words->len ? g_ptr_array_index(compiler->words, compiler->next++) : NULL;
}

static bool add_dns_list(Compiler *compiler, const Restriction *restriction, const char *word, GError **error)
{
    Rule rule = {.word = g_strdup(word), .restriction = restriction};
    const char *argument = next_word(compiler);
    g_autoptr(GError) failure = NULL;

    rule.dns_list = argument ? dns_list_new(argument, &failure) : NULL;
    if (!failure)
        return add_rule(compiler, rule);
    g_free(rule.word);
    if (!compiler->in_table)
        return fail(error, "restriction %s: %s", word, failure->message);
    return add_problem(compiler, word, g_strdup_printf("restriction %s: %s", word, failure->message));
}

static bool add_restriction(Compiler *compiler, const Restriction *restriction, const char *word, GError **error)
{
    bool has_argument = restriction->argument == ARGUMENT_TABLE || restriction->argument == ARGUMENT_CCERT ||
                        restriction->argument == ARGUMENT_TEXT || restriction->argument == ARGUMENT_POLICY;
    const char *argument = has_argument ? next_word(compiler) : NULL;

    if (restriction->argument == ARGUMENT_POLICY)
        return add_policy(compiler, restriction, argument, error);
    if (restriction->argument == ARGUMENT_LIST)
        return add_dns_list(compiler, restriction, word, error);
    if (restriction->argument != ARGUMENT_TABLE && restriction->argument != ARGUMENT_CCERT)
        return add_rule(compiler,
                        (Rule){.word = g_strdup(word), .restriction = restriction, .text = g_strdup(argument)});
    if (!argument)
        argument = word;
    if (strchr(argument, ':'))
        return restriction->argument == ARGUMENT_CCERT ? add_ccert(compiler, restriction, argument, error)
                                                       : add_table(compiler, restriction, argument, NULL, error);
    return add_problem(
        compiler, word,
        g_strdup_printf("restriction %s: bad argument \"%s\": need maptype:mapname", restriction->name, argument));
}

static bool add_word(Compiler *compiler, const char *word, GError **error)
{
    const Restriction *restriction = restriction_find(word);
    const List *class = g_hash_table_lookup(compiler->access->classes, word);

    if (strchr(word, ':'))
        return add_bare_table(compiler, word, error);
    if (restriction)
        return add_restriction(compiler, restriction, word, error);
    if (class)
        return add_rule(compiler, (Rule){.word = g_strdup(word), .class = class});
    if (restriction_successor(word))
        return add_problem(compiler, word,
                           g_strdup_printf("support for restriction \"%s\" has been removed; instead, specify %s", word,
                                           restriction_successor(word)));
    return add_problem(compiler, word, g_strdup_printf("unknown smtpd restriction: \"%s\"", word));
}

List *list_new(void)
{
    List *list = g_new0(List, 1);

    list->rules = g_array_new(FALSE, FALSE, sizeof(Rule));
    g_array_set_clear_func(list->rules, clear_rule);
    return list;
}

bool list_compile(List *list, const Access *access, const char *text, bool in_table, GError **error)
{
    g_autoptr(GPtrArray) words = config_split(text);
    Compiler compiler = {.access = access, .words = words, .in_table = in_table, .list = list};

    while (compiler.next < words->len) {
        const char *word = g_ptr_array_index(words, compiler.next++);
        if (!add_word(&compiler, word, error))
            return false;
    }
    return true;
}
