/* message.c - active messages: from the file into deliveries, and from their ends to the message's. */
#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"
#include "qmgr/qmgr_private.h"
#include "spool/delivery_log.h"

#include <string.h>

#define LOOK_AGAIN_MS 100 /* a message that somebody else has locked: most likely its writer, about to sync it */

static void clear_result(void *data)
{
    result_clear(data);
}

static Message *message_new(Qmgr *qmgr, SpoolMessage *file, unsigned flags)
{
    Message *message = g_new0(Message, 1);
    const Envelope *envelope = spool_message_envelope(file);

    message->id = g_strdup(spool_message_id(file));
    message->sender = g_strdup(envelope->sender ? envelope->sender : "");
    message->arrival_us = envelope->arrival_us;
    message->active_us = clock_wall_us();
    message->flushed = flags & BACKLOG_FLUSHED;
    /* This queue manager knows all that it tried, and every message that was there before it. */
    message->again = !(flags & BACKLOG_UNTRIED) || spool_message_key(file)->arrival_ns <= qmgr->since_ns;
    message->file = file;
    message->probe = envelope->probe;
    message->unrecorded = g_array_new(FALSE, FALSE, sizeof(Result));
    g_array_set_clear_func(message->unrecorded, clear_result);
    return message;
}

static void message_free(Message *message)
{
    spool_message_free(message->file);
    g_array_unref(message->unrecorded);
    g_free(message->sender);
    g_free(message->id);
    g_free(message);
}

/* What a crash or another process left in the place of a message that can be delivered. */
static void handle_unopened(Qmgr *qmgr, const char *id, const GError *why)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(SpoolMessage) look = NULL;
    SpoolError what = SPOOL_ERROR_GONE;
    bool done = false;

    switch ((SpoolError)why->code) {
    case SPOOL_ERROR_BUSY:
        look = spool_message_open(qmgr->spool, SPOOL_QUEUE, id, SPOOL_LOOK, &error);
        if (look || error->code != SPOOL_ERROR_UNFINISHED) {
            backlog_look_again(qmgr->backlog, id, clock_ms() + LOOK_AGAIN_MS);
            return;
        }
        break; /* still being received: its writer will tell */
    case SPOOL_ERROR_UNFINISHED:
    case SPOOL_ERROR_CORRUPT:
        if (!spool_recover(qmgr->spool, SPOOL_QUEUE, id, &what, &done, &error))
            log_error("%s: %s", id, error->message);
        else if (done && what == SPOOL_ERROR_UNFINISHED)
            log_info("%s: removed (its reception did not end, and nobody was told that it had)", id);
        else if (done)
            log_warning("%s: moved to corrupt/: %s", id, why->message);
        break;
    case SPOOL_ERROR_VERSION:
        log_warning("%s: %s", id, why->message);
        break;
    case SPOOL_ERROR_IO:
        log_error("%s: %s", id, why->message);
        backlog_defer(qmgr->backlog, id, clock_wall_us() / G_USEC_PER_SEC + qmgr->limits.minimal_backoff);
        return;
    case SPOOL_ERROR_GONE:
        break;
    }
    backlog_forget(qmgr->backlog, id);
}

SpoolMessage *message_file(Qmgr *qmgr, Message *message)
{
    g_autoptr(GError) error = NULL;

    if (!message->file)
        message->file = spool_message_open(qmgr->spool, SPOOL_QUEUE, message->id, SPOOL_LOCK, &error);
    if (!message->file)
        log_warning("%s: cannot open it again: %s", message->id, error->message);
    return message->file;
}

void message_let_go(Message *message)
{
    if (message->under_way == 0)
        g_clear_pointer(&message->file, spool_message_free);
}

/* Without the file there is no result: the next attempt will see the recipient as it was. */
static void add_own_result(Qmgr *qmgr, Message *message, guint number, const OwnResult *own)
{
    Result result = {.recipient = number,
                     .status = own->status,
                     .time_us = clock_wall_us(),
                     .relay = (char *)(own->relay ? own->relay : "none"),
                     .text = (char *)own->text};
    g_autoptr(GError) error = NULL;

    if (own->status == RESULT_DEFERRED)
        message->deferred++;
    g_strlcpy(result.dsn, own->dsn, sizeof result.dsn);
    if (!message_file(qmgr, message))
        return;
    const Envelope *envelope = spool_message_envelope(message->file);
    DeliveryTimes times = {.program = own->program,
                           .id = message->id,
                           .recipient = g_ptr_array_index(envelope->recipients, number),
                           .arrival_us = message->arrival_us,
                           .active_us = message->active_us,
                           .probe = message->probe};
    if (message->probe != PROBE_NONE)
        probe_note(qmgr, message, number, own->status, own->text);
    else if (!spool_message_add_result(message->file, &result, false, &error))
        log_warning("%s: %s", message->id, error->message);
    delivery_log(&times, &result, qmgr->limits.delay_resolution);
}

