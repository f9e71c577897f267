/* expand_values.c - `$` expansion with values that come from outside. */
#include "config/expand.h"

#include <string.h>

typedef struct {
    char *allowed;
    ExpandValue *value;
    void *data;
    GPtrArray *texts; /* live until the expansion is done */
    GPtrArray *unknown;
} Expansion;

/* Its '$' is said twice, since expand_text() expands what it gets. */
static const char *look_up(const char *name, void *data)
{
    Expansion *expansion = data;
    bool exists = true;
    const char *value = expansion->value(expansion->data, name, &exists);

    if (!exists)
        g_ptr_array_add(expansion->unknown, g_strdup(name));
    if (!value)
        return NULL;
    GString *text = g_string_new(NULL);
    for (const char *at = value; *at; at++) {
        g_string_append_c(text, strchr(expansion->allowed, *at) ? *at : '_');
        if (text->str[text->len - 1] == '$')
            g_string_append_c(text, '$');
    }
    g_ptr_array_add(expansion->texts, g_string_free(text, FALSE));
    return g_ptr_array_index(expansion->texts, expansion->texts->len - 1);
}

char *expand_values(const char *text, const char *allowed, ExpandValue *value, void *data, GPtrArray *unknown,
                    GError **error)
{
    g_autofree char *octets = g_strcompress(allowed);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    Expansion expansion = {octets, value, data, texts, unknown};

    return expand_text(text, look_up, &expansion, error);
}
