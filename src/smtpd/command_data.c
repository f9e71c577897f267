/* command_data.c - DATA and BDAT: the content and its end. */
#include "base/clock.h"
#include "base/log.h"
#include "smtp/command.h"
#include "smtpd/state.h"

#include <string.h>

/* May content come now? NULL: yes. */
static const char *no_content_now(const Smtpd *smtpd)
{
    if (!smtpd->transaction)
        return "503 5.5.1 Error: need RCPT command";
    if (smtpd->transaction->envelope->recipients->len == 0)
        return "554 5.5.1 Error: no valid recipients";
    return NULL;
}

/* smtpd_data_restrictions and smtpd_end_of_data_restrictions. DONE: a refusal is left in smtpd->refusal. */
static Outcome check(Smtpd *smtpd, AccessStage stage, const char *state)
{
    AccessFacts facts = smtpd_facts(smtpd, state);

    facts.recipient_count = smtpd->transaction->envelope->recipients->len;
    return smtpd_check_command(smtpd, stage, &facts, &smtpd->refusal);
}

Outcome command_data(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    const char *error = smtpd_in_chunks(smtpd) ? "503 5.5.1 Error: DATA after BDAT" : no_content_now(smtpd);

    if (!error && line[strlen("DATA") + strspn(line + strlen("DATA"), " \t")] != '\0')
        error = "501 5.5.4 Syntax: DATA";
    if (error) {
        session_reply(session, error);
        return outcome_done();
    }
    Outcome outcome = check(smtpd, ACCESS_DATA, "DATA");
    if (outcome.kind == OUTCOME_DONE && !smtpd->refusal)
        outcome = smtpd->service->sink->data(smtpd, smtpd_as_typed(smtpd, line));
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    if (smtpd->refusal) {
        session_reply_take(session, g_steal_pointer(&smtpd->refusal));
        return outcome_done();
    }
    transaction_begin_content(smtpd);
    session_reply(session, "354 End data with <CR><LF>.<CR><LF>");
    session_begin_data(session, session->bare_newline);
    session->decoder.keep_malformed_dot = smtpd->service->sink->is_proxy;
    return outcome_done();
}

/* --- BDAT --- */

#define CHUNK_TOO_LONG "552 5.3.4 Chunk exceeds message size limit"

/* Chunks are read also where they are refused, but not without end: one and a half of what a message may have. */
static bool too_many_octets(const Smtpd *smtpd)
{
    guint64 limit = (guint64)smtpd->settings->message_size_limit;

    return limit > 0 && smtpd->chunk_octets > limit + limit / 2;
}

/* The chunk's payload comes whatever we think of it: it is read, and the reply is given behind it. */
static void skip_chunk(Smtpd *smtpd, guint64 size, bool last, Reply *reply)
{
    Session *session = smtpd->session;

    smtpd->refusal = reply;
    session_begin_chunk(session, session->bare_newline, size, true, last);
}

static void log_chunk(const Smtpd *smtpd, const char *what, const char *tail)
{
    log_warning("%s: %s%s%s", smtpd_queue_id(smtpd), what, smtpd->client.text, tail);
}

/* Why this chunk cannot be taken. NULL: it can. Caller frees. */
static char *chunk_error(Smtpd *smtpd, guint64 size, bool last)
{
    const char *error = no_content_now(smtpd);

    if (size == 0 && !last) {
        log_chunk(smtpd, "null BDAT request from ", "");
        return g_strdup("551 5.7.1 Null BDAT request");
    }
    if (smtpd->chunk_refused)
        return g_strdup_printf("551 5.0.0 Discarded %" G_GUINT64_FORMAT " bytes after earlier error", size);
    return g_strdup(error);
}

/* Content goes on with this chunk, or the chunk is skipped because it is too long. */
static void take_chunk(Smtpd *smtpd, guint64 size, bool last)
{
    Transaction *transaction = smtpd->transaction;
    gint64 limit = smtpd->settings->message_size_limit;

    if (limit > 0 && (size > (guint64)limit || transaction->size + transaction->open_octets > (guint64)limit - size)) {
        log_chunk(smtpd, "BDAT request from ", " exceeds message size limit");
        skip_chunk(smtpd, size, last, reply_new(CHUNK_TOO_LONG));
        return;
    }
    transaction_begin_content(smtpd);
    session_begin_chunk(smtpd->session, smtpd->session->bare_newline, size, !transaction->chunked, last);
    transaction->chunked = true;
}

