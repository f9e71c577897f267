/* lines.h - logical lines, as main.cf, master.cf and text tables have them:
 *
 * A physical line that is empty, blank, or whose first non-blank character is '#' does not exist, not even between a line
 * and its continuation. A line that starts with white space continues the one before: it is appended as it is, without a
 * line end between. White space is isspace(3) in the C locale. There is no backslash, no quoting, no limit of length.
 *
 * Warnings are logged here: white space with nothing to continue (that line and its continuations are left out), and
 * text after a NUL (a logical line ends at its first one). */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct Lines Lines;

/* Opens a file. name, below, is what warnings call the source. NULL: error ("open PATH: No such file or directory"). */
Lines *lines_open(const char *path, GError **error);
Lines *lines_open_source(const char *path, GError **error); /* a file that is read anew while mail runs: base/source.h */
Lines *lines_open_fd(const char *name, int fd);                        /* takes fd over; reads from where it stands */
Lines *lines_open_text(const char *name, const char *text, size_t len); /* text is borrowed until lines_close() */
void lines_close(Lines *lines);                                        /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Lines, lines_close)

/* The next logical line: NUL-terminated, without line end, trailing blanks kept; lines owns it until the next call.
 *
 * ret_line  set to the number of its first physical line, from 1; may be NULL
 * error     set when the source could not be read; not touched at its end. NULL is returned in both cases. */
const char *lines_next(Lines *lines, int *ret_line, GError **error);
