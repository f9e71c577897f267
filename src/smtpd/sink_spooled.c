/* sink_spooled.c - smtpd_proxy_options = speed_adjust: the message is received whole, then replayed to the filter at
 * full speed. A slot is held for that time alone. */
#include "base/log.h"
#include "mail/content.h"
#include "smtpd/proxy.h"

#include <string.h>

typedef struct {
    SlotPlace slot;
    Content *content;
    GPtrArray *rcpt_lines; /* as the client sent them */
    char *data_line;       /* likewise */
} Spooled;

static Spooled *part(Smtpd *smtpd)
{
    Spooled *spooled = smtpd->transaction->sink;

    if (spooled)
        return spooled;
    spooled = smtpd->transaction->sink = g_new0(Spooled, 1);
    spooled->content = content_new(smtpd->service->content_directory, server_account(smtpd->service->server));
    spooled->rcpt_lines = g_ptr_array_new_with_free_func(g_free);
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
    g_ptr_array_add(part(smtpd)->rcpt_lines, g_strdup(line));
    proxy_log_client(smtpd);
    return outcome_done();
}

static Outcome spooled_data(Smtpd *smtpd, const char *line)
{
    part(smtpd)->data_line = g_strdup(line);
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
    Client *filter;
} Replay;

static bool replay_piece(void *user, const char *data, size_t len, bool ends_line)
{
    const Replay *replay = user;
    g_autoptr(GError) error = NULL;

    if (client_content(replay->filter, data, len, ends_line, &error))
        return true;
    proxy_log_failure(replay->smtpd, error);
    return false;
}

/* True: the filter is ready for content. False: *ret_reply says why not. */
static bool replay_envelope(Smtpd *smtpd, Spooled *spooled, Client *filter, Reply **ret_reply)
{
    g_autoptr(Reply) reply = NULL;
    bool lost;

    for (guint i = 0; i <= spooled->rcpt_lines->len; i++) {
        bool last = i == spooled->rcpt_lines->len;
        reply_free(g_steal_pointer(&reply));
        if (!proxy_command(smtpd, filter, last ? spooled->data_line : g_ptr_array_index(spooled->rcpt_lines, i),
                           last ? 3 : 2, &reply, &lost)) {
            *ret_reply = g_steal_pointer(&reply);
            return false;
        }
    }
    return true;
}

/* The whole dialogue. Never NULL: the first refusal, or the verdict. */
static Reply *replay(Smtpd *smtpd, Spooled *spooled)
{
    Reply *reply = NULL;
    Client *filter = proxy_open(smtpd, &reply);
    Replay state = {smtpd, filter};

    if (!filter)
        return reply;
    if (replay_envelope(smtpd, spooled, filter, &reply)) {
        client_begin_content(filter);
        reply = content_replay(spooled->content, replay_piece, &state) ? proxy_finish(smtpd, filter)
                                                                       : reply_new(QUEUE_FILE_ERROR);
    }
    client_quit(filter);
    return reply;
}

static void log_content_failure(Spooled *spooled)
{
    if (content_failed(spooled->content))
        log_warning("proxy speed-adjust log I/O error: %s", g_strerror(content_failed(spooled->content)));
}

static void release(Smtpd *smtpd)
{
    Spooled *spooled = smtpd->transaction->sink;

    if (!spooled)
        return;
    slots_leave(smtpd->service->slots, &spooled->slot);
    content_free(spooled->content);
    g_ptr_array_free(spooled->rcpt_lines, TRUE);
    g_free(spooled->data_line);
    g_free(spooled);
    smtpd->transaction->sink = NULL;
}

static Outcome spooled_end(Smtpd *smtpd)
{
    Spooled *spooled = part(smtpd);

    if (content_failed(spooled->content)) {
        smtpd->refusal = reply_new(QUEUE_FILE_ERROR);
    } else {
        Outcome outcome = proxy_enter(smtpd, &spooled->slot);
        if (outcome.kind != OUTCOME_DONE)
            return outcome;
        if (!smtpd->refusal)
            smtpd->refusal = replay(smtpd, spooled);
    }
    log_content_failure(spooled);
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
