/* dsn.c - enhanced status codes. */
#include "route/dsn.h"

#include <glib.h>
#include <string.h>

#define PART_DIGITS_MAX 3

size_t dsn_length(const char *text)
{
    size_t len = 2;

    if (!*text || !strchr("245", *text) || text[1] != '.')
        return 0;
    for (int part = 0; part < 2; part++) {
        size_t digits = strspn(text + len, "0123456789");
        if (digits == 0 || digits > PART_DIGITS_MAX)
            return 0;
        len += digits;
        if (part == 0 && text[len++] != '.')
            return 0;
    }
    return text[len] == '\0' || g_ascii_isspace(text[len]) ? len : 0;
}
