/* dovecot.c - the connection to a server that speaks Dovecot's authentication protocol. One task reads and writes it;
 * sessions put lines in its queue, under the lock. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "sasl/dovecot_line.h"
#include "smtp/dial.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MECHANISMS_MAX 64
#define RETRY_MS 1000      /* a server that could not be reached is not tried again before */
#define RESPONSE_MAX 16000 /* of a line of 16384 and more Dovecot hangs up, which would end the others' exchanges */

typedef enum { STATE_IDLE, STATE_CONNECTING, STATE_GREETING, STATE_READY } State;

typedef struct {
    SaslServer base;
    Resolver *resolver;
    const Endpoint *endpoint;
    const char *families, *service;
    Gate *gate;
    TaskRef task;
    bool is_ready, is_wanted, is_hung; /* up to the task's own part under base.lock */
    gint64 failed, heard;              /* clock_ms(); 0: never */
    GQueue lines;                      /* to send */

    State state; /* the task's alone from here on */
    int fd;
    gint64 deadline;
    Endpoint *found;
    EndpointDial dial;
    GPtrArray *greeted; /* mechanisms so far */
    bool has_version;
    char *line; /* being sent */
    size_t line_len, sent;
    char in[SASL_LINE_MAX];
    size_t in_len;
} Dovecot;

/* --- the connection --- */

/* The connection is over; why NULL: that is nothing to speak of. */
static void hang_up(Dovecot *server, TaskRef self, const char *why)
{
    char *line;
    bool was_ready = server->state == STATE_READY;

    sched_change_fd(server->base.sched, self, -1);
    fd_clear(&server->fd);
    fd_clear(&server->dial.fd);
    g_clear_pointer(&server->found, endpoint_free);
    g_clear_pointer(&server->greeted, g_ptr_array_unref);
    sasl_forget(g_steal_pointer(&server->line));
    explicit_bzero(server->in, server->in_len);
    server->in_len = 0;
    server->state = STATE_IDLE;
    if (why)
        log_warning("SASL: authentication server %s: %s", server->endpoint->name, why);
    pthread_mutex_lock(&server->base.lock);
    server->is_ready = server->is_hung = server->is_wanted = false;
    if (!was_ready) /* else it may have been restarted */
        server->failed = clock_ms();
    while ((line = g_queue_pop_head(&server->lines)))
        sasl_forget(line);
    sasl_give_up(&server->base);
    sasl_learn(&server->base, NULL);
    pthread_mutex_unlock(&server->base.lock);
}

static void greet(Dovecot *server, TaskRef self, int fd)
{
    server->fd = fd;
    sched_change_fd(server->base.sched, self, fd);
    server->deadline = clock_ms() + SASL_TIME_MS;
    server->state = STATE_GREETING;
    server->greeted = sasl_mechanisms_new();
    server->has_version = false;
    server->line = g_strdup_printf("VERSION\t1\t1\nCPID\t%d\n", (int)getpid());
    server->line_len = strlen(server->line);
    server->sent = 0;
}

/* True: go on; false: *step is what to wait for. */
static bool step_connect(Dovecot *server, TaskRef self, unsigned reasons, Step *step)
{
    const Endpoint *endpoint = server->endpoint;
    bool must_block = endpoint->path || (endpoint->addresses->len == 0 && !server->found);
    g_autoptr(GError) why = NULL;

    if (must_block && !(reasons & WAKE_GATE)) {
        if (clock_ms() < server->deadline) {
            *step = step_gate(server->gate, server->deadline);
            return false;
        }
        hang_up(server, self, "connection timed out");
        return true;
    }
    if (endpoint->path) {
        int fd = endpoint_connect(endpoint, server->deadline, &why);
        if (fd >= 0)
            greet(server, self, fd);
        else
            hang_up(server, self, why->message);
        return true;
    }
    if (must_block)
        server->found = dial_look_up(server->resolver, endpoint, server->families, server->deadline);
    sched_change_fd(server->base.sched, self, -1); /* a step may close the descriptor */
    if (!server->dial.endpoint)
        server->dial = endpoint_dial(server->found ? server->found : endpoint, server->deadline);
    switch (endpoint_dial_step(&server->dial, false, &why)) {
    case DIAL_CONNECTED:
        greet(server, self, fd_steal(&server->dial.fd));
        break;
    case DIAL_WAIT:
        sched_change_fd(server->base.sched, self, server->dial.fd);
        *step = step_park(EPOLLOUT, server->dial.until);
        return false;
    case DIAL_FAILED:
        hang_up(server, self, why->message);
        break;
    }
    return true;
}

