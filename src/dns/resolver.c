/* resolver.c - libunbound on the scheduler, or without one.
 *
 * libunbound works on a thread of its own and announces answers on a pipe. In a process with a scheduler, a task waits
 * for that pipe; where there is none (delivery processes), one of the threads that wait for an answer does (it pumps),
 * and hands over when it has its own. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/signals.h"
#include "dns/name.h"
#include "dns/resolver_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

/* --- setting up --- */

static void free_lookup(gpointer lookup)
{
    lookup_free(lookup);
}

static gint compare_deadlines(gconstpointer a, gconstpointer b)
{
    const Lookup *x = a, *y = b;

    if (x->deadline != y->deadline)
        return x->deadline < y->deadline ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

Resolver *resolver_new(const ResolverOptions *options, GError **error)
{
    Resolver *resolver = g_new0(Resolver, 1);
    pthread_condattr_t monotonic;

    pthread_mutex_init(&resolver->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&resolver->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    resolver->by_deadline = g_tree_new(compare_deadlines);
    resolver->lookups = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_lookup);
    resolver->questions = g_hash_table_new_full(NULL, NULL, g_free, NULL);
    resolver->cache = dns_cache_new();
    resolver->timeout_ms = MAX(options->timeout, 1) * (gint64)1000;
    resolver->question_timeout_ms =
        options->question_timeout > 0 ? options->question_timeout * (gint64)1000 : resolver->timeout_ms;
    resolver->task_deadline = CLOCK_NEVER;
    resolver->hosts = hosts_new(options->hosts_file, error);
    if (resolver->hosts)
        resolver->ub = context_new(options, error);
    if (!resolver->ub) {
        resolver_free(resolver);
        return NULL;
    }
    return resolver;
}

#define QUESTION_TIMEOUT                                                                                               \
    15 /* seconds: libunbound asks a server that is slow at most five times, each time with more patience */

Resolver *resolver_open(const Config *config, int timeout, GError **error)
{
    ResolverOptions options = {
        .servers = config_string(config, "dns_servers"),
        .hosts_file = "/etc/hosts",
        .timeout = timeout,
        .question_timeout = QUESTION_TIMEOUT,
        .trust_anchor = config_bool(config, "dns_validation") ? config_string(config, "dns_trust_anchor_file") : NULL};

    return resolver_new(&options, error);
}

void resolver_free(Resolver *resolver)
{
    if (!resolver)
        return;
    if (resolver->ub)
        ub_ctx_delete(resolver->ub); /* ends its thread; nothing is called back any more */
    g_hash_table_unref(resolver->questions);
    dns_cache_free(resolver->cache);
    hosts_free(resolver->hosts);
    g_tree_unref(resolver->by_deadline);
    g_hash_table_unref(resolver->lookups);
    pthread_cond_destroy(&resolver->changed);
    pthread_mutex_destroy(&resolver->lock);
    g_free(resolver);
}

/* --- the table of lookups; under the lock --- */

static Lookup *find_lookup(Resolver *resolver, guint64 number)
{
    return g_hash_table_lookup(resolver->lookups, &number);
}

static Lookup *add_lookup(Resolver *resolver, TaskRef task, gint64 timeout_ms)
{
    Lookup *lookup = g_new0(Lookup, 1);

    lookup->number = ++resolver->last_number;
    lookup->task = task;
    lookup->deadline = clock_ms() + timeout_ms;
    lookup->timed = task != 0;
    g_hash_table_insert(resolver->lookups, &lookup->number, lookup);
    if (lookup->timed)
        g_tree_insert(resolver->by_deadline, lookup, lookup);
    return lookup;
}

static void forget_deadline(Resolver *resolver, Lookup *lookup)
{
    if (lookup->timed)
        g_tree_remove(resolver->by_deadline, lookup);
    lookup->timed = false;
}

void resolver_remove_lookup(Resolver *resolver, Lookup *lookup)
{
    forget_deadline(resolver, lookup);
    g_hash_table_remove(resolver->lookups, &lookup->number);
}

Lookup *resolver_add_question(Resolver *resolver, TaskRef task, DnsType type, gint64 timeout_ms)
{
    Lookup *lookup = add_lookup(resolver, task, timeout_ms);

    lookup->answer = dns_answer_new(DNS_NOT_FOUND);
    lookup->missing = type == DNS_ADDRESSES ? 2 : 1;
    return lookup;
}

/* Returns the task to wake once the lock is released, or 0. */
static TaskRef tell_done(Resolver *resolver, Lookup *lookup)
{
    forget_deadline(resolver, lookup);
    if (!lookup->task)
        pthread_cond_broadcast(&resolver->changed);
    return lookup->task;
}

/* --- questions and answers; without the lock --- */

static void send_one(Resolver *resolver, guint64 number, const char *name, DnsType type);

static void take_answer(Resolver *resolver, guint64 number, DnsType type, const DnsAnswer *answer)
{
    Question next = {0};
    TaskRef task = 0;

    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = find_lookup(resolver, number);
    if (lookup && !lookup->done) {
        next = lookup_take(lookup, resolver->hosts, type, answer);
        if (lookup->done)
            task = tell_done(resolver, lookup);
    }
    pthread_mutex_unlock(&resolver->lock);
    if (task)
        sched_wake(resolver->sched, task, WAKE_ANSWER);
    if (next.type)
        send_one(resolver, number, next.name, next.type);
    g_free(next.name);
}

/* A question that libunbound works on; in resolver->questions until it is answered. */
typedef struct {
    Resolver *resolver;
    guint64 number;
    DnsType type;
    bool is_first;
} Outstanding;

static void take_result(void *data, int err, struct ub_result *result)
{
    Outstanding *question = data;
    Resolver *resolver = question->resolver;
    guint64 number = question->number;
    DnsType type = question->type;
    g_autoptr(DnsAnswer) answer = answer_from_result(type, err, result);

    pthread_mutex_lock(&resolver->lock);
    if (result)
        dns_cache_put(resolver->cache, result->qname, type, answer, result->ttl, clock_ms());
    ub_resolve_free(result);
    g_hash_table_remove(resolver->questions, question);
    pthread_mutex_unlock(&resolver->lock);
    take_answer(resolver, number, type, answer);
}

/* NULL: there are too many. */
static Outstanding *add_question(Resolver *resolver, guint64 number, DnsType type)
{
    Outstanding *question = NULL;

    pthread_mutex_lock(&resolver->lock);
    if (!resolver->broken && g_hash_table_size(resolver->questions) < RESOLVER_OUTSTANDING_MAX) {
        question = g_new(Outstanding, 1);
        *question = (Outstanding){.resolver = resolver, .number = number, .type = type, .is_first = !resolver->started};
        g_hash_table_add(resolver->questions, question);
        resolver->started = true;
    }
    pthread_mutex_unlock(&resolver->lock);
    return question;
}

static bool send_question(Resolver *resolver, Outstanding *question, const char *name)
{
    bool is_first = question->is_first; /* it is not ours any more once it is sent */
    sigset_t old;

    if (is_first) /* makes libunbound's thread */
        signals_block(&old);
    int failure = ub_resolve_async(resolver->ub, name, (int)question->type, DNS_CLASS_IN, question, take_result, NULL);
    if (is_first)
        signals_restore(&old);
    return failure == 0;
}

static DnsAnswer *look_into_cache(Resolver *resolver, const char *name, DnsType type)
{
    pthread_mutex_lock(&resolver->lock);
    DnsAnswer *answer = dns_cache_get(resolver->cache, name, type, clock_ms());
    pthread_mutex_unlock(&resolver->lock);
    return answer;
}

static void send_one(Resolver *resolver, guint64 number, const char *name, DnsType type)
{
    g_autoptr(DnsAnswer) known = look_into_cache(resolver, name, type);
    if (known) {
        take_answer(resolver, number, type, known);
        return;
    }
    Outstanding *question = add_question(resolver, number, type);

    if (question && send_question(resolver, question, name))
        return;
    if (question) {
        pthread_mutex_lock(&resolver->lock);
        g_hash_table_remove(resolver->questions, question);
        pthread_mutex_unlock(&resolver->lock);
    }
    g_autoptr(DnsAnswer) answer = dns_answer_new(DNS_TEMPORARY);
    take_answer(resolver, number, type, answer);
}

void resolver_process(Resolver *resolver)
{
    int failure = ub_process(resolver->ub);

    if (failure == 0)
        return;
    pthread_mutex_lock(&resolver->lock);
    bool warn = !resolver->broken;
    resolver->broken = true;
    pthread_mutex_unlock(&resolver->lock);
    if (warn)
        log_warning("the resolver has failed (%s): names are not looked up any more", ub_strerror(failure));
}

void resolver_send_questions(Resolver *resolver, guint64 number, const char *name, DnsType type)
{
    if (type == DNS_ADDRESSES) {
        send_one(resolver, number, name, DNS_A);
        send_one(resolver, number, name, DNS_AAAA);
    } else {
        send_one(resolver, number, name, type);
    }
}

/* --- with a scheduler --- */

/* Ends the lookups whose time is over; returns the next deadline. */
static gint64 expire(Resolver *resolver)
{
    g_autoptr(GArray) tasks = g_array_new(FALSE, FALSE, sizeof(TaskRef));
    gint64 now = clock_ms();
    GTreeNode *first;
    gint64 next = CLOCK_NEVER;

    pthread_mutex_lock(&resolver->lock);
    while ((first = g_tree_node_first(resolver->by_deadline))) {
        Lookup *lookup = g_tree_node_value(first);
        if (lookup->deadline > now) {
            next = lookup->deadline;
            break;
        }
        lookup_expire(lookup);
        TaskRef task = tell_done(resolver, lookup);
        g_array_append_val(tasks, task);
    }
    resolver->task_deadline = next;
    pthread_mutex_unlock(&resolver->lock);
    for (guint i = 0; i < tasks->len; i++)
        sched_wake(resolver->sched, g_array_index(tasks, TaskRef, i), WAKE_ANSWER);
    return next;
}

static Step run_resolver(void *data, TaskRef self, unsigned reasons)
{
    Resolver *resolver = data;

    log_set_number(0); /* this thread may have run a session before */
    resolver_process(resolver);
    gint64 deadline = expire(resolver);
    pthread_mutex_lock(&resolver->lock);
    bool broken = resolver->broken;
    pthread_mutex_unlock(&resolver->lock);
    return step_park(broken ? 0 : EPOLLIN, deadline);
}

void resolver_start(Resolver *resolver, Sched *sched)
{
    g_assert(!resolver->sched);
    resolver->sched = sched;
    resolver->task = sched_add(sched, ub_fd(resolver->ub), run_resolver, NULL, resolver);
}

/* --- tasks that wait --- */

/* The task wakes in time for it. */
static void watch_deadline(Resolver *resolver, gint64 deadline)
{
    pthread_mutex_lock(&resolver->lock);
    bool sooner = deadline < resolver->task_deadline;
    if (sooner)
        resolver->task_deadline = deadline;
    pthread_mutex_unlock(&resolver->lock);
    if (sooner)
        sched_wake(resolver->sched, resolver->task, WAKE_ANSWER);
}

PeerName *resolver_peer_name(Resolver *resolver, const char *addr, TaskRef task, guint64 *ret_query)
{
    guint8 octets[16];
    int family;
    g_autofree char *canonical = hosts_canonical_address(addr, &family, octets);

    g_assert(resolver->sched);
    *ret_query = 0;
    if (!canonical)
        return peer_name_new(DNS_NOT_FOUND, "unknown");
    const char *known = hosts_name(resolver->hosts, canonical);
    if (known)
        return peer_name_new(DNS_OK, known);

    g_autofree char *question = dns_name_of_address(family, octets);
    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = add_lookup(resolver, task, resolver->timeout_ms);
    guint64 number = lookup->number;
    gint64 deadline = lookup->deadline;
    lookup->peer = peer_name_new(DNS_TEMPORARY, "unknown");
    lookup->addr = g_steal_pointer(&canonical);
    lookup->family = family;
    pthread_mutex_unlock(&resolver->lock);

    watch_deadline(resolver, deadline);
    send_one(resolver, number, question, DNS_PTR);
    PeerName *peer = resolver_take_peer_name(resolver, number); /* when it could not even be asked */
    if (!peer)
        *ret_query = number;
    return peer;
}

PeerName *resolver_take_peer_name(Resolver *resolver, guint64 query)
{
    PeerName *peer = NULL;

    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = find_lookup(resolver, query);
    if (lookup && lookup->done) {
        peer = g_steal_pointer(&lookup->peer);
        resolver_remove_lookup(resolver, lookup);
    }
    pthread_mutex_unlock(&resolver->lock);
    return peer;
}

static DnsAnswer *address_answer(const char *addr)
{
    DnsAnswer *answer = dns_answer_new(DNS_OK);

    dns_answer_add_text(answer, 0, addr);
    return answer;
}

static DnsAnswer *known_answer(const GPtrArray *addresses)
{
    DnsAnswer *answer = dns_answer_new(DNS_OK);

    for (guint i = 0; i < addresses->len; i++)
        dns_answer_add_text(answer, 0, g_ptr_array_index(addresses, i));
    return answer;
}

DnsAnswer *resolver_answer_at_once(Resolver *resolver, const char *name, DnsType type)
{
    g_autofree char *numeric = type == DNS_ADDRESSES ? hosts_canonical_address(name, NULL, NULL) : NULL;

    if (numeric)
        return address_answer(numeric);
    if (dns_name_is_valid(name)) {
        const GPtrArray *known = type == DNS_ADDRESSES ? hosts_addresses(resolver->hosts, name) : NULL;
        return known ? known_answer(known) : look_into_cache(resolver, name, type);
    }
    DnsAnswer *answer = dns_answer_new(DNS_NOT_FOUND);
    answer->no_such_name = true;
    return answer;
}

DnsAnswer *resolver_ask(Resolver *resolver, const char *name, DnsType type, TaskRef task, guint64 *ret_query)
{
    DnsAnswer *answer = resolver_answer_at_once(resolver, name, type);

    g_assert(resolver->sched);
    *ret_query = 0;
    if (answer)
        return answer;
    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = resolver_add_question(resolver, task, type, resolver->question_timeout_ms);
    guint64 number = lookup->number;
    gint64 deadline = lookup->deadline;
    pthread_mutex_unlock(&resolver->lock);

    watch_deadline(resolver, deadline);
    resolver_send_questions(resolver, number, name, type);
    answer = resolver_take(resolver, number); /* when it could not even be asked */
    if (!answer)
        *ret_query = number;
    return answer;
}

DnsAnswer *resolver_take(Resolver *resolver, guint64 query)
{
    DnsAnswer *answer = NULL;

    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = find_lookup(resolver, query);
    if (lookup && lookup->done) {
        answer = g_steal_pointer(&lookup->answer);
        resolver_remove_lookup(resolver, lookup);
    }
    pthread_mutex_unlock(&resolver->lock);
    return answer;
}

void resolver_cancel(Resolver *resolver, guint64 query)
{
    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = find_lookup(resolver, query);
    if (lookup)
        resolver_remove_lookup(resolver, lookup);
    pthread_mutex_unlock(&resolver->lock);
}