/* Content begins with this chunk. DONE: it has, or the chunk is skipped. */
static Outcome first_chunk(Smtpd *smtpd, guint64 size, bool last)
{
    Outcome outcome = check(smtpd, ACCESS_DATA, "BDAT");
    if (outcome.kind == OUTCOME_DONE && !smtpd->refusal)
        outcome = smtpd->service->sink->data(smtpd, "DATA");
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    if (smtpd->refusal)
        skip_chunk(smtpd, size, last, g_steal_pointer(&smtpd->refusal));
    else
        take_chunk(smtpd, size, last);
    return outcome;
}

Outcome command_bdat(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    guint64 size;
    bool last;

    if (smtpd->client.discard & EHLO_CHUNKING) {
        session_reply(session, "521 5.5.1 Error: command not implemented");
        return outcome_done();
    }
    if (!bdat_command_parse(line, &size, &last)) {
        g_autofree char *shown = log_quote(line, MIN(strlen(line), 100));
        log_warning("%s: malformed BDAT command syntax from %s: %s", smtpd_queue_id(smtpd), smtpd->client.text, shown);
        session_reply(session, "521 5.5.4 Syntax: BDAT count [LAST]");
        return outcome_done();
    }
    if (!session->waiting)
        smtpd->chunk_octets = size < G_MAXINT64 - smtpd->chunk_octets ? smtpd->chunk_octets + size : G_MAXINT64;
    g_autofree char *error = session->waiting ? NULL : chunk_error(smtpd, size, last);
    if (too_many_octets(smtpd)) {
        log_chunk(smtpd, "too much BDAT content -- disabling further input from ", "");
        session_reply(session, error ? error : CHUNK_TOO_LONG);
        session_hang_up(session);
        return outcome_done();
    }
    if (error) {
        skip_chunk(smtpd, size, last, reply_new(error));
        return outcome_done();
    }
    if (!smtpd->transaction->chunked)
        return first_chunk(smtpd, size, last);
    take_chunk(smtpd, size, last);
    return outcome_done();
}

/* --- content --- */

static void emit(void *user, const char *data, size_t len, bool ends_line)
{
    Smtpd *smtpd = user;

    smtpd->service->sink->content(smtpd, data, len, ends_line);
}

/* What opening.h gives. */
static void emit_opened(void *user, const char *data, size_t len, bool ends_line)
{
    Smtpd *smtpd = user;
    HeaderAppend *append = &smtpd->transaction->append;

    if (append->name)
        header_append_add(append, data, len, ends_line, emit, user);
    else
        emit(user, data, len, ends_line);
}

/* A line ".x": its dot was kept, and the encoder puts another one before it. */
static void report_malformed_dot(Session *session, const char *data, size_t len)
{
    if (!session->decoder.saw_malformed_dot || len == 0 || data[0] == '.')
        return; /* the dot is a piece of its own */
    g_autofree char *shown = log_quote(data, MIN(len, 100));
    log_warning("prepending '.' to malformed line: '.%s'", shown);
    session->decoder.saw_malformed_dot = false;
}

static bool has_forbidden_newline(const Smtpd *smtpd)
{
    return smtpd->session->bare_newline == BARE_NEWLINE_REJECT && smtpd->session->decoder.saw_bare_lf;
}

/* As smtpd(8) counts: in records, which are lines or what line_length_limit makes of them, with two octets for each
 * end. */
static void count(Smtpd *smtpd, size_t len, bool ends_line)
{
    Transaction *transaction = smtpd->transaction;
    size_t record_max = smtpd->settings->limits.line_max;

    transaction->open_octets += len;
    for (; transaction->open_octets >= record_max; transaction->open_octets -= record_max)
        transaction->size += record_max + 2;
    if (ends_line) {
        transaction->size += transaction->open_octets + 2;
        transaction->open_octets = 0;
    }
}

