/* time_option.h - times and numbers in options, as people type them. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* "90m" (ago; s m h d w), "2026-11-22", "2026-11-22 14:00", "... 14:00:30" (local time), "@1795336928". */
bool time_option_parse(const char *text, gint64 now_us, gint64 *ret_us);
/* Decimal digits up to max; *ret_end: what follows them. */
bool number_option_parse(const char *text, gint64 max, gint64 *ret, const char **ret_end);
