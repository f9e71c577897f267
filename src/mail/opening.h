/* opening.h - the first line of content, mended so that what follows cannot take it for something else (as smtpd(8)
 * does it): an mbox "From " line, also quoted with '>', becomes an X-Mailbox-Line: header; before a first line that
 * starts with blank or tab (a continuation of nothing) comes an empty line, so that it is body. Works on pieces; no
 * I/O. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef void (*OpeningEmit)(void *user, const char *data, size_t len, bool ends_line);

typedef struct {
    bool passed;   /* the first line's kind is known: everything goes through */
    GString *held; /* the octets of the first line while it is not */
} Opening;         /* zero-initialised */

/* Takes a piece, gives pieces. */
void opening_add(Opening *opening, const char *data, size_t len, bool ends_line, OpeningEmit emit, void *user);
void opening_clear(Opening *opening);
