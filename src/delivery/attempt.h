/* attempt.h - one delivery as an agent sees it: what it was asked to do, and what becomes of each recipient. Used by
 * one thread. */
#pragma once
#include "spool/delivery_request.h"
#include "spool/spool_message.h"

typedef struct {
    const char *program; /* tag of its log lines */
    DeliveryRequest *request;
    SpoolMessage *message;
    int connection;      /* to the queue manager */
    gint64 agent_us;     /* clock_wall_us() when it was taken up */
    gint64 connected_us; /* the agent's to set: when its peer was ready for the message; 0: not (yet) */
    int resolution;      /* delay_logging_resolution_limit */
    bool *done;          /* by index into the request's recipients */
    GString *reports;    /* not sent yet */
} Attempt;

typedef struct {
    const char *program;
    int resolution;
} AttemptOptions;

/* Reads the message. connection, message_fd and request become the attempt's, also on failure. NULL: the message cannot
 * be read; the queue manager was told as far as it is for it to know. */
Attempt *attempt_new(const AttemptOptions *options, int connection, int message_fd, DeliveryRequest *request);
/* Sends what is unsent, closes. Every recipient must be done. */
void attempt_free(Attempt *attempt);

guint attempt_count(const Attempt *attempt); /* recipients */
const Recipient *attempt_recipient(const Attempt *attempt, guint index);
guint attempt_number(const Attempt *attempt, guint index); /* in the envelope */
const Envelope *attempt_envelope(const Attempt *attempt);
/* Nothing is to be delivered: only what would become of it is asked. SENT means that it would be delivered. */
bool attempt_is_probe(const Attempt *attempt);

typedef struct {
    ResultStatus status;
    const char *dsn;   /* valid, first digit as status has it: attempt_finish() mends it */
    const char *relay; /* NULL: none */
    const char *text;
    ReportKind kind; /* PLAIN, SITE_FAILED, CORRUPT */
    bool durable;    /* a repeat would double mail: on stable storage before anybody is told */
} Outcome;
/* The recipient's end: into the file (but for a probe), into the log, then to the queue manager. Once for each. */
void attempt_finish(Attempt *attempt, guint index, const Outcome *outcome);
/* The same for all that are not done. */
void attempt_finish_rest(Attempt *attempt, const Outcome *outcome);
