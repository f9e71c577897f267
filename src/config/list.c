/* list.c - lists and braces in values. */
#include "config/config.h"

#include <string.h>

#define SEPARATORS " ,\t\n\v\f\r"

/* The length of the element at text: up to a separator outside of braces. */
static size_t element_length(const char *text)
{
    int level = 0;
    size_t i;

    for (i = 0; text[i]; i++) {
        if (text[i] == '{')
            level++;
        else if (text[i] == '}' && level > 0)
            level--;
        else if (level == 0 && strchr(SEPARATORS, text[i]))
            break;
    }
    return i;
}

GPtrArray *config_split(const char *list)
{
    GPtrArray *elements = g_ptr_array_new_with_free_func(g_free);

    for (;;) {
        list += strspn(list, SEPARATORS);
        size_t len = element_length(list);
        if (len == 0)
            return elements;
        g_ptr_array_add(elements, g_strndup(list, len));
        list += len;
    }
}

bool config_list_has(const char *list, const char *word)
{
    g_autoptr(GPtrArray) words = config_split(list);

    for (guint i = 0; i < words->len; i++)
        if (g_ascii_strcasecmp(g_ptr_array_index(words, i), word) == 0)
            return true;
    return false;
}

char *config_inside_braces(const char *text)
{
    size_t len = strlen(text);

    if (len < 2 || text[0] != '{' || text[len - 1] != '}')
        return NULL;
    return g_strstrip(g_strndup(text + 1, len - 2));
}
