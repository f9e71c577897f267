/* footer.c - text behind every refusal. */
#include "smtpd/footer.h"
#include "base/log.h"
#include "config/expand.h"

#include <string.h>

typedef struct {
    const char *allowed;
    FooterValue *value;
    void *data;
    GPtrArray *texts; /* live until the expansion is done */
} Expansion;

/* A value is text, never a template: its '$' is said twice, since expand_text() expands what it gets. */
static const char *look_up(const char *name, void *data)
{
    Expansion *expansion = data;
    bool exists = true;
    const char *value = expansion->value(expansion->data, name, &exists);

    if (!exists)
        log_warning("unknown macro name \"%s\" in expansion request", name);
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

static char *expand_footer(const char *template, const char *allowed, FooterValue *value, void *data)
{
    g_autoptr(GString) lines = g_string_new(template);
    g_autofree char *octets = g_strcompress(allowed);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    Expansion expansion = {octets, value, data, texts};

    g_string_replace(lines, "\\n", "\n", 0);
    char *text = expand_text(lines->str, look_up, &expansion, &error);
    if (!text)
        log_warning("smtpd_reject_footer: %s", error->message);
    return text;
}

char *footer_for(const Reply *reply, const Tables *maps, const char *template, const char *allowed, FooterValue *value,
                 void *data)
{
    g_autofree char *mapped = NULL;

    if (!tables_is_empty(maps)) {
        const char *text = reply_text(reply);
        g_autofree char *first = g_strndup(text, strcspn(text, "\n"));
        tables_lookup(maps, first, &mapped);
    }
    if (mapped)
        template = mapped;
    return *template ? expand_footer(template, allowed, value, data) : NULL;
}
