/* posix.c - from POSIX to PCRE2, in one pass over the expression.
 *
 * What differs, and is a trap in both directions: a backslash inside [...] is itself; \d is the letter d; the second of
 * two quantifiers ("a*?", "a*+") is a quantifier of the repeated item; "(?" is an error; a basic expression has its
 * operators behind backslashes. */
#include "table/posix.h"
#include "base/fail.h"

#include <string.h>

#define NO_ATOM ((gsize)-1)

typedef struct {
    const char *in;
    bool extended;
    GString *out;
    gsize atom;      /* where in out the item begins that a quantifier would repeat; NO_ATOM */
    bool quantified; /* it has one already */
    GArray *groups;  /* gsize: where open groups begin in out */
} Posix;

static void add_atom(Posix *posix, const char *text)
{
    posix->atom = posix->out->len;
    posix->quantified = false;
    g_string_append(posix->out, text);
}

static void add_literal(Posix *posix, char c)
{
    char text[3] = {'\\', c, '\0'};

    add_atom(posix, (unsigned char)c < 0x80 && g_ascii_ispunct(c) ? text : text + 1);
}

static void add_anchor(Posix *posix, const char *text)
{
    g_string_append(posix->out, text);
    posix->atom = NO_ATOM;
}

/* "[:alpha:]", "[.x.]" and "[=x=]" inside brackets. posix->in is at the inner '['. */
static bool add_named_class(Posix *posix, GError **error)
{
    const char end[] = {posix->in[1], ']', '\0'};
    const char *close = strstr(posix->in + 2, end);

    if (!close)
        return fail(error, "Unmatched [, [^, [:, [., or [=");
    if (posix->in[1] == ':')
        g_string_append_len(posix->out, posix->in, close + 2 - posix->in);
    else if (close - posix->in == 3)
        g_string_append_printf(posix->out, g_ascii_ispunct(posix->in[2]) ? "\\%c" : "%c", posix->in[2]);
    else
        return fail(error, "Invalid collation character");
    posix->in = close + 2;
    return true;
}

static bool add_brackets(Posix *posix, GError **error)
{
    bool first = true;

    add_atom(posix, "[");
    posix->in++;
    if (*posix->in == '^')
        g_string_append_c(posix->out, *posix->in++);
    for (; *posix->in && (first || *posix->in != ']'); first = false) {
        if (*posix->in == '[' && posix->in[1] && strchr(":.=", posix->in[1])) {
            if (!add_named_class(posix, error))
                return false;
            continue;
        }
        if (strchr("\\[]^.:=", *posix->in)) /* "[.x.]" alone would be a class within none to PCRE2 */
            g_string_append_c(posix->out, '\\');
        g_string_append_c(posix->out, *posix->in++);
    }
    if (!*posix->in)
        return fail(error, "Unmatched [, [^, [:, [., or [=");
    g_string_append_c(posix->out, *posix->in++);
    return true;
}

/* "{m,n}" after its opening brace; its end is "}" or "\}". */
static bool parse_interval(Posix *posix, char **ret, GError **error)
{
    const char *end = posix->extended ? "}" : "\\}";
    const char *close = strstr(posix->in, end);

    if (!close)
        return fail(error, "Unmatched { or \\{");
    g_autofree char *inside = g_strndup(posix->in, (size_t)(close - posix->in));
    size_t digits = strspn(inside, "0123456789");
    size_t more = inside[digits] == ',' ? strspn(inside + digits + 1, "0123456789") + 1 : 0;
    if (inside[digits + more] || (digits == 0 && more == 0))
        return fail(error, "Invalid content of \\{\\}");
    posix->in = close + strlen(end);
    *ret = g_strdup_printf("{%s%s}", digits ? "" : "0", inside);
    return true;
}

static bool add_quantifier(Posix *posix, const char *quantifier, GError **error)
{
    if (posix->atom == NO_ATOM)
        return fail(error, "Invalid preceding regular expression");
    if (posix->quantified) {
        g_string_insert(posix->out, (gssize)posix->atom, "(?:");
        g_string_append_c(posix->out, ')');
    }
    g_string_append(posix->out, quantifier);
    posix->quantified = true;
    return true;
}

static void begin_group(Posix *posix)
{
    g_array_append_val(posix->groups, posix->out->len);
    add_anchor(posix, "(");
}

