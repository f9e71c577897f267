/* fail.c - failures as GErrors. */
#include "base/fail.h"

#include <errno.h>

FAIL_DEFINE_DOMAIN(fail_error)

/* GLib makes the lock of its domains with the first error; no thread runs yet that could see it half made. */
__attribute__((constructor)) static void make_first_error(void)
{
    g_error_free(g_error_new_literal(FAIL_ERROR, 0, "none yet"));
}

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
