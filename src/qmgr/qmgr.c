/* qmgr.c - the queue manager's process and its loop.
 *
 * Everything is looked for by scanning: what is in the queue at the start, what a lost datagram did not tell, what
 * others left. Datagrams from those who commit messages only make it quick. A scan takes one directory at a time,
 * between other work. */
#include "qmgr/qmgr.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/protection.h"
#include "qmgr/qmgr_private.h"
#include "spool/queue_notify.h"
#include "spool/spool_scan.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAITING_MAX 100000   /* ids of messages that are not looked at yet */
#define ACTIVATE_AT_ONCE 100 /* messages, before the loop looks at its sockets again */
#define BURST 9              /* datagrams read at once that suggest that some were lost: the kernel keeps 10 or more */
#define BURST_SCAN_MS 500    /* then the queue is scanned, this long after at the latest */
#define IDLE_SCAN_MS 20      /* or this long after, once there is nothing else to begin with */
#define STOP_MS 4000         /* to wait for deliveries when told to stop */
#define LOCK_POLL_MS 20
#define SWEEP_MS 5000
#define RECORD_AGAIN_MS 10000

typedef struct {
    Qmgr *qmgr;
    ServiceProcess *process;
    int notify;          /* the datagram socket */
    SpoolScan *scan;     /* NULL: none is going on */
    bool scan_again;     /* once it is done: it may have missed something */
    bool scan_failed;    /* it could not read a directory */
    bool all_known;      /* a scan since the start has left no message unknown */
    gint64 next_scan_ms; /* because of a burst; CLOCK_NEVER */
    gint64 next_run_ms;  /* queue_run_delay */
    gint64 next_sweep_ms;
    gint64 next_record_ms;
    gint64 next_clean_ms; /* of the cache of addresses; CLOCK_NEVER: never */
    gint64 stop_ms; /* when to end at the latest; CLOCK_NEVER: nobody said stop */
} Loop;

static Limits read_limits(const Config *config)
{
    struct rlimit files = {.rlim_cur = 1024};

    getrlimit(RLIMIT_NOFILE, &files);
    return (Limits){
        .minimal_backoff = config_seconds(config, "minimal_backoff_time"),
        .maximal_backoff =
            MAX(config_seconds(config, "maximal_backoff_time"), config_seconds(config, "minimal_backoff_time")),
        .lifetime = config_seconds(config, "maximal_queue_lifetime"),
        .bounce_lifetime = config_seconds(config, "bounce_queue_lifetime"),
        .run_delay_ms = MAX(config_seconds(config, "queue_run_delay"), 1) * 1000,
        .transport_retry_ms = config_seconds(config, "transport_retry_time") * 1000,
        .silence_ms = config_seconds(config, "daemon_timeout") * 1000,
        .active_max = (guint)MAX(config_int(config, "qmgr_message_active_limit"), 1),
        .recipients_max = (guint)MAX(config_int(config, "qmgr_message_recipient_limit"), 1),
        .under_way_max = (guint)CLAMP((gint64)(files.rlim_cur - 64) / 2, 1, 1000),
        .probes_max = (guint)config_int(config, "address_verify_pending_request_limit"),
        .delay_resolution = (int)CLAMP(config_int(config, "delay_logging_resolution_limit"), 0, 6),
    };
}

/* ---- scanning ---- */

static void start_scan(Loop *loop)
{
    loop->next_scan_ms = CLOCK_NEVER;
    if (loop->scan)
        loop->scan_again = true;
    else
        loop->scan = spool_scan_new(loop->qmgr->spool, SPOOL_QUEUE);
}

static void take_found(Loop *loop, const GPtrArray *ids)
{
    Backlog *backlog = loop->qmgr->backlog;
    gint64 when;

    for (guint i = 0; i < ids->len; i++) {
        const char *id = g_ptr_array_index(ids, i);
        if (backlog_knows(backlog, id) || !spool_next_attempt(loop->qmgr->spool, SPOOL_QUEUE, id, &when))
            continue;
        if (when > clock_wall_us() / G_USEC_PER_SEC) /* read now: the file of a new message is still written to */
            backlog_add_deferred(backlog, id, when);
        else if (!backlog_add(backlog, id, loop->all_known ? BACKLOG_FOUND_NEW : BACKLOG_FOUND))
            loop->scan_again = true;
    }
}

