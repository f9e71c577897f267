/* decoder.c - content from the wire into lines. Read decoder.h first: it has the rules, and what each is against. */
#include "smtp/decoder.h"

#include <glib.h>
#include <string.h>

typedef enum {
    LINE_START, /* nothing of the line is read */
    DOT,        /* the line is "." so far, which is not handed out */
    DOT_CR,     /* the line is "." and held_cr CRs */
    TEXT,       /* in the line */
    TEXT_CR,    /* the same, and held_cr CRs are held back */
} State;

static const char spaces[] =
    "                                                                "; /* for CRs inside a line */
#define SPACES_MAX (sizeof spaces - 1)

/* What decoder_next() gives back. */
typedef struct {
    const char *data;
    size_t len;
    bool ends_line;
} Piece;

void decoder_init(Decoder *decoder, BareNewline policy, bool dots)
{
    *decoder = (Decoder){.policy = policy, .dots = dots, .state = LINE_START};
}

static void end_line(Decoder *decoder, bool bare)
{
    decoder->state = LINE_START;
    decoder->held_cr = 0;
    decoder->last_line_bare = bare;
    if (bare)
        decoder->saw_bare_lf = true;
}

/* The line "." is complete. True: it ends the data. */
static bool end_dot_line(Decoder *decoder, bool bare)
{
    bool is_end = decoder->policy == BARE_NEWLINE_NO || (!bare && !decoder->last_line_bare);

    end_line(decoder, bare);
    return is_end;
}

static void look_at(Decoder *decoder, const char *data, size_t len)
{
    unsigned char all = 0;

    for (size_t i = 0; i < len; i++)
        all |= (unsigned char)data[i];
    if (all & 0x80)
        decoder->saw_8bit = true;
    if (memchr(data, '\0', len))
        decoder->saw_nul = true;
}

/* Up to the next CR or LF, with the line's end where it lies right behind. Returns how much was taken: never 0 unless
 * in is at a CR. */
static size_t take_text(Decoder *decoder, const char *in, size_t len, Piece *piece)
{
    const char *lf = memchr(in, '\n', len);
    size_t run = lf ? (size_t)(lf - in) : len;
    const char *cr = memchr(in, '\r', run);

    if (cr)
        run = (size_t)(cr - in);
    look_at(decoder, in, run);
    *piece = (Piece){in, run, lf && (!cr || cr + 1 == lf)};
    if (!piece->ends_line)
        return run;
    end_line(decoder, cr == NULL);
    return (size_t)(lf - in) + 1;
}

/* At the octet behind held_cr CRs in the line, c. True: *piece is set; *ret_used says whether c was taken. */
static bool settle_crs(Decoder *decoder, char c, Piece *piece, size_t *ret_used)
{
    *ret_used = 0;
    if (c == '\n') {
        *piece = (Piece){"", 0, true};
        *ret_used = 1;
        end_line(decoder, false);
        return true;
    }
    if (c == '\r' && decoder->policy == BARE_NEWLINE_NO) { /* all of them may be the line's end */
        decoder->held_cr++;
        *ret_used = 1;
        return false;
    }
    /* With the other policies only the last CR can be part of the end, so that never more than one is held. */
    *piece = (Piece){spaces, MIN(decoder->held_cr, SPACES_MAX), false};
    decoder->saw_bare_cr = true;
    decoder->held_cr -= piece->len;
    if (c == '\r') {
        decoder->held_cr++;
        *ret_used = 1;
    } else if (decoder->held_cr == 0) {
        decoder->state = TEXT;
    }
    return true;
}

/* At the octet behind "." or "." and CRs. Sets the state; returns whether c was taken. */
static bool settle_dot(Decoder *decoder, char c, bool *ret_end)
{
    bool has_cr = decoder->state == DOT_CR;

    *ret_end = false;
    if (c == '\n') {
        *ret_end = end_dot_line(decoder, !has_cr);
        return true;
    }
    if (c == '\r' && (!has_cr || decoder->policy == BARE_NEWLINE_NO)) {
        decoder->state = DOT_CR;
        decoder->held_cr++;
        return true;
    }
    decoder->state = has_cr ? TEXT_CR : TEXT; /* the dot was a stuffed one */
    return false;
}

/* After settle_dot(), which left the octet c: the line goes on, and with something else than the dot that a stuffed one
 * has behind it. */
static bool dot_is_malformed(const Decoder *decoder, char c)
{
    return decoder->state == TEXT_CR || (decoder->state == TEXT && c != '.');
}

DecoderEvent decoder_next(Decoder *decoder, const char *in, size_t len, size_t *ret_used, const char **ret_data,
                          size_t *ret_len, bool *ret_ends_line)
{
    Piece piece = {0};
    bool has_piece = false;
    bool is_end = false;
    size_t i = 0, used;

    while (i < len && !has_piece && !is_end) {
        switch ((State)decoder->state) {
        case LINE_START:
            decoder->state = decoder->dots && in[i] == '.' ? DOT : TEXT;
            i += decoder->state == DOT;
            break;
        case DOT:
        case DOT_CR:
            if (settle_dot(decoder, in[i], &is_end)) {
                i++;
                break;
            }
            has_piece = decoder->keep_malformed_dot && dot_is_malformed(decoder, in[i]);
            if (has_piece) {
                piece = (Piece){".", 1, false};
                decoder->saw_malformed_dot = true;
            }
            break;
        case TEXT:
            if (in[i] == '\r') {
                decoder->state = TEXT_CR;
                decoder->held_cr = 1;
                i++;
                break;
            }
            i += take_text(decoder, in + i, len - i, &piece);
            has_piece = true;
            break;
        case TEXT_CR:
            has_piece = settle_crs(decoder, in[i], &piece, &used);
            i += used;
            break;
        }
    }
    *ret_used = i;
    if (has_piece) {
        *ret_data = piece.data;
        *ret_len = piece.len;
        *ret_ends_line = piece.ends_line;
        return DECODER_PIECE;
    }
    return is_end ? DECODER_END : DECODER_MORE;
}

bool decoder_finish(Decoder *decoder)
{
    if (decoder->state == LINE_START)
        return false;
    end_line(decoder, false);
    return true;
}
