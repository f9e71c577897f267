/* sink_spooled.c - smtpd_proxy_options = speed_adjust: the message is received whole, then replayed to the filter at
 * full speed. A slot is held for that time alone. */
#include "base/log.h"
#include "mail/content.h"
#include "smtpd/proxy.h"

#include <string.h>

typedef struct {
    Proxy proxy;
    Content *content;
    GPtrArray *lines;     /* RCPT's and DATA's, as the client sent them */
    bool open;            /* the filter is ready for content */
    guint64 content_sent; /* octets */
} Spooled;

static Spooled *part(Smtpd *smtpd)
{
    Spooled *spooled = smtpd->transaction->sink;

    if (spooled)
        return spooled;
    spooled = smtpd->transaction->sink = g_new0(Spooled, 1);
    spooled->content = content_new(smtpd->service->content_directory, smtpd->service->content_account);
    spooled->lines = g_ptr_array_new_with_free_func(g_free);
    return spooled;
}

static bool checks_space(const Smtpd *smtpd)
{
    return true;
}

static Outcome spooled_mail(Smtpd *smtpd)
{
    part(smtpd);
    return outcome_done();
}

static Outcome spooled_rcpt(Smtpd *smtpd, const char *line)
{
    g_ptr_array_add(part(smtpd)->lines, g_strdup(line));
    proxy_log_client(smtpd);
    return outcome_done();
}

static Outcome spooled_data(Smtpd *smtpd, const char *line)
{
    g_ptr_array_add(part(smtpd)->lines, g_strdup(line));
    return outcome_done();
}

static Outcome spooled_ready(Smtpd *smtpd, size_t len)
{
    return outcome_done();
}

static void spooled_content(Smtpd *smtpd, const char *data, size_t len, bool ends_line)
{
    content_add(part(smtpd)->content, data, len, ends_line);
}

static void spooled_header(Smtpd *smtpd, const char *header)
{
    g_auto(GStrv) lines = g_strsplit(header, "\n", -1);

    for (char **line = lines; *line; line++)
        spooled_content(smtpd, *line, strlen(*line), true);
}

typedef struct {
    Smtpd *smtpd;
    Proxy *proxy;
    Outcome outcome;
} Replay;

static bool replay_piece(void *user, const char *data, size_t len, bool ends_line)
{
    Replay *replay = user;

    replay->outcome = proxy_ready(replay->smtpd, replay->proxy, len);
    if (replay->outcome.kind != OUTCOME_DONE || replay->proxy->failed)
        return false;
    proxy_content(replay->proxy, data, len, ends_line);
    return true;
}

/* DONE without a refusal: the filter is ready for content. */
static Outcome replay_envelope(Smtpd *smtpd, Spooled *spooled)
{
    const GPtrArray *lines = spooled->lines;
    g_autoptr(Reply) reply = NULL;

    if (spooled->open)
        return outcome_done();
    Outcome outcome = proxy_tell(smtpd, &spooled->proxy, (const char *const *)lines->pdata, lines->len, 3, &reply);
    if (outcome.kind == OUTCOME_DONE && !smtpd->refusal) {
        proxy_begin_content(&spooled->proxy);
        spooled->open = true;
    }
    return outcome;
}

/* The whole dialogue. DONE: smtpd->refusal is the first refusal, or the verdict. */
static Outcome replay(Smtpd *smtpd, Spooled *spooled)
{
    Outcome outcome = replay_envelope(smtpd, spooled);
    Replay state = {smtpd, &spooled->proxy, outcome_done()};

    if (outcome.kind != OUTCOME_DONE || smtpd->refusal)
        return outcome;
    if (content_replay_from(spooled->content, &spooled->content_sent, replay_piece, &state))
        return proxy_finish(smtpd, &spooled->proxy);
    if (state.outcome.kind == OUTCOME_DONE)
        smtpd->refusal = reply_new(QUEUE_FILE_ERROR);
    return state.outcome;
}

static void log_content_failure(const Smtpd *smtpd, const Spooled *spooled)
{
    if (content_failed(spooled->content))
        log_warning("proxy speed-adjust log I/O error: %s%s", g_strerror(content_failed(spooled->content)),
                    smtpd_trace_note(smtpd));
}

static void release(Smtpd *smtpd)
{
    Spooled *spooled = smtpd->transaction->sink;

    if (!spooled)
        return;
    proxy_leave(smtpd, &spooled->proxy);
    content_free(spooled->content);
    g_ptr_array_free(spooled->lines, TRUE);
    g_free(spooled);
    smtpd->transaction->sink = NULL;
}

static Outcome spooled_end(Smtpd *smtpd)
{
    Spooled *spooled = part(smtpd);

    if (content_failed(spooled->content)) {
        smtpd->refusal = reply_new(QUEUE_FILE_ERROR);
    } else {
        Outcome outcome = replay(smtpd, spooled);
        if (outcome.kind != OUTCOME_DONE)
            return outcome;
    }
    log_content_failure(smtpd, spooled);
    g_autofree char *shown = reply_for_log(smtpd->refusal);
    proxy_log_verdict(smtpd, shown);
    release(smtpd);
    return outcome_done();
}

static void spooled_dropped(Smtpd *smtpd, const char *reply)
{
    proxy_log_verdict(smtpd, "");
}

static const char *no_queue_id(const Smtpd *smtpd)
{
    return NULL;
}

const SinkClass sink_spooled = {
    .is_proxy = true,
    .checks_space = checks_space,
    .mail = spooled_mail,
    .rcpt = spooled_rcpt,
    .data = spooled_data,
    .header = spooled_header,
    .ready = spooled_ready,
    .content = spooled_content,
    .end = spooled_end,
    .dropped = spooled_dropped,
    .abort = release,
    .queue_id = no_queue_id,
};
