/* posix.h - regular expressions of POSIX, written as PCRE2 wants them. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* Translates an extended (or basic) expression with the GNU additions \< \> \w \W \s \S \b \B \` \' and back
 * references. The result matches the same texts, except that of several ways to match PCRE2 takes the first and POSIX
 * the longest. NULL: error's text is that of regcomp(3). The caller frees. */
char *posix_to_pcre(const char *pattern, bool extended, GError **error);