static void scan_one_directory(Loop *loop)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) ids = NULL;

    if (!backlog_has_room(loop->qmgr->backlog))
        return;
    if (spool_scan_next(loop->scan, &ids, &error)) {
        take_found(loop, ids);
    } else if (error) {
        log_error("queue scan: %s", error->message);
        loop->scan_failed = true;
    } else {
        g_clear_pointer(&loop->scan, spool_scan_free);
        loop->all_known |= !loop->scan_again && !loop->scan_failed;
        loop->scan_failed = false;
        if (loop->scan_again) {
            loop->scan_again = false;
            loop->next_scan_ms = clock_ms() + BURST_SCAN_MS;
        }
    }
}

/* What a crash left in hold/: nobody else will ever open it. */
static void recover_hold(const Spool *spool)
{
    g_autoptr(SpoolScan) scan = spool_scan_new(spool, SPOOL_HOLD);
    g_autoptr(GPtrArray) ids = NULL;
    g_autoptr(GError) error = NULL;

    if (!spool_scan_next(scan, &ids, &error)) {
        log_error("queue scan: %s", error ? error->message : "");
        return;
    }
    for (guint i = 0; i < ids->len; i++) {
        const char *id = g_ptr_array_index(ids, i);
        SpoolError what = SPOOL_ERROR_GONE;
        bool done = false;
        g_autoptr(GError) why = NULL;
        if (!spool_recover(spool, SPOOL_HOLD, id, &what, &done, &why))
            log_error("hold/%s: %s", id, why->message);
        else if (done)
            log_warning("hold/%s: %s", id,
                        what == SPOOL_ERROR_CORRUPT ? "damaged, moved to corrupt/"
                                                    : "removed (its reception did not end)");
    }
}

/* ---- datagrams ---- */

static void take_datagram(Loop *loop, char *text, int fd)
{
    Qmgr *qmgr = loop->qmgr;
    const char *id = text + 1;

    switch (text[0]) {
    case QUEUE_NOTIFY_NEW:
        if (id_is_valid(id) && !backlog_add(qmgr->backlog, id, BACKLOG_TOLD))
            loop->scan_again = true;
        break;
    case QUEUE_NOTIFY_FLUSH:
        schedule_forgive(qmgr->schedule);
        backlog_flush(qmgr->backlog);
        start_scan(loop);
        break;
    case QUEUE_NOTIFY_TRY:
        schedule_forgive(qmgr->schedule);
        backlog_try(qmgr->backlog, id);
        break;
    case QUEUE_NOTIFY_ACTIVE: {
        gsize len;
        g_autofree char *ids = backlog_list_active(qmgr->backlog, &len);
        if (fd >= 0)
            queue_answer_active(fd, ids, len);
        break;
    }
    default:
        log_warning("a datagram that is none of ours: %s", text);
    }
}

static void read_datagrams(Loop *loop)
{
    for (int count = 1;; count++) {
        char text[QUEUE_NOTIFY_MAX + 1];
        int passed = -1;
        size_t fds = 0;
        ssize_t len = fd_receive(loop->notify, text, sizeof text - 1, &passed, 1, &fds);
        if (len < 0 && errno != EMSGSIZE) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                log_error("read from public/qmgr: %s", g_strerror(errno));
            return;
        }
        auto_fd fd = passed;
        if (len > 0) {
            text[len] = '\0';
            take_datagram(loop, text, fd);
        }
        if (count == BURST && loop->next_scan_ms == CLOCK_NEVER)
            loop->next_scan_ms = clock_ms() + BURST_SCAN_MS;
        if (count == 1000)
            return;
    }
}

/* ---- the loop ---- */

static void take_orders(Loop *loop)
{
    ServiceOrder order;

    while ((order = service_next_order(loop->process)) != SERVICE_ORDER_NONE) {
        switch (order) {
        case SERVICE_ORDER_DRAIN:
            /* The next queue manager waits for our end, not for the deliveries: the agents hold the locks of their
             * messages. */
            loop->stop_ms = 0;
            break;
        case SERVICE_ORDER_STOP:
            loop->stop_ms = MIN(loop->stop_ms, clock_ms() + STOP_MS);
            break;
        case SERVICE_ORDER_WAKEUP:
            start_scan(loop);
            break;
        case SERVICE_ORDER_FLUSH: {
            char flush[] = {QUEUE_NOTIFY_FLUSH, '\0'};
            take_datagram(loop, flush, -1);
            break;
        }
        case SERVICE_ORDER_OLDEST:
        case SERVICE_ORDER_NONE:
            break;
        }
    }
}

