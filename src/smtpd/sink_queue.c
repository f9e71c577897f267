/* sink_queue.c - the message goes into the queue: cleanup writes it into the spool, and the client is told when it is
 * on stable storage. */
#include "base/log.h"
#include "smtpd/state.h"
#include "spool/queue_notify.h"

#include <string.h>

static bool checks_space(const Smtpd *smtpd)
{
    return true;
}

static Intake *part(const Smtpd *smtpd)
{
    return smtpd->transaction->sink;
}

/* From here on the message has an id. DONE without a refusal: it has. */
static Outcome begin(Smtpd *smtpd)
{
    const Settings *settings = smtpd->settings;
    IntakeOptions options = {.address_mappings = settings->address_mappings, .body_checks = settings->body_checks};
    g_autoptr(GError) error = NULL;

    if (part(smtpd))
        return outcome_done();
    smtpd->transaction->sink = intake_new(smtpd->service->cleanup, smtpd->transaction->envelope, &options, &error);
    if (!part(smtpd)) {
        log_warning("%s", error->message);
        smtpd->refusal = reply_new(QUEUE_FILE_ERROR);
        return outcome_done();
    }
    smtpd_log_client(smtpd, intake_id(part(smtpd)));
    return outcome_done();
}

static Outcome queue_rcpt(Smtpd *smtpd, const char *line)
{
    return begin(smtpd);
}

static Outcome queue_data(Smtpd *smtpd, const char *line)
{
    return outcome_done();
}

static void queue_header(Smtpd *smtpd, const char *header)
{
    intake_prepend(part(smtpd), header);
}

static Outcome queue_ready(Smtpd *smtpd, size_t len)
{
    return outcome_done();
}

static void queue_content(Smtpd *smtpd, const char *data, size_t len, bool ends_line)
{
    intake_content(part(smtpd), data, len, ends_line);
}

static Reply *accepted(const Smtpd *smtpd, const char *id)
{
    if (smtpd->session->bdat)
        return reply_printf("250 2.0.0 Ok: %" G_GUINT64_FORMAT " bytes queued as %s", smtpd->transaction->size, id);
    return reply_printf("250 2.0.0 Ok: queued as %s", id);
}

/* REDIRECT and BCC of access tables. */
static void apply_actions(Transaction *transaction)
{
    Envelope *envelope = transaction->envelope;

    if (transaction->redirect) {
        g_ptr_array_set_size(envelope->recipients, 0);
        envelope_add(envelope, transaction->redirect);
    }
    for (guint i = 0; i < transaction->bcc->len; i++)
        envelope_add(envelope, g_ptr_array_index(transaction->bcc, i));
    if (transaction->filter) {
        g_free(envelope->content_filter);
        envelope->content_filter = g_steal_pointer(&transaction->filter);
    }
}

static Outcome queue_end(Smtpd *smtpd)
{
    const SmtpdService *service = smtpd->service;
    Transaction *transaction = smtpd->transaction;
    Intake *intake = part(smtpd);

    if (!session_at_gate(smtpd->session, service->commit_gate))
        return outcome_gate(service->commit_gate);

    g_autofree char *id = g_strdup(intake_id(intake));
    apply_actions(transaction);
    transaction->sink = NULL;
    if (transaction->discard) {
        intake_discard(intake);
        smtpd->refusal = accepted(smtpd, id);
        return outcome_done();
    }
    smtpd->refusal = intake_finish(intake, transaction->envelope);
    if (smtpd->refusal) {
        intake_abort(intake);
        return outcome_done();
    }
    smtpd->refusal = intake_commit(intake, transaction->envelope, transaction->hold);
    if (!smtpd->refusal) {
        if (!transaction->hold)
            queue_notify_send(service->notify, QUEUE_NOTIFY_NEW, id);
        smtpd->refusal = accepted(smtpd, id);
    }
    return outcome_done();
}

static void queue_dropped(Smtpd *smtpd, const char *reply)
{
}

static void queue_abort(Smtpd *smtpd)
{
    intake_abort(part(smtpd));
    smtpd->transaction->sink = NULL;
}

static const char *queue_id(const Smtpd *smtpd)
{
    return part(smtpd) ? intake_id(part(smtpd)) : NULL;
}

const SinkClass sink_queue = {
    .has_queue_id = true,
    .checks_space = checks_space,
    .mail = begin,
    .rcpt = queue_rcpt,
    .data = queue_data,
    .header = queue_header,
    .ready = queue_ready,
    .content = queue_content,
    .end = queue_end,
    .dropped = queue_dropped,
    .abort = queue_abort,
    .queue_id = queue_id,
};
