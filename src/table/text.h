/* text.h - the lines "key whitespace value" that indexed tables and texthash are made from (postmap(1)). */
#pragma once
#include "config/lines.h"

typedef enum { TEXT_RECORD, TEXT_SKIPPED, TEXT_END, TEXT_ERROR } TextResult;

/* The next record of lines. SKIPPED: the line is no record, which was logged ("warning: FILE, line N: expected format:
 * key whitespace value" and the like) with remark behind it. A key may hold blanks between double quotes, which stay
 * part of it.
 *
 * file       for warnings
 * remark     what the warning says of the line's fate: "" or " -- ignoring this line"
 * ret_...    set for RECORD alone; both trimmed, neither empty; the caller frees */
TextResult text_next(Lines *lines, const char *file, const char *remark, char **ret_key, char **ret_value,
                     int *ret_line, GError **error);
