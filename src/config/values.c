/* values.c - the types of parameter values. */
#include "config/values.h"
#include "base/fail.h"
#include "config/config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define HOSTNAME_MAX 255
#define LABEL_MAX 63

static bool parse_bool(const Param *param, const char *value, gint64 *ret_number, GError **error)
{
    bool is_yes = g_ascii_strcasecmp(value, "yes") == 0;

    if (!is_yes && g_ascii_strcasecmp(value, "no") != 0)
        return fail(error, "bad boolean configuration: %s = %s", param->name, value);
    *ret_number = is_yes;
    return true;
}

static bool parse_int(const Param *param, const char *value, gint64 *ret_number, GError **error)
{
    char *end;

    errno = 0;
    long long number = strtoll(value, &end, 10);
    bool is_int = number >= INT_MIN && number <= INT_MAX;
    if (*value == '\0' || *end != '\0' || errno == ERANGE || (!is_int && param->max == 0))
        return fail(error, "bad numerical configuration: %s = %s", param->name, value);
    if (number < param->min)
        return fail(error, "invalid %s parameter value %lld < %lld", param->name, number, (long long)param->min);
    if (param->max > 0 && number > param->max)
        return fail(error, "invalid %s parameter value %lld > %lld", param->name, number, (long long)param->max);
    *ret_number = number;
    return true;
}

static gint64 unit_seconds(char unit)
{
    switch (unit) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 7 * 86400;
    default:
        return 0;
    }
}

static bool parse_time(const Param *param, const char *value, char unit, gint64 *ret_number, GError **error)
{
    size_t digits = strspn(value, "0123456789");
    gint64 factor = unit_seconds(value[digits] ? value[digits] : unit);
    bool ends = value[digits] == '\0' || value[digits + 1] == '\0';

    if (digits == 0 || digits > 10 || !ends || factor == 0)
        return fail(error, "parameter %s: bad time value or unit: %s", param->name, value);
    gint64 seconds = g_ascii_strtoll(value, NULL, 10) * factor; /* 10 digits cannot overflow */
    if (seconds > INT_MAX)
        return fail(error, "parameter %s: bad time value or unit: %s", param->name, value);
    if (seconds < param->min)
        return fail(error, "invalid %s: %s (min %lld)", param->name, value, (long long)param->min);
    if (param->max > 0 && seconds > param->max)
        return fail(error, "invalid %s: %s (max %lld)", param->name, value, (long long)param->max);
    *ret_number = seconds;
    return true;
}

static bool has_word(const char *words, const char *word)
{
    g_auto(GStrv) known = g_strsplit(words, " ", -1);

    for (char **at = known; *at; at++)
        if (g_ascii_strcasecmp(*at, word) == 0)
            return true;
    return false;
}

static bool parse_words(const Param *param, const char *value, GError **error)
{
    g_autoptr(GPtrArray) words = config_split(value);

    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        if (!has_word(param->words, word))
            return fail(error, "unknown %s value \"%s\" in \"%s\"", param->name, word, value);
    }
    return true;
}

bool value_is_hostname(const char *name)
{
    size_t label = 0;
    bool has_letter = false;

    if (*name == '\0' || strlen(name) > HOSTNAME_MAX)
        return false;
    for (const char *at = name; *at; at++) {
        if (*at == '.') {
            if (label == 0 || at[-1] == '-')
                return false;
            label = 0;
            continue;
        }
        if (!g_ascii_isalnum(*at) && *at != '_' && *at != '-')
            return false;
        if ((label == 0 && *at == '-') || ++label > LABEL_MAX)
            return false;
        has_letter |= !g_ascii_isdigit(*at);
    }
    return label > 0 && name[strlen(name) - 1] != '-' && has_letter; /* digits and dots alone are an address */
}

bool value_parse(const Param *param, const char *value, char unit, const char *source, gint64 *ret_number,
                 GError **error)
{
    *ret_number = 0;
    switch (param->type) {
    case PARAM_RAW:
    case PARAM_STRING:
        if (strlen(value) < (size_t)param->min)
            return fail(error, "bad string length %zu < %lld: %s = %s", strlen(value), (long long)param->min,
                        param->name, value);
        return true;
    case PARAM_HOSTNAME:
        return value_is_hostname(value) ||
               fail(error, "file %s: parameter %s: bad parameter value: %s", source, param->name, value);
    case PARAM_BOOL:
        return parse_bool(param, value, ret_number, error);
    case PARAM_INT:
        return parse_int(param, value, ret_number, error);
    case PARAM_TIME:
        return parse_time(param, value, unit, ret_number, error);
    case PARAM_WORDS:
        return parse_words(param, value, error);
    case PARAM_ENUM:
        return has_word(param->words, value) || fail(error, "bad parameter value: '%s = %s'", param->name, value);
    }
    g_assert_not_reached();
}

char value_time_unit(const char *time)
{
    while (*time && !g_ascii_isalpha(*time))
        time++;
    return unit_seconds(*time) ? *time : 's';
}