/* When a scan has to make up for datagrams that were lost. What it finds is needed only when all else is under way. */
static gint64 scan_time(const Loop *loop)
{
    const Backlog *backlog = loop->qmgr->backlog;
    bool busy = backlog_has_next(backlog) || backlog_active(backlog) > loop->qmgr->under_way;

    return loop->next_scan_ms == CLOCK_NEVER || busy ? loop->next_scan_ms
                                                     : loop->next_scan_ms - BURST_SCAN_MS + IDLE_SCAN_MS;
}

static void run_timers(Loop *loop, gint64 now)
{
    Qmgr *qmgr = loop->qmgr;

    backlog_tick(qmgr->backlog, now);
    if (loop->next_run_ms <= now) {
        loop->next_run_ms = now + qmgr->limits.run_delay_ms;
        backlog_run(qmgr->backlog, clock_wall_us() / G_USEC_PER_SEC);
        start_scan(loop);
    }
    if (scan_time(loop) <= now)
        start_scan(loop);
    deliver_drop_silent(qmgr, now);
    if (loop->next_sweep_ms <= now) {
        loop->next_sweep_ms = now + SWEEP_MS;
        schedule_sweep(qmgr->schedule, now);
    }
    if (loop->next_record_ms <= now) {
        loop->next_record_ms = now + RECORD_AGAIN_MS;
        message_record_again(qmgr);
    }
    if (loop->next_clean_ms <= now) {
        loop->next_clean_ms = now + config_seconds(qmgr->config, "address_verify_cache_cleanup_interval") * 1000;
        verify_cache_clean(qmgr->verify);
    }
}

/* True when there may be more to activate at once. Datagrams are read in between, since the kernel keeps few. */
static bool activate_some(Loop *loop)
{
    Qmgr *qmgr = loop->qmgr;

    for (int i = 0; i < ACTIVATE_AT_ONCE; i++) {
        const char *id;
        unsigned flags;
        if (backlog_active(qmgr->backlog) >= qmgr->limits.active_max ||
            (qmgr->recipients > 0 && qmgr->recipients >= qmgr->limits.recipients_max) ||
            !backlog_next(qmgr->backlog, &id, &flags))
            return false;
        g_autofree char *copy = g_strdup(id);
        message_activate(qmgr, copy, flags);
        read_datagrams(loop);
    }
    return true;
}

static int wait_time(const Loop *loop)
{
    gint64 next = MIN(backlog_tick_time(loop->qmgr->backlog), loop->stop_ms);

    next = MIN(next, MIN(loop->next_run_ms, MIN(loop->next_clean_ms, scan_time(loop))));
    next = MIN(next, deliver_silence_time(loop->qmgr));
    next = MIN(next, schedule_next_time(loop->qmgr->schedule, clock_ms()));
    if (loop->qmgr->unrecorded.length > 0)
        next = MIN(next, loop->next_record_ms);
    return clock_poll_timeout(next);
}

static void take_events(Loop *loop, int timeout_ms)
{
    struct epoll_event events[64];
    int count = epoll_wait(loop->qmgr->epoll, events, G_N_ELEMENTS(events), timeout_ms);

    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == loop->process)
            take_orders(loop);
        else if (events[i].data.ptr == loop)
            read_datagrams(loop);
        else
            deliver_read(loop->qmgr, events[i].data.ptr);
    }
}

static void run(Loop *loop)
{
    Qmgr *qmgr = loop->qmgr;
    bool more = true;

    while (loop->stop_ms == CLOCK_NEVER || (loop->stop_ms > clock_ms() && qmgr->under_way > 0)) {
        bool stopping = loop->stop_ms != CLOCK_NEVER;
        bool scanning = loop->scan && backlog_has_room(qmgr->backlog);
        take_events(loop, !stopping && (more || scanning) ? 0 : wait_time(loop));
        if (loop->stop_ms != CLOCK_NEVER)
            continue; /* what is under way ends, nothing begins */
        run_timers(loop, clock_ms());
        if (loop->scan)
            scan_one_directory(loop);
        deliver_start_jobs(qmgr);
        more = activate_some(loop);
    }
}

