/* header_append.h - one more header at the end of those that content has, while it streams by in pieces: before the
 * empty line, before the first line that is no header, or at the end of content that has no body. It is left out where
 * a header of that name has that value already, in any letter case. Nothing else is changed. No I/O. */
#pragma once
#include "mail/opening.h"

typedef struct {
    const char *name, *value; /* the caller's, and stay */
    bool passed;              /* the headers are over */
    bool in_line;             /* a piece without line end was passed on */
    bool is_there;
    GString *held; /* the beginning of a line of which it is not known yet what it is */
} HeaderAppend;    /* zero-initialised but for name and value */

/* Takes a piece, gives pieces. */
void header_append_add(HeaderAppend *append, const char *data, size_t len, bool ends_line, OpeningEmit emit,
                       void *user);
void header_append_finish(HeaderAppend *append, OpeningEmit emit, void *user); /* content is over; again: nothing */
void header_append_clear(HeaderAppend *append);
