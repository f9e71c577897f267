/* footer.c - text behind every refusal. */
#include "smtpd/footer.h"
#include "base/log.h"
#include "config/expand.h"

#include <string.h>

static char *expand_footer(const char *template, const char *allowed, ExpandValue *value, void *data)
{
    g_autoptr(GString) lines = g_string_new(template);
    g_autoptr(GPtrArray) unknown = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;

    g_string_replace(lines, "\\n", "\n", 0);
    char *text = expand_values(lines->str, allowed, value, data, unknown, &error);
    for (guint i = 0; i < unknown->len; i++)
        log_warning("unknown macro name \"%s\" in expansion request", (char *)g_ptr_array_index(unknown, i));
    if (!text)
        log_warning("smtpd_reject_footer: %s", error->message);
    return text;
}

char *footer_for(const Reply *reply, const Tables *maps, const char *template, const char *allowed, ExpandValue *value,
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
