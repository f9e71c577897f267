/* policy_client.c - requests, and the workers that carry them to the servers. A worker is a task with a connection, and
 * has one request at a time. */
#include "policy/policy_client.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "policy/policy_reply.h"
#include "smtp/dial.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define GATE_PLACES 8 /* threads that look up names or connect by path */
#define READ_MAX 4096
#define POSTFIX_NO_ERRNO "Application error" /* as Postfix shows that errno is 0 */

typedef struct {
    guint64 number, log_number;
    TaskRef asker;
    const PolicyService *service;
    char *text;
    bool is_done, is_abandoned; /* under the lock, and so is what follows */
    char *action;
} Request;

typedef enum { WORKER_IDLE, WORKER_CONNECTING, WORKER_SENDING, WORKER_READING, WORKER_PAUSING } WorkerState;

typedef struct {
    PolicyClient *client;
    char *place;      /* the endpoint's name, which says whom it is connected to */
    TaskRef task;     /* under the lock, with the next two */
    Request *request; /* NULL: none. The client's, or the worker's when it is abandoned */
    char *instance;   /* the message that it belongs to; "": none */

    WorkerState state; /* the task's alone from here on */
    const PolicyService *service;
    int fd;
    bool is_reused;   /* the connection has served a request before */
    bool was_renewed; /* for this request */
    int requests, tries;
    gint64 opened, deadline; /* clock_ms() */
    Endpoint *found;         /* with looked-up addresses; NULL: the service's own is complete */
    EndpointDial dial;
    size_t sent;
    PolicyReply reply;
} Worker;

struct PolicyClient {
    Sched *sched;
    Resolver *resolver;
    const char *families;
    Gate *gate;
    pthread_mutex_t lock;
    guint64 last_number;
    GHashTable *requests; /* by number */
    GPtrArray *workers;   /* those that can get requests or have one; the last is the one that was used last */
};

static void request_free(gpointer data)
{
    Request *request = data;

    g_free(request->text);
    g_free(request->action);
    g_free(request);
}

PolicyClient *policy_client_new(Sched *sched, Resolver *resolver, const char *families)
{
    PolicyClient *client = g_new0(PolicyClient, 1);

    client->sched = sched;
    client->resolver = resolver;
    client->families = families;
    client->gate = sched_gate_new(sched, GATE_PLACES);
    pthread_mutex_init(&client->lock, NULL);
    client->requests = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, request_free);
    client->workers = g_ptr_array_new();
    return client;
}

void policy_client_free(PolicyClient *client)
{
    if (!client)
        return;
    pthread_mutex_destroy(&client->lock);
    g_hash_table_unref(client->requests);
    g_ptr_array_unref(client->workers);
    g_free(client);
}

/* --- a worker and its request --- */

static void clear_dial(Worker *worker)
{
    fd_clear(&worker->dial.fd);
    g_clear_pointer(&worker->found, endpoint_free);
}

/* What is closed is not watched any more: its number may be another's at once. */
static void hang_up(Worker *worker, TaskRef self)
{
    sched_change_fd(worker->client->sched, self, -1);
    fd_clear(&worker->fd);
    clear_dial(worker);
}

static void worker_free(void *data)
{
    Worker *worker = data;

    fd_clear(&worker->fd);
    clear_dial(worker);
    policy_reply_clear(&worker->reply);
    if (worker->request && worker->request->is_abandoned)
        request_free(worker->request);
    g_free(worker->instance);
    g_free(worker->place);
    g_free(worker);
}

/* No more requests for this worker: it ends. False: it has just got one. */
static bool retire(Worker *worker)
{
    PolicyClient *client = worker->client;

    pthread_mutex_lock(&client->lock);
    bool is_free = !worker->request;
    if (is_free)
        g_ptr_array_remove(client->workers, worker);
    pthread_mutex_unlock(&client->lock);
    return is_free;
}

/* action: NULL: none; it becomes the request's. */
static void answer(Worker *worker, char *action)
{
    PolicyClient *client = worker->client;

    pthread_mutex_lock(&client->lock);
    Request *request = g_steal_pointer(&worker->request);
    request->action = action;
    request->is_done = true;
    TaskRef asker = request->asker;
    if (request->is_abandoned) {
        request_free(request);
        asker = 0;
    }
    g_ptr_array_remove(client->workers, worker);
    g_ptr_array_add(client->workers, worker);
    pthread_mutex_unlock(&client->lock);
    if (asker)
        sched_wake(client->sched, asker, WAKE_ANSWER);
}

