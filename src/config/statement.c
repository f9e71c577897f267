/* statement.c - "name = value". */
#include "config/statement.h"
#include "base/fail.h"
#include "base/log.h"

#include <string.h>

#define BLANKS " \t\n\v\f\r"

char *statement_trim(const char *text)
{
    text += strspn(text, BLANKS);
    size_t len = strlen(text);
    while (len > 0 && strchr(BLANKS, text[len - 1]))
        len--;
    return g_strndup(text, len);
}

bool statement_split(const char *text, char **ret_name, char **ret_value, GError **error)
{
    const char *name = text + strspn(text, BLANKS);
    size_t name_len = strcspn(name, BLANKS "=");
    const char *after = name + name_len + strspn(name + name_len, BLANKS);

    if (name_len == 0 || *after != '=') {
        g_autofree char *shown = log_quote(text, strlen(text));
        return fail(error,
                    name_len == 0 ? "missing attribute name: \"%s\"" : "missing '=' after attribute name: \"%s\"",
                    shown);
    }
    *ret_name = g_strndup(name, name_len);
    *ret_value = statement_trim(after + 1);
    return true;
}
