/* resolver.c - libunbound on the scheduler, or without one.
 *
 * libunbound works on a thread of its own and announces answers on a pipe. In a process with a scheduler, a task waits
 * for that pipe; where there is none (delivery processes), one of the threads that wait for an answer does (it pumps),
 * and hands over when it has its own. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "dns/name.h"
#include "dns/resolver_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>

/* --- setting up --- */

static bool set_options(struct ub_ctx *ub, GError **error)
{
    static const char *const options[][2] = {
        /* The server that we ask knows names of private networks and laboratories too: ask it about them. It may run on
           this machine. */
        {"unblock-lan-zones:", "yes"},
        {"local-zone:", "test. transparent"},
        {"local-zone:", "home.arpa. transparent"},
        {"do-not-query-localhost:", "no"},
        /* A server that was down is used again soon after it is back. */
        {"infra-host-ttl:", "60"},
        {"infra-keep-probing:", "yes"},
        /* Questions on the network at once, and the cache: the library's own (16, 1 MB) are for small programs. */
        {"outgoing-range:", "256"},
        {"msg-cache-size:", "4m"},
        {"rrset-cache-size:", "8m"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        int failure = ub_ctx_set_option(ub, options[i][0], options[i][1]);
        if (failure != 0)
            return fail(error, "resolver option %s %s: %s", options[i][0], options[i][1], ub_strerror(failure));
    }
    int failure = ub_ctx_async(ub, 1);
    return failure == 0 || fail(error, "resolver thread: %s", ub_strerror(failure));
}

/* "192.0.2.53", "2001:db8::53", "127.0.0.1@5353" */
static bool add_server(struct ub_ctx *ub, const char *server, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(server, "@", 2);
    g_autofree char *canonical = hosts_canonical_address(parts[0], NULL, NULL);
    guint64 port = 53;

    if (!canonical || (parts[1] && !g_ascii_string_to_unsigned(parts[1], 10, 1, G_MAXUINT16, &port, NULL)))
        return fail(error, "bad DNS server \"%s\": an address, or address@port, is right", server);
    g_autofree char *text = g_strdup_printf("%s@%u", canonical, (unsigned)port);
    int failure = ub_ctx_set_fwd(ub, text);
    return failure == 0 || fail(error, "DNS server \"%s\": %s", server, ub_strerror(failure));
}

static bool add_servers(struct ub_ctx *ub, const char *servers, GError **error)
{
    g_auto(GStrv) words = g_strsplit_set(servers, " \t\r\n,", 0);
    bool any = false;

    for (int i = 0; words[i]; i++) {
        if (words[i][0] == '\0')
            continue;
        if (!add_server(ub, words[i], error))
            return false;
        any = true;
    }
    if (any)
        return true;
    int failure = ub_ctx_resolvconf(ub, NULL);
    if (failure == UB_READFILE && errno == ENOENT) /* resolv.conf(5): then the server is on this machine */
        failure = ub_ctx_set_fwd(ub, "127.0.0.1");
    return failure == 0 || fail(error, "/etc/resolv.conf: %s", ub_strerror(failure));
}

static void free_lookup(gpointer lookup)
{
    lookup_free(lookup);
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
    g_queue_init(&resolver->by_deadline);
    resolver->lookups = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_lookup);
    resolver->questions = g_hash_table_new_full(NULL, NULL, g_free, NULL);
    resolver->timeout_ms = MAX(options->timeout, 1) * (gint64)1000;
    resolver->task_deadline = CLOCK_NEVER;
    resolver->hosts = hosts_new(options->hosts_file, error);
    if (resolver->hosts) {
        resolver->ub = ub_ctx_create();
        if (!resolver->ub)
            fail_errno(error, "cannot make a resolver");
        else
            ub_ctx_debugout(resolver->ub, NULL); /* standard error is not its own */
    }
    if (!resolver->ub || !set_options(resolver->ub, error) || !add_servers(resolver->ub, options->servers, error)) {
        resolver_free(resolver);
        return NULL;
    }
    return resolver;
}