static bool is_abandoned(Worker *worker)
{
    pthread_mutex_lock(&worker->client->lock);
    bool abandoned = worker->request->is_abandoned;
    pthread_mutex_unlock(&worker->client->lock);
    return abandoned;
}

/* --- one try --- */

static const Endpoint *endpoint_of(const Worker *worker)
{
    return worker->found ? worker->found : worker->service->endpoint;
}

static void begin_try(Worker *worker, TaskRef self)
{
    worker->deadline = clock_ms() + worker->service->timeout_ms;
    worker->sent = 0;
    policy_reply_clear(&worker->reply);
    policy_reply_init(&worker->reply);
    worker->is_reused = worker->fd >= 0;
    if (worker->fd < 0) {
        worker->dial = (EndpointDial){.fd = -1};
        worker->requests = 0;
    }
    worker->state = worker->fd >= 0 ? WORKER_SENDING : WORKER_CONNECTING;
}

static void warn_of_reply(const Worker *worker, PolicyReplyTrouble trouble)
{
    g_autofree char *text = policy_reply_trouble(&worker->reply, trouble, worker->service->name);

    if (text)
        log_warning("%s", text);
}

/* number: an errno, 0 for what has none. The next try, or the request is given up. */
static void fail_try(Worker *worker, TaskRef self, int number)
{
    const PolicyService *service = worker->service;
    bool was_kept = worker->is_reused && worker->reply.octets == 0 && number != ETIMEDOUT;

    hang_up(worker, self);
    if (was_kept && !worker->was_renewed) {
        worker->was_renewed = true;
        begin_try(worker, self);
        return;
    }
    bool is_last = ++worker->tries >= service->try_limit || is_abandoned(worker);
    if (is_last || (number && number != EPIPE && number != ENOENT && number != ECONNRESET))
        log_warning("problem talking to server %s: %s", service->name, number ? g_strerror(number) : POSTFIX_NO_ERRNO);
    if (is_last) {
        worker->state = WORKER_IDLE;
        answer(worker, NULL);
        return;
    }
    worker->deadline = clock_ms() + service->retry_delay_ms;
    worker->state = WORKER_PAUSING;
}

static void connected(Worker *worker, TaskRef self, int fd)
{
    worker->fd = fd;
    worker->opened = clock_ms();
    worker->deadline = worker->opened + worker->service->timeout_ms;
    sched_change_fd(worker->client->sched, self, fd);
    worker->state = WORKER_SENDING;
}

static void fail_connect(Worker *worker, TaskRef self, const GError *why)
{
    int number = why->code ? why->code : EADDRNOTAVAIL;

    log_warning("connect to %s: %s", worker->service->name, why->message);
    fail_try(worker, self, number);
}

/* Behind the gate. */
static void connect_by_path(Worker *worker, TaskRef self)
{
    g_autoptr(GError) why = NULL;
    int fd = endpoint_connect(worker->service->endpoint, worker->deadline, &why);

    if (fd >= 0)
        connected(worker, self, fd);
    else
        fail_connect(worker, self, why);
}

/* True: the worker goes on; false: *ret_step is what to wait for. */
static bool step_connect(Worker *worker, TaskRef self, unsigned reasons, Step *ret_step)
{
    PolicyClient *client = worker->client;
    const Endpoint *endpoint = endpoint_of(worker);
    bool must_block = endpoint->path || (endpoint->addresses->len == 0 && !worker->found);

    if (must_block && !(reasons & WAKE_GATE)) {
        if (clock_ms() >= worker->deadline) {
            fail_try(worker, self, ETIMEDOUT);
            return true;
        }
        *ret_step = step_gate(client->gate, worker->deadline);
        return false;
    }
    if (endpoint->path) {
        connect_by_path(worker, self);
        return true;
    }
    if (must_block)
        worker->found = dial_look_up(client->resolver, endpoint, client->families, worker->deadline);
    g_autoptr(GError) why = NULL;
    sched_change_fd(client->sched, self, -1); /* a step may close the descriptor */
    if (!worker->dial.endpoint)
        worker->dial = endpoint_dial(endpoint_of(worker), worker->deadline);
    switch (endpoint_dial_step(&worker->dial, false, &why)) {
    case DIAL_CONNECTED:
        connected(worker, self, fd_steal(&worker->dial.fd));
        return true;
    case DIAL_WAIT:
        sched_change_fd(client->sched, self, worker->dial.fd);
        *ret_step = step_park(EPOLLOUT, worker->dial.until);
        return false;
    case DIAL_FAILED:
        break;
    }
    fail_connect(worker, self, why);
    return true;
}

