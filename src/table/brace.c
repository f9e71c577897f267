/* brace.c - lists with elements in braces. */
#include "table/backend.h"

#include <string.h>

#define SEPARATORS ", \t\r\n"

/* Length of the element at text: up to a separator outside of braces. */
static size_t element_length(const char *text)
{
    int depth = 0;
    size_t len;

    for (len = 0; text[len]; len++) {
        if (text[len] == '{')
            depth++;
        else if (text[len] == '}')
            depth--;
        else if (depth <= 0 && strchr(SEPARATORS, text[len]))
            break;
    }
    return len;
}

GPtrArray *brace_split(const char *text)
{
    GPtrArray *elements = g_ptr_array_new_with_free_func(g_free);

    for (text += strspn(text, SEPARATORS); *text; text += strspn(text, SEPARATORS)) {
        size_t len = element_length(text);
        g_ptr_array_add(elements, g_strndup(text, len));
        text += len;
    }
    return elements;
}

char *brace_content(const char *text, const char **ret_rest)
{
    int depth = 0;

    if (*text != '{')
        return NULL;
    for (const char *end = text; *end; end++) {
        depth += (*end == '{') - (*end == '}');
        if (depth > 0)
            continue;
        *ret_rest = end + 1;
        return g_strstrip(g_strndup(text + 1, (size_t)(end - text - 1)));
    }
    return NULL;
}