void resolver_free(Resolver *resolver)
{
    if (!resolver)
        return;
    if (resolver->ub)
        ub_ctx_delete(resolver->ub); /* ends its thread; nothing is called back any more */
    g_hash_table_unref(resolver->questions);
    hosts_free(resolver->hosts);
    g_queue_clear(&resolver->by_deadline);
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

static Lookup *add_lookup(Resolver *resolver, TaskRef task)
{
    Lookup *lookup = g_new0(Lookup, 1);

    lookup->number = ++resolver->last_number;
    lookup->task = task;
    lookup->deadline = clock_ms() + resolver->timeout_ms;
    g_hash_table_insert(resolver->lookups, &lookup->number, lookup);
    return lookup;
}

static void forget_deadline(Resolver *resolver, Lookup *lookup)
{
    if (lookup->link)
        g_queue_delete_link(&resolver->by_deadline, g_steal_pointer(&lookup->link));
}

static void remove_lookup(Resolver *resolver, Lookup *lookup)
{
    forget_deadline(resolver, lookup);
    g_hash_table_remove(resolver->lookups, &lookup->number);
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

static void ask(Resolver *resolver, guint64 number, const char *name, int type);

static void take_answer(Resolver *resolver, guint64 number, const Answer *answer)
{
    Question next = {0};
    TaskRef task = 0;

    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = find_lookup(resolver, number);
    if (lookup && !lookup->done) {
        next = lookup_take(lookup, resolver->hosts, answer);
        if (lookup->done)
            task = tell_done(resolver, lookup);
    }
    pthread_mutex_unlock(&resolver->lock);
    if (task)
        sched_wake(resolver->sched, task, WAKE_ANSWER);
    if (next.type)
        ask(resolver, number, next.name, next.type);
    g_free(next.name);
}

/* A question that libunbound works on; in resolver->questions until it is answered. */
typedef struct {
    Resolver *resolver;
    guint64 number;
    int type;
    bool is_first;
} Outstanding;

static void take_result(void *data, int err, struct ub_result *result)
{
    Outstanding *question = data;
    Resolver *resolver = question->resolver;
    guint64 number = question->number;
    g_autoptr(Answer) answer = answer_new(question->type, err, result);

    ub_resolve_free(result);
    pthread_mutex_lock(&resolver->lock);
    g_hash_table_remove(resolver->questions, question);
    pthread_mutex_unlock(&resolver->lock);
    take_answer(resolver, number, answer);
}

/* NULL: there are too many. */
static Outstanding *add_question(Resolver *resolver, guint64 number, int type)
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
    sigset_t all, old;

    if (is_first) { /* makes libunbound's thread: signals are not for it */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
    }
    int failure = ub_resolve_async(resolver->ub, name, question->type, DNS_CLASS_IN, question, take_result, NULL);
    if (is_first)
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failure == 0;
}

static void ask(Resolver *resolver, guint64 number, const char *name, int type)
{
    Outstanding *question = add_question(resolver, number, type);

    if (question && send_question(resolver, question, name))
        return;
    if (question) {
        pthread_mutex_lock(&resolver->lock);
        g_hash_table_remove(resolver->questions, question);
        pthread_mutex_unlock(&resolver->lock);
    }
    g_autoptr(Answer) answer = answer_new_temporary(type);
    take_answer(resolver, number, answer);
}

/* Takes what answers there are. */
static void process(Resolver *resolver)
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

/* --- with a scheduler --- */

/* Ends the lookups whose time is over; returns the next deadline. */
static gint64 expire(Resolver *resolver)
{
    g_autoptr(GArray) tasks = g_array_new(FALSE, FALSE, sizeof(TaskRef));
    gint64 now = clock_ms();
    Lookup *lookup;

    pthread_mutex_lock(&resolver->lock);
    while ((lookup = g_queue_peek_head(&resolver->by_deadline)) && lookup->deadline <= now) {
        lookup_expire(lookup);
        TaskRef task = tell_done(resolver, lookup);
        g_array_append_val(tasks, task);
    }
    gint64 next = lookup ? lookup->deadline : CLOCK_NEVER;
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
    process(resolver);
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

static PeerName *take_peer(Resolver *resolver, guint64 number)
{
    PeerName *peer = NULL;

    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = find_lookup(resolver, number);
    if (lookup && lookup->done) {
        peer = g_steal_pointer(&lookup->peer);
        remove_lookup(resolver, lookup);
    }
    pthread_mutex_unlock(&resolver->lock);
    return peer;
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
    Lookup *lookup = add_lookup(resolver, task);
    guint64 number = lookup->number;
    lookup->peer = peer_name_new(DNS_TEMPORARY, "unknown");
    lookup->addr = g_steal_pointer(&canonical);
    lookup->family = family;
    g_queue_push_tail(&resolver->by_deadline, lookup);
    lookup->link = g_queue_peek_tail_link(&resolver->by_deadline);
    bool sooner = lookup->deadline < resolver->task_deadline;
    if (sooner)
        resolver->task_deadline = lookup->deadline;
    pthread_mutex_unlock(&resolver->lock);

    if (sooner)
        sched_wake(resolver->sched, resolver->task, WAKE_ANSWER);
    ask(resolver, number, question, DNS_PTR);
    PeerName *peer = take_peer(resolver, number); /* when it could not even be asked */
    if (!peer)
        *ret_query = number;
    return peer;
}

PeerName *resolver_take_peer_name(Resolver *resolver, guint64 query)
{
    return take_peer(resolver, query);
}

void resolver_cancel(Resolver *resolver, guint64 query)
{
    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = find_lookup(resolver, query);
    if (lookup)
        remove_lookup(resolver, lookup);
    pthread_mutex_unlock(&resolver->lock);
}

/* --- threads that wait --- */

/* Waits under the lock, which it gives up meanwhile, until the lookup is done or its deadline. */
static void wait_done(Resolver *resolver, Lookup *lookup)
{
    while (!lookup->done && clock_ms() < lookup->deadline) {
        if (!resolver->sched && !resolver->pumping && !resolver->broken) {
            struct pollfd answers = {.fd = ub_fd(resolver->ub), .events = POLLIN};
            resolver->pumping = true;
            pthread_mutex_unlock(&resolver->lock);
            poll(&answers, 1, clock_poll_timeout(lookup->deadline));
            process(resolver);
            pthread_mutex_lock(&resolver->lock);
            resolver->pumping = false;
            pthread_cond_broadcast(&resolver->changed); /* somebody else has to pump now */
        } else {
            gint64 until = lookup->deadline - 1; /* clock_ms() is never 0, so it is one ahead */
            struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
            pthread_cond_timedwait(&resolver->changed, &resolver->lock, &time);
        }
    }
}

static DnsStatus look_up_addresses(Resolver *resolver, const char *host, bool v4, bool v6, gint64 deadline,
                                   GPtrArray *addresses)
{
    pthread_mutex_lock(&resolver->lock);
    Lookup *lookup = add_lookup(resolver, 0);
    guint64 number = lookup->number;
    lookup->deadline = MIN(lookup->deadline, deadline);
    lookup->found = g_ptr_array_new_with_free_func(g_free);
    lookup->missing = (unsigned)v4 + v6;
    lookup->status = DNS_NOT_FOUND;
    pthread_mutex_unlock(&resolver->lock);

    if (v4)
        ask(resolver, number, host, DNS_A);
    if (v6)
        ask(resolver, number, host, DNS_AAAA);

    pthread_mutex_lock(&resolver->lock);
    wait_done(resolver, lookup); /* only its own thread removes it */
    if (!lookup->done)
        lookup_expire(lookup);
    DnsStatus status = lookup->status;
    for (int pass = 0; pass < 2; pass++) /* IPv4 first, whichever answer came first */
        for (guint i = 0; i < lookup->found->len; i++)
            if ((strchr(g_ptr_array_index(lookup->found, i), ':') != NULL) == pass)
                g_ptr_array_add(addresses, g_strdup(g_ptr_array_index(lookup->found, i)));
    remove_lookup(resolver, lookup);
    pthread_mutex_unlock(&resolver->lock);
    return status;
}

static void add_wanted(GPtrArray *addresses, const char *address, bool v4, bool v6)
{
    if (strchr(address, ':') ? v6 : v4)
        g_ptr_array_add(addresses, g_strdup(address));
}

DnsStatus resolver_addresses(Resolver *resolver, const char *host, const char *families, gint64 deadline,
                             GPtrArray **ret_addresses)
{
    bool all = strstr(families, "all") != NULL;
    bool v4 = all || strstr(families, "ipv4"), v6 = all || strstr(families, "ipv6");
    g_autofree char *numeric = hosts_canonical_address(host, NULL, NULL);
    GPtrArray *addresses = g_ptr_array_new_with_free_func(g_free);
    const GPtrArray *known = numeric ? NULL : hosts_addresses(resolver->hosts, host);

    *ret_addresses = addresses;
    if (numeric)
        add_wanted(addresses, numeric, v4, v6);
    for (guint i = 0; known && i < known->len; i++)
        add_wanted(addresses, g_ptr_array_index(known, i), v4, v6);
    if (addresses->len > 0)
        return DNS_OK;
    if (numeric || known || (!v4 && !v6) || !dns_name_is_valid(host))
        return DNS_NOT_FOUND;
    return look_up_addresses(resolver, host, v4, v6, deadline, addresses);
}
