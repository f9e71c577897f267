/* schedule.h - deliveries that wait, by transport and destination, and whose turn it is. No I/O here.
 *
 * A job is one delivery: some recipients of one message that go one way. Destinations with jobs take turns, so that
 * none can keep the others waiting. */
#pragma once
#include "config/config.h"
#include "qmgr/feedback.h"
#include "spool/delivery_request.h"

typedef struct Schedule Schedule;
typedef struct Transport Transport;
typedef struct Destination Destination;

typedef struct {
    struct Message *message; /* active.h */
    Destination *destination;
    DeliveryRequest *request;
} Job;
void job_free(Job *job);

/* Why mail for a transport or destination is not tried for the moment. */
typedef struct {
    gint64 until_ms; /* clock_ms(); 0: it is tried */
    char dsn[12];
    char *text;
} Trouble;

struct Transport {
    char *name;
    FeedbackLimits limits;
    guint recipient_limit;   /* of one delivery */
    Trouble trouble;         /* nobody listens there */
    gint64 stalled_until_ms; /* its socket is full, or its rate delay is not over */
    gint64 rate_delay_ms, destination_rate_delay_ms;
    bool deferred;       /* defer_transports: only tried when a person asks for it */
    GTree *destinations; /* key -> Destination */
    Schedule *schedule;
};

struct Destination {
    Transport *transport;
    char *key, *nexthop;
    Feedback feedback;
    Trouble trouble;      /* it was found dead */
    gint64 not_before_ms; /* its rate delay */
    GQueue jobs;
    bool queued; /* stands in the line of those whose turn will come */
};

Schedule *schedule_new(const Config *config); /* config must outlive it */
void schedule_free(Schedule *schedule);

Transport *schedule_transport(Schedule *schedule, const char *name);
/* address matters only where each recipient is a destination of its own (recipient_limit 1). */
Destination *schedule_destination(Transport *transport, const char *nexthop, const char *address);

void schedule_add(Job *job); /* the schedule's now */
/* The next job that may start, counted as started; the caller's. NULL: none. */
Job *schedule_next(Schedule *schedule, gint64 now_ms);
/* Puts a job back that did not start after all. */
void schedule_put_back(Job *job);
/* When a job that waits for a stalled transport or a rate delay is to be tried again: CLOCK_NEVER without one. */
gint64 schedule_next_time(const Schedule *schedule, gint64 now_ms);

typedef enum { SITE_UNKNOWN, SITE_GOOD, SITE_FAILED } SiteState;
/* A started job ended (the caller frees it). dead_ms: how long the destination is dead if that is what it shows.
 * Returns whether it is dead now. */
bool schedule_ended(Destination *destination, SiteState site, const char *dsn, const char *text, gint64 dead_until_ms);

void trouble_set(Trouble *trouble, gint64 until_ms, const char *dsn, const char *text);
bool trouble_is_now(const Trouble *trouble, gint64 now_ms);
/* Takes out the jobs that wait there: array of Job *, the caller's. */
GPtrArray *schedule_take_jobs(Destination *destination);
GPtrArray *schedule_take_transport_jobs(Transport *transport);
/* Frees destinations that have nothing to do and nothing to remember. Nobody may hold one without a job in it. */
void schedule_sweep(Schedule *schedule, gint64 now_ms);
/* Forgets all troubles: a person asked for everything to be tried now. */
void schedule_forgive(Schedule *schedule);
