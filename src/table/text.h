/* text.h - the lines "key whitespace value" that indexed tables and texthash are made from (postmap(1)). */
#pragma once
#include "config/lines.h"

typedef enum { TEXT_RECORD, TEXT_SKIPPED, TEXT_END, TEXT_ERROR } TextResult;

/* What the records are for. ALIASES are "name: value" as in aliases(5), where a name is local, and what is between its
 * double quotes or after a backslash is as it is. Of the others, only INDEX and LOOKUP take a key with a colon at its end as it is, and wonder ("is this an
 * alias file?"); for SUBSTITUTE, a text read in place of an index that postmap or postalias could have made, the colon
 * is dropped. */
typedef enum { TEXT_FOR_ALIASES, TEXT_FOR_INDEX, TEXT_FOR_LOOKUP, TEXT_FOR_SUBSTITUTE } TextUse;

/* The next record of lines. SKIPPED: the line is no record, which was logged ("warning: FILE, line N: expected format:
 * key whitespace value" and the like). A key may hold blanks between double quotes, which stay part of it.
 *
 * file       for warnings
 * ret_...    set for RECORD alone; both trimmed, neither empty; the caller frees */
TextResult text_next(Lines *lines, const char *file, TextUse use, char **ret_key, char **ret_value, int *ret_line,
                     GError **error);
