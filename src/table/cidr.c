/* cidr.c - cidr: rules of networks (cidr_table(5)). A key that is no address matches nothing; a negated network matches
 * the other addresses of its own family. */
#include "base/log.h"
#include "table/backend.h"
#include "table/network.h"
#include "table/rules.h"

#include <string.h>

typedef struct {
    enum { CIDR_MATCH, CIDR_IF, CIDR_ENDIF } kind;
    bool negated;
    Network network;
    char *value; /* MATCH */
    int line;
    guint end; /* IF: index of the rule after the block */
} CidrRule;

typedef struct {
    const char *name;
    GArray *rules;
    RuleBlocks blocks;
} CidrReading;

static void clear_rule(void *rule)
{
    g_free(((CidrRule *)rule)->value);
}

static void warn_rule(const CidrReading *reading, int line, const char *why)
{
    log_warning("cidr map %s, line %d: %s: skipping this rule", reading->name, line, why);
}

static void read_endif(CidrReading *reading, const char *rest, int line)
{
    CidrRule rule = {.kind = CIDR_ENDIF, .line = line};
    guint begin;

    if (*rest) {
        warn_rule(reading, line, "garbage after ENDIF");
        return;
    }
    if (!rule_blocks_end(&reading->blocks, &begin)) {
        warn_rule(reading, line, "ENDIF without IF");
        return;
    }
    g_array_append_val(reading->rules, rule);
    g_array_index(reading->rules, CidrRule, begin).end = reading->rules->len;
}

static void read_network(CidrReading *reading, char *text, CidrRule rule)
{
    rule.negated = rule_negated(&text);
    size_t len = rule.kind == CIDR_IF ? strlen(text) : strcspn(text, " \t\r\n\v\f");
    g_autofree char *pattern = g_strndup(text, len);
    const char *value = g_strchug(text + len);
    g_autofree char *why = network_parse(pattern, &rule.network);

    if (!why && rule.kind == CIDR_MATCH && !*value)
        why = g_strdup("no lookup result");
    if (why) {
        warn_rule(reading, rule.line, why);
        return;
    }
    if (rule.kind == CIDR_IF)
        rule_blocks_begin(&reading->blocks, reading->rules->len);
    else
        rule.value = g_strdup(value);
    g_array_append_val(reading->rules, rule);
}

static void read_rule(void *context, char *text, int line)
{
    CidrReading *reading = context;

    if (rule_word(text, "endif"))
        read_endif(reading, g_strchug(text + strlen("endif")), line);
    else if (rule_word(text, "if"))
        read_network(reading, g_strchug(text + strlen("if")), (CidrRule){.kind = CIDR_IF, .line = line});
    else
        read_network(reading, text, (CidrRule){.kind = CIDR_MATCH, .line = line});
}

/* A block without an end reaches to the end of the table. */
static void close_blocks(CidrReading *reading)
{
    guint begin;

    while (rule_blocks_end(&reading->blocks, &begin)) {
        CidrRule *rule = &g_array_index(reading->rules, CidrRule, begin);
        log_warning("cidr map %s, line %d: IF has no matching ENDIF", reading->name, rule->line);
        rule->end = reading->rules->len;
    }
}

static bool cidr_open(Table *table, const char *name, GError **error)
{
    CidrReading reading = {.name = name, .rules = g_array_new(FALSE, TRUE, sizeof(CidrRule))};

    if (*name != '{')
        table_watch(table, name);
    g_array_set_clear_func(reading.rules, clear_rule);
    rule_blocks_init(&reading.blocks);
    bool ok = rules_read("cidr", name, read_rule, &reading, error);
    close_blocks(&reading);
    rule_blocks_clear(&reading.blocks);
    if (ok)
        table->data = reading.rules;
    else
        g_array_unref(reading.rules);
    return ok;
}

static bool rule_matches(const CidrRule *rule, const Network *address)
{
    return rule->network.family == address->family && network_contains(&rule->network, address) != rule->negated;
}

static TableResult cidr_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const GArray *rules = table->data;
    Network address;

    if (!network_parse_address(key, &address))
        return TABLE_ABSENT;
    for (guint i = 0; i < rules->len;) {
        const CidrRule *rule = &g_array_index(rules, CidrRule, i);
        bool matches = rule->kind != CIDR_ENDIF && rule_matches(rule, &address);
        if (rule->kind == CIDR_MATCH && matches) {
            *ret_value = g_strdup(rule->value);
            return TABLE_FOUND;
        }
        i = rule->kind == CIDR_IF && !matches ? rule->end : i + 1;
    }
    return TABLE_ABSENT;
}

static void cidr_free(void *data)
{
    g_array_unref(data);
}

const TableBackend table_cidr = {"cidr", false, true, cidr_open, cidr_lookup, cidr_free};
