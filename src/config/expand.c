/* expand.c - `$` expansion. A reference is first taken apart (parse_reference), then evaluated; expand_names() takes it
 * apart in the same way and looks into all of its parts. */
#include "config/expand.h"
#include "base/fail.h"
#include "base/log.h"

#include <idn2.h>
#include <string.h>

#define DEPTH_MAX 100            /* references inside one another, as in Postfix */
#define WORK_MAX 100000          /* references in one text: $a$a in each of 30 parameters would never end */
#define RESULT_MAX (1024 * 1024) /* octets of one result */
#define SHOWN_MAX 30             /* octets on each side of the place of an error */

typedef struct {
    ExpandLookup *lookup;
    void *data;
    int depth;
    int work;
    size_t size;
} Expansion;

typedef enum { OPERATOR_EQ, OPERATOR_NE, OPERATOR_LE, OPERATOR_GE, OPERATOR_LT, OPERATOR_GT } Operator;

/* In the order in which they are tried: a longer one first. */
static const char *const operators[] = {"==", "!=", "<=", ">=", "<", ">"};

/* What stands between the braces of one reference. Text is not expanded yet. */
typedef struct {
    char *name;         /* a parameter or, with argument, a function; NULL: a comparison */
    char *argument;     /* of the function */
    char *left, *right; /* of the comparison */
    Operator op;
    bool by_level;
    bool has_condition; /* then or otherwise is set */
    char *then, *otherwise;
} Reference;

static void reference_clear(Reference *reference)
{
    g_free(reference->name);
    g_free(reference->argument);
    g_free(reference->left);
    g_free(reference->right);
    g_free(reference->then);
    g_free(reference->otherwise);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Reference, reference_clear)

static char *expand_into_new(Expansion *expansion, const char *text, GError **error);

static bool is_blank(char c)
{
    return g_ascii_isspace(c) || c == '\v';
}

static const char *skip_blanks(const char *at)
{
    while (is_blank(*at))
        at++;
    return at;
}

static size_t name_length(const char *text)
{
    size_t len = 0;

    while (g_ascii_isalnum(text[len]) || text[len] == '_')
        len++;
    return len;
}

/* The length of "{...}" or "(...)" at text, up to the bracket that closes the first; 0 when there is none. */
static size_t balanced_length(const char *text, char open, char close)
{
    int level = 0;

    for (size_t i = 0; text[i]; i++) {
        if (text[i] == open)
            level++;
        else if (text[i] == close && --level == 0)
            return i + 1;
    }
    return 0;
}

/* Takes "{text}" at *at and moves *at beyond it. NULL: the braces do not match, or there are none. */
static char *take_braced(const char **at)
{
    size_t len = **at == '{' ? balanced_length(*at, '{', '}') : 0;
    if (len == 0)
        return NULL;

    char *text = g_strndup(*at + 1, len - 2);
    *at += len;
    return text;
}

/* `what: "...before>>>after"` */
static bool fail_at(GError **error, const char *what, const char *body, const char *at)
{
    const char *from = at - body > SHOWN_MAX ? at - SHOWN_MAX : body;
    g_autofree char *before = log_quote(from, (size_t)(at - from));
    g_autofree char *after = log_quote(at, strnlen(at, SHOWN_MAX));

    return fail(error, "%s: \"...%s>>>%s\"", what, before, after);
}

static bool fail_braces(GError **error, const char *body)
{
    g_autofree char *shown = log_quote(body, strlen(body));

    return fail(error, "unbalanced {} in attribute expression: \"%s\"", shown);
}

static bool parse_comparison(Reference *reference, const char *body, const char **at, GError **error)
{
    reference->left = take_braced(at);
    if (!reference->left)
        return fail_braces(error, body);
    *at = skip_blanks(*at);

    size_t which = 0;
    while (which < G_N_ELEMENTS(operators) && !g_str_has_prefix(*at, operators[which]))
        which++;
    if (which == G_N_ELEMENTS(operators))
        return fail_at(error, "\"==\" or \"!=\" or \"<\" or \"<=\" or \">=\" or \">\" expected at", body, *at);
    reference->op = (Operator)which;
    *at += strlen(operators[which]);

    size_t suffix = name_length(*at);
    reference->by_level = suffix == 5 && memcmp(*at, "level", 5) == 0;
    if (suffix > 0 && !reference->by_level)
        return fail_at(error, "bad operator suffix at", body, *at);
    *at += suffix;
    if (*skip_blanks(*at) != '{')
        return fail_at(error, "\"{expression}\" expected at", body, *at);
    *at = skip_blanks(*at);
    reference->right = take_braced(at);
    return reference->right || fail_braces(error, body);
}

