/* literals.h - which of many patterns cannot match a text, by one look at it. A pattern tells strings that all it
 * matches must hold; a text that lacks one of them need not be matched. Case is disregarded everywhere, and a pattern
 * may be thought to match that does not, never the other way. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#define LITERAL_MIN 4      /* octets: shorter strings tell little */
#define LITERALS_PER_MAX 8 /* of one pattern */

/* The strings, in lower case, that a match of pattern (PCRE2 syntax, neither UTF nor extended) must hold. Sought where
 * the pattern is a plain sequence: what stands in groups and classes is passed over, and where it holds anything that
 * could make the rest of it optional (an alternative, a verb, a quotation, a condition) there are none. Array of char*,
 * which the caller unrefs. */
GPtrArray *literals_of(const char *pattern);

typedef struct LiteralIndex LiteralIndex;
LiteralIndex *literal_index_new(void);
void literal_index_free(LiteralIndex *index); /* NULL is fine */
/* The next pattern: they are numbered from 0. literals: none, or at most LITERALS_PER_MAX. */
void literal_index_add(LiteralIndex *index, const GPtrArray *literals);
void literal_index_finish(LiteralIndex *index); /* nothing is added any more; any thread may look */
bool literal_index_is_useful(const LiteralIndex *index);

/* For each pattern whether it may match: array of as many bool as there are patterns, which the caller frees. */
bool *literal_index_look(const LiteralIndex *index, const char *text, size_t len);