Outcome content_piece(Session *session, const char *data, size_t len, bool ends_line)
{
    Smtpd *smtpd = smtpd_of(session);
    Transaction *transaction = smtpd->transaction;
    gint64 limit = smtpd->settings->message_size_limit;

    if (smtpd->refusal || transaction->too_big || has_forbidden_newline(smtpd)) /* read to its end, and dropped */
        return outcome_done();
    Outcome outcome = smtpd->service->sink->ready(smtpd, len);
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    report_malformed_dot(session, data, len);
    count(smtpd, len, ends_line);
    if (limit > 0 && transaction->size + transaction->open_octets > (guint64)limit) {
        transaction->too_big = true;
        log_warning("%s: queue file size limit exceeded", smtpd_queue_id(smtpd));
        return outcome_done();
    }
    opening_add(&transaction->opening, data, len, ends_line, emit_opened, smtpd);
    return outcome_done();
}

/* What came before a refused chunk is lost with it; later ones are discarded until LAST or RSET. */
static void give_up_chunks(Smtpd *smtpd)
{
    bool in_mail = smtpd->transaction || smtpd->chunk_in_mail;
    guint64 octets = smtpd->chunk_octets;

    transaction_end(smtpd, true);
    smtpd->chunk_refused = !smtpd->session->bdat_last;
    smtpd->chunk_octets = smtpd->chunk_refused ? octets : 0;
    smtpd->chunk_in_mail = smtpd->chunk_refused && in_mail;
}

/* The end of a chunk that could not be taken. */
static void end_skipped_chunk(Smtpd *smtpd)
{
    smtpd->session->where = "BDAT";
    session_reply_take(smtpd->session, g_steal_pointer(&smtpd->refusal));
    give_up_chunks(smtpd);
}

/* What is wrong with the content: all of it, or a chunk. True: refused, replied. */
static bool is_bad_content(Smtpd *smtpd)
{
    static const char too_big[] = "552 5.3.4 Error: message file too big";
    Transaction *transaction = smtpd->transaction;

    if (has_forbidden_newline(smtpd)) {
        AccessFacts facts = smtpd_facts(smtpd, smtpd->session->where);
        smtpd_refuse_bare_newline(smtpd, &facts);
        smtpd->service->sink->dropped(smtpd, "");
        return true;
    }
    if (transaction->too_big) {
        smtpd->service->sink->dropped(smtpd, too_big);
        session_reply(smtpd->session, too_big);
        return true;
    }
    return false;
}

/* The content is dropped, for a reason that was replied. */
static void drop(Smtpd *smtpd)
{
    if (smtpd->session->bdat)
        give_up_chunks(smtpd);
    else
        transaction_end(smtpd, true);
}

static void take_reply(Smtpd *smtpd)
{
    Session *session = smtpd->session;
    Reply *reply = g_steal_pointer(&smtpd->refusal);

    if (reply_is(reply, 2))
        session->errors = session->junk = 0;
    session_reply_take(session, reply);
}

Outcome content_end(Session *session)
{
    Smtpd *smtpd = smtpd_of(session);

    if (smtpd->refusal) {
        end_skipped_chunk(smtpd);
        return outcome_done();
    }
    bool more_to_come = session->bdat && !session->bdat_last;
    if (more_to_come && !smtpd->transaction->too_big && !has_forbidden_newline(smtpd)) {
        session_replyf(session, "250 2.0.0 Ok: %" G_GUINT64_FORMAT " bytes", session->chunk_size);
        return outcome_done();
    }
    if (more_to_come)
        session->where = "BDAT content";
    if (!session->waiting && is_bad_content(smtpd)) {
        drop(smtpd);
        return outcome_done();
    }
    Outcome outcome = check(smtpd, ACCESS_END_OF_DATA, session->where);
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    if (smtpd->refusal) {
        session_reply_take(session, g_steal_pointer(&smtpd->refusal));
        drop(smtpd);
        return outcome;
    }
    if (smtpd->transaction->append.name)
        header_append_finish(&smtpd->transaction->append, emit, smtpd);
    if (!smtpd->transaction->times.content_end_ms)
        smtpd->transaction->times.content_end_ms = clock_ms();
    outcome = smtpd->service->sink->end(smtpd);
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    take_reply(smtpd);
    transaction_end(smtpd, false);
    return outcome_done();
}