static void defer_recipient(Qmgr *qmgr, Message *message, guint number, const char *dsn, const char *text)
{
    add_own_result(qmgr, message, number,
                   &(OwnResult){.status = RESULT_DEFERRED, .dsn = dsn, .text = text, .program = "error"});
}

void message_defer_job(Qmgr *qmgr, Job *job, const char *dsn, const char *text)
{
    Message *message = job->message;

    for (guint i = 0; i < job->request->recipients->len; i++)
        defer_recipient(qmgr, message, g_array_index(job->request->recipients, DeliveryRecipient, i).number, dsn, text);
    message->jobs--;
    job_free(job);
    message_check_done(qmgr, message);
}

/* Where a recipient goes: the message's content filter for all, else routing. False: not known now. */
static bool resolve(Qmgr *qmgr, const Envelope *envelope, const char *address, char **ret_transport, char **ret_nexthop)
{
    if (!envelope->content_filter)
        return route_resolve(envelope->probe == PROBE_NONE ? qmgr->route : qmgr->probe_route,
                             envelope->sender ? envelope->sender : "", address, ret_transport, ret_nexthop);
    const char *colon = strchr(envelope->content_filter, ':');
    const char *domain = address_domain(address);
    if (!colon || colon == envelope->content_filter)
        return false;
    *ret_transport = g_strndup(envelope->content_filter, (gsize)(colon - envelope->content_filter));
    *ret_nexthop = g_strdup(colon[1] ? colon + 1 : domain ? domain : "");
    return true;
}

/* The job that another recipient for this destination can join, or a new one. NULL: the address cannot be passed on. */
static Job *join_job(GPtrArray *jobs, Message *message, Destination *destination, guint number, const char *address)
{
    guint limit = destination->transport->recipient_limit;

    for (guint i = jobs->len; i > 0; i--) {
        Job *job = g_ptr_array_index(jobs, i - 1);
        if (job->destination != destination)
            continue;
        if ((limit == 0 || job->request->recipients->len < limit) &&
            delivery_request_add(job->request, number, address))
            return job;
        break; /* the destination's last one is full */
    }
    g_autoptr(DeliveryRequest) request = delivery_request_new();
    request->id = g_strdup(message->id);
    request->transport = g_strdup(destination->transport->name);
    request->nexthop = g_strdup(destination->nexthop);
    request->again = message->again;
    request->active_us = message->active_us;
    if (!delivery_request_add(request, number, address))
        return NULL;
    Job *job = g_new0(Job, 1);
    job->message = message;
    job->destination = destination;
    job->request = g_steal_pointer(&request);
    g_ptr_array_add(jobs, job);
    return job;
}

/* What needs no agent: mail to the sender of probes, and probes of local addresses, which no agent knows. */
static bool answer_itself(Qmgr *qmgr, Message *message, guint number, const char *address, const char *transport)
{
    OwnResult own = {.status = RESULT_SENT,
                     .dsn = "2.0.0",
                     .text = "undeliverable postmaster notification discarded",
                     .program = "qmgr"};
    g_autofree char *text = NULL;

    if (route_is_probe_sender(qmgr->route, address) && route_class(qmgr->route, address) == CLASS_LOCAL) {
        add_own_result(qmgr, message, number, &own);
        return true;
    }
    if (message->probe == PROBE_NONE || strcmp(transport, "local") != 0 ||
        !probe_answer_local(qmgr, address, &own, &text))
        return false;
    own.text = text;
    add_own_result(qmgr, message, number, &own);
    return true;
}

