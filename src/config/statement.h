/* statement.h - "name = value", as in main.cf and in -o. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* Splits at the '='. The name is all up to a blank or '='; blanks around both parts are dropped. The caller frees both.
 * False: error is `missing '=' after attribute name: "foo bar"` or `missing attribute name: "= bar"`. */
bool statement_split(const char *text, char **ret_name, char **ret_value, GError **error);

/* A copy without white space (isspace(3)) at both ends. */
char *statement_trim(const char *text);
