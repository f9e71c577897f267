/* schedule.c - jobs by transport and destination. */
#include "qmgr/schedule.h"
#include "base/clock.h"

#include <string.h>

struct Schedule {
    const Config *config;
    GPtrArray *deferred; /* names of defer_transports */
    GTree *transports;   /* name -> Transport. Trees, not hash tables: strangers choose destinations' names */
    GQueue turn;         /* of Destination: have jobs, and may start one as far as is known */
};

void job_free(Job *job)
{
    if (!job)
        return;
    delivery_request_free(job->request);
    g_free(job);
}

static void destination_free(void *data)
{
    Destination *destination = data;
    Job *job;

    while ((job = g_queue_pop_head(&destination->jobs)))
        job_free(job);
    g_free(destination->trouble.text);
    g_free(destination->key);
    g_free(destination->nexthop);
    g_free(destination);
}

static void transport_free(void *data)
{
    Transport *transport = data;

    g_tree_unref(transport->destinations);
    g_free(transport->trouble.text);
    g_free(transport->name);
    g_free(transport);
}

static gint compare(gconstpointer a, gconstpointer b, gpointer data)
{
    return strcmp(a, b);
}

Schedule *schedule_new(const Config *config)
{
    Schedule *schedule = g_new0(Schedule, 1);

    schedule->config = config;
    schedule->deferred = config_split(config_string(config, "defer_transports"));
    schedule->transports = g_tree_new_full(compare, NULL, NULL, transport_free);
    return schedule;
}

void schedule_free(Schedule *schedule)
{
    if (!schedule)
        return;
    g_queue_clear(&schedule->turn);
    g_tree_unref(schedule->transports);
    g_ptr_array_unref(schedule->deferred);
    g_free(schedule);
}

static int transport_limit(const Config *config, const char *name, const char *suffix, const char *default_name)
{
    return (int)CLAMP(config_transport_int(config, name, suffix, default_name), 0, G_MAXINT);
}

Transport *schedule_transport(Schedule *schedule, const char *name)
{
    Transport *transport = g_tree_lookup(schedule->transports, name);
    const Config *config = schedule->config;

    if (transport)
        return transport;
    transport = g_new0(Transport, 1);
    transport->schedule = schedule;
    transport->name = g_strdup(name);
    transport->limits = (FeedbackLimits){
        .initial = transport_limit(config, name, "_initial_destination_concurrency", "initial_destination_concurrency"),
        .limit =
            transport_limit(config, name, "_destination_concurrency_limit", "default_destination_concurrency_limit"),
        .cohort_limit = transport_limit(config, name, "_destination_concurrency_failed_cohort_limit",
                                        "default_destination_concurrency_failed_cohort_limit"),
    };
    transport->recipient_limit =
        (guint)transport_limit(config, name, "_destination_recipient_limit", "default_destination_recipient_limit");
    transport->rate_delay_ms =
        1000 * config_transport_seconds(config, name, "_transport_rate_delay", "default_transport_rate_delay");
    transport->destination_rate_delay_ms =
        1000 * config_transport_seconds(config, name, "_destination_rate_delay", "default_destination_rate_delay");
    if (transport->destination_rate_delay_ms > 0)
        transport->limits.limit = 1;
    transport->deferred = g_ptr_array_find_with_equal_func(schedule->deferred, name, g_str_equal, NULL);
    transport->destinations = g_tree_new_full(compare, NULL, NULL, destination_free);
    g_tree_insert(schedule->transports, transport->name, transport);
    return transport;
}

Destination *schedule_destination(Transport *transport, const char *nexthop, const char *address)
{
    bool by_recipient = transport->recipient_limit == 1;
    g_autofree char *folded = g_ascii_strdown(nexthop, -1);
    g_autofree char *key = by_recipient ? g_strconcat(folded, "\n", address, NULL) : g_steal_pointer(&folded);
    Destination *destination = g_tree_lookup(transport->destinations, key);

    if (destination)
        return destination;
    destination = g_new0(Destination, 1);
    destination->transport = transport;
    destination->key = g_steal_pointer(&key);
    destination->nexthop = g_strdup(nexthop);
    feedback_init(&destination->feedback, &transport->limits);
    g_tree_insert(transport->destinations, destination->key, destination);
    return destination;
}

static void queue_destination(Destination *destination)
{
    if (destination->queued || destination->jobs.length == 0 || !feedback_may_start(&destination->feedback))
        return;
    destination->queued = true;
    g_queue_push_tail(&destination->transport->schedule->turn, destination);
}

void schedule_add(Job *job)
{
    g_queue_push_tail(&job->destination->jobs, job);
    queue_destination(job->destination);
}

static gint64 not_before(const Destination *destination)
{
    return MAX(destination->not_before_ms, destination->transport->stalled_until_ms);
}

