/* sink_direct.c - the before-queue filter is spoken to while the client speaks: the specification's default. The slot
 * and the connection are held from the first recipient to the end of data. */
#include "base/log.h"
#include "smtpd/proxy.h"

#include <string.h>

typedef struct {
    Proxy proxy;
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

/* Takes part in the transaction, if it does not yet; then says line (NULL: nothing more). */
static Outcome command(Smtpd *smtpd, const char *line, int want)
{
    Direct *direct = part(smtpd);
    g_autoptr(Reply) reply = NULL;

    if (direct->proxy.lost) { /* no new one until the next transaction */
        smtpd->refusal = reply_new(QUEUE_FILE_ERROR);
        return outcome_done();
    }
    Outcome outcome = proxy_tell(smtpd, &direct->proxy, &line, line != NULL, want, &reply);
    if (outcome.kind == OUTCOME_DONE && !smtpd->refusal && want == 3)
        direct->go_ahead = reply_for_log(reply);
    return outcome;
}

static Outcome direct_mail(Smtpd *smtpd)
{
    return command(smtpd, NULL, 2);
}

static Outcome direct_rcpt(Smtpd *smtpd, const char *line)
{
    return command(smtpd, line, 2);
}

static Outcome direct_data(Smtpd *smtpd, const char *line)
{
    Outcome outcome = command(smtpd, line, 3);

    if (outcome.kind == OUTCOME_DONE && !smtpd->refusal)
        proxy_begin_content(&part(smtpd)->proxy);
    return outcome;
}

static void direct_content(Smtpd *smtpd, const char *data, size_t len, bool ends_line)
{
    proxy_content(&part(smtpd)->proxy, data, len, ends_line);
}

static void direct_header(Smtpd *smtpd, const char *header)
{
    g_auto(GStrv) lines = g_strsplit(header, "\n", -1);

    for (char **line = lines; *line; line++)
        direct_content(smtpd, *line, strlen(*line), true);
}

static Outcome direct_ready(Smtpd *smtpd, size_t len)
{
    return proxy_ready(smtpd, &part(smtpd)->proxy, len);
}

static void direct_abort(Smtpd *smtpd)
{
    Direct *direct = smtpd->transaction->sink;

    if (!direct)
        return;
    proxy_leave(smtpd, &direct->proxy);
    g_free(direct->go_ahead);
    g_free(direct);
    smtpd->transaction->sink = NULL;
}

static Outcome direct_end(Smtpd *smtpd)
{
    Outcome outcome = proxy_finish(smtpd, &part(smtpd)->proxy);

    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    g_autofree char *shown = reply_for_log(smtpd->refusal);
    proxy_log_verdict(smtpd, shown);
    direct_abort(smtpd);
    return outcome;
}

static void direct_dropped(Smtpd *smtpd, const char *reply)
{
    const Direct *direct = part(smtpd);

    proxy_log_verdict(smtpd, direct->go_ahead ? direct->go_ahead : "");
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