/* The text after ':'. Unbraced, it is all the rest. */
static bool parse_otherwise(Reference *reference, const char *body, const char *at, GError **error)
{
    const char *start = skip_blanks(at);

    if (*start != '{') {
        reference->otherwise = g_strdup(at);
        return true;
    }
    reference->otherwise = take_braced(&start);
    if (!reference->otherwise)
        return fail_braces(error, body);
    start = skip_blanks(start);
    return *start == '\0' || fail_at(error, "unexpected input at", body, start);
}

static bool parse_then(Reference *reference, const char *body, const char *at, GError **error)
{
    const char *start = skip_blanks(at);

    if (*start != '{') {
        reference->then = g_strdup(at);
        return true;
    }
    reference->then = take_braced(&start);
    if (!reference->then)
        return fail_braces(error, body);
    start = skip_blanks(start);
    if (*start == '\0')
        return true;
    if (*start != ':')
        return fail_at(error, "\":\" expected at", body, start);
    return parse_otherwise(reference, body, start + 1, error);
}

static bool parse_reference(Reference *reference, const char *body, GError **error)
{
    const char *at = skip_blanks(body);

    if (*at == '{') {
        if (!parse_comparison(reference, body, &at, error))
            return false;
    } else {
        size_t len = name_length(at);
        reference->name = g_strndup(at, len);
        at += len;
        if (len > 0 && *at == '{') {
            reference->argument = take_braced(&at);
            if (!reference->argument)
                return fail_braces(error, body);
        }
    }
    at = skip_blanks(at);
    reference->has_condition = *at == '?' || *at == ':';
    if (*at == '?')
        return parse_then(reference, body, at + 1, error);
    if (*at == ':')
        return parse_otherwise(reference, body, at + 1, error);
    if (*at == '\0')
        return true;
    if (!reference->name)
        return fail_at(error, "\"?\" or \":\" expected at", body, at);
    const char *name_end = skip_blanks(body) + strlen(reference->name);
    return fail_at(error, reference->argument ? "unexpected input at" : "attribute name syntax error at", body,
                   reference->argument ? at : name_end);
}

/* Takes the reference behind the '$' at *at, without "$$", as the text between its braces. Moves *at beyond it. */
static char *take_body(const char *text, const char **at, GError **error)
{
    const char *start = *at + 1;
    size_t len = 0, brackets = 0;

    if (*start == '{' || *start == '(') {
        size_t whole = *start == '{' ? balanced_length(start, '{', '}') : balanced_length(start, '(', ')');
        if (whole == 0) {
            g_autofree char *shown = log_quote(text, strlen(text));
            fail(error, "truncated macro reference: \"%s\"", shown);
            return NULL;
        }
        brackets = 1;
        len = whole - 2;
    } else {
        len = name_length(start);
    }
    if (len == 0) {
        g_autofree char *shown = log_quote(text, strlen(text));
        fail(error, "empty macro name: \"%s\"", shown);
        return NULL;
    }
    *at = start + len + 2 * brackets;
    return g_strndup(start + brackets, len);
}

static bool is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text);
}

static int compare_numbers(const char *a, const char *b)
{
    a += strspn(a, "0"); /* of any length: after the zeros, the longer one is greater */
    b += strspn(b, "0");
    size_t a_len = strlen(a), b_len = strlen(b);
    return a_len != b_len ? (a_len < b_len ? -1 : 1) : strcmp(a, b);
}

static bool parse_level(const char *text, guint64 level[3], GError **error)
{
    const char *at = text;

    level[1] = level[2] = 0;
    for (int i = 0; i < 3; i++) {
        char *end;
        if (!g_ascii_isdigit(*at) || strspn(at, "0123456789") > 9)
            break;
        level[i] = g_ascii_strtoull(at, &end, 10);
        if (*end == '\0')
            return true;
        if (*end != '.')
            break;
        at = end + 1;
    }
    g_autofree char *shown = log_quote(text, strlen(text));
    return fail(error, "malformed compatibility level syntax: \"%s\"", shown);
}

bool expand_compare_levels(const char *a, const char *b, int *ret_order, GError **error)
{
    guint64 left[3], right[3];

    if (!parse_level(a, left, error) || !parse_level(b, right, error))
        return false;
    *ret_order = 0;
    for (int i = 0; i < 3 && *ret_order == 0; i++)
        *ret_order = (left[i] > right[i]) - (left[i] < right[i]);
    return true;
}

static bool compare(Expansion *expansion, const Reference *reference, bool *ret_true, GError **error)
{
    g_autofree char *left = expand_into_new(expansion, reference->left, error);
    g_autofree char *right = left ? expand_into_new(expansion, reference->right, error) : NULL;
    int order;

    if (!right)
        return false;
    if (reference->by_level) {
        if (!expand_compare_levels(left, right, &order, error))
            return false;
    } else if (is_number(left) && is_number(right)) {
        order = compare_numbers(left, right);
    } else {
        order = strcmp(left, right);
    }
    switch (reference->op) {
    case OPERATOR_EQ:
        *ret_true = order == 0;
        break;
    case OPERATOR_NE:
        *ret_true = order != 0;
        break;
    case OPERATOR_LT:
        *ret_true = order < 0;
        break;
    case OPERATOR_LE:
        *ret_true = order <= 0;
        break;
    case OPERATOR_GE:
        *ret_true = order >= 0;
        break;
    case OPERATOR_GT:
        *ret_true = order > 0;
        break;
    }
    return true;
}

