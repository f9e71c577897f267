/* sasl.c - the connection to an authentication server, and the exchanges that share it. One task reads and writes it;
 * sessions put lines in its queue and take answers out of their exchange, under the lock. */
#include "sasl/sasl.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "sasl/sasl_line.h"
#include "smtp/dial.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MECHANISMS_MAX 64
#define RETRY_MS 1000 /* a server that could not be reached is not tried again before */
#define NO_SERVER "Connection lost to authentication server"

typedef struct {
    char *name;
    unsigned properties;
} Mechanism;

typedef struct {
    guint64 number;
    TaskRef task;
    gint64 asked; /* clock_ms() of the last thing that was said */
    bool has_answer;
    SaslAnswer answer;
} Exchange;

typedef enum { STATE_IDLE, STATE_CONNECTING, STATE_GREETING, STATE_READY } State;

struct SaslServer {
    Sched *sched;
    Resolver *resolver;
    const Endpoint *endpoint;
    const char *families, *service;
    Gate *gate;
    TaskRef task;
    pthread_mutex_t lock; /* for what follows, up to the task's own part */
    bool is_ready, is_wanted, is_hung;
    gint64 failed, heard; /* clock_ms(); 0: never */
    GPtrArray *mechanisms; /* of Mechanism; replaced, never changed */
    GHashTable *exchanges; /* by number */
    guint64 last_number;
    GArray *askers; /* TaskRef of those who wait for the mechanisms */
    GQueue lines;   /* to send */

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
};

static void mechanism_free(gpointer data)
{
    Mechanism *mechanism = data;

    g_free(mechanism->name);
    g_free(mechanism);
}

static void exchange_free(gpointer data)
{
    Exchange *exchange = data;

    sasl_answer_clear(&exchange->answer);
    g_free(exchange);
}

static void line_free(char *line)
{
    if (line)
        explicit_bzero(line, strlen(line));
    g_free(line);
}

/* --- the connection --- */

static void wake_askers(SaslServer *server) /* under the lock */
{
    for (guint i = 0; i < server->askers->len; i++)
        sched_wake(server->sched, g_array_index(server->askers, TaskRef, i), WAKE_ANSWER);
    g_array_set_size(server->askers, 0);
}

/* Under the lock. Takes the answer's texts. */
static void give(SaslServer *server, Exchange *exchange, SaslAnswer *answer)
{
    sasl_answer_clear(&exchange->answer);
    exchange->answer = *answer;
    exchange->has_answer = true;
    *answer = (SaslAnswer){0};
    sched_wake(server->sched, exchange->task, WAKE_ANSWER);
}

/* The connection is over; why NULL: that is nothing to speak of. */
static void hang_up(SaslServer *server, TaskRef self, const char *why)
{
    GHashTableIter all;
    gpointer exchange;
    char *line;
    bool was_ready = server->state == STATE_READY;

    sched_change_fd(server->sched, self, -1);
    fd_clear(&server->fd);
    fd_clear(&server->dial.fd);
    g_clear_pointer(&server->found, endpoint_free);
    g_clear_pointer(&server->greeted, g_ptr_array_unref);
    line_free(g_steal_pointer(&server->line));
    explicit_bzero(server->in, server->in_len);
    server->in_len = 0;
    server->state = STATE_IDLE;
    if (why)
        log_warning("SASL: authentication server %s: %s", server->endpoint->name, why);
    pthread_mutex_lock(&server->lock);
    server->is_ready = server->is_hung = server->is_wanted = false;
    if (!was_ready) /* else it may have been restarted */
        server->failed = clock_ms();
    while ((line = g_queue_pop_head(&server->lines)))
        line_free(line);
    g_hash_table_iter_init(&all, server->exchanges);
    while (g_hash_table_iter_next(&all, NULL, &exchange)) {
        SaslAnswer answer = {.status = SASL_TEMPORARY, .text = g_strdup(NO_SERVER)};
        if (!((Exchange *)exchange)->has_answer || ((Exchange *)exchange)->answer.status == SASL_CHALLENGE)
            give(server, exchange, &answer);
    }
    wake_askers(server);
    pthread_mutex_unlock(&server->lock);
}

static void greet(SaslServer *server, TaskRef self, int fd)
{
    server->fd = fd;
    sched_change_fd(server->sched, self, fd);
    server->deadline = clock_ms() + SASL_TIME_MS;
    server->state = STATE_GREETING;
    server->greeted = g_ptr_array_new_with_free_func(mechanism_free);
    server->has_version = false;
    server->line = g_strdup_printf("VERSION\t1\t1\nCPID\t%d\n", (int)getpid());
    server->line_len = strlen(server->line);
    server->sent = 0;
}

