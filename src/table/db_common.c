/* db_common.c - templates, domain filter, result format. */
#include "table/db_common.h"
#include "base/fail.h"
#include "base/log.h"
#include "table/match.h"

#include <string.h>

#define ANSWER_MAX (1024 * 1024) /* octets of all values together */
#define NESTING_MAX 10           /* tables whose domain parameter names a table, and so on */

/* ---- An address in its parts ---- */

typedef struct {
    const char *text;
    const char *domain; /* after the last '@'; NULL: there is no '@' */
    size_t user_len;
} Parts;

static Parts parts_of(const char *text)
{
    const char *at = strrchr(text, '@');

    return (Parts){.text = text, .domain = at ? at + 1 : NULL, .user_len = at ? (size_t)(at - text) : strlen(text)};
}

/* The number-th label of the domain from the right, from 1; empty ones do not count. NULL: there are not so many. */
static const char *label_at(const char *domain, int number, size_t *ret_len)
{
    const char *end = domain + strlen(domain);

    for (;;) {
        while (end > domain && end[-1] == '.')
            end--;
        if (end == domain)
            return NULL;
        const char *start = end;
        while (start > domain && start[-1] != '.')
            start--;
        if (--number == 0) {
            *ret_len = (size_t)(end - start);
            return start;
        }
        end = start;
    }
}

/* ---- Templates ---- */

typedef struct {
    bool user, domain;
    int labels;
} Needs;

struct DbTemplate {
    char *text;
    Needs of_key;
    Needs of_value; /* of a result format, whose small letters are about the value */
};

static void note_need(char letter, Needs *needs)
{
    switch (letter) {
    case 'u':
        needs->user = true;
        break;
    case 'd':
        needs->domain = true;
        break;
    default:
        break;
    }
}

static bool parse_template(DbTemplate *format, bool is_result)
{
    for (const char *at = strchr(format->text, '%'); at; at = strchr(at + 2, '%')) {
        char letter = at[1];
        if (letter == '\0' || !strchr("sudSUD%123456789", letter))
            return false;
        if (g_ascii_isdigit(letter))
            format->of_key.labels = MAX(format->of_key.labels, letter - '0');
        else if (is_result && g_ascii_islower(letter))
            note_need(letter, &format->of_value);
        else
            note_need(g_ascii_tolower(letter), &format->of_key);
    }
    return true;
}

static DbTemplate *new_template(const DbParams *params, const char *name, const char *text, bool is_result,
                                GError **error)
{
    g_autoptr(DbTemplate) format = g_new0(DbTemplate, 1);

    format->text = g_strdup(text);
    if (parse_template(format, is_result))
        return g_steal_pointer(&format);
    fail(error, "%s: Invalid %s template: %s", db_params_source(params), name, text);
    return NULL;
}

DbTemplate *db_template_new(const DbParams *params, const char *name, const char *text, GError **error)
{
    return new_template(params, name, text, false, error);
}

void db_template_free(DbTemplate *query)
{
    if (!query)
        return;
    g_free(query->text);
    g_free(query);
}

static bool satisfies(const Parts *parts, const Needs *needs)
{
    size_t len;

    if (needs->user && parts->user_len == 0)
        return false;
    if (needs->domain && (!parts->domain || !*parts->domain))
        return false;
    return needs->labels == 0 || (parts->domain && label_at(parts->domain, needs->labels, &len));
}

bool db_template_accepts(const DbTemplate *query, const char *key)
{
    Parts parts = parts_of(key);

    return satisfies(&parts, &query->of_key);
}

/* What letter stands for in these parts, which have it. The caller frees. */
static char *part_at(const Parts *parts, char letter)
{
    size_t len = 0;

    switch (letter) {
    case 's':
        return g_strdup(parts->text);
    case 'u':
        return g_strndup(parts->text, parts->user_len);
    case 'd':
        return g_strdup(parts->domain);
    default: {
        const char *label = label_at(parts->domain, letter - '0', &len);
        return g_strndup(label, len);
    }
    }
}

/* value: NULL in a query, where all letters are about the key. */
static GString *expand(const DbTemplate *format, const char *key, const char *value, DbQuote *quote, void *context,
                       GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    Parts of_key = parts_of(key);
    Parts of_value = parts_of(value ? value : key);

    for (const char *at = format->text; *at; at++) {
        if (*at != '%') {
            g_string_append_c(text, *at);
            continue;
        }
        if (*++at == '%') {
            g_string_append_c(text, '%');
            continue;
        }
        g_autofree char *part = part_at(g_ascii_islower(*at) ? &of_value : &of_key, g_ascii_tolower(*at));
        g_autofree char *quoted = quote ? quote(context, part, error) : g_steal_pointer(&part);
        if (!quoted)
            return NULL;
        g_string_append(text, quoted);
    }
    return g_steal_pointer(&text);
}

char *db_template_expand(const DbTemplate *query, const char *key, DbQuote *quote, void *context, GError **error)
{
    GString *text = expand(query, key, NULL, quote, context, error);

    return text ? g_string_free(text, FALSE) : NULL;
}