/* What a read or write that cannot be done now means. */
static bool wait_for(Worker *worker, TaskRef self, unsigned events, Step *ret_step)
{
    if (clock_ms() < worker->deadline) {
        *ret_step = step_park(events, worker->deadline);
        return false;
    }
    warn_of_reply(worker, POLICY_REPLY_TIMED_OUT);
    fail_try(worker, self, ETIMEDOUT);
    return true;
}

static bool step_send(Worker *worker, TaskRef self, Step *ret_step)
{
    const char *text = worker->request->text;
    size_t len = strlen(text);
    ssize_t count = 0;

    while (worker->sent < len && count >= 0) {
        count = send(worker->fd, text + worker->sent, len - worker->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0)
            worker->sent += (size_t)count;
        else if (count < 0 && errno == EINTR)
            count = 0;
    }
    if (worker->sent == len)
        worker->state = WORKER_READING;
    else if (errno == EAGAIN || errno == EWOULDBLOCK)
        return wait_for(worker, self, EPOLLOUT, ret_step);
    else
        fail_try(worker, self, errno);
    return true;
}

/* The reply is there. is_clean: nothing came behind it. */
static void finish_try(Worker *worker, TaskRef self, bool is_clean)
{
    int limit = worker->service->request_limit;

    worker->requests++;
    if (!is_clean || (limit > 0 && worker->requests >= limit))
        hang_up(worker, self);
    worker->deadline = MIN(clock_ms() + worker->service->max_idle_ms, worker->opened + worker->service->max_ttl_ms);
    worker->state = WORKER_IDLE;
    answer(worker, g_steal_pointer(&worker->reply.action));
}

