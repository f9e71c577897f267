/* server.c - listeners, limits and orders of a process that serves sessions. */
#include "smtp/server.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_BATCH 16          /* connections taken in one run of a listener */
#define LIMIT_POLL_MS 200        /* another generation's sessions end without telling us */
#define DESCRIPTOR_PAUSE_MS 1000 /* after EMFILE and the like */
#define STRESS_TIME_MS                                                                                                 \
    1000000               /* stress lasts so long after the limit was last reached, and its warning comes once in it */
#define STOP_TIME_MS 4000 /* of the 5 s that the master gives */
#define LAST_SECONDS 1    /* for threads that are blocked in a dialogue when it is time to end */

typedef struct {
    Server *server;
    int fd;
} Listener;

struct Server {
    ServiceProcess *process;
    Sched *sched;
    Account account;
    ServerAccept accept;
    bool (*is_stressed)(void *user);
    void *user;
    GArray *listeners; /* TaskRef of each */
    _Atomic int closing;
    _Atomic bool draining;
    TaskRef control;                 /* listens for orders */
    _Atomic gint64 limit_reached_at; /* clock_ms(); 0: not lately */
    _Atomic gint64 stop_at;
    pthread_mutex_t count_lock; /* our clients in the page */
};

/* --- sessions and events per client --- */

static RateSource source_of(const Server *server, const char *addr)
{
    const ServiceProcess *process = server->process;

    return (RateSource){.key = page_client_key(process->page, process->service_id, addr),
                        .service = process->name,
                        .client = addr,
                        .row = (guint32)process->row_number};
}

unsigned server_count_enter(Server *server, const char *addr)
{
    RateSource source = source_of(server, addr);

    pthread_mutex_lock(&server->count_lock);
    unsigned count = page_client_enter(server->process->page, server->process->row, addr);
    pthread_mutex_unlock(&server->count_lock);
    rates_note_sessions(&server->process->page->rates, &source, count);
    return count;
}

unsigned server_count_event(Server *server, RateKind kind, const char *addr, gint64 unit)
{
    RateSource source = source_of(server, addr);

    return rates_count(&server->process->page->rates, &source, kind, clock_ms(), unit);
}

unsigned server_event_count(Server *server, RateKind kind, const char *addr, gint64 unit)
{
    RateSource source = source_of(server, addr);

    return rates_look(&server->process->page->rates, &source, kind, clock_ms(), unit);
}

void server_count_leave(Server *server, const char *addr)
{
    pthread_mutex_lock(&server->count_lock);
    page_client_leave(server->process->page, server->process->row, addr);
    pthread_mutex_unlock(&server->count_lock);
}

/* --- accepting --- */

static void describe(const struct sockaddr_storage *from, char *addr, size_t addr_size, char *port, size_t port_size)
{
    addr[0] = port[0] = '\0';
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        inet_ntop(AF_INET, &in->sin_addr, addr, (socklen_t)addr_size);
        g_snprintf(port, port_size, "%u", ntohs(in->sin_port));
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
        if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr))
            inet_ntop(AF_INET, in->sin6_addr.s6_addr + 12, addr, (socklen_t)addr_size);
        else
            inet_ntop(AF_INET6, &in->sin6_addr, addr, (socklen_t)addr_size);
        g_snprintf(port, port_size, "%u", ntohs(in->sin6_port));
    }
}

static void warn_of_limit(Server *server, gint64 now)
{
    ServiceProcess *process = server->process;
    gint64 before = atomic_exchange(&server->limit_reached_at, now);

    if (before && now - before < STRESS_TIME_MS)
        return;
    const char *canonical = strchr(process->identity, '/') + 1; /* "127.0.0.1:25", or ":25" which is shown as "25" */
    canonical += *canonical == ':';
    log_warning_as(
        "master",
        "service \"%s\" (%s) has reached its process limit \"%d\": new clients may experience noticeable delays",
        process->name, canonical, process->maxproc);
    log_warning_as("master",
                   "to avoid this condition, increase the process count in master.cf or reduce the service time "
                   "per client");
    log_warning_as("master", "see https://www.postfix.org/STRESS_README.html for examples of stress-adapting "
                             "configuration settings");
}

static bool at_limit(const Server *server)
{
    const ServiceProcess *process = server->process;

    return process->maxproc > 0 && page_sum_sessions(process->page, process->service_id) >= (guint32)process->maxproc;
}

static bool stressed(Server *server)
{
    gint64 reached = server->limit_reached_at;

    if (!server->process->may_stress)
        return false;
    return (reached && clock_ms() - reached < STRESS_TIME_MS) ||
           (server->is_stressed && server->is_stressed(server->user));
}

/* Counts the next session first and looks then, so that two listeners, or two generations, cannot both take the last
 * place. */
static bool take_place(Server *server)
{
    const ServiceProcess *process = server->process;

    atomic_fetch_add(&process->row->sessions, 1);
    if (process->maxproc <= 0 || page_sum_sessions(process->page, process->service_id) <= (guint32)process->maxproc)
        return true;
    atomic_fetch_sub(&process->row->sessions, 1);
    return false;
}

