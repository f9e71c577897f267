/* attempt.c - results: recorded, logged, reported, in this order. */
#include "delivery/attempt.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "spool/delivery_log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A message that cannot be opened has recipients all the same, and the queue manager waits for their reports. */
static void report_unread(int connection, const DeliveryRequest *request, const GError *why)
{
    g_autoptr(GString) out = g_string_new(NULL);

    for (guint i = 0; i < request->recipients->len; i++) {
        DeliveryReport report = {.recipient = g_array_index(request->recipients, DeliveryRecipient, i).number,
                                 .kind = why->code == SPOOL_ERROR_CORRUPT ? REPORT_CORRUPT : REPORT_PLAIN,
                                 .status = RESULT_DEFERRED,
                                 .dsn = "4.3.0",
                                 .text = why->message};
        g_string_truncate(out, 0);
        delivery_report_append(out, &report);
        (void)fd_send(connection, out->str, out->len, NULL, 0);
    }
}

static bool recipients_exist(const DeliveryRequest *request, const SpoolMessage *message)
{
    for (guint i = 0; i < request->recipients->len; i++)
        if (g_array_index(request->recipients, DeliveryRecipient, i).number >=
            spool_message_envelope(message)->recipients->len)
            return false;
    return true;
}

Attempt *attempt_new(const AttemptOptions *options, int connection, int message_fd, DeliveryRequest *request)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(DeliveryRequest) taken = request;
    auto_fd peer = connection;
    g_autoptr(SpoolMessage) message = spool_message_take(message_fd, request->id, &error);

    if (!message) {
        log_warning("%s: %s", request->id, error->message);
        report_unread(peer, request, error);
        return NULL;
    }
    if (!recipients_exist(request, message)) {
        log_warning("%s: asked for recipients that it does not have", request->id);
        return NULL;
    }
    Attempt *attempt = g_new0(Attempt, 1);
    attempt->program = options->program;
    attempt->resolution = options->resolution;
    attempt->request = g_steal_pointer(&taken);
    attempt->message = g_steal_pointer(&message);
    attempt->connection = fd_steal(&peer);
    attempt->agent_us = clock_wall_us();
    attempt->done = g_new0(bool, request->recipients->len);
    attempt->reports = g_string_new(NULL);
    return attempt;
}

/* Nobody listens: the queue manager is gone. What happened stands in the file. */
static void send_reports(Attempt *attempt)
{
    if (attempt->reports->len > 0 &&
        !fd_send(attempt->connection, attempt->reports->str, attempt->reports->len, NULL, 0) && errno != EPIPE)
        log_warning("%s: report to the queue manager: %s", attempt->request->id, g_strerror(errno));
    g_string_truncate(attempt->reports, 0);
}

void attempt_free(Attempt *attempt)
{
    if (!attempt)
        return;
    for (guint i = 0; i < attempt_count(attempt); i++)
        g_assert(attempt->done[i]);
    /* First the lock, then the report: the queue manager may be a new one that waits for the lock. */
    spool_message_free(attempt->message);
    send_reports(attempt);
    close(attempt->connection);
    delivery_request_free(attempt->request);
    g_string_free(attempt->reports, TRUE);
    g_free(attempt->done);
    g_free(attempt);
}

guint attempt_count(const Attempt *attempt)
{
    return attempt->request->recipients->len;
}

guint attempt_number(const Attempt *attempt, guint index)
{
    return g_array_index(attempt->request->recipients, DeliveryRecipient, index).number;
}

const Envelope *attempt_envelope(const Attempt *attempt)
{
    return spool_message_envelope(attempt->message);
}

const Recipient *attempt_recipient(const Attempt *attempt, guint index)
{
    return g_ptr_array_index(attempt_envelope(attempt)->recipients, attempt_number(attempt, index));
}

bool attempt_is_probe(const Attempt *attempt)
{
    return attempt_envelope(attempt)->probe != PROBE_NONE;
}

static void report(Attempt *attempt, const Result *result, ReportKind kind)
{
    DeliveryReport told = {
        .recipient = result->recipient, .kind = kind, .status = result->status, .text = result->text};
    g_autoptr(GString) line = g_string_new(NULL);

    g_strlcpy(told.dsn, result->dsn, sizeof told.dsn);
    delivery_report_append(line, &told);
    if (attempt->reports->len + line->len > DELIVERY_PACKET_MAX)
        send_reports(attempt);
    g_string_append_len(attempt->reports, line->str, (gssize)line->len);
}

void attempt_finish(Attempt *attempt, guint index, const Outcome *outcome)
{
    static const char digit[] = {[RESULT_SENT] = '2', [RESULT_DEFERRED] = '4', [RESULT_BOUNCED] = '5'};
    g_autoptr(GError) error = NULL;
    ReportKind kind = outcome->kind;
    Result result = {.recipient = attempt_number(attempt, index),
                     .status = outcome->status,
                     .time_us = clock_wall_us(),
                     .relay = (char *)(outcome->relay ? outcome->relay : "none"),
                     .text = (char *)outcome->text};
    DeliveryTimes times = {.program = attempt->program,
                           .id = attempt->request->id,
                           .recipient = attempt_recipient(attempt, index),
                           .arrival_us = attempt_envelope(attempt)->arrival_us,
                           .active_us = attempt->request->active_us,
                           .agent_us = attempt->agent_us,
                           .connected_us = attempt->connected_us,
                           .probe = attempt_envelope(attempt)->probe};

    g_assert(!attempt->done[index]);
    attempt->done[index] = true;
    g_strlcpy(result.dsn, result_dsn_is_valid(outcome->dsn) ? outcome->dsn : "x.0.0", sizeof result.dsn);
    result.dsn[0] = digit[outcome->status];
    if (!attempt_is_probe(attempt) &&
        !spool_message_add_result(attempt->message, &result, outcome->durable, &error)) {
        log_warning("%s: %s", attempt->request->id, error->message);
        if (kind != REPORT_CORRUPT && result.status != RESULT_DEFERRED)
            kind = REPORT_UNRECORDED;
    }
    delivery_log(&times, &result, attempt->resolution);
    report(attempt, &result, kind);
}

void attempt_finish_rest(Attempt *attempt, const Outcome *outcome)
{
    for (guint i = 0; i < attempt_count(attempt); i++)
        if (!attempt->done[i])
            attempt_finish(attempt, i, outcome);
}
