/* trace_line.h - one line of the mail log, taken apart: ours, and those of Postfix's that have the same shape. Pure
 * functions. The log is written from strangers' words (names, addresses, HELO, a filter's text), so every part is
 * looked for only where our programs put it, and an id is believed only as the last word of a line whose end is ours.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef enum {
    TRACE_OTHER,
    TRACE_CONNECT,
    TRACE_DISCONNECT,
    TRACE_CLIENT,   /* "NOQUEUE: client=": a message goes to the filter */
    TRACE_REJECT,   /* "NOQUEUE: reject: " */
    TRACE_TROUBLE,  /* "warning: ... proxy ...", "warning: ... next hop ..." */
    TRACE_BROKEN,   /* "lost connection after ", "timeout after ", "too many errors after " */
    TRACE_PROXY,    /* "proxy-accept: ", "proxy-reject: " */
    TRACE_FILTER,   /* "filter-VERDICT: " */
    TRACE_QUEUED,   /* "QID: client=": a message comes to the queue */
    TRACE_DELIVERY, /* "QID: to=<...>, relay=..." */
    TRACE_QUEUE,    /* "QID: ...", all else of a message in the queue */
} TraceKind;

/* Part of a line; len 0: it has no such part. */
typedef struct {
    const char *at;
    size_t len;
} TraceText;

/* Points into the line. */
typedef struct {
    TraceText stamp;   /* "Nov 22 14:00:01" or "2026-11-22T14:00:01.25+01:00" */
    TraceText session; /* "HOST TAG[NUMBER]": the lines of one session have the same, and so have later sessions' */
    TraceText program; /* the tag behind its last '/' */
    TraceText number;
    const char *text; /* to the line's end */
    TraceKind kind;
    TraceText queue_id;
    TraceText trace;             /* trace= or orig_queue_id= */
    TraceText queued_as;         /* PROXY, FILTER: the last word of a 2xx reply that ends in "queued as ..." */
    TraceText reply;             /* PROXY, FILTER */
    TraceText verdict;           /* PROXY: accept, reject; FILTER: its verdict; DELIVERY: its status */
    TraceText client;            /* CONNECT, DISCONNECT, CLIENT, REJECT, QUEUED: "name[addr]" */
    TraceText original;          /* QUEUED: orig_client */
    TraceText sender, recipient; /* PROXY, FILTER, REJECT; QUEUE: the sender at "queue active"; without <> */
} TraceLine;

/* line: NUL-terminated, without its line end. False: it is not a line of a mail program. */
bool trace_line_parse(const char *line, TraceLine *ret);

/* In microseconds since 1970; -1: there is no such time. Stamps without a year: the last such time that is not more
 * than a day after not_after_us (when the file was written). */
gint64 trace_line_time(const TraceLine *line, gint64 not_after_us);

/* How long something took: PROXY and FILTER as they say, DELIVERY's four. index from 0; false: there are no more. */
bool trace_line_stage(const TraceLine *line, guint index, TraceText *ret_name, TraceText *ret_seconds);

static inline bool trace_text_is(TraceText text, const char *wanted)
{
    return strlen(wanted) == text.len && (text.len == 0 || memcmp(text.at, wanted, text.len) == 0);
}
static inline char *trace_text_dup(TraceText text) /* "" for none */
{
    return g_strndup(text.len ? text.at : "", text.len);
}
