/* decoder.h - message content from the wire into canonical lines, once, at the edge (RFC 5321 4.5.2, RFC 3030; postconf(5): smtpd_forbid_bare_newline).
 * Out come pieces of lines, without line ends and without stuffed dots; nothing else of the wire form survives. No I/O.
 *
 * What ends a line, and what ends the data:
 *
 *   NO         LF, or LF after any number of CRs, ends a line. A line "." ends the data.
 *   others     LF or CRLF ends a line. A line "." ends the data only when it ends in CRLF and so did the line before it (or there is none:
 *              then it was the DATA command's). Where either end is a bare LF, the line "." is dropped: it is no end of data, and as a line
 *              of the message it would be one for the next server that is less strict.
 *
 * A CR that is not part of a line's end becomes a space, so that no server behind us finds a line end where we found none. NUL stays.
 *
 * A line that begins with a dot loses that dot, stuffed or not. The encoder adds one to each line that begins with a dot, and that is the only way by which
 * content reaches a filter or a next hop: so no line goes out that is a lone dot. A malformed line ".x" (a dot that is neither stuffed nor alone) is
 * the line "x", as RFC 5321 4.5.2 has it; with keep_malformed_dot it stays ".x" and goes out as "..x", as Postfix [3.12] sends it to a filter.
 *
 * Feeding the same octets in other portions gives the same lines and the same end; only the pieces differ. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef enum { BARE_NEWLINE_NO, BARE_NEWLINE_NORMALIZE, BARE_NEWLINE_NOTE, BARE_NEWLINE_REJECT } BareNewline;

typedef enum {
    DECODER_MORE,  /* all input used: more is needed */
    DECODER_PIECE, /* a piece of a line, or a line's end */
    DECODER_END,   /* the end of data was read; input behind it is not touched */
} DecoderEvent;

/* Initialise with decoder_init(). Plain record so that a session can hold it; fields are the decoder's own, the saw_ ones are for
 * everybody to read. */
typedef struct {
    BareNewline policy;
    bool dots;        /* DATA: dots are unstuffed and ".": ends. False for BDAT */
    bool keep_malformed_dot; /* to be set behind decoder_init() */
    bool saw_malformed_dot;  /* it was kept; whoever reports it resets it */
    bool saw_bare_lf; /* a line ended in LF alone */
    bool saw_nul, saw_8bit, saw_bare_cr;
    int state;
    bool last_line_bare; /* the line before ended in LF alone */
    size_t held_cr;      /* CRs read and not handed out: a line end may follow */
} Decoder;

void decoder_init(Decoder *decoder, BareNewline policy, bool dots);

/* Takes from in (len octets) and returns one event. *ret_used: how much was taken; it may be 0 with a PIECE of CRs that were held back, never twice
 * without progress. With PIECE: *ret_data, *ret_len (may be 0; valid until in changes; may point to a constant) and *ret_ends_line. A line's
 * end is taken together with handing it out: nothing is due when MORE is returned. */
DecoderEvent decoder_next(Decoder *decoder, const char *in, size_t len, size_t *ret_used, const char **ret_data, size_t *ret_len,
                          bool *ret_ends_line);
/* BDAT LAST: ends a line that had no end. True: one more empty PIECE with ends_line is due. CRs at the very end belong to that line's end. */
bool decoder_finish(Decoder *decoder);