/* True: go on; false: *step is what to wait for. */
static bool step_connect(SaslServer *server, TaskRef self, unsigned reasons, Step *step)
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
    sched_change_fd(server->sched, self, -1); /* a step may close the descriptor */
    if (!server->dial.endpoint)
        server->dial = endpoint_dial(server->found ? server->found : endpoint, server->deadline);
    switch (endpoint_dial_step(&server->dial, false, &why)) {
    case DIAL_CONNECTED:
        greet(server, self, fd_steal(&server->dial.fd));
        break;
    case DIAL_WAIT:
        sched_change_fd(server->sched, self, server->dial.fd);
        *step = step_park(EPOLLOUT, server->dial.until);
        return false;
    case DIAL_FAILED:
        hang_up(server, self, why->message);
        break;
    }
    return true;
}

/* False: the connection cannot be used. *ret_full: it takes no more now. */
static bool send_lines(SaslServer *server, bool *ret_full)
{
    *ret_full = false;
    for (;;) {
        if (!server->line && server->state == STATE_READY) {
            pthread_mutex_lock(&server->lock);
            server->line = g_queue_pop_head(&server->lines);
            pthread_mutex_unlock(&server->lock);
            server->line_len = server->line ? strlen(server->line) : 0;
            server->sent = 0;
        }
        if (!server->line)
            return true;
        ssize_t count = send(server->fd, server->line + server->sent, server->line_len - server->sent,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR) {
            *ret_full = errno == EAGAIN || errno == EWOULDBLOCK;
            return *ret_full;
        }
        server->sent += count > 0 ? (size_t)count : 0;
        if (server->sent == server->line_len)
            line_free(g_steal_pointer(&server->line));
    }
}

static void become_ready(SaslServer *server)
{
    server->state = STATE_READY;
    pthread_mutex_lock(&server->lock);
    if (server->mechanisms)
        g_ptr_array_unref(server->mechanisms);
    server->mechanisms = g_steal_pointer(&server->greeted);
    server->is_ready = true;
    server->is_wanted = false;
    wake_askers(server);
    pthread_mutex_unlock(&server->lock);
}

/* Answers to exchanges that nobody waits for any more are nothing to us. */
static void take_answer(SaslServer *server, SaslLine *line)
{
    pthread_mutex_lock(&server->lock);
    Exchange *exchange = g_hash_table_lookup(server->exchanges, &line->number);
    if (exchange && !exchange->has_answer)
        give(server, exchange, &line->answer);
    pthread_mutex_unlock(&server->lock);
}

/* False: it says what it should not. */
static bool take_line(SaslServer *server, char *text)
{
    g_auto(SaslLine) line = sasl_line_parse(text);
    bool greets = server->state == STATE_GREETING;

    switch (line.kind) {
    case SASL_LINE_OTHER:
        return true;
    case SASL_LINE_BAD:
        return false;
    case SASL_LINE_VERSION:
        server->has_version = true;
        return greets;
    case SASL_LINE_MECH:
        if (!greets || server->greeted->len >= MECHANISMS_MAX)
            return false;
        Mechanism *mechanism = g_new0(Mechanism, 1);
        *mechanism = (Mechanism){.name = g_steal_pointer(&line.name), .properties = line.properties};
        g_ptr_array_add(server->greeted, mechanism);
        return true;
    case SASL_LINE_READY:
        if (!greets || !server->has_version)
            return false;
        become_ready(server);
        return true;
    case SASL_LINE_ANSWER:
        if (greets)
            return false;
        take_answer(server, &line);
        return true;
    }
    return false;
}

/* NULL: all that has come was read; else why the connection is over. */
static const char *read_lines(SaslServer *server)
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
        pthread_mutex_lock(&server->lock);
        server->heard = clock_ms();
        pthread_mutex_unlock(&server->lock);
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

static bool step_talk(SaslServer *server, TaskRef self, Step *step)
{
    bool full, is_hung;
    const char *why = read_lines(server);

    pthread_mutex_lock(&server->lock);
    is_hung = server->is_hung;
    pthread_mutex_unlock(&server->lock);
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

static bool step_idle(SaslServer *server, Step *step)
{
    pthread_mutex_lock(&server->lock);
    bool is_wanted = server->is_wanted;
    pthread_mutex_unlock(&server->lock);
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
    SaslServer *server = data;
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

/* --- for sessions --- */

SaslServer *sasl_server_new(Sched *sched, Resolver *resolver, const Endpoint *endpoint, const char *families,
                            const char *service)
{
    SaslServer *server = g_new0(SaslServer, 1);

    server->sched = sched;
    server->resolver = resolver;
    server->endpoint = endpoint;
    server->families = families;
    server->service = service;
    server->gate = sched_gate_new(sched, 1);
    pthread_mutex_init(&server->lock, NULL);
    server->exchanges = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, exchange_free);
    server->askers = g_array_new(FALSE, FALSE, sizeof(TaskRef));
    g_queue_init(&server->lines);
    server->fd = server->dial.fd = -1;
    server->task = sched_add(sched, -1, server_run_task, keep, server);
    return server;
}

void sasl_server_free(SaslServer *server)
{
    char *line;

    if (!server)
        return;
    while ((line = g_queue_pop_head(&server->lines)))
        line_free(line);
    line_free(server->line);
    fd_clear(&server->fd);
    fd_clear(&server->dial.fd);
    endpoint_free(server->found);
    if (server->greeted)
        g_ptr_array_unref(server->greeted);
    if (server->mechanisms)
        g_ptr_array_unref(server->mechanisms);
    g_hash_table_unref(server->exchanges);
    g_array_unref(server->askers);
    pthread_mutex_destroy(&server->lock);
    g_free(server);
}

/* Under the lock. */
static void want(SaslServer *server)
{
    if (server->is_ready || server->is_wanted)
        return;
    server->is_wanted = true;
    sched_wake(server->sched, server->task, WAKE_ANSWER);
}

static char *names_for(const GPtrArray *mechanisms, const SaslPolicy *policy)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (guint i = 0; i < mechanisms->len; i++) {
        const Mechanism *mechanism = g_ptr_array_index(mechanisms, i);
        if ((mechanism->properties & policy->without) || (~mechanism->properties & policy->with) ||
            match_string(policy->filter, mechanism->name) != MATCH_YES)
            continue;
        g_string_append_printf(names, "%s%s", names->len > 0 ? " " : "", mechanism->name);
    }
    return names->len > 0 ? g_string_free(g_steal_pointer(&names), FALSE) : NULL;
}

