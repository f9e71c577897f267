/* decoder.h - message content from the wire into canonical lines, once, at the edge (RFC 5321 4.5.2, RFC 3030; behaviour 3.5 and 3.7).
 * Out come pieces of lines, without line ends and without stuffed dots; nothing else of the wire form survives. No I/O. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef enum { BARE_NEWLINE_NO, BARE_NEWLINE_NORMALIZE, BARE_NEWLINE_NOTE, BARE_NEWLINE_REJECT } BareNewline;

typedef enum {
    DECODER_MORE,  /* all input used: more is needed */
    DECODER_PIECE, /* a piece of a line, or a line's end */
    DECODER_END,   /* the end of data was read; input behind it is not touched */
} DecoderEvent;

/* Initialise with decoder_init(). Plain record so that a session can hold it; fields are the decoder's own. */
typedef struct {
    BareNewline policy;
    bool dots;          /* DATA: dots are unstuffed and ".": ends. False for BDAT */
    bool saw_bare_lf;   /* a line ended in LF alone */
    bool saw_nul, saw_8bit, saw_bare_cr;
    int state;
    bool last_line_bare;
    bool in_line;       /* a line has begun and not ended */
    size_t line_len;    /* octets of the present line that were handed out */
} Decoder;

void decoder_init(Decoder *decoder, BareNewline policy, bool dots);

/* Takes from in (len octets) and returns one event. *ret_used: how much was taken (may be 0 with a PIECE held over from before). With
 * PIECE: *ret_data, *ret_len (valid until in changes; may point to a constant for a held-over CR) and *ret_ends_line. A CR inside a line is handed out
 * as a space [3.12: "CR inside a line becomes a space"]; NUL is handed out as it is.
 * Feeding the same octets in other portions gives the same lines. */
DecoderEvent decoder_next(Decoder *decoder, const char *in, size_t len, size_t *ret_used, const char **ret_data, size_t *ret_len,
                          bool *ret_ends_line);
/* BDAT LAST: ends a line that had no end. True: one more empty PIECE with ends_line is due. */
bool decoder_finish(Decoder *decoder);