Job *schedule_next(Schedule *schedule, gint64 now_ms)
{
    for (guint tries = schedule->turn.length; tries > 0; tries--) {
        Destination *destination = g_queue_pop_head(&schedule->turn);
        if (not_before(destination) > now_ms) {
            g_queue_push_tail(&schedule->turn, destination);
            continue;
        }
        destination->queued = false;
        if (destination->jobs.length == 0 || !feedback_may_start(&destination->feedback))
            continue;
        Job *job = g_queue_pop_head(&destination->jobs);
        feedback_started(&destination->feedback);
        if (destination->transport->rate_delay_ms > 0)
            destination->transport->stalled_until_ms = now_ms + destination->transport->rate_delay_ms;
        queue_destination(destination);
        return job;
    }
    return NULL;
}

void schedule_put_back(Job *job)
{
    feedback_ended(&job->destination->feedback);
    g_queue_push_head(&job->destination->jobs, job);
    queue_destination(job->destination);
}

gint64 schedule_next_time(const Schedule *schedule, gint64 now_ms)
{
    gint64 next = CLOCK_NEVER;

    for (const GList *at = schedule->turn.head; at; at = at->next) {
        gint64 when = not_before(at->data);
        if (when > now_ms)
            next = MIN(next, when);
    }
    return next;
}

void trouble_set(Trouble *trouble, gint64 until_ms, const char *dsn, const char *text)
{
    trouble->until_ms = until_ms;
    g_strlcpy(trouble->dsn, dsn, sizeof trouble->dsn);
    g_free(trouble->text);
    trouble->text = g_strdup(text);
}

bool trouble_is_now(const Trouble *trouble, gint64 now_ms)
{
    return trouble->until_ms > now_ms;
}

bool schedule_ended(Destination *destination, SiteState site, const char *dsn, const char *text, gint64 dead_until_ms)
{
    const FeedbackLimits *limits = &destination->transport->limits;
    bool dead = false;

    if (site == SITE_GOOD)
        feedback_succeeded(&destination->feedback, limits);
    else if (site == SITE_FAILED)
        dead = feedback_failed(&destination->feedback, limits);
    else
        feedback_ended(&destination->feedback);
    if (destination->transport->destination_rate_delay_ms > 0)
        destination->not_before_ms = clock_ms() + destination->transport->destination_rate_delay_ms;
    if (dead)
        trouble_set(&destination->trouble, dead_until_ms, dsn, text);
    queue_destination(destination);
    return dead;
}

static void take_jobs(Destination *destination, GPtrArray *jobs)
{
    Job *job;

    while ((job = g_queue_pop_head(&destination->jobs)))
        g_ptr_array_add(jobs, job);
}

GPtrArray *schedule_take_jobs(Destination *destination)
{
    GPtrArray *jobs = g_ptr_array_new();

    take_jobs(destination, jobs);
    return jobs;
}

static gboolean take_destination_jobs(gpointer key, gpointer value, gpointer jobs)
{
    take_jobs(value, jobs);
    return FALSE;
}

GPtrArray *schedule_take_transport_jobs(Transport *transport)
{
    GPtrArray *jobs = g_ptr_array_new();

    g_tree_foreach(transport->destinations, take_destination_jobs, jobs);
    return jobs;
}

typedef struct {
    gint64 now_ms;
    GPtrArray *idle;
} Sweep;

static gboolean collect_idle(gpointer key, gpointer value, gpointer data)
{
    const Destination *destination = value;
    Sweep *sweep = data;

    if (destination->jobs.length == 0 && destination->feedback.busy == 0 && !destination->queued &&
        !trouble_is_now(&destination->trouble, sweep->now_ms) && destination->not_before_ms <= sweep->now_ms)
        g_ptr_array_add(sweep->idle, key);
    return FALSE;
}

static gboolean sweep_transport(gpointer key, gpointer value, gpointer data)
{
    const Transport *transport = value;
    g_autoptr(GPtrArray) idle = g_ptr_array_new();
    Sweep sweep = {*(gint64 *)data, idle};

    g_tree_foreach(transport->destinations, collect_idle, &sweep);
    for (guint i = 0; i < idle->len; i++)
        g_tree_remove(transport->destinations, g_ptr_array_index(idle, i));
    return FALSE;
}

void schedule_sweep(Schedule *schedule, gint64 now_ms)
{
    g_tree_foreach(schedule->transports, sweep_transport, &now_ms);
}

static gboolean forgive_destination(gpointer key, gpointer value, gpointer data)
{
    ((Destination *)value)->trouble.until_ms = 0;
    return FALSE;
}

static gboolean forgive_transport(gpointer key, gpointer value, gpointer data)
{
    Transport *transport = value;

    transport->trouble.until_ms = 0;
    g_tree_foreach(transport->destinations, forgive_destination, NULL);
    return FALSE;
}

void schedule_forgive(Schedule *schedule)
{
    g_tree_foreach(schedule->transports, forgive_transport, NULL);
}
