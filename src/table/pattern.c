/* pattern.c - regexp: and pcre: rules of patterns (regexp_table(5), pcre_table(5)), both matched by PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/fail.h"
#include "base/log.h"
#include "table/backend.h"
#include "table/literals.h"
#include "table/posix.h"
#include "table/rules.h"
#include "table/template.h"

#include <pcre2.h>
#include <string.h>

/* What one match may cost: keys come from strangers, and a pattern may be of the kind that backtracks without end. */
#define MATCH_STEPS_MAX 1000000
#define MATCH_HEAP_MAX_KB 4096

typedef struct {
    enum { PATTERN_MATCH, PATTERN_IF, PATTERN_ENDIF } kind;
    bool negated;
    pcre2_code *code;
    GPtrArray *literals; /* of the expression, until the index has them; NULL: none */
    Template *value;     /* MATCH */
    int line;
    guint end; /* IF: index of the rule after the block */
} PatternRule;

typedef struct {
    char *name;
    GArray *rules;
    uint32_t groups_max;
    LiteralIndex *literals; /* by rule */
    pcre2_match_context *limits;
} Patterns;

typedef struct {
    Patterns *patterns;
    bool posix;
    RuleBlocks blocks;
} PatternReading;

static const char *type_name(bool posix)
{
    return posix ? "regexp" : "pcre";
}

G_GNUC_PRINTF(3, 4) static void warn_rule(const PatternReading *reading, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *why = g_strdup_vprintf(format, args);
    va_end(args);
    log_warning("%s map %s, line %d: %s", type_name(reading->posix), reading->patterns->name, line, why);
}

static void clear_rule(void *data)
{
    PatternRule *rule = data;

    pcre2_code_free(rule->code);
    if (rule->literals)
        g_ptr_array_unref(rule->literals);
    template_free(rule->value);
}

/* The options that a rule's letters toggle, beginning with the type's own. '\0' ends. */
typedef struct {
    char letter;
    uint32_t options;
} Flag;

static const Flag pcre_flags[] = {
    {'i', PCRE2_CASELESS},
    {'m', PCRE2_MULTILINE},
    {'s', PCRE2_DOTALL},
    {'x', PCRE2_EXTENDED},
    {'A', PCRE2_ANCHORED},
    {'U', PCRE2_UNGREEDY},
    {'E', PCRE2_DOLLAR_ENDONLY},
    {'X', 0},
    {'\0', 0},
};

/* 'x' chooses between extended and basic: no option of PCRE2, see compile(). */
#define POSIX_LINES (PCRE2_MULTILINE | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY)
static const Flag posix_flags[] = {{'i', PCRE2_CASELESS}, {'m', POSIX_LINES}, {'x', 0}, {'\0', 0}};

typedef struct {
    char *pattern; /* between the delimiters */
    uint32_t options;
    bool extended;
} Expression;

/* Reads "/pattern/flags" from *text and moves it behind. False: logged. */
static bool read_expression(const PatternReading *reading, char **text, int line, Expression *ret)
{
    char delimiter = **text;
    char *end;

    for (end = *text + 1; *end && *end != delimiter; end++)
        if (*end == '\\' && end[1])
            end++;
    if (!*end) {
        warn_rule(reading, line, "no closing regexp delimiter \"%c\": %s this rule", delimiter,
                  reading->posix ? "skipping" : "ignoring");
        return false;
    }
    *end = '\0';
    ret->pattern = *text + 1;
    ret->options = PCRE2_CASELESS | PCRE2_DOTALL | (reading->posix ? PCRE2_DOLLAR_ENDONLY : 0);
    ret->extended = true;
    for (end++; *end && !g_ascii_isspace(*end) && *end != '!'; end++) {
        const Flag *flag = reading->posix ? posix_flags : pcre_flags;
        while (flag->letter && flag->letter != *end)
            flag++;
        if (!flag->letter) {
            warn_rule(reading, line, "unknown regexp option \"%c\": skipping this rule", *end);
            return false;
        }
        ret->options ^= flag->options;
        if (*end == 'x')
            ret->extended = false;
    }
    *text = g_strchug(end);
    return true;
}

static bool is_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 0x80)
        text++;
    return !*text;
}

/* False: logged. */
static bool compile(const PatternReading *reading, const Expression *expression, int line, PatternRule *ret)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *translated = NULL;
    const char *pattern = expression->pattern;
    uint32_t options = expression->options;
    PCRE2_SIZE offset;
    int code;

    if (reading->posix) {
        pattern = translated = posix_to_pcre(pattern, expression->extended, &error);
        if (!translated) {
            warn_rule(reading, line, "%s", error->message);
            return false;
        }
    }
    if (!is_ascii(pattern) && g_utf8_validate(pattern, -1, NULL))
        options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &offset, NULL);
    if (!compiled) {
        char why[256];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        warn_rule(reading, line, "error in regex at offset %zu: %s", (size_t)offset, why);
        return false;
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without it, matching is slower and no different */
    if ((options & (PCRE2_UTF | PCRE2_EXTENDED)) == 0)
        ret->literals = literals_of(pattern);
    ret->code = compiled;
    return true;
}