static bool step_read(Worker *worker, TaskRef self, Step *ret_step)
{
    char data[READ_MAX];
    ssize_t count;
    size_t used = 0;

    do
        count = recv(worker->fd, data, sizeof data, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return wait_for(worker, self, EPOLLIN, ret_step);
    if (count <= 0) {
        int number = count < 0 ? errno : 0;
        warn_of_reply(worker, POLICY_REPLY_ENDED);
        fail_try(worker, self, number);
        return true;
    }
    switch (policy_reply_add(&worker->reply, data, (size_t)count, &used)) {
    case POLICY_REPLY_MORE:
        if (clock_ms() >= worker->deadline)
            return wait_for(worker, self, EPOLLIN, ret_step);
        break;
    case POLICY_REPLY_WHOLE:
        finish_try(worker, self, used == (size_t)count);
        break;
    case POLICY_REPLY_BAD:
        warn_of_reply(worker, POLICY_REPLY_IS_BAD);
        fail_try(worker, self, 0);
        break;
    }
    return true;
}

/* --- the worker's life --- */

/* A connection without a request: anything that comes from it means that it is of no more use. */
static bool connection_is_over(const Worker *worker)
{
    char octet;

    return worker->fd < 0 || clock_ms() >= worker->deadline ||
           recv(worker->fd, &octet, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static bool step_idle(Worker *worker, TaskRef self, Step *ret_step)
{
    PolicyClient *client = worker->client;

    pthread_mutex_lock(&client->lock);
    Request *request = worker->request;
    if (request)
        worker->service = request->service;
    pthread_mutex_unlock(&client->lock);
    bool is_over = connection_is_over(worker);
    if (request) {
        log_set_number(request->log_number);
        if (is_over)
            hang_up(worker, self);
        worker->tries = 0;
        worker->was_renewed = false;
        begin_try(worker, self);
        return true;
    }
    if (is_over && !retire(worker))
        return true;
    *ret_step = is_over ? step_end() : step_park(EPOLLIN | EPOLLRDHUP, worker->deadline);
    return false;
}

static Step worker_run(void *data, TaskRef self, unsigned reasons)
{
    Worker *worker = data;
    Step step;
    bool goes_on = true;

    log_set_number(worker->state == WORKER_IDLE ? 0 : worker->request->log_number);
    while (goes_on) {
        switch (worker->state) {
        case WORKER_IDLE:
            goes_on = step_idle(worker, self, &step);
            break;
        case WORKER_CONNECTING:
            goes_on = step_connect(worker, self, reasons, &step);
            reasons &= ~(unsigned)WAKE_GATE; /* it lasts for one try */
            break;
        case WORKER_SENDING:
            goes_on = step_send(worker, self, &step);
            break;
        case WORKER_READING:
            goes_on = step_read(worker, self, &step);
            break;
        case WORKER_PAUSING:
            if (clock_ms() >= worker->deadline)
                begin_try(worker, self);
            else
                goes_on = false, step = step_park(0, worker->deadline);
            break;
        }
    }
    return step;
}

/* --- asking --- */

/* Under the lock: who has no request, is connected to that place, and to that message or to none; NULL: nobody. */
static Worker *find_worker(PolicyClient *client, const char *place, const char *instance)
{
    Worker *found = NULL;

    for (guint i = client->workers->len; i > 0; i--) {
        Worker *worker = g_ptr_array_index(client->workers, i - 1);
        if (worker->request || strcmp(worker->place, place) != 0)
            continue;
        if (strcmp(worker->instance, instance) == 0 && *instance)
            return worker;
        if (!found && !*worker->instance)
            found = worker;
    }
    return found;
}

static Worker *add_worker(PolicyClient *client, const char *place)
{
    Worker *worker = g_new0(Worker, 1);

    worker->client = client;
    worker->place = g_strdup(place);
    worker->fd = worker->dial.fd = -1;
    g_ptr_array_add(client->workers, worker);
    return worker;
}

guint64 policy_client_ask(PolicyClient *client, const PolicyService *service, const char *attributes,
                          const char *instance, TaskRef task)
{
    Request *request = g_new0(Request, 1);
    const char *place = service->endpoint->name;

    request->log_number = log_number();
    request->asker = task;
    request->service = service;
    request->text = g_strconcat(attributes, "\n", NULL);
    pthread_mutex_lock(&client->lock);
    guint64 number = request->number = ++client->last_number;
    g_hash_table_insert(client->requests, &request->number, request);
    Worker *worker = find_worker(client, place, instance);
    bool is_new = !worker;
    if (is_new)
        worker = add_worker(client, place);
    worker->request = request;
    g_free(worker->instance);
    worker->instance = g_strdup(instance);
    if (is_new)
        worker->task = sched_add(client->sched, -1, worker_run, worker_free, worker);
    else
        sched_wake(client->sched, worker->task, WAKE_ANSWER);
    pthread_mutex_unlock(&client->lock);
    return number;
}

bool policy_client_take(PolicyClient *client, guint64 number, char **ret_action)
{
    *ret_action = NULL;
    pthread_mutex_lock(&client->lock);
    Request *request = g_hash_table_lookup(client->requests, &number);
    bool is_done = !request || request->is_done;
    if (request && is_done) {
        *ret_action = g_steal_pointer(&request->action);
        g_hash_table_remove(client->requests, &number);
    }
    pthread_mutex_unlock(&client->lock);
    return is_done;
}

void policy_client_cancel(PolicyClient *client, guint64 number)
{
    pthread_mutex_lock(&client->lock);
    Request *request = g_hash_table_lookup(client->requests, &number);
    if (request && request->is_done) {
        g_hash_table_remove(client->requests, &number);
    } else if (request) { /* its worker reads the reply all the same, for the connection's sake */
        request->is_abandoned = true;
        g_hash_table_steal(client->requests, &number);
    }
    pthread_mutex_unlock(&client->lock);
}

void policy_client_release(PolicyClient *client, const char *instance)
{
    if (!*instance)
        return;
    pthread_mutex_lock(&client->lock);
    for (guint i = 0; i < client->workers->len; i++) {
        Worker *worker = g_ptr_array_index(client->workers, i);
        if (strcmp(worker->instance, instance) == 0)
            *worker->instance = '\0';
    }
    pthread_mutex_unlock(&client->lock);
}
