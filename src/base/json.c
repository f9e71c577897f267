/* json.c - strings in JSON output. */
#include "base/json.h"

void json_append_string(GString *out, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    g_string_append_c(out, '"');
    for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);
        if (character == '"' || character == '\\')
            g_string_append_printf(out, "\\%c", (int)character);
        else if (!g_unichar_isprint(character) && character <= 0xffff)
            g_string_append_printf(out, "\\u%04x", character);
        else if (!g_unichar_isprint(character))
            g_string_append_printf(out, "\\u%04x\\u%04x", 0xd7c0 + (character >> 10), 0xdc00 | (character & 0x3ff));
        else
            g_string_append_unichar(out, character);
    }
    g_string_append_c(out, '"');
}