static uint32_t group_count(const pcre2_code *code)
{
    uint32_t count = 0;

    pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &count);
    return count;
}

static void add_rule(PatternReading *reading, PatternRule *rule)
{
    g_array_append_val(reading->patterns->rules, *rule);
}

static void read_endif(PatternReading *reading, const char *rest, int line)
{
    PatternRule rule = {.kind = PATTERN_ENDIF, .line = line};
    guint begin;

    if (!rule_blocks_end(&reading->blocks, &begin)) {
        warn_rule(reading, line, "ignoring ENDIF without matching IF");
        return;
    }
    if (*rest)
        warn_rule(reading, line, "ignoring extra text after ENDIF");
    add_rule(reading, &rule);
    g_array_index(reading->patterns->rules, PatternRule, begin).end = reading->patterns->rules->len;
}

static void read_if(PatternReading *reading, char *text, int line)
{
    PatternRule rule = {.kind = PATTERN_IF, .line = line};
    Expression expression;

    rule.negated = rule_negated(&text);
    if (!*text || g_ascii_isalnum(*text)) {
        warn_rule(reading, line, "ignoring invalid IF statement");
        return;
    }
    if (!read_expression(reading, &text, line, &expression))
        return;
    if (*text) {
        warn_rule(reading, line, "ignoring extra text after IF statement: \"%s\"", text);
        warn_rule(reading, line, "do not prepend whitespace to statements between IF and ENDIF");
    }
    if (!compile(reading, &expression, line, &rule))
        return;
    rule_blocks_begin(&reading->blocks, reading->patterns->rules->len);
    add_rule(reading, &rule);
}

/* Whether the pattern has the groups that the value names. False: logged. */
static bool value_fits(const PatternReading *reading, const PatternRule *rule)
{
    unsigned groups = template_groups(rule->value);

    if (rule->negated && groups > 0)
        warn_rule(reading, rule->line, "$number found in negative match replacement text: skipping this rule");
    else if (groups > group_count(rule->code))
        warn_rule(reading, rule->line, "out of range replacement index \"%u\": skipping this rule", groups);
    else
        return true;
    return false;
}

static void read_match(PatternReading *reading, char *text, int line)
{
    PatternRule rule = {.kind = PATTERN_MATCH, .line = line};
    g_autoptr(GError) error = NULL;
    Expression expression;

    rule.negated = rule_negated(&text);
    if (!*text || g_ascii_isalnum(*text)) {
        warn_rule(reading, line, "ignoring unrecognized request");
        return;
    }
    if (!read_expression(reading, &text, line, &expression))
        return;
    if (!*text)
        warn_rule(reading, line, "no replacement text: using empty string");
    rule.value = template_parse(text, &error);
    if (!rule.value) {
        warn_rule(reading, line, "%s", error->message);
        warn_rule(reading, line, "bad replacement syntax: skipping this rule");
        return;
    }
    if (compile(reading, &expression, line, &rule) && value_fits(reading, &rule))
        add_rule(reading, &rule);
    else
        clear_rule(&rule);
}

static void read_rule(void *context, char *text, int line)
{
    PatternReading *reading = context;

    if (rule_word(text, "endif"))
        read_endif(reading, g_strchug(text + strlen("endif")), line);
    else if (rule_word(text, "if"))
        read_if(reading, g_strchug(text + strlen("if")), line);
    else
        read_match(reading, text, line);
}

/* A block without an end reaches to the end of the table. */
static void close_blocks(PatternReading *reading)
{
    GArray *rules = reading->patterns->rules;
    guint begin;

    while (rule_blocks_end(&reading->blocks, &begin)) {
        PatternRule *rule = &g_array_index(rules, PatternRule, begin);
        warn_rule(reading, rule->line, "IF has no matching ENDIF");
        rule->end = rules->len;
    }
}

/* What each lookup needs to know of all rules. */
static void prepare_lookups(Patterns *patterns)
{
    g_autoptr(GPtrArray) none = g_ptr_array_new();

    patterns->literals = literal_index_new();
    for (guint i = 0; i < patterns->rules->len; i++) {
        PatternRule *rule = &g_array_index(patterns->rules, PatternRule, i);
        literal_index_add(patterns->literals, rule->literals ? rule->literals : none);
        g_clear_pointer(&rule->literals, g_ptr_array_unref);
        if (rule->code)
            patterns->groups_max = MAX(patterns->groups_max, group_count(rule->code));
    }
    literal_index_finish(patterns->literals);
    if (!literal_index_is_useful(patterns->literals))
        literal_index_free(g_steal_pointer(&patterns->literals));
}

