/* qmgr_private.h - the state of the queue manager, and what its parts do for one another. */
#pragma once
#include "qmgr/backlog.h"
#include "qmgr/schedule.h"
#include "route/route.h"
#include "spool/spool_message.h"
#include "verify/cache.h"

typedef struct {
    gint64 minimal_backoff, maximal_backoff; /* seconds */
    gint64 lifetime, bounce_lifetime;        /* seconds */
    gint64 run_delay_ms, transport_retry_ms;
    gint64 silence_ms;    /* daemon_timeout */
    guint active_max;     /* messages in memory */
    guint recipients_max; /* of theirs, but for a single message that has more */
    guint under_way_max;  /* deliveries at once: each needs two descriptors */
    int delay_resolution; /* decimals in log lines */
    guint probes_max;     /* under way */
} Limits;

typedef struct {
    const Config *config;
    Spool *spool;
    Route *route, *probe_route;
    VerifyCache *verify; /* NULL: results of probes are lost */
    GHashTable *probes;  /* set of char *: addresses that are probed now */
    Backlog *backlog;
    Schedule *schedule;
    Limits limits;
    guint64 since_ns;  /* clock_wall_ns() when this process became the queue manager */
    guint recipients;  /* in memory */
    GQueue unrecorded; /* of Message: done, but results could not be written into the file yet */
    int epoll;
    guint under_way;   /* deliveries */
    GQueue deliveries; /* those under way, the one that has been silent for longest first */
    char *packet;      /* DELIVERY_PACKET_MAX octets to receive into */
} Qmgr;

/* ---- message.c: an active message ---- */

typedef struct Message {
    char *id, *sender;
    gint64 arrival_us, active_us;
    bool flushed;       /* a person asked for this attempt */
    bool again;         /* an attempt before this one is possible */
    guint open;         /* recipients without a final result when it became active */
    guint jobs;         /* deliveries that wait or are under way */
    guint under_way;    /* deliveries */
    guint deferred;     /* recipients, in this attempt */
    guint failed;       /* recipients, for good, now or before */
    SpoolMessage *file; /* NULL while no delivery is under way; its lock comes and goes with it */
    bool lost;          /* a delivery ended without saying how: only the file knows */
    bool corrupt;       /* an agent found the content damaged */
    GArray *unrecorded; /* of Result: known from reports, but not in the file */
    Probe probe;
    char *probed_address; /* in qmgr->probes; NULL: none */
} Message;

/* Opens, logs, routes, and queues what the backlog gave out. */
void message_activate(Qmgr *qmgr, const char *id, unsigned flags); /* BACKLOG_ set */
/* The file, opened and locked; NULL: cannot be just now (logged). */
SpoolMessage *message_file(Qmgr *qmgr, Message *message);
/* Closes the file unless a delivery needs it. */
void message_let_go(Message *message);
void message_take_report(Qmgr *qmgr, Message *message, const DeliveryReport *report);
/* Defers the job's recipients without an attempt, and frees it. May end the message. */
void message_defer_job(Qmgr *qmgr, Job *job, const char *dsn, const char *text);
/* When no job is left: removes, holds or defers the message, and frees it. */
void message_check_done(Qmgr *qmgr, Message *message);
/* Tries again what could not be written. */
void message_record_again(Qmgr *qmgr);

/* ---- probe.c: messages that are probes, with their file open ---- */

/* A result that no agent gave. */
typedef struct {
    ResultStatus status;
    const char *dsn, *text;
    const char *program; /* of the log line */
    const char *relay;   /* NULL: none */
} OwnResult;

/* False: it is not tried, since it is late, or its address is probed already, or too many are. */
bool probe_begin(Qmgr *qmgr, Message *message);
void probe_end(Qmgr *qmgr, Message *message);
void probe_note(Qmgr *qmgr, const Message *message, guint number, ResultStatus status, const char *text);
/* An alias of several addresses is good without asking them. True: it is one, and that was logged and noted. */
bool probe_answer_alias(Qmgr *qmgr, Message *message);
/* An address of this system: as the tables say. The caller frees *ret_text. False: a table did not answer. */
bool probe_answer_local(Qmgr *qmgr, const char *address, OwnResult *ret_result, char **ret_text);

/* ---- deliver.c: deliveries under way ---- */

typedef struct Delivery Delivery;
/* Starts what may start. */
void deliver_start_jobs(Qmgr *qmgr);
void deliver_read(Qmgr *qmgr, Delivery *delivery);
/* When the first of those under way will have been silent for too long; CLOCK_NEVER without one. */
gint64 deliver_silence_time(const Qmgr *qmgr);
/* Gives up deliveries that have been. Their agents may still work: while one does it holds the message's lock. */
void deliver_drop_silent(Qmgr *qmgr, gint64 now_ms);
/* Defers all that waits for a destination or transport. */
void deliver_defer_all(Qmgr *qmgr, GPtrArray *jobs, const Trouble *trouble, const char *prefix);
#define SUSPENDED "delivery temporarily suspended: "