static bool end_group(Posix *posix, GError **error)
{
    if (posix->groups->len == 0 && posix->extended) {
        add_literal(posix, ')');
        return true;
    }
    if (posix->groups->len == 0)
        return fail(error, "Unmatched ) or \\)");
    posix->atom = g_array_index(posix->groups, gsize, posix->groups->len - 1);
    posix->quantified = false;
    g_array_set_size(posix->groups, posix->groups->len - 1);
    g_string_append_c(posix->out, ')');
    return true;
}

/* An operator, without the backslash that a basic expression has in front of it. */
static bool add_operator(Posix *posix, char c, GError **error)
{
    g_autofree char *interval = NULL;
    const char text[] = {c, '\0'};

    switch (c) {
    case '(':
        begin_group(posix);
        return true;
    case ')':
        return end_group(posix, error);
    case '|':
        add_anchor(posix, "|");
        return true;
    case '{':
        return parse_interval(posix, &interval, error) && add_quantifier(posix, interval, error);
    default:
        return add_quantifier(posix, text, error);
    }
}

static bool add_escape(Posix *posix, GError **error)
{
    char c = posix->in[1];

    if (!c)
        return fail(error, "Trailing backslash");
    posix->in += 2;
    bool is_operator = !posix->extended && strchr("(){|+?", c);
    bool is_repetition = c == '+' || c == '?';
    if (is_operator && !(is_repetition && posix->atom == NO_ATOM)) /* at the start of a branch they are themselves */
        return add_operator(posix, c, error);
    if (strchr("wWsSbB", c)) {
        const char text[] = {'\\', c, '\0'};
        strchr("bB", c) ? add_anchor(posix, text) : add_atom(posix, text);
    } else if (c == '<' || c == '>') {
        add_anchor(posix, c == '<' ? "\\b(?=\\w)" : "\\b(?<=\\w)");
    } else if (c == '`' || c == '\'') {
        add_anchor(posix, c == '`' ? "\\A" : "\\z");
    } else if (c >= '1' && c <= '9') {
        const char text[] = {'\\', 'g', '{', c, '}', '\0'};
        add_atom(posix, text);
    } else {
        add_literal(posix, c);
    }
    return true;
}

/* Whether '^' (in: what comes before it in the expression) or '$' (what follows) is an anchor in a basic expression. */
static bool begins_branch(const char *start, const char *at)
{
    return at == start || (at - start >= 2 && at[-2] == '\\' && (at[-1] == '(' || at[-1] == '|'));
}

static bool ends_branch(const char *after)
{
    return !*after || strncmp(after, "\\)", 2) == 0 || strncmp(after, "\\|", 2) == 0;
}

static bool begins_operator(const Posix *posix, const char *start)
{
    char c = *posix->in;

    if (posix->extended)
        return strchr("()|{*+?", c) != NULL;
    return c == '*' && !begins_branch(start, posix->in) &&
           !(posix->in > start && posix->in[-1] == '^' && begins_branch(start, posix->in - 1));
}

static bool is_anchor(const Posix *posix, const char *start)
{
    if (*posix->in == '^')
        return posix->extended || begins_branch(start, posix->in);
    return *posix->in == '$' && (posix->extended || ends_branch(posix->in + 1));
}

static bool add_item(Posix *posix, const char *start, GError **error)
{
    const char text[] = {*posix->in, '\0'};

    if (*posix->in == '[')
        return add_brackets(posix, error);
    if (*posix->in == '\\')
        return add_escape(posix, error);
    if (begins_operator(posix, start)) {
        posix->in++;
        return add_operator(posix, text[0], error);
    }
    if (is_anchor(posix, start))
        add_anchor(posix, text);
    else if (text[0] == '.')
        add_atom(posix, text);
    else
        add_literal(posix, text[0]);
    posix->in++;
    return true;
}

char *posix_to_pcre(const char *pattern, bool extended, GError **error)
{
    g_autoptr(GArray) groups = g_array_new(FALSE, FALSE, sizeof(gsize));
    g_autoptr(GString) out = g_string_new(NULL);
    Posix posix = {.in = pattern, .extended = extended, .out = out, .atom = NO_ATOM, .groups = groups};

    while (*posix.in)
        if (!add_item(&posix, pattern, error))
            return NULL;
    if (groups->len > 0) {
        fail(error, "Unmatched ( or \\(");
        return NULL;
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}
