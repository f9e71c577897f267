/* delivery_log.h - the line that a delivery attempt leaves in the log, one for each recipient (behaviour of all
 * delivery agents). */
#pragma once
#include "mail/envelope.h"
#include "spool/spool_format.h"

typedef struct {
    const char *program; /* tag of the line: "virtual", "smtp", "error" */
    const char *id;
    const Recipient *recipient;
    gint64 arrival_us;   /* all clock_wall_us() */
    gint64 active_us;    /* taken up by the queue manager; 0: never */
    gint64 agent_us;     /* by an agent; 0: none was asked */
    gint64 connected_us; /* the peer was ready for the message; 0: it never was */
    Probe probe;         /* of the message */
} DeliveryTimes;

/* "QID: to=<a>, orig_to=<b>, relay=R, delay=D, delays=a/b/c/d, dsn=X.Y.Z, status=S (text)". result has relay and text;
 * its time is the end. Of a probe S is "deliverable" or "undeliverable", "undeliverable-but-not-cached" where only good
 * results are remembered. resolution: delay_logging_resolution_limit, 0 to 6 decimals. */
void delivery_log(const DeliveryTimes *times, const Result *result, int resolution);

/* Seconds as in that line: two decimals below 1 s, one below 10 s, then none; rounded half up, at most resolution
 * decimals, trailing zeros dropped. */
void delivery_log_append_delay(GString *out, gint64 us, int resolution);
