/* xtext.c - RFC 3461's xtext. */
#include "mail/xtext.h"

#include <glib.h>

char *xtext_encode(const char *text)
{
    GString *out = g_string_new(NULL);

    for (; *text; text++) {
        unsigned char octet = (unsigned char)*text;
        if (octet <= 32 || octet >= 127 || octet == '+')
            g_string_append_printf(out, "+%02X", octet);
        else
            g_string_append_c(out, *text);
    }
    return g_string_free(out, FALSE);
}

char *xtext_decode(const char *text)
{
    g_autoptr(GString) out = g_string_new(NULL);

    for (; *text; text++) {
        if (*text != '+') {
            g_string_append_c(out, *text);
            continue;
        }
        int high = g_ascii_xdigit_value(text[1]);
        int low = high < 0 ? -1 : g_ascii_xdigit_value(text[2]);
        if (low < 0 || high * 16 + low == 0)
            return NULL;
        g_string_append_c(out, (char)(high * 16 + low));
        text += 2;
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}