/* True: a session was started, on the place that was taken. False: errno tells. */
static bool accept_one(Listener *listener)
{
    Server *server = listener->server;
    struct sockaddr_storage peer = {0}, local = {0};
    socklen_t peer_len = sizeof peer, local_len = sizeof local;
    Connection connection = {0};
    int on = 1;

    connection.fd = accept4(listener->fd, (struct sockaddr *)&peer, &peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection.fd < 0)
        return false;
    getsockname(connection.fd, (struct sockaddr *)&local, &local_len);
    describe(&peer, connection.addr, sizeof connection.addr, connection.port, sizeof connection.port);
    describe(&local, connection.local_addr, sizeof connection.local_addr, connection.local_port,
             sizeof connection.local_port);
    if (connection.addr[0])
        setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection.number = page_next_number(server->process->page);
    if (at_limit(server))
        warn_of_limit(server, clock_ms());
    connection.stress = stressed(server);
    server->accept(server->user, &connection);
    return true;
}

static Step listener_run(void *data, TaskRef self, unsigned reasons)
{
    Listener *listener = data;
    Server *server = listener->server;

    log_set_number(0);
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        if (server->draining)
            return step_end();
        if (!take_place(server))
            return step_park(0, clock_ms() + LIMIT_POLL_MS);
        if (accept_one(listener))
            continue;
        atomic_fetch_sub(&server->process->row->sessions, 1);
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return step_park(EPOLLIN, CLOCK_NEVER);
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        log_warning("accept connection: %s", g_strerror(errno));
        return step_park(0, clock_ms() + DESCRIPTOR_PAUSE_MS);
    }
    return step_again();
}

static void listener_free(void *data)
{
    Listener *listener = data;

    close(listener->fd);
    g_free(listener);
}

void server_session_ended(Server *server)
{
    bool was_full = at_limit(server);

    atomic_fetch_sub(&server->process->row->sessions, 1);
    for (guint i = 0; was_full && i < server->listeners->len; i++)
        sched_wake(server->sched, g_array_index(server->listeners, TaskRef, i), WAKE_ANSWER);
}

/* --- orders --- */

static void drain(Server *server, bool say_421)
{
    server->draining = true;
    if (say_421)
        server->closing = 1;
    sched_wake_all(server->sched, WAKE_STOP);
}

/* A session that goes on keeps the process alive, and with it its successor away. */
static void stop_soon(Server *server)
{
    drain(server, true);
    server->stop_at = clock_ms() + STOP_TIME_MS;
}

void server_retire(Server *server)
{
    stop_soon(server);
    sched_wake(server->sched, server->control, WAKE_STOP);
}

static Step control_run(void *data, TaskRef self, unsigned reasons)
{
    Server *server = data;
    ServiceOrder order;

    log_set_number(0);
    while ((order = service_next_order(server->process)) != SERVICE_ORDER_NONE) {
        if (order == SERVICE_ORDER_DRAIN)
            drain(server, false);
        else if (order == SERVICE_ORDER_OLDEST)
            drain(server, true);
        else if (order == SERVICE_ORDER_STOP)
            stop_soon(server);
    }
    bool over = server->draining && atomic_load(&server->process->row->sessions) == 0;
    if (over || (server->stop_at && clock_ms() >= server->stop_at)) {
        if (!over) /* ends the process whoever is blocked, also when no master is left to do it */
            alarm(LAST_SECONDS);
        sched_quit(server->sched);
        return step_park(0, CLOCK_NEVER);
    }
    if (server->draining) /* sessions end without a word to this task */
        return step_park(EPOLLIN, clock_ms() + LIMIT_POLL_MS);
    return step_park(EPOLLIN, CLOCK_NEVER);
}

static void control_free(void *data)
{
}

/* --- the server --- */

Server *server_new(ServiceProcess *process, GError **error)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    g_autofree Server *server = g_new0(Server, 1);

    server->process = process;
    server->sched = sched_new((unsigned)CLAMP(processors * 2, 2, 64), error);
    if (!server->sched)
        return NULL;
    pthread_mutex_init(&server->count_lock, NULL);
    server->listeners = g_array_new(FALSE, FALSE, sizeof(TaskRef));
    return g_steal_pointer(&server);
}

void server_free(Server *server)
{
    if (!server)
        return;
    sched_free(server->sched);
    pthread_mutex_destroy(&server->count_lock);
    g_array_free(server->listeners, TRUE);
    g_free(server);
}

Sched *server_sched(Server *server)
{
    return server->sched;
}

Account *server_account(Server *server)
{
    return &server->account;
}

_Atomic int *server_closing(Server *server)
{
    return &server->closing;
}

void server_set_stress_hint(Server *server, bool (*is_stressed)(void *user))
{
    server->is_stressed = is_stressed;
}

void server_run(Server *server, ServerAccept accept, void *user)
{
    server->accept = accept;
    server->user = user;
    server->control = sched_add(server->sched, server->process->control, control_run, control_free, server);
    for (guint i = 0; i < server->process->listeners->len; i++) {
        Listener *listener = g_new0(Listener, 1);
        listener->server = server;
        listener->fd = g_array_index(server->process->listeners, int, i);
        TaskRef task = sched_add(server->sched, listener->fd, listener_run, listener_free, listener);
        g_array_append_val(server->listeners, task);
    }
    g_array_set_size(server->process->listeners, 0); /* they are the tasks' now */
    service_ready(server->process);
    sched_run(server->sched);
}
