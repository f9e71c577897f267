/* frame.c - the process of an agent. The main thread accepts and obeys; it never blocks on a delivery. */
#include "delivery/frame.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#define REQUEST_MS 10000 /* the queue manager sends its request right after it connected */
#define UNLIMITED_THREADS 500

int frame_threads(const ServiceProcess *process)
{
    return process->maxproc > 0 ? MIN(process->maxproc, UNLIMITED_THREADS) : UNLIMITED_THREADS;
}

bool frame_receive(Work *work, int wait_ms)
{
    g_autofree char *text = g_malloc(DELIVERY_PACKET_MAX);
    g_autoptr(GError) error = NULL;
    struct pollfd wait = {.fd = work->connection, .events = POLLIN};
    size_t count;

    if (poll(&wait, 1, wait_ms) <= 0) {
        errno = EAGAIN;
        return false;
    }
    ssize_t len = fd_receive(work->connection, text, DELIVERY_PACKET_MAX, &work->message_fd, 1, &count);
    if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (len > 0 && count == 1)
        work->request = delivery_request_from_text(text, (size_t)len, &error);
    if (work->request)
        return true;
    if (len > 0)
        log_warning("request of the queue manager: %s", error ? error->message : "without a message");
    errno = EBADMSG;
    return false;
}

static void serve(void *data, Work *work)
{
    const Frame *frame = data;

    if (work->request || frame_receive(work, REQUEST_MS)) {
        Attempt *attempt = attempt_new(&frame->options, fd_steal(&work->connection), fd_steal(&work->message_fd),
                                       g_steal_pointer(&work->request));
        if (attempt) {
            frame->agent->deliver(frame->state, attempt);
            attempt_free(attempt);
        }
    }
    work_free(work);
}

static void accept_one(Pool *pool, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    const struct timeval limit = {.tv_sec = REQUEST_MS / 1000};

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            log_warning("accept: %s", g_strerror(errno));
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit,
               sizeof limit); /* a queue manager that does not read holds no thread for good */
    Work *work = g_new0(Work, 1);
    *work = (Work){.connection = fd, .message_fd = -1};
    pool_add(pool, work);
}

/* Returns when the process shall end at the latest; CLOCK_NEVER: not at all. *accepting becomes false with the first
 * order to end. */
static gint64 take_orders(ServiceProcess *process, bool *accepting, gint64 stop_ms)
{
    ServiceOrder order;

    while ((order = service_next_order(process)) != SERVICE_ORDER_NONE) {
        if (order == SERVICE_ORDER_DRAIN || order == SERVICE_ORDER_STOP)
            *accepting = false;
        if (order == SERVICE_ORDER_STOP)
            stop_ms = MIN(stop_ms, clock_ms() + FRAME_STOP_MS);
    }
    return stop_ms;
}

static void run(Pool *pool, ServiceProcess *process)
{
    guint listeners = process->listeners->len;
    g_autofree struct pollfd *set = g_new0(struct pollfd, listeners + 2);
    bool accepting = true;
    gint64 stop_ms = CLOCK_NEVER;

    set[0] = (struct pollfd){.fd = process->control, .events = POLLIN};
    set[1] = (struct pollfd){.fd = pool_event_fd(pool), .events = POLLIN};
    while (accepting || (pool_busy(pool) > 0 && clock_ms() < stop_ms)) {
        for (guint i = 0; i < listeners; i++)
            set[i + 2] =
                (struct pollfd){.fd = accepting && pool_has_room(pool) ? g_array_index(process->listeners, int, i) : -1,
                                .events = POLLIN};
        if (poll(set, listeners + 2, clock_poll_timeout(stop_ms)) < 0)
            continue;
        if (set[1].revents)
            pool_clear_event(pool);
        if (set[0].revents)
            stop_ms = take_orders(process, &accepting, stop_ms);
        for (guint i = 0; i < listeners; i++)
            if (accepting && set[i + 2].revents && pool_has_room(pool))
                accept_one(pool, set[i + 2].fd);
    }
}

int frame_run(const Frame *frame, ServiceProcess *process)
{
    g_autoptr(GError) error = NULL;
    PoolOptions options = {
        .threads_max = frame_threads(process), .serve = serve, .data = (void *)frame, .page = process->page};
    Pool *pool = pool_new(&options, &error);

    if (!pool) {
        log_fatal("%s", error->message);
        return 1;
    }
    service_ready(process);
    run(pool, process);
    return 0; /* threads that wait, or were too slow, end with the process */
}
