/* template.h - the value of a pattern's rule: text with $1, ${1}, $(1) for what the groups matched, and $$ for a
 * dollar. */
#pragma once
#include <glib.h>

typedef struct Template Template;

/* NULL: error says what is wrong. */
Template *template_parse(const char *text, GError **error);
void template_free(Template *value);             /* NULL is fine */
unsigned template_groups(const Template *value); /* the largest number in it; 0 for none */

/* offsets: begin and end of each group in subject, that of the whole match first; (size_t)-1 for a group that did not
 * take part. count: pairs there are; groups beyond are empty. The caller frees. */
char *template_expand(const Template *value, const char *subject, const size_t *offsets, unsigned count);
