/* date.c - dates in headers. */
#include "mail/date.h"

#include <stdlib.h>
#include <time.h>

static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

char *date_for_header(gint64 wall_us)
{
    time_t seconds = (time_t)(wall_us / G_USEC_PER_SEC);
    struct tm tm;

    localtime_r(&seconds, &tm);
    long minutes = labs(tm.tm_gmtoff) / 60;
    return g_strdup_printf("%s, %02d %s %d %02d:%02d:%02d %c%02ld%02ld (%s)", days[tm.tm_wday], tm.tm_mday,
                           months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec,
                           tm.tm_gmtoff < 0 ? '-' : '+', minutes / 60, minutes % 60, tm.tm_zone);
}

char *date_digits(gint64 wall_us)
{
    time_t seconds = (time_t)(wall_us / G_USEC_PER_SEC);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    return g_strdup_printf("%04d%02d%02d%02d%02d%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                           tm.tm_min, tm.tm_sec);
}