static bool watch(const Qmgr *qmgr, int fd, void *data)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};

    if (epoll_ctl(qmgr->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return true;
    log_fatal("epoll_ctl: %s", g_strerror(errno));
    return false;
}

/* There is one queue manager at a time. The master starts us when the one before us has ended, but not when that one's
 * master was killed. Orders are obeyed meanwhile. False: told to end, or it cannot be done. */
static bool take_over(Loop *loop, int *ret_lock)
{
    g_autoptr(GError) error = NULL;
    bool told = false;

    for (;;) {
        if (spool_lock_manager(loop->qmgr->spool, ret_lock, &error))
            return true;
        if (error->code != EWOULDBLOCK) {
            log_fatal("%s", error->message);
            return false;
        }
        if (!told)
            log_info("waiting for another queue manager to end");
        told = true;
        g_clear_error(&error);
        struct pollfd control = {.fd = loop->process->control, .events = POLLIN};
        if (poll(&control, 1, LOCK_POLL_MS) > 0)
            take_orders(loop);
        if (loop->stop_ms != CLOCK_NEVER)
            return false;
    }
}

/* Mail goes on without it. */
static void open_verify(Loop *loop)
{
    Qmgr *qmgr = loop->qmgr;
    g_autoptr(GError) error = NULL;

    qmgr->verify = verify_cache_open(qmgr->config, CACHE_WRITE, &error);
    if (!qmgr->verify)
        log_warning("results of address probes will be lost: %s", error->message);
    else if (config_seconds(qmgr->config, "address_verify_cache_cleanup_interval") > 0)
        loop->next_clean_ms = clock_ms();
}

static int serve(Loop *loop)
{
    Qmgr *qmgr = loop->qmgr;
    auto_fd lock = -1;

    if (!watch(qmgr, loop->process->control, loop->process) || !watch(qmgr, loop->notify, loop))
        return 1;
    service_ready(loop->process);
    if (!take_over(loop, &lock))
        return loop->stop_ms == CLOCK_NEVER ? 1 : 0;
    qmgr->since_ns = (guint64)clock_wall_ns();
    recover_hold(qmgr->spool);
    open_verify(loop);
    start_scan(loop);
    run(loop);
    verify_cache_close(qmgr->verify);
    spool_scan_free(loop->scan);
    return 0;
}

static bool is_datagram_socket(int fd)
{
    int type = 0;
    socklen_t len = sizeof type;

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_DGRAM;
}

int qmgr_main(ServiceProcess *process, const Config *config)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *packet = g_malloc(DELIVERY_PACKET_MAX + 1);
    g_autofree char *directory = g_strconcat(config_string(config, "queue_directory"), "/gatepost", NULL);
    g_autofree char *verify_directory = verify_cache_directory(config);
    const SpoolOptions options = {.directory = directory, .long_ids = config_bool(config, "enable_long_queue_ids")};
    Qmgr qmgr = {.config = config, .limits = read_limits(config), .packet = packet};
    Loop loop = {.qmgr = &qmgr, .process = process, .next_scan_ms = CLOCK_NEVER, .next_clean_ms = CLOCK_NEVER, .stop_ms = CLOCK_NEVER};

    if (process->listeners->len != 1 || !is_datagram_socket(g_array_index(process->listeners, int, 0))) {
        log_fatal("service %s: must be `unix`: the queue manager needs one datagram socket", process->name);
        return 1;
    }
    loop.notify = g_array_index(process->listeners, int, 0);
    sandbox_will_use(verify_directory, SANDBOX_WRITE);
    qmgr.route = route_new(config, &error);
    qmgr.probe_route = qmgr.route ? route_new_for_probes(config, &error) : NULL;
    if (!qmgr.probe_route || !protect(process, config, &role_qmgr, &error) ||
        !(qmgr.spool = spool_open(&options, &error))) {
        log_fatal("%s", error->message);
        route_free(qmgr.route);
        route_free(qmgr.probe_route);
        return 1;
    }
    qmgr.epoll = epoll_create1(EPOLL_CLOEXEC);
    qmgr.probes = g_hash_table_new(g_str_hash, g_str_equal);
    qmgr.backlog = backlog_new(WAITING_MAX);
    qmgr.schedule = schedule_new(config);
    loop.next_run_ms = clock_ms() + qmgr.limits.run_delay_ms;
    int status = serve(&loop);
    /* Memory is the system's now; messages and deliveries may still point to one another. */
    return status;
}
