/* quarantine_show.h - messages in quarantine as text for people and as JSON, an object a line. All of it is strangers'
 * words: nothing that is not printable reaches a terminal. */
#pragma once
#include "quarantine/quarantine.h"

/* One line of `list`. */
void quarantine_append_line(GString *out, const QuarantineRecord *record);
/* All that is known. */
void quarantine_append_text(GString *out, const QuarantineRecord *record);
/* Without the braces' end and the newline, so that more can follow. */
void quarantine_append_json(GString *out, const QuarantineRecord *record);
/* A piece of a message's content, tabs and line ends as they are. */
void quarantine_append_content(GString *out, const char *data, size_t len, bool ends_line);
