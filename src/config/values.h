/* values.h - the types of parameter values. Errors are worded as Postfix words them. */
#pragma once
#include "config/params.h"

/* Checks an expanded value of param.
 *
 * unit        of a time without one: 's' 'm' 'h' 'd' 'w'
 * source      the file that a bad host name is blamed on
 * ret_number  BOOL: 0 or 1; INT; TIME: seconds; else 0 */
bool value_parse(const Param *param, const char *value, char unit, const char *source, gint64 *ret_number, GError **error);

/* The unit letter of a time as a default has it ("5m", "300s"): its first letter; 's' where there is none. */
char value_time_unit(const char *time);

/* RFC 1123 host name: labels of letters, digits, '-' and '_'. */
bool value_is_hostname(const char *name);