static void patterns_free(void *data)
{
    Patterns *patterns = data;

    g_free(patterns->name);
    literal_index_free(patterns->literals);
    g_array_unref(patterns->rules);
    pcre2_match_context_free(patterns->limits);
    g_free(patterns);
}

static bool patterns_open(Table *table, const char *name, bool posix, GError **error)
{
    Patterns *patterns = g_new0(Patterns, 1);
    PatternReading reading = {.patterns = patterns, .posix = posix};

    patterns->name = g_strdup(name);
    patterns->rules = g_array_new(FALSE, TRUE, sizeof(PatternRule));
    g_array_set_clear_func(patterns->rules, clear_rule);
    patterns->limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(patterns->limits, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(patterns->limits, MATCH_HEAP_MAX_KB);
    table->data = patterns;
    if (*name != '{')
        table_watch(table, name);
    rule_blocks_init(&reading.blocks);
    bool ok = rules_read(type_name(posix), name, read_rule, &reading, error);
    close_blocks(&reading);
    prepare_lookups(patterns);
    rule_blocks_clear(&reading.blocks);
    return ok;
}

static bool regexp_open(Table *table, const char *name, GError **error)
{
    return patterns_open(table, name, true, error);
}

static bool pcre_open(Table *table, const char *name, GError **error)
{
    return patterns_open(table, name, false, error);
}

/* One lookup. */
typedef struct {
    const Patterns *patterns;
    const char *key;
    size_t len;
    bool *may_match;         /* by rule; NULL: all may */
    pcre2_match_data *found; /* NULL: not needed yet */
} Lookup;

/* Returns the number of groups set, 0 for no match, below that an error of PCRE2. A negated rule matches without
 * groups. */
static int match_rule(Lookup *lookup, guint index)
{
    const PatternRule *rule = &g_array_index(lookup->patterns->rules, PatternRule, index);
    int groups = PCRE2_ERROR_NOMATCH;

    if (!lookup->may_match || lookup->may_match[index]) {
        if (!lookup->found)
            lookup->found = pcre2_match_data_create(lookup->patterns->groups_max + 1, NULL);
        groups = pcre2_match(rule->code, (PCRE2_SPTR)lookup->key, lookup->len, 0, 0, lookup->found,
                             lookup->patterns->limits);
    }
    if (groups < 0 && groups != PCRE2_ERROR_NOMATCH)
        return groups;
    if (rule->negated)
        return groups == PCRE2_ERROR_NOMATCH;
    return groups == PCRE2_ERROR_NOMATCH ? 0 : groups;
}

static TableResult fail_match(const Table *table, const PatternRule *rule, int code, GError **error)
{
    const Patterns *patterns = table->data;
    char why[256];

    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
    fail(error, "%s map %s, line %d: %s", table->backend->type, patterns->name, rule->line, why);
    return TABLE_FAILED;
}

static char *expand_value(const PatternRule *rule, const char *key, pcre2_match_data *found, int groups)
{
    /* A negated rule may match without having been tried; its value names no groups. */
    const size_t *offsets = found ? pcre2_get_ovector_pointer(found) : NULL;

    return template_expand(rule->value, key, offsets, (unsigned)groups);
}

static TableResult try_rules(const Table *table, Lookup *lookup, char **ret_value, GError **error)
{
    const GArray *rules = lookup->patterns->rules;

    for (guint i = 0; i < rules->len;) {
        guint index = i++;
        const PatternRule *rule = &g_array_index(rules, PatternRule, index);
        if (rule->kind == PATTERN_ENDIF)
            continue;
        int groups = match_rule(lookup, index);
        if (groups < 0)
            return fail_match(table, rule, groups, error);
        if (rule->kind == PATTERN_MATCH && groups > 0) {
            *ret_value = expand_value(rule, lookup->key, lookup->found, groups);
            return TABLE_FOUND;
        }
        if (rule->kind == PATTERN_IF && groups == 0)
            i = rule->end;
    }
    return TABLE_ABSENT;
}

static TableResult patterns_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    Lookup lookup = {.patterns = table->data, .key = key, .len = strlen(key)};

    if (lookup.patterns->literals)
        lookup.may_match = literal_index_look(lookup.patterns->literals, key, lookup.len);
    TableResult result = try_rules(table, &lookup, ret_value, error);
    pcre2_match_data_free(lookup.found);
    g_free(lookup.may_match);
    return result;
}

const TableBackend table_regexp = {"regexp", false, true, regexp_open, patterns_lookup, patterns_free};
const TableBackend table_pcre = {"pcre", false, true, pcre_open, patterns_lookup, patterns_free};
