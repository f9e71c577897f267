/* session_content.c - DATA and BDAT: from octets in the buffer to pieces for the service, and its verdict. */
#include "base/clock.h"
#include "smtp/session_private.h"

void session_begin_data(Session *session, BareNewline policy)
{
    decoder_init(&session->decoder, policy, true);
    session->bdat = false;
    session->phase = PHASE_CONTENT;
    session->deadline = 0;
}

void session_begin_chunk(Session *session, BareNewline policy, guint64 size, bool first, bool last)
{
    if (first)
        decoder_init(&session->decoder, policy, false);
    session->bdat = true;
    session->bdat_last = last;
    session->chunk_left = session->chunk_size = size;
    session->phase = PHASE_CONTENT;
    session->deadline = 0;
}

/* Octets were taken out of the content. */
static void account_content(Session *session, size_t used)
{
    stream_consume(&session->stream, used);
    if (session->bdat)
        session->chunk_left -= used;
    if (session->limits->request_deadline && session->limits->min_data_rate > 0 && session->deadline)
        session->deadline = MIN(session->deadline + (gint64)used * 1000 / session->limits->min_data_rate,
                                clock_ms() + session->limits->timeout_ms);
}

/* Hands the present piece to the service. False: *step is set, the piece stays. */
static bool deliver_piece(Session *session, Step *step)
{
    Outcome outcome =
        session->class->content(session, session->piece.data, session->piece.len, session->piece.ends_line);

    if (!session_settled(session, outcome, step))
        return false;
    session->piece.pending = false;
    account_content(session, session->piece.used);
    return true;
}

static void end_content(Session *session)
{
    session->saw_bare_lf |= session->decoder.saw_bare_lf;
    session->phase = PHASE_END;
    if (!session->bdat || session->bdat_last)
        session->where = "END-OF-MESSAGE";
}

bool session_take_content(Session *session, Step *step)
{
    while (session->phase == PHASE_CONTENT) {
        size_t len, used;

        if (session->piece.pending && !deliver_piece(session, step))
            return true;
        const char *data = stream_peek(&session->stream, &len);
        if (session->bdat)
            len = MIN(len, session->chunk_left);
        if (session->bdat && session->chunk_left == 0) {
            if (session->bdat_last && decoder_finish(&session->decoder)) {
                session->piece.data = "";
                session->piece.len = session->piece.used = 0;
                session->piece.ends_line = session->piece.pending = true;
                continue;
            }
            end_content(session);
            return false;
        }
        if (len == 0)
            return !session_read_more(session, STREAM_READ_MAX, step) && session->phase != PHASE_CLOSING;
        DecoderEvent event = decoder_next(&session->decoder, data, len, &used, &session->piece.data,
                                          &session->piece.len, &session->piece.ends_line);
        if (event == DECODER_PIECE) {
            session->piece.used = used;
            session->piece.pending = true;
            continue;
        }
        account_content(session, used);
        if (event == DECODER_END)
            end_content(session);
    }
    return false;
}

bool session_finish_content(Session *session, Step *step)
{
    if (!session_settled(session, session->class->end(session), step))
        return true;
    if (session->reply_code < 200 || session->reply_code > 299) /* also a filter's 354 */
        session->reply_code = MAX(session->reply_code, 400);
    session_command_finished(session);
    return false;
}
