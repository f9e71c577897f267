/* fail.h - failures as GErrors, in one line. Refusals are Replies and do not come here. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* Domain of failures that nobody tells apart by code: the code is errno, or 0 where there was none.
 * Modules whose callers act on the kind of failure have a domain of their own. */
#define FAIL_ERROR (fail_error_quark())
GQuark fail_error_quark(void);

/* Defines name_quark(), the domain. Its value is there before main() is: G_DEFINE_QUARK would have threads race to set
 * it. */
#define FAIL_DEFINE_DOMAIN(name)                                                                                       \
    static GQuark name##_value;                                                                                        \
    __attribute__((constructor)) static void name##_define(void)                                                       \
    {                                                                                                                  \
        name##_value = g_quark_from_static_string(#name "-quark");                                                     \
    }                                                                                                                  \
    GQuark name##_quark(void)                                                                                          \
    {                                                                                                                  \
        return name##_value;                                                                                           \
    }

/* Each sets *error (when error is not NULL) and returns false, so that a function can `return fail(...)`. */
bool fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Appends ": " and strerror(errno); errno survives. */
bool fail_errno(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