/* False: the connection cannot be used. *ret_full: it takes no more now. */
static bool send_lines(Dovecot *server, bool *ret_full)
{
    *ret_full = false;
    for (;;) {
        if (!server->line && server->state == STATE_READY) {
            pthread_mutex_lock(&server->base.lock);
            server->line = g_queue_pop_head(&server->lines);
            pthread_mutex_unlock(&server->base.lock);
            server->line_len = server->line ? strlen(server->line) : 0;
            server->sent = 0;
        }
        if (!server->line)
            return true;
        ssize_t count =
            send(server->fd, server->line + server->sent, server->line_len - server->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR) {
            *ret_full = errno == EAGAIN || errno == EWOULDBLOCK;
            return *ret_full;
        }
        server->sent += count > 0 ? (size_t)count : 0;
        if (server->sent == server->line_len)
            sasl_forget(g_steal_pointer(&server->line));
    }
}

static void become_ready(Dovecot *server)
{
    server->state = STATE_READY;
    pthread_mutex_lock(&server->base.lock);
    server->is_ready = true;
    server->is_wanted = false;
    sasl_learn(&server->base, g_steal_pointer(&server->greeted));
    pthread_mutex_unlock(&server->base.lock);
}

/* False: it says what it should not. */
static bool take_line(Dovecot *server, char *text)
{
    g_auto(DovecotLine) line = dovecot_line_parse(text);
    bool greets = server->state == STATE_GREETING;

    switch (line.kind) {
    case DOVECOT_LINE_OTHER:
        return true;
    case DOVECOT_LINE_BAD:
        return false;
    case DOVECOT_LINE_VERSION:
        server->has_version = true;
        return greets;
    case DOVECOT_LINE_MECH:
        if (!greets || server->greeted->len >= MECHANISMS_MAX)
            return false;
        sasl_mechanisms_add(server->greeted, line.name, line.properties);
        return true;
    case DOVECOT_LINE_READY:
        if (!greets || !server->has_version)
            return false;
        become_ready(server);
        return true;
    case DOVECOT_LINE_ANSWER:
        if (greets)
            return false;
        pthread_mutex_lock(&server->base.lock);
        sasl_give(&server->base, line.number, &line.answer);
        pthread_mutex_unlock(&server->base.lock);
        return true;
    }
    return false;
}

/* NULL: all that has come was read; else why the connection is over. */
static const char *read_lines(Dovecot *server)
{
    for (;;) {
        ssize_t count = recv(server->fd, server->in + server->in_len, sizeof server->in - server->in_len, MSG_DONTWAIT);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? NULL : g_strerror(errno);
        if (count == 0)
            return "connection closed";
        server->in_len += (size_t)count;
        pthread_mutex_lock(&server->base.lock);
        server->heard = clock_ms();
        pthread_mutex_unlock(&server->base.lock);
        char *at = server->in, *end;
        while ((end = memchr(at, '\n', server->in_len - (size_t)(at - server->in)))) {
            bool has_nul = memchr(at, '\0', (size_t)(end - at)) != NULL;
            *end = '\0';
            if (has_nul || !take_line(server, at))
                return "unexpected data";
            at = end + 1;
        }
        size_t used = (size_t)(at - server->in);
        memmove(server->in, at, server->in_len - used);
        explicit_bzero(server->in + server->in_len - used, used);
        server->in_len -= used;
        if (server->in_len == sizeof server->in)
            return "unexpected data";
    }
}

static bool step_talk(Dovecot *server, TaskRef self, Step *step)
{
    bool full, is_hung;
    const char *why = read_lines(server);

    pthread_mutex_lock(&server->base.lock);
    is_hung = server->is_hung;
    pthread_mutex_unlock(&server->base.lock);
    if (!why && (is_hung || (server->state == STATE_GREETING && clock_ms() >= server->deadline)))
        why = "no answer";
    if (!why && !send_lines(server, &full))
        why = g_strerror(errno);
    if (why) {
        hang_up(server, self, why);
        return true;
    }
    *step = step_park(full ? EPOLLIN | EPOLLOUT : EPOLLIN,
                      server->state == STATE_GREETING ? server->deadline : CLOCK_NEVER);
    return false;
}