SaslKnowledge sasl_mechanisms(SaslServer *server, const SaslPolicy *policy, TaskRef task, char **ret_names)
{
    SaslKnowledge knowledge = SASL_KNOWN;
    g_autoptr(GPtrArray) mechanisms = NULL;

    *ret_names = NULL;
    pthread_mutex_lock(&server->lock);
    if (server->is_ready) {
        mechanisms = g_ptr_array_ref(server->mechanisms);
    } else if (!server->is_wanted && server->failed && clock_ms() < server->failed + RETRY_MS) {
        knowledge = SASL_UNKNOWN;
    } else {
        knowledge = SASL_NOT_YET;
        want(server);
        g_array_append_val(server->askers, task);
    }
    pthread_mutex_unlock(&server->lock);
    if (mechanisms)
        *ret_names = names_for(mechanisms, policy);
    return knowledge;
}

/* Under the lock. */
static void say(SaslServer *server, Exchange *exchange, char *line)
{
    exchange->asked = clock_ms();
    exchange->has_answer = false;
    sasl_answer_clear(&exchange->answer);
    g_queue_push_tail(&server->lines, line);
    sched_wake(server->sched, server->task, WAKE_ANSWER);
}

guint64 sasl_start(SaslServer *server, const SaslStart *start, TaskRef task)
{
    Exchange *exchange = g_new0(Exchange, 1);

    pthread_mutex_lock(&server->lock);
    server->last_number = server->last_number % G_MAXUINT32 + 1;
    while (g_hash_table_contains(server->exchanges, &server->last_number))
        server->last_number = server->last_number % G_MAXUINT32 + 1;
    exchange->number = server->last_number;
    exchange->task = task;
    g_hash_table_insert(server->exchanges, &exchange->number, exchange);
    say(server, exchange, sasl_line_auth(exchange->number, server->service, start));
    want(server);
    guint64 number = exchange->number;
    pthread_mutex_unlock(&server->lock);
    return number;
}

void sasl_continue(SaslServer *server, guint64 number, const char *response)
{
    pthread_mutex_lock(&server->lock);
    Exchange *exchange = g_hash_table_lookup(server->exchanges, &number);
    if (exchange && server->is_ready && exchange->answer.status != SASL_TEMPORARY)
        say(server, exchange, sasl_line_cont(number, response));
    pthread_mutex_unlock(&server->lock);
}

SaslAnswer sasl_take(SaslServer *server, guint64 number)
{
    SaslAnswer answer = {.status = SASL_WAIT};

    pthread_mutex_lock(&server->lock);
    Exchange *exchange = g_hash_table_lookup(server->exchanges, &number);
    if (!exchange) {
        answer = (SaslAnswer){.status = SASL_TEMPORARY, .text = g_strdup(NO_SERVER)};
    } else if (exchange->has_answer) {
        answer = exchange->answer;
        exchange->answer = (SaslAnswer){.status = answer.status};
        if (answer.status != SASL_CHALLENGE)
            g_hash_table_remove(server->exchanges, &number);
    }
    pthread_mutex_unlock(&server->lock);
    return answer;
}

void sasl_cancel(SaslServer *server, guint64 number, bool hangs)
{
    pthread_mutex_lock(&server->lock);
    Exchange *exchange = g_hash_table_lookup(server->exchanges, &number);
    if (exchange) {
        server->is_hung |= hangs && server->is_ready && server->heard < exchange->asked;
        if (server->is_ready && !server->is_hung)
            g_queue_push_tail(&server->lines, g_strdup_printf("CANCEL\t%" G_GUINT64_FORMAT "\n", number));
        g_hash_table_remove(server->exchanges, &number);
        sched_wake(server->sched, server->task, WAKE_ANSWER);
    }
    pthread_mutex_unlock(&server->lock);
}
