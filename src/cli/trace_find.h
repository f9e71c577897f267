/* trace_find.h - the way of one message through the log, from one of its ids: the trace id of smtpd_proxy_trace, a
 * queue id, or an id in the quarantine.
 *
 * Lines belong together by trace id, by queue id, by the queue id in the reply with which the filter took the message,
 * and by the session's number between its connect and its disconnect. What one line says of another may stand before or
 * behind it, so all lines are fed as often as trace_find_again() asks for. Memory is bounded: beyond TRACE_EVENTS_MAX
 * lines or as many ids the result says that it was cut. */
#pragma once
#include "cli/trace_line.h"

#define TRACE_EVENTS_MAX 10000
#define TRACE_EVENT_OCTETS_MAX (8 << 20)
#define TRACE_IDS_MAX 1000

typedef struct {
    gint64 time_us; /* -1: unknown */
    guint index;    /* in the order of the log */
    char *raw;      /* the line */
    TraceLine line; /* points into raw */
} TraceEvent;

typedef struct TraceFind TraceFind;
TraceFind *trace_find_new(const char *id);
void trace_find_free(TraceFind *find);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TraceFind, trace_find_free)

/* Begins a pass. False: there was one, and nothing new came to light in it (or too often). */
bool trace_find_again(TraceFind *find);
/* raw: the line that line was parsed from. */
void trace_find_feed(TraceFind *find, const TraceLine *line, const char *raw, gint64 time_us);

/* In order of time; owned by find. */
const GPtrArray *trace_find_events(TraceFind *find);
bool trace_find_was_cut(const TraceFind *find);

/* What can honestly be said of gaps: of char *, which the caller unrefs. */
GPtrArray *trace_find_notes(TraceFind *find);
/* The filter took the message and said nothing by which to follow it: what to look for in one more pass with
 * trace_find_feed_candidate(). */
bool trace_find_lost_sight(TraceFind *find);
/* Messages of that sender that came to the queue in that time without an id: "QID", ...; perhaps it is one of them. */
void trace_find_feed_candidate(TraceFind *find, const TraceLine *line, gint64 time_us);
/* Of char *, owned by find. */
const GPtrArray *trace_find_candidates(const TraceFind *find);