/* Puts one recipient into a job, or defers it. */
static void route_recipient(Qmgr *qmgr, Message *message, guint number, const char *address, GPtrArray *jobs)
{
    g_autofree char *transport_name = NULL, *nexthop = NULL;
    gint64 now_ms = clock_ms();

    if (!resolve(qmgr, spool_message_envelope(message->file), address, &transport_name, &nexthop)) {
        defer_recipient(qmgr, message, number, "4.3.0", "address resolver failure");
        return;
    }
    if (answer_itself(qmgr, message, number, address, transport_name))
        return;
    Transport *transport = schedule_transport(qmgr->schedule, transport_name);
    Destination *destination = schedule_destination(transport, nexthop, address);
    const Trouble *trouble = &transport->trouble;
    if (transport->deferred && !message->flushed) {
        defer_recipient(qmgr, message, number, "4.3.2", "deferred transport");
    } else if (trouble_is_now(trouble, now_ms)) {
        defer_recipient(qmgr, message, number, trouble->dsn, trouble->text);
    } else if (trouble_is_now(&destination->trouble, now_ms)) {
        g_autofree char *text = g_strconcat(SUSPENDED, destination->trouble.text, NULL);
        defer_recipient(qmgr, message, number, destination->trouble.dsn, text);
    } else if (!join_job(jobs, message, destination, number, address)) {
        defer_recipient(qmgr, message, number, "4.3.0", "address or destination too long");
    }
}

static void route_all(Qmgr *qmgr, Message *message)
{
    const Envelope *envelope = spool_message_envelope(message->file);
    g_autoptr(GPtrArray) jobs = g_ptr_array_new();

    if (message->probe != PROBE_NONE && probe_answer_alias(qmgr, message))
        return;
    for (guint i = 0; i < envelope->recipients->len; i++) {
        const Result *result = spool_message_result(message->file, i);
        if (!result || result->status == RESULT_DEFERRED)
            route_recipient(qmgr, message, i, ((Recipient *)g_ptr_array_index(envelope->recipients, i))->address, jobs);
    }
    message->jobs += jobs->len;
    for (guint i = 0; i < jobs->len; i++)
        schedule_add(g_ptr_array_index(jobs, i));
}

/* Leaves memory. The file stays as it is. */
static void end_message(Qmgr *qmgr, Message *message)
{
    qmgr->recipients -= message->open;
    probe_end(qmgr, message);
    message_free(message);
}

static void defer_message(Qmgr *qmgr, Message *message, gint64 wait_s)
{
    gint64 when = clock_wall_us() / G_USEC_PER_SEC + wait_s;
    g_autoptr(GError) error = NULL;

    if (message->file && !spool_message_set_next_attempt(message->file, when, &error))
        log_warning("%s", error->message);
    backlog_defer(qmgr->backlog, message->id, when);
    end_message(qmgr, message);
}

/* To hold/ or corrupt/. A message that cannot be moved stays, and is not tried before the longest time between
 * attempts. */
static void move_message(Qmgr *qmgr, Message *message, SpoolPlace place)
{
    g_autoptr(GError) error = NULL;

    if (!spool_move(qmgr->spool, SPOOL_QUEUE, place, message->id, &error)) {
        log_error("%s: %s", message->id, error->message);
        defer_message(qmgr, message, qmgr->limits.maximal_backoff);
        return;
    }
    backlog_forget(qmgr->backlog, message->id);
    end_message(qmgr, message);
}

static void remove_message(Qmgr *qmgr, Message *message)
{
    g_autoptr(GError) error = NULL;

    if (!spool_remove(qmgr->spool, SPOOL_QUEUE, message->id, &error)) {
        log_error("%s: %s", message->id, error->message);
        defer_message(qmgr, message, qmgr->limits.maximal_backoff);
        return;
    }
    log_info("%s: removed", message->id);
    backlog_forget(qmgr->backlog, message->id);
    end_message(qmgr, message);
}

void message_activate(Qmgr *qmgr, const char *id, unsigned flags)
{
    g_autoptr(GError) error = NULL;
    SpoolMessage *file = spool_message_open(qmgr->spool, SPOOL_QUEUE, id, SPOOL_LOCK, &error);

    if (!file) {
        handle_unopened(qmgr, id, error);
        return;
    }
    Message *message = message_new(qmgr, file, flags);
    guint count = spool_message_envelope(file)->recipients->len;
    for (guint i = 0; i < count; i++) {
        const Result *result = spool_message_result(file, i);
        if (!result || result->status == RESULT_DEFERRED)
            message->open++;
        else if (result->status == RESULT_BOUNCED)
            message->failed++;
    }
    g_autofree char *sender = address_quote(message->sender);
    log_info("%s: from=<%s>, size=%" G_GUINT64_FORMAT ", nrcpt=%u (queue active)", message->id, sender,
             spool_message_wire_size(file), message->open);
    qmgr->recipients += message->open;
    if (message->probe != PROBE_NONE && !probe_begin(qmgr, message)) {
        remove_message(qmgr, message);
        return;
    }
    message->jobs = 1; /* this function: keeps the message from ending meanwhile */
    route_all(qmgr, message);
    deliver_start_jobs(qmgr); /* at once, so that the file need not be opened twice */
    message->jobs--;
    message_check_done(qmgr, message);
}

