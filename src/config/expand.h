/* expand.h - `$` expansion (postconf(5), "EXAMPLES"):
 *
 *     $name ${name} $(name)            the value, itself expanded; nothing when undefined
 *     $$                               one '$'
 *     ${name?text} ${name?{text}}      text if the value is not empty (before its own expansion), else nothing
 *     ${name:text} ${name:{text}}      text if it is empty or undefined
 *     ${name?{a}:{b}} ${name?{a}:b}
 *     ${{x} OP {y}?{a}:{b}}            OP: == != < <= >= >; by number if both are all digits, else by octets. OPlevel: as levels
 *                                      ("3.6" < "3.10"). Without ? and : the result is "true" or nothing
 *     ${domain_to_ascii{text}}         and other functions, see expand.c
 *
 * Names are letters, digits and '_'. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* The raw value of name, or NULL where it is undefined. What it returns must live until expand_text() returns. */
typedef const char *ExpandLookup(const char *name, void *data);

/* Caller frees. NULL: error says what is wrong, as in `truncated macro reference: "${foo"`. */
char *expand_text(const char *text, ExpandLookup *lookup, void *data, GError **error);

/* For text that strangers get to see. The value of a name is text, never a template; octets of it that are not in allowed
 * (smtpd_expansion_filter, with its escapes) become '_'. value() gives NULL for what is not known now, and sets *ret_exists to
 * false for names that there are not: these are added to unknown. Otherwise as expand_text(). */
typedef const char *ExpandValue(void *data, const char *name, bool *ret_exists);
char *expand_values(const char *text, const char *allowed, ExpandValue *value, void *data, GPtrArray *unknown,
                    GError **error);

/* Calls seen() for each name that text refers to itself, in whichever branch; what is malformed is passed over. */
typedef void ExpandSeen(const char *name, void *data);
void expand_names(const char *text, ExpandSeen *seen, void *data);

/* Compares dotted levels of up to three numbers ("3.6" < "3.10", "3" == "3.0.0"): *ret_order is below, equal to, or above 0.
 * False: one of them is not a level, as error says. */
bool expand_compare_levels(const char *a, const char *b, int *ret_order, GError **error);
