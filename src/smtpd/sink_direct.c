/* sink_direct.c - the before-queue filter is spoken to while the client speaks: the specification's default. The slot
 * and the connection are held from the first recipient to the end of data. */
#include "base/log.h"
#include "smtpd/proxy.h"

#include <string.h>

typedef struct {
    SlotPlace slot;
    Client *filter; /* NULL: not connected */
    bool lost;      /* it hung up in this transaction: no new one until the next */
    bool failed;    /* content did not get through: the end of data says so */
    char *go_ahead; /* its reply to DATA: the log shows it when we refuse the content ourselves */
} Direct;

static Direct *part(Smtpd *smtpd)
{
    if (!smtpd->transaction->sink)
        smtpd->transaction->sink = g_new0(Direct, 1);
    return smtpd->transaction->sink;
}

static bool checks_space(const Smtpd *smtpd)
{
    return false; /* nothing is stored here */
}

/* Takes part in the transaction, if it does not yet. DONE without a refusal: connected and at the gate. */
static Outcome join(Smtpd *smtpd)
{
    Direct *direct = part(smtpd);

    if (direct->lost) {
        smtpd->refusal = reply_new(QUEUE_FILE_ERROR);
        return outcome_done();
    }
    Outcome outcome = proxy_enter(smtpd, &direct->slot);
    if (outcome.kind != OUTCOME_DONE || smtpd->refusal || direct->filter)
        return outcome;
    direct->filter = proxy_open(smtpd, &smtpd->refusal);
    if (direct->filter)
        proxy_log_client(smtpd);
    else
        slots_leave(smtpd->service->slots, &direct->slot);
    return outcome_done();
}

static void hang_up(Smtpd *smtpd, Direct *direct)
{
    client_quit(g_steal_pointer(&direct->filter));
    slots_leave(smtpd->service->slots, &direct->slot);
}

static Outcome command(Smtpd *smtpd, const char *line, int want)
{
    Outcome outcome = join(smtpd);
    Direct *direct = part(smtpd);

    if (outcome.kind != OUTCOME_DONE || smtpd->refusal)
        return outcome;
    g_autoptr(Reply) reply = NULL;
    if (!proxy_command(smtpd, direct->filter, line, want, &reply, &direct->lost))
        smtpd->refusal = g_steal_pointer(&reply);
    else if (want == 3)
        direct->go_ahead = reply_for_log(reply);
    if (direct->lost)
        hang_up(smtpd, direct);
    return outcome_done();
}

static Outcome direct_mail(Smtpd *smtpd)
{
    return join(smtpd);
}

static Outcome direct_rcpt(Smtpd *smtpd, const char *line)
{
    return command(smtpd, line, 2);
}

static Outcome direct_data(Smtpd *smtpd, const char *line)
{
    Outcome outcome = command(smtpd, line, 3);

    if (outcome.kind == OUTCOME_DONE && !smtpd->refusal)
        client_begin_content(part(smtpd)->filter);
    return outcome;
}

static void note_failure(Smtpd *smtpd, Direct *direct, const GError *error)
{
    proxy_log_failure(smtpd, error);
    direct->failed = true;
}

static void direct_content(Smtpd *smtpd, const char *data, size_t len, bool ends_line)
{
    Direct *direct = part(smtpd);
    g_autoptr(GError) error = NULL;

    if (!direct->failed && !client_content(direct->filter, data, len, ends_line, &error))
        note_failure(smtpd, direct, error);
}

static void direct_header(Smtpd *smtpd, const char *header)
{
    g_auto(GStrv) lines = g_strsplit(header, "\n", -1);

    for (char **line = lines; *line; line++)
        direct_content(smtpd, *line, strlen(*line), true);
}

static Outcome direct_ready(Smtpd *smtpd, size_t len)
{
    const Direct *direct = part(smtpd);
    Gate *gate = smtpd->service->filter_gate;

    if (direct->failed || !client_content_would_write(direct->filter, len) || session_at_gate(smtpd->session, gate))
        return outcome_done();
    return outcome_gate(gate);
}

static Outcome direct_end(Smtpd *smtpd)
{
    Direct *direct = part(smtpd);
    Gate *gate = smtpd->service->filter_gate;

    if (!direct->failed && !session_at_gate(smtpd->session, gate))
        return outcome_gate(gate);
    smtpd->refusal = direct->failed ? reply_new(QUEUE_FILE_ERROR) : proxy_finish(smtpd, direct->filter);
    g_autofree char *shown = reply_for_log(smtpd->refusal);
    proxy_log_verdict(smtpd, shown);
    hang_up(smtpd, direct);
    g_free(direct->go_ahead);
    g_free(direct);
    smtpd->transaction->sink = NULL;
    return outcome_done();
}

static void direct_dropped(Smtpd *smtpd, const char *reply)
{
    const Direct *direct = part(smtpd);

    proxy_log_verdict(smtpd, direct->go_ahead ? direct->go_ahead : "");
}

static void direct_abort(Smtpd *smtpd)
{
    Direct *direct = smtpd->transaction->sink;

    if (!direct)
        return;
    hang_up(smtpd, direct);
    g_free(direct->go_ahead);
    g_free(direct);
    smtpd->transaction->sink = NULL;
}

static const char *no_queue_id(const Smtpd *smtpd)
{
    return NULL;
}

const SinkClass sink_direct = {
    .is_proxy = true,
    .checks_space = checks_space,
    .mail = direct_mail,
    .rcpt = direct_rcpt,
    .data = direct_data,
    .header = direct_header,
    .ready = direct_ready,
    .content = direct_content,
    .end = direct_end,
    .dropped = direct_dropped,
    .abort = direct_abort,
    .queue_id = no_queue_id,
};
