/* fail.c - failures as GErrors. */
#include "base/fail.h"

#include <errno.h>

G_DEFINE_QUARK(fail_error_quark, fail_error)

bool fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, FAIL_ERROR, 0, text);
    return false;
}

bool fail_errno(GError **error, const char *format, ...)
{
    int saved = errno;
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, FAIL_ERROR, saved, "%s: %s", text, g_strerror(saved));
    errno = saved;
    return false;
}
