/* json.h - strings in JSON output (RFC 8259), also safe on a terminal. */
#pragma once
#include <glib.h>

/* Appends text with its quotes. Octets that are no UTF-8 become U+FFFD; whatever is not printable is escaped. */
void json_append_string(GString *out, const char *text);