DbTemplate *db_template_new_sql(const DbParams *params, bool has_functions, GError **error)
{
    const char *query = db_params_get(params, "query");
    const char *function = has_functions ? db_params_get(params, "select_function") : NULL;
    g_autofree char *made = NULL;

    if ((!query || !*query) && function && *function)
        query = made = g_strdup_printf("SELECT %s('%%s')", function);
    if (!query || !*query) {
        const char *table = db_params_need(params, "table", NULL, error);
        const char *field = table ? db_params_need(params, "select_field", NULL, error) : NULL;
        const char *where = field ? db_params_need(params, "where_field", NULL, error) : NULL;
        const char *more = db_params_get(params, "additional_conditions");
        if (!where)
            return NULL;
        query = made = g_strdup_printf("SELECT %s FROM %s WHERE %s = '%%s' %s", field, table, where, more ? more : "");
    }
    return db_template_new(params, "query", query, error);
}

/* ---- Keys and results ---- */

struct DbRules {
    const char *spec;
    MatchList *domains; /* NULL: any key */
    DbTemplate *format;
    int limit; /* 0: none */
};

/* A table may, by mistake, name itself. */
static _Thread_local int nesting;

static MatchList *open_domains(const DbParams *params, const char *domains, GError **error)
{
    if (nesting >= NESTING_MAX) {
        fail(error, "%s: tables are nested too deeply", db_params_source(params));
        return NULL;
    }
    nesting++;
    MatchList *list = match_list_new("domain", domains, 0, error);
    nesting--;
    return list;
}

DbRules *db_rules_new(const DbParams *params, const char *spec, const char *format_name, GError **error)
{
    g_autoptr(DbRules) rules = g_new0(DbRules, 1);
    const char *format = db_params_need(params, format_name, "%s", error);
    const char *domains = db_params_get(params, "domain");

    rules->spec = spec;
    if (!format || !(rules->format = new_template(params, "result", format, true, error)) ||
        !db_params_int(params, "expansion_limit", 0, 0, &rules->limit, error))
        return NULL;
    if (domains && *domains && !(rules->domains = open_domains(params, domains, error)))
        return NULL;
    return g_steal_pointer(&rules);
}

void db_rules_free(DbRules *rules)
{
    if (!rules)
        return;
    match_list_free(rules->domains);
    db_template_free(rules->format);
    g_free(rules);
}

static TableResult match_domain_of(const DbRules *rules, const char *key, GError **error)
{
    Parts parts = parts_of(key);

    if (!rules->domains)
        return TABLE_FOUND;
    if (!parts.domain || parts.user_len == 0)
        return TABLE_ABSENT;
    switch (match_string(rules->domains, parts.domain)) {
    case MATCH_YES:
        return TABLE_FOUND;
    case MATCH_NO:
        return TABLE_ABSENT;
    default:
        fail(error, "%s 'domain' pattern match failed for '%.100s'", rules->spec, parts.domain);
        return TABLE_FAILED;
    }
}

TableResult db_rules_admit(const DbRules *rules, const DbTemplate *query, bool utf8, const char *key, GError **error)
{
    if (!*key || (utf8 && !g_utf8_validate(key, -1, NULL)))
        return TABLE_ABSENT;
    if (!db_template_accepts(query, key) || !db_template_accepts(rules->format, key))
        return TABLE_ABSENT;
    return match_domain_of(rules, key, error);
}

void db_answer_init(DbAnswer *answer, const DbRules *rules, const char *key)
{
    *answer = (DbAnswer){.rules = rules, .key = key, .text = g_string_new(NULL)};
}

void db_answer_clear(DbAnswer *answer)
{
    if (answer->text)
        g_string_free(g_steal_pointer(&answer->text), TRUE);
}

bool db_answer_add(DbAnswer *answer, const char *value, GError **error)
{
    const DbRules *rules = answer->rules;

    if (!value)
        return true;
    if (!*value) {
        log_warning("table \"%s\": empty lookup result for: \"%.100s\" -- ignored", rules->spec, answer->key);
        return true;
    }
    Parts parts = parts_of(value);
    if (!satisfies(&parts, &rules->format->of_value))
        return true;
    if (rules->limit > 0 && ++answer->count > rules->limit)
        return fail(error, "%s: Expansion limit exceeded for key: '%.100s'", rules->spec, answer->key);
    g_autoptr(GString) formatted = expand(rules->format, answer->key, value, NULL, NULL, NULL);
    if (answer->text->len + formatted->len > ANSWER_MAX)
        return fail(error, "%s: more than %d octets of results for key: '%.100s'", rules->spec, ANSWER_MAX,
                    answer->key);
    if (answer->text->len > 0)
        g_string_append_c(answer->text, ',');
    g_string_append_len(answer->text, formatted->str, (gssize)formatted->len);
    return true;
}

TableResult db_answer_end(DbAnswer *answer, char **ret_value)
{
    if (answer->text->len == 0)
        return TABLE_ABSENT;
    *ret_value = g_string_free(g_steal_pointer(&answer->text), FALSE);
    return TABLE_FOUND;
}
