/* rules.c - what the tables of rules share. */
#include "table/rules.h"
#include "base/fail.h"
#include "config/config.h"
#include "config/lines.h"
#include "table/backend.h"

#include <string.h>

static bool read_inline(const char *type, const char *name, RuleReader *reader, void *context, GError **error)
{
    const char *rest = NULL;
    g_autofree char *content = brace_content(name, &rest);

    if (!content)
        return fail(error, "%s map: missing '}' in \"%s\"", type, name);
    if (*rest)
        return fail(error, "%s map: syntax error after '}' in \"%s\"", type, name);
    g_autoptr(GPtrArray) elements = config_split(content);
    for (guint i = 0; i < elements->len; i++) {
        const char *element = g_ptr_array_index(elements, i);
        if (*element != '{')
            return fail(error, "%s map: no '{' at start of text in \"%s\"", type, element);
        g_autofree char *rule = brace_content(element, &rest);
        if (!rule)
            return fail(error, "%s map: missing '}' in \"%s\"", type, element);
        if (*rest)
            return fail(error, "%s map: syntax error after '}' in \"%s\"", type, element);
        reader(context, rule, (int)i + 1);
    }
    return true;
}

static bool read_file(const char *path, RuleReader *reader, void *context, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Lines) lines = lines_open_source(path, error);
    int number;

    if (!lines)
        return false;
    for (;;) {
        const char *line = lines_next(lines, &number, &why);
        if (!line)
            break;
        g_autofree char *rule = g_strchomp(g_strdup(line));
        reader(context, rule, number);
    }
    if (!why)
        return true;
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

bool rules_read(const char *type, const char *name, RuleReader *reader, void *context, GError **error)
{
    if (*name == '{')
        return read_inline(type, name, reader, context, error);
    return read_file(name, reader, context, error);
}

void rule_blocks_init(RuleBlocks *blocks)
{
    blocks->open = g_array_new(FALSE, FALSE, sizeof(guint));
}

void rule_blocks_clear(RuleBlocks *blocks)
{
    g_array_unref(blocks->open);
    blocks->open = NULL;
}

void rule_blocks_begin(RuleBlocks *blocks, guint index)
{
    g_array_append_val(blocks->open, index);
}

bool rule_blocks_end(RuleBlocks *blocks, guint *ret_index)
{
    if (blocks->open->len == 0)
        return false;
    *ret_index = g_array_index(blocks->open, guint, blocks->open->len - 1);
    g_array_set_size(blocks->open, blocks->open->len - 1);
    return true;
}

bool rule_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    return g_ascii_strncasecmp(text, word, len) == 0 && !g_ascii_isalnum(text[len]);
}

bool rule_negated(char **text)
{
    bool negated = false;

    for (; **text == '!' || g_ascii_isspace(**text); (*text)++)
        negated ^= **text == '!';
    return negated;
}