void message_take_report(Qmgr *qmgr, Message *message, const DeliveryReport *report)
{
    if (message->probe != PROBE_NONE) {
        probe_note(qmgr, message, report->recipient, report->status, report->text);
        return;
    }
    if (report->kind == REPORT_UNRECORDED) {
        Result result = {.recipient = report->recipient,
                         .status = report->status,
                         .time_us = clock_wall_us(),
                         .text = g_strdup(report->text)};
        g_strlcpy(result.dsn, report->dsn, sizeof result.dsn);
        g_array_append_val(message->unrecorded, result);
    }
    if (report->kind == REPORT_CORRUPT)
        message->corrupt = true;
    if (report->status == RESULT_DEFERRED)
        message->deferred++;
    else if (report->status == RESULT_BOUNCED)
        message->failed++;
}

static void settle_deferred(Qmgr *qmgr, Message *message)
{
    gint64 age_s = (clock_wall_us() - message->arrival_us) / G_USEC_PER_SEC;
    gint64 lifetime = message->sender[0] ? qmgr->limits.lifetime : qmgr->limits.bounce_lifetime;

    if (age_s < lifetime) {
        defer_message(qmgr, message, CLAMP(age_s, qmgr->limits.minimal_backoff, qmgr->limits.maximal_backoff));
        return;
    }
    g_autofree char *sender = address_quote(message->sender);
    log_info("%s: from=<%s>, status=expired, kept in hold/: nobody is told, bounce messages are not implemented yet",
             message->id, sender);
    move_message(qmgr, message, SPOOL_HOLD);
}

static bool record_results(Message *message)
{
    while (message->unrecorded->len > 0) {
        const Result *result = &g_array_index(message->unrecorded, Result, message->unrecorded->len - 1);
        if (!message->file || !spool_message_add_result(message->file, result, true, NULL))
            return false;
        g_array_set_size(message->unrecorded, message->unrecorded->len - 1);
    }
    return true;
}

void message_check_done(Qmgr *qmgr, Message *message)
{
    if (message->jobs > 0) {
        message_let_go(message);
        return;
    }
    if (message->probe != PROBE_NONE) { /* never tried twice, never kept */
        remove_message(qmgr, message);
        return;
    }
    bool done = message->deferred == 0 && !message->lost && !message->corrupt;
    if (!(done && message->failed == 0)) /* else the file goes */
        message_file(qmgr, message);
    if (!record_results(message) && !(done && message->failed == 0)) {
        /* Trying it again from what the file says would send it twice. It stays active, in memory, until the file takes
         * it. */
        log_error("%s: its results cannot be recorded: it waits until they can", message->id);
        g_queue_push_tail(&qmgr->unrecorded, message);
        return;
    }
    if (message->corrupt) {
        log_warning("%s: moved to corrupt/: its content does not match its checksum", message->id);
        move_message(qmgr, message, SPOOL_CORRUPT);
    } else if (message->lost) {
        defer_message(qmgr, message, qmgr->limits.minimal_backoff);
    } else if (message->deferred > 0) {
        settle_deferred(qmgr, message);
    } else if (message->failed > 0) {
        g_autofree char *sender = address_quote(message->sender);
        log_info("%s: from=<%s>, failed=%u, kept in hold/: nobody is told, bounce messages are not implemented yet",
                 message->id, sender, message->failed);
        move_message(qmgr, message, SPOOL_HOLD);
    } else {
        remove_message(qmgr, message);
    }
}

void message_record_again(Qmgr *qmgr)
{
    for (guint count = qmgr->unrecorded.length; count > 0; count--)
        message_check_done(qmgr, g_queue_pop_head(&qmgr->unrecorded));
}
