/* deliver.c - deliveries under way: one connection to an agent for each. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "qmgr/qmgr_private.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STALL_MS 100 /* a transport whose socket has no room for another connection */

struct Delivery {
    int fd;
    Job *job;
    GList link;       /* in qmgr->deliveries */
    gint64 silent_ms; /* clock_ms() of the last sign of life */
    guint missing;    /* recipients without a report */
    bool *reported;   /* by index into the request's recipients */
    SiteState site;
    char dsn[12]; /* of the first report that spoke against the destination */
    char *text;
};

/* Connects without blocking. -1: errno; EAGAIN when the listener's backlog is full. */
static int connect_agent(const char *transport)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    auto_fd fd = -1;

    if (g_snprintf(name.sun_path, sizeof name.sun_path, "private/%s", transport) >= (gint)sizeof name.sun_path ||
        strchr(transport, '/')) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof name) < 0)
        return -1;
    return fd_steal(&fd);
}

static Delivery *delivery_new(int fd, Job *job)
{
    Delivery *delivery = g_new0(Delivery, 1);

    delivery->link.data = delivery;
    delivery->silent_ms = clock_ms();
    delivery->fd = fd;
    delivery->job = job;
    delivery->missing = job->request->recipients->len;
    delivery->reported = g_new0(bool, delivery->missing);
    return delivery;
}

static void delivery_free(Delivery *delivery)
{
    close(delivery->fd); /* takes it out of the epoll set: nobody else has it */
    job_free(delivery->job);
    g_free(delivery->reported);
    g_free(delivery->text);
    g_free(delivery);
}

void deliver_defer_all(Qmgr *qmgr, GPtrArray *jobs, const Trouble *trouble, const char *prefix)
{
    g_autofree char *text = g_strconcat(prefix, trouble->text, NULL);
    g_autofree char *dsn = g_strdup(trouble->dsn);

    for (guint i = 0; i < jobs->len; i++)
        message_defer_job(qmgr, g_ptr_array_index(jobs, i), dsn, text);
}

static void transport_failed(Qmgr *qmgr, Transport *transport, const char *text)
{
    trouble_set(&transport->trouble, clock_ms() + qmgr->limits.transport_retry_ms, "4.3.0", text);
    g_autoptr(GPtrArray) waiting = schedule_take_transport_jobs(transport);
    deliver_defer_all(qmgr, waiting, &transport->trouble, "");
}

/* A started job for which nothing was sent. */
static void start_failed(Qmgr *qmgr, Job *job, int why)
{
    Transport *transport = job->destination->transport;

    if (why == EAGAIN || why == ENOBUFS || why == EMFILE || why == ENFILE || why == ENOMEM) {
        transport->stalled_until_ms = clock_ms() + STALL_MS;
        schedule_put_back(job);
        message_let_go(job->message);
        return;
    }
    log_warning("connect to transport private/%s: %s", transport->name, g_strerror(why));
    schedule_ended(job->destination, SITE_UNKNOWN, NULL, NULL, 0);
    message_defer_job(qmgr, job, "4.3.0", "mail transport unavailable");
    transport_failed(qmgr, transport, "mail transport unavailable");
}

static void start_job(Qmgr *qmgr, Job *job)
{
    Message *message = job->message;

    if (!message_file(qmgr, message)) {
        message->lost = true;
        message->jobs--;
        schedule_ended(job->destination, SITE_UNKNOWN, NULL, NULL, 0);
        job_free(job);
        message_check_done(qmgr, message);
        return;
    }
    auto_fd fd = connect_agent(job->destination->transport->name);
    g_autoptr(GString) text = delivery_request_to_text(job->request);
    int file = spool_message_fd(message->file);
    struct epoll_event event = {.events = EPOLLIN};
    if (fd < 0 || !fd_send(fd, text->str, text->len, &file, 1)) {
        start_failed(qmgr, job, errno);
        return;
    }
    Delivery *delivery = delivery_new(fd_steal(&fd), job);
    event.data.ptr = delivery;
    message->under_way++;
    qmgr->under_way++;
    g_queue_push_tail_link(&qmgr->deliveries, &delivery->link);
    if (epoll_ctl(qmgr->epoll, EPOLL_CTL_ADD, delivery->fd, &event) < 0)
        log_error("epoll_ctl: %s", g_strerror(errno)); /* no memory; its reports are read when it was silent for long */
}

void deliver_start_jobs(Qmgr *qmgr)
{
    Job *job;

    while (qmgr->under_way < qmgr->limits.under_way_max && (job = schedule_next(qmgr->schedule, clock_ms())))
        start_job(qmgr, job);
}

typedef enum { END_COMPLETE, END_LOST, END_SILENT } DeliveryEnd;

/* A probe that is lost is not tried again. */
static void note_unreported(Qmgr *qmgr, const Delivery *delivery)
{
    const GArray *recipients = delivery->job->request->recipients;

    for (guint i = 0; i < recipients->len; i++)
        if (!delivery->reported[i])
            probe_note(qmgr, delivery->job->message, g_array_index(recipients, DeliveryRecipient, i).number,
                       RESULT_DEFERRED, "unknown mail transport error");
}

