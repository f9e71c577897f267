/* resolver_private.h - what the resolver's own files share. Nobody else includes this.
 *
 *     context.c   the context of libunbound: its options, servers, trust anchors
 *     resolver.c  questions and answers, the task that takes them, deadlines
 *     wait.c      threads that wait
 *     lookup.c    what is asked one after the other, what follows from an answer
 *
 * Each search is a Lookup in a table keyed by its number. libunbound gets only the number, so a search can be dropped
 * at any time and its answers then find nothing. The lock guards the table and the lookups in it; it is a leaf: neither
 * libunbound nor the scheduler is called under it. libunbound calls back from ub_process() without any lock of its own
 * (unbound.h), on whatever thread calls that. */
#pragma once
#include "dns/cache.h"
#include "dns/hosts.h"
#include "dns/resolver.h"
#include <pthread.h>
#include <unbound.h>

#define RESOLVER_OUTSTANDING_MAX 1024 /* questions that libunbound works on; one more is answered TEMPORARY at once */

#define DNS_CLASS_IN 1

typedef struct {
    guint64 number;
    TaskRef task;    /* gets WAKE_ANSWER; 0: a thread waits on the resolver's condition */
    gint64 deadline; /* clock_ms() */
    bool timed;      /* in by_deadline: the resolver's task sees to the deadline */
    bool done;

    /* the name of an address: peer is not NULL */
    PeerName *peer;
    char *addr; /* canonical */
    int family;

    /* records: answer is not NULL */
    DnsAnswer *answer; /* what is there until now */
    unsigned missing;  /* answers: DNS_ADDRESSES may need two */
} Lookup;

/* What a lookup asks next; type 0: nothing. */
typedef struct {
    DnsType type;
    char *name;
} Question;

struct Resolver {
    struct ub_ctx *ub;
    Hosts *hosts;
    gint64 timeout_ms, question_timeout_ms;
    Sched *sched; /* NULL: waiting threads take the answers themselves */
    TaskRef task;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    GHashTable *lookups; /* &lookup->number -> Lookup */
    GTree *by_deadline;  /* of Lookup: those that tasks wait for */
    guint64 last_number;
    DnsCache *cache;
    GHashTable *questions; /* those that libunbound works on */
    gint64 task_deadline;  /* what the task parked with, or is about to */
    bool pumping;          /* a waiting thread is in ub_process() or waits for ub_fd() */
    bool broken;           /* libunbound's worker is gone */
    bool started;          /* libunbound has made its thread */
};

/* ---- context.c ---- */
struct ub_ctx *context_new(const ResolverOptions *options, GError **error);

/* ---- resolver.c ---- */
/* Under the lock: a search for records, that of a task (which the resolver's task ends in time) or of a thread. */
Lookup *resolver_add_question(Resolver *resolver, TaskRef task, DnsType type, gint64 timeout_ms);
void resolver_remove_lookup(Resolver *resolver, Lookup *lookup);
/* Without it. */
void resolver_send_questions(Resolver *resolver, guint64 number, const char *name, DnsType type);
void resolver_process(Resolver *resolver); /* takes what answers there are */
/* The answer that needs no question; NULL: one has to be asked. */
DnsAnswer *resolver_answer_at_once(Resolver *resolver, const char *name, DnsType type);

/* ---- lookup.c ---- Answers are made without the lock; the others are called with it. */
DnsAnswer *answer_from_result(DnsType type, int err, const struct ub_result *result);
PeerName *peer_name_new(DnsStatus status, const char *name);
/* The lookup takes in an answer to a question of that type. Returns what it asks next; otherwise it may be done. */
Question lookup_take(Lookup *lookup, const Hosts *hosts, DnsType type, const DnsAnswer *answer);
void lookup_expire(Lookup *lookup); /* it is done: its time is over */
void lookup_free(Lookup *lookup);
