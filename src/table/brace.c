/* brace.c - text in braces. */
#include "table/backend.h"

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
