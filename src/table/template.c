/* template.c - values with numbers of groups. */
#include "table/template.h"
#include "base/fail.h"

#include <stdlib.h>
#include <string.h>

#define GROUP_MAX 65535 /* of PCRE2 */

typedef struct {
    char *text; /* NULL: a group */
    unsigned group;
} Part;

struct Template {
    GArray *parts; /* of Part */
    unsigned groups;
};

static void clear_part(void *part)
{
    g_free(((Part *)part)->text);
}

static void add_text(Template *value, const char *text, size_t len)
{
    Part part = {.text = g_strndup(text, len)};

    if (len > 0)
        g_array_append_val(value->parts, part);
    else
        g_free(part.text);
}

static bool add_group(Template *value, const char *name, GError **error)
{
    Part part = {0};

    if (!*name)
        return fail(error, "empty macro name: \"$\"");
    if (strspn(name, "0123456789") != strlen(name))
        return fail(error, "non-numeric replacement index \"%s\"", name);
    part.group = strlen(name) > 5 ? 0 : (unsigned)atoi(name);
    if (part.group == 0 || part.group > GROUP_MAX)
        return fail(error, "out of range replacement index \"%s\"", name);
    g_array_append_val(value->parts, part);
    value->groups = MAX(value->groups, part.group);
    return true;
}

/* text is behind the dollar. Returns what follows the number; NULL: error. */
static const char *parse_group(Template *value, const char *text, GError **error)
{
    const char *begin = text;
    const char *end = text;
    char close = *text == '{' ? '}' : *text == '(' ? ')' : '\0';

    if (close) {
        end = strchr(++begin, close);
        if (!end) {
            fail(error, "truncated macro reference: \"$%s\"", text);
            return NULL;
        }
    } else {
        while (g_ascii_isalnum(*end) || *end == '_')
            end++;
    }
    g_autofree char *name = g_strndup(begin, (size_t)(end - begin));
    return add_group(value, name, error) ? end + (close != '\0') : NULL;
}

Template *template_parse(const char *text, GError **error)
{
    Template *value = g_new0(Template, 1);

    value->parts = g_array_new(FALSE, FALSE, sizeof(Part));
    g_array_set_clear_func(value->parts, clear_part);
    while (*text) {
        size_t len = strcspn(text, "$");
        add_text(value, text, len);
        text += len;
        if (text[0] == '$' && text[1] == '$') {
            add_text(value, "$", 1);
            text += 2;
        } else if (text[0] == '$') {
            text = parse_group(value, text + 1, error);
            if (!text) {
                template_free(value);
                return NULL;
            }
        }
    }
    return value;
}

void template_free(Template *value)
{
    if (!value)
        return;
    g_array_unref(value->parts);
    g_free(value);
}

unsigned template_groups(const Template *value)
{
    return value->groups;
}

char *template_expand(const Template *value, const char *subject, const size_t *offsets, unsigned count)
{
    GString *out = g_string_new(NULL);

    for (guint i = 0; i < value->parts->len; i++) {
        const Part *part = &g_array_index(value->parts, Part, i);
        if (part->text)
            g_string_append(out, part->text);
        else if (part->group < count && offsets[2 * part->group] != (size_t)-1)
            g_string_append_len(out, subject + offsets[2 * part->group],
                                (gssize)(offsets[2 * part->group + 1] - offsets[2 * part->group]));
    }
    return g_string_free(out, FALSE);
}
