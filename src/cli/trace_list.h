/* trace_list.h - the messages that came in a time, or from a client, one row each: what the server before the filter
 * says of each, and of what came to the queue without one. A row is ready when its message has ended. */
#pragma once
#include "cli/trace_line.h"

#define TRACE_SESSIONS_MAX 20000 /* that are followed at once; beyond it the oldest are forgotten */

typedef struct {
    gint64 time_us;
    const char *id;                 /* the trace id, else the queue id of the filter's reply; NULL: none */
    const char *client;             /* "name[addr]"; NULL: unknown */
    const char *sender, *recipient; /* NULL: unknown */
    const char *verdict;            /* accept, reject, queued, or "none": it ended without one */
    const char *text;               /* a reply, or what went wrong; NULL: nothing is known */
} TraceRow;
typedef void TraceRowFunc(void *user, const TraceRow *row);

typedef struct TraceList TraceList;
/* client: a name or an address; NULL: all. */
TraceList *trace_list_new(const char *client, TraceRowFunc *func, void *user);
void trace_list_free(TraceList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TraceList, trace_list_free)
void trace_list_feed(TraceList *list, const TraceLine *line, gint64 time_us);
/* The log is at its end: what has not ended is shown as it is. */
void trace_list_finish(TraceList *list);
