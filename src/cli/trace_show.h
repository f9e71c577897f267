/* trace_show.h - the way of a message as text for people and as JSON. All of it is strangers' words: nothing that is
 * not printable reaches a terminal. */
#pragma once
#include "cli/trace_find.h"

/* For people: local time. For JSON: seconds since 1970. */
void trace_append_time(GString *out, gint64 time_us);
void trace_append_quoted(GString *out, TraceText text);
void trace_append_json_text(GString *out, const char *name, TraceText text); /* , "name": "text"; nothing for none */

/* The whole way. notes, candidates: of char *, may be empty. */
void trace_append_way(GString *out, const GPtrArray *events, const GPtrArray *notes, const GPtrArray *candidates);
void trace_append_json_way(GString *out, const GPtrArray *events, const GPtrArray *notes, const GPtrArray *candidates);
