/* time_option.c - points in time as people type them. */
#include "cli/time_option.h"

#include <string.h>
#include <time.h>

static gint64 unit_seconds(char unit)
{
    static const struct {
        char unit;
        gint64 seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};

    for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
        if (units[i].unit == unit)
            return units[i].seconds;
    return 0;
}

bool number_option_parse(const char *text, gint64 max, gint64 *ret, const char **ret_end)
{
    char *end;

    if (!g_ascii_isdigit(text[0]))
        return false;
    guint64 number = g_ascii_strtoull(text, &end, 10);
    if (number > (guint64)max)
        return false;
    *ret = (gint64)number;
    *ret_end = end;
    return true;
}

bool time_option_parse(const char *text, gint64 now_us, gint64 *ret_us)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"};
    const char *rest;
    gint64 number;

    if (text[0] == '@') {
        bool fine = number_option_parse(text + 1, G_MAXINT32 * (gint64)100, &number, &rest) && !*rest;
        if (fine)
            *ret_us = number * G_USEC_PER_SEC;
        return fine;
    }
    if (number_option_parse(text, 1000000, &number, &rest) && *rest && !rest[1] && unit_seconds(*rest) > 0) {
        *ret_us = now_us - number * unit_seconds(*rest) * G_USEC_PER_SEC;
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        struct tm broken_down = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &broken_down);
        time_t seconds = end && !*end ? mktime(&broken_down) : -1;
        if (seconds < 0)
            continue;
        *ret_us = (gint64)seconds * G_USEC_PER_SEC;
        return true;
    }
    return false;
}
