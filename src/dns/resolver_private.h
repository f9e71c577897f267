/* resolver_private.h - what the resolver's own files share. Nobody else includes this.
 *
 *     resolver.c  the context of libunbound, the task that takes its answers, deadlines, waiting threads
 *     lookup.c    what is asked one after the other, what follows from an answer
 *
 * Each search is a Lookup in a table keyed by its number. libunbound gets only the number, so a search can be dropped
 * at any time and its answers then find nothing. The lock guards the table and the lookups in it; it is a leaf: neither
 * libunbound nor the scheduler is called under it. libunbound calls back from ub_process() without any lock of its own
 * (unbound.h), on whatever thread calls that. */
#pragma once
#include "dns/hosts.h"
#include "dns/resolver.h"
#include <pthread.h>
#include <unbound.h>

#define RESOLVER_OUTSTANDING_MAX 1024 /* questions that libunbound works on; one more is answered TEMPORARY at once */
#define RESOLVER_ADDRESSES_MAX 64     /* given out for one host */

enum { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_CLASS_IN = 1 };

typedef struct {
    guint64 number;
    TaskRef task;    /* gets WAKE_ANSWER; 0: a thread waits on the resolver's condition */
    gint64 deadline; /* clock_ms() */
    GList *link;     /* in by_deadline, when the resolver's task sees to the deadline */
    bool done;

    /* the name of an address: peer is not NULL */
    PeerName *peer;
    char *addr; /* canonical */
    int family;

    /* the addresses of a name */
    GPtrArray *found;
    unsigned missing; /* answers */
    DnsStatus status;
} Lookup;

/* What a lookup asks next; type 0: nothing. */
typedef struct {
    int type;
    char *name;
} Question;

/* An answer, taken apart. texts: addresses as inet_ntop() writes them, or one host name; empty unless status is OK. */
typedef struct {
    int type;
    DnsStatus status;
    int gai; /* EAI_ code that says why it isn't OK */
    GPtrArray *texts;
} Answer;

struct Resolver {
    struct ub_ctx *ub;
    Hosts *hosts;
    gint64 timeout_ms;
    Sched *sched; /* NULL: waiting threads take the answers themselves */
    TaskRef task;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    GHashTable *lookups; /* &lookup->number -> Lookup */
    GQueue by_deadline;  /* of Lookup: they all have the same time limit, so the order of starting is the order of
                            deadlines */
    guint64 last_number;
    GHashTable *questions; /* those that libunbound works on */
    gint64 task_deadline;  /* what the task parked with, or is about to */
    bool pumping;          /* a waiting thread is in ub_process() or waits for ub_fd() */
    bool broken;           /* libunbound's worker is gone */
    bool started;          /* libunbound has made its thread */
};

/* lookup.c. Answers become texts without the lock; the others are called with it. */
Answer *answer_new(int type, int err, const struct ub_result *result);
Answer *answer_new_temporary(int type);
void answer_free(Answer *answer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Answer, answer_free)
PeerName *peer_name_new(DnsStatus status, const char *name);
/* The lookup takes in an answer. Returns what it asks next; otherwise it may be done. */
Question lookup_take(Lookup *lookup, const Hosts *hosts, const Answer *answer);
void lookup_expire(Lookup *lookup); /* it is done: its time is over */
void lookup_free(Lookup *lookup);