static bool step_idle(Dovecot *server, Step *step)
{
    pthread_mutex_lock(&server->base.lock);
    bool is_wanted = server->is_wanted;
    pthread_mutex_unlock(&server->base.lock);
    if (!is_wanted) {
        *step = step_park(0, CLOCK_NEVER);
        return false;
    }
    server->deadline = clock_ms() + SASL_TIME_MS;
    server->dial = (EndpointDial){.fd = -1};
    server->state = STATE_CONNECTING;
    return true;
}

static Step server_run_task(void *data, TaskRef self, unsigned reasons)
{
    Dovecot *server = data;
    Step step = step_again();

    log_set_number(0);
    for (bool goes_on = true; goes_on;) {
        switch (server->state) {
        case STATE_IDLE:
            goes_on = step_idle(server, &step);
            break;
        case STATE_CONNECTING:
            goes_on = step_connect(server, self, reasons, &step);
            reasons &= ~(unsigned)WAKE_GATE;
            break;
        case STATE_GREETING:
        case STATE_READY:
            goes_on = step_talk(server, self, &step);
            break;
        }
    }
    return step;
}

static void keep(void *data)
{
}

/* --- the back end --- */

/* Under the lock, as all that follow but the last two. */
static void want(Dovecot *server)
{
    if (server->is_ready || server->is_wanted)
        return;
    server->is_wanted = true;
    sched_wake(server->base.sched, server->task, WAKE_ANSWER);
}

static SaslKnowledge look(SaslServer *base)
{
    Dovecot *server = (Dovecot *)base;

    if (server->is_ready)
        return SASL_KNOWN;
    if (!server->is_wanted && server->failed && clock_ms() < server->failed + RETRY_MS)
        return SASL_UNKNOWN;
    want(server);
    return SASL_NOT_YET;
}

static void say(Dovecot *server, char *line)
{
    g_queue_push_tail(&server->lines, line);
    sched_wake(server->base.sched, server->task, WAKE_ANSWER);
}

static void start(SaslServer *base, SaslExchange *exchange, const SaslStart *start)
{
    Dovecot *server = (Dovecot *)base;

    say(server, dovecot_line_auth(exchange->number, server->service, start));
    want(server);
}

static void next(SaslServer *base, SaslExchange *exchange, const char *response)
{
    say((Dovecot *)base, dovecot_line_cont(exchange->number, response));
}

static void cancel(SaslServer *base, SaslExchange *exchange, bool hangs)
{
    Dovecot *server = (Dovecot *)base;

    server->is_hung |= hangs && server->is_ready && server->heard < exchange->asked;
    if (server->is_ready && !server->is_hung)
        say(server, g_strdup_printf("CANCEL\t%" G_GUINT64_FORMAT "\n", exchange->number));
    else
        sched_wake(base->sched, server->task, WAKE_ANSWER);
}

static void free_server(SaslServer *base)
{
    Dovecot *server = (Dovecot *)base;
    char *line;

    while ((line = g_queue_pop_head(&server->lines)))
        sasl_forget(line);
    sasl_forget(server->line);
    fd_clear(&server->fd);
    fd_clear(&server->dial.fd);
    endpoint_free(server->found);
    if (server->greeted)
        g_ptr_array_unref(server->greeted);
    sasl_clear(base);
    g_free(server);
}

static const SaslBackend backend = {.no_mechanism = "Invalid authentication mechanism",
                                    .bad_initial = "Invalid base64 data in initial response",
                                    .bad_continued = "Invalid base64 data in continued response",
                                    .response_max = RESPONSE_MAX,
                                    .look = look,
                                    .start = start,
                                    .next = next,
                                    .cancel = cancel,
                                    .free = free_server};

SaslServer *sasl_new_dovecot(Sched *sched, Resolver *resolver, const Endpoint *endpoint, const char *families,
                             const char *service)
{
    Dovecot *server = g_new0(Dovecot, 1);

    sasl_init(&server->base, &backend, sched);
    server->resolver = resolver;
    server->endpoint = endpoint;
    server->families = families;
    server->service = service;
    server->gate = sched_gate_new(sched, 1);
    g_queue_init(&server->lines);
    server->fd = server->dial.fd = -1;
    server->task = sched_add(sched, -1, server_run_task, keep, server);
    return &server->base;
}