static void end_delivery(Qmgr *qmgr, Delivery *delivery, DeliveryEnd how)
{
    Job *job = delivery->job;
    Message *message = job->message;
    Destination *destination = job->destination;
    Transport *transport = destination->transport;
    gint64 dead_until_ms = clock_ms() + qmgr->limits.minimal_backoff * 1000;
    SiteState site = how == END_COMPLETE ? delivery->site : SITE_UNKNOWN;
    bool dead = schedule_ended(destination, site, delivery->dsn, delivery->text, dead_until_ms);

    qmgr->under_way--;
    message->under_way--;
    message->jobs--;
    message->lost |= how != END_COMPLETE;
    if (how == END_SILENT)
        log_warning("%s: timeout receiving delivery status from transport: %s", message->id, transport->name);
    if (how == END_LOST)
        log_warning(
            "transport %s failure -- see a previous warning/fatal/panic logfile record for the problem description",
            transport->name);
    if (how != END_COMPLETE && message->probe != PROBE_NONE)
        note_unreported(qmgr, delivery);
    g_queue_unlink(&qmgr->deliveries, &delivery->link);
    delivery_free(delivery);
    message_check_done(qmgr, message);
    if (dead) {
        g_autoptr(GPtrArray) waiting = schedule_take_jobs(destination);
        deliver_defer_all(qmgr, waiting, &destination->trouble, SUSPENDED);
    }
    if (how == END_LOST)
        transport_failed(qmgr, transport, "unknown mail transport error");
}

/* The request's recipients stand in the order of their numbers. -1: none of them. */
static int find_recipient(const DeliveryRequest *request, guint number)
{
    guint from = 0, to = request->recipients->len;

    while (from < to) {
        guint middle = from + (to - from) / 2;
        guint here = g_array_index(request->recipients, DeliveryRecipient, middle).number;
        if (here == number)
            return (int)middle;
        if (here < number)
            from = middle + 1;
        else
            to = middle;
    }
    return -1;
}

static bool take_line(Qmgr *qmgr, Delivery *delivery, const char *line)
{
    DeliveryReport report;

    if (!delivery_report_read(line, &report))
        return false;
    int index = find_recipient(delivery->job->request, report.recipient);
    bool expected = index >= 0 && !delivery->reported[index];
    if (expected) {
        delivery->reported[index] = true;
        delivery->missing--;
        message_take_report(qmgr, delivery->job->message, &report);
        if (report.kind == REPORT_SITE_FAILED && delivery->site != SITE_FAILED) {
            delivery->site = SITE_FAILED;
            g_strlcpy(delivery->dsn, report.dsn, sizeof delivery->dsn);
            delivery->text = g_steal_pointer(&report.text);
        } else if (report.kind == REPORT_PLAIN && delivery->site == SITE_UNKNOWN) {
            delivery->site = SITE_GOOD;
        }
    }
    delivery_report_clear(&report);
    return expected;
}

/* False: the agent says what no agent says. */
static bool take_packet(Qmgr *qmgr, Delivery *delivery, char *packet)
{
    for (char *line = packet, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end)
            return false;
        *end = '\0';
        if (!take_line(qmgr, delivery, line))
            return false;
    }
    return true;
}

static void heard(Qmgr *qmgr, Delivery *delivery)
{
    delivery->silent_ms = clock_ms();
    g_queue_unlink(&qmgr->deliveries, &delivery->link);
    g_queue_push_tail_link(&qmgr->deliveries, &delivery->link);
}

void deliver_read(Qmgr *qmgr, Delivery *delivery)
{
    while (delivery->missing > 0) {
        ssize_t len = recv(delivery->fd, qmgr->packet, DELIVERY_PACKET_MAX, 0);
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (len <= 0)
            break;
        qmgr->packet[len] = '\0';
        if (!take_packet(qmgr, delivery, qmgr->packet)) {
            log_warning("private/%s socket: malformed response", delivery->job->destination->transport->name);
            break;
        }
        heard(qmgr, delivery);
    }
    end_delivery(qmgr, delivery, delivery->missing > 0 ? END_LOST : END_COMPLETE);
}

gint64 deliver_silence_time(const Qmgr *qmgr)
{
    const GList *first = qmgr->deliveries.head;

    return first ? ((const Delivery *)first->data)->silent_ms + qmgr->limits.silence_ms : CLOCK_NEVER;
}

void deliver_drop_silent(Qmgr *qmgr, gint64 now_ms)
{
    while (deliver_silence_time(qmgr) <= now_ms) {
        Delivery *delivery = qmgr->deliveries.head->data;
        struct pollfd pending = {.fd = delivery->fd, .events = POLLIN};
        if (poll(&pending, 1, 0) > 0) /* it is we who did not listen */
            deliver_read(qmgr, delivery);
        else
            end_delivery(qmgr, delivery, END_SILENT);
    }
}