/* The one function there is. A name that cannot be converted stays as it is: the value's user will refuse it. */
static char *call_function(const char *name, const char *argument, GError **error)
{
    char *ascii = NULL;

    if (strcmp(name, "domain_to_ascii") != 0) {
        g_autofree char *shown = log_quote(name, strlen(name));
        fail(error, "unknown function name: \"%s\"", shown);
        return NULL;
    }
    if (idn2_to_ascii_8z(argument, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
        return g_strdup(argument);
    char *result = g_strdup(ascii);
    idn2_free(ascii);
    return result;
}

static char *evaluate(Expansion *expansion, const Reference *reference, GError **error)
{
    g_autofree char *called = NULL;
    const char *value = NULL;
    bool is_true = false;

    if (reference->argument) {
        g_autofree char *argument = expand_into_new(expansion, reference->argument, error);
        value = called = argument ? call_function(reference->name, argument, error) : NULL;
        if (!called)
            return NULL;
        is_true = *value != '\0';
    } else if (reference->name) {
        value = expansion->lookup(reference->name, expansion->data);
        is_true = value && *value;
    } else if (!compare(expansion, reference, &is_true, error)) {
        return NULL;
    }
    if (reference->has_condition) {
        const char *chosen = is_true ? reference->then : reference->otherwise;
        return expand_into_new(expansion, chosen ? chosen : "", error);
    }
    if (called || !reference->name)
        return called ? g_steal_pointer(&called) : g_strdup(is_true ? "true" : "");
    return expand_into_new(expansion, value ? value : "", error);
}

static bool expand_reference(Expansion *expansion, const char *body, GString *result, GError **error)
{
    g_auto(Reference) reference = {0};

    if (expansion->depth > DEPTH_MAX || expansion->work >= WORK_MAX) {
        g_autofree char *shown = log_quote(body, strlen(body));
        return fail(error, "unreasonable macro call nesting: \"%s\"", shown);
    }
    if (!parse_reference(&reference, body, error))
        return false;
    expansion->depth++;
    expansion->work++;
    g_autofree char *text = evaluate(expansion, &reference, error);
    expansion->depth--;
    if (!text)
        return false;
    expansion->size += strlen(text);
    if (expansion->size > RESULT_MAX)
        return fail(error, "macro result is too long");
    g_string_append(result, text);
    return true;
}

static bool expand_append(Expansion *expansion, const char *text, GString *result, GError **error)
{
    const char *at = text;

    while (*at) {
        size_t literal = strcspn(at, "$");
        g_string_append_len(result, at, (gssize)literal);
        at += literal;
        if (at[0] == '$' && at[1] == '$') {
            g_string_append_c(result, '$');
            at += 2;
        } else if (at[0] == '$') {
            g_autofree char *body = take_body(text, &at, error);
            if (!body || !expand_reference(expansion, body, result, error))
                return false;
        }
    }
    return true;
}

static char *expand_into_new(Expansion *expansion, const char *text, GError **error)
{
    g_autoptr(GString) result = g_string_new(NULL);

    if (!expand_append(expansion, text, result, error))
        return NULL;
    return g_string_free(g_steal_pointer(&result), FALSE);
}

char *expand_text(const char *text, ExpandLookup *lookup, void *data, GError **error)
{
    Expansion expansion = {.lookup = lookup, .data = data};

    return expand_into_new(&expansion, text, error);
}

static void visit_names(const char *text, int depth, ExpandSeen *seen, void *data)
{
    const char *at = text;

    if (depth >= DEPTH_MAX)
        return;
    while ((at = strchr(at, '$'))) {
        if (at[1] == '$') {
            at += 2;
            continue;
        }
        g_autofree char *body = take_body(text, &at, NULL);
        g_auto(Reference) reference = {0};
        if (!body) {
            at++;
            continue;
        }
        if (!parse_reference(&reference, body, NULL))
            continue;
        if (reference.name && *reference.name && !reference.argument)
            seen(reference.name, data);
        const char *const parts[] = {reference.argument, reference.left, reference.right, reference.then,
                                     reference.otherwise};
        for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
            if (parts[i])
                visit_names(parts[i], depth + 1, seen, data);
    }
}

void expand_names(const char *text, ExpandSeen *seen, void *data)
{
    visit_names(text, 0, seen, data);
}
