/* rates.h - how often each client did what within a time unit, as anvil(8) counts it, in memory that all processes
 * share. What is counted outlives the process that counted it: neither a reload nor a crash gives a client its time
 * unit anew.
 *
 * A client's window begins with its first event; what comes later than the unit behind that begins the next one, for
 * all kinds of event at once.
 *
 * The table has a fixed size: RATE_BUCKETS times RATE_BUCKET clients, 7 MB once all of it was used. It holds whoever
 * did anything within the last time unit, up to that number. A client belongs to one bucket, by a hash with a secret,
 * so that nobody can choose whom to push out. Where a bucket is full a newcomer takes the place of, first, one whose
 * window is over; else of the one with the fewest events, the oldest of those. So a flood of addresses that come once
 * pushes out others that came once, and a client that is counting up stays: who wants it forgotten has to make, in one
 * time unit, as many events from each of 32 addresses of its bucket as it made itself, that is, from nearly all of
 * 100,000 addresses. A client that was pushed out begins anew at 1: the error is always in the client's favour, and
 * nobody is refused for what another one did.
 *
 * No locks: a process that is stopped or killed at any point hinders nobody. The price is that two processes that see a
 * client for the first time at the very same moment, or while it is pushed out, may lose one of two events. */
#pragma once
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>

#define RATE_BUCKETS 4096
#define RATE_BUCKET 32
#define RATE_WHO_MAX 160 /* octets of "service:client" in the statistics */

typedef enum { RATE_CONNECTION, RATE_MESSAGE, RATE_RECIPIENT, RATE_NEW_TLS, RATE_AUTH, RATE_KINDS } RateKind;

typedef struct {
    _Atomic guint64 key;                /* 0: free */
    _Atomic guint64 window;             /* clock_ms() of its beginning */
    _Atomic guint64 counts[RATE_KINDS]; /* count, and above it a mark of whose it is and of which window */
} RateClient;

/* The highest value since the last statistics. */
typedef struct {
    _Atomic guint32 writer; /* row + 1 of the process that writes the rest; 0: nobody */
    _Atomic guint32 value;
    gint64 when; /* seconds since 1970 */
    char who[RATE_WHO_MAX];
} RatePeak;

typedef struct {
    _Atomic guint32 used; /* clients in the table */
    RatePeak peaks[RATE_KINDS];
    RatePeak sessions, size;
    _Atomic bool touched[RATE_BUCKETS]; /* the others were never used, and take no memory as long as nobody looks */
    RateClient clients[RATE_BUCKETS][RATE_BUCKET];
} RateTable;

/* Who counts, and for whom. */
typedef struct {
    guint64 key;                  /* hash of line and client, never 0 */
    const char *service, *client; /* for the statistics: "smtp", "192.0.2.1" */
    guint32 row;                  /* of the process */
} RateSource;

/* One more event. Returns the number with it in the client's window. Thread-safe; never blocks. now, unit:
 * milliseconds. */
guint32 rates_count(RateTable *table, const RateSource *source, RateKind kind, gint64 now, gint64 unit);
/* The number so far. */
guint32 rates_look(RateTable *table, const RateSource *source, RateKind kind, gint64 now, gint64 unit);
/* The client has so many sessions: for the statistics. */
void rates_note_sessions(RateTable *table, const RateSource *source, guint32 sessions);

/* --- the master's --- */

/* Takes out who did nothing within the time unit. Call it about once in each. */
void rates_sweep(RateTable *table, gint64 now, gint64 unit);
/* anvil's lines, "statistics: max connection rate 3/60s for (smtp:192.0.2.1) at Nov  2 20:51:09", of what there was
 * since the last call; then begins anew. */
void rates_log_statistics(RateTable *table, gint64 unit);
/* The process of that row is dead. */
void rates_forget_row(RateTable *table, guint32 row);
