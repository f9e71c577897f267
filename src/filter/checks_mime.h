/* checks_mime.h - the MIME structure of a message, seen as Postfix's cleanup(8) sees it for header_checks(5), so that
 * the same tables find the same things. It reads canonical pieces of lines as they come and keeps no more than one
 * header, one record and the boundaries of the parts around. No I/O here.
 *
 * What cleanup(8) makes of a message, and this with it:
 * - Lines are seen in records of at most `record` octets (line_length_limit). A header is known by its first record.
 * - A logical header grows by whole records while it is shorter than `header` octets (header_size_limit); what follows
 *   is not seen. Blanks between name and colon are dropped.
 * - Headers end at an empty line or at a line that is none.
 * - A line counts as a boundary if it begins with one that a multipart around it declared, of which the first
 * `boundary` octets are compared; the innermost first. "--" alone never counts.
 * - message/rfc822 and message/global have headers and structure of their own, whatever their encoding. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    size_t record;   /* octets: line_length_limit */
    size_t header;   /* octets: header_size_limit */
    size_t boundary; /* octets: mime_boundary_length_limit */
    guint nesting;   /* mime_nesting_limit */
} MimeLimits;

typedef enum { MIME_PRIMARY, MIME_PART, MIME_NESTED } MimeHeaders; /* the message's, a part's, an attached message's */

typedef struct {
    MimeHeaders where;
    bool is_mime;     /* looked up in mime_header_checks: a part's, or one of MIME's anywhere */
    bool is_cut;      /* by the limit */
    const char *text; /* lines joined by '\n'; ends with a NUL, and may hold others */
    size_t len;
    guint64 line, lines; /* where it stands */
} MimeHeader;

typedef struct {
    const char *text; /* ends with a NUL, and may hold others */
    size_t len;
    guint64 line;   /* that it belongs to */
    guint64 column; /* octets of the line in front of it */
    bool ends_line;
    bool is_boundary;
    bool is_separator; /* the empty line behind headers */
    guint64 offset; /* in its body segment as body_checks_size_limit counts: a record's octets and one more for each */
} MimeRecord;

/* Pointers are valid during the call. Each returns false to hear no more. NULL: not of interest. */
typedef struct {
    bool (*begin)(void *user, MimeHeaders where); /* of a part's or an attached message's headers */
    bool (*header)(void *user, const MimeHeader *header);
    bool (*body)(void *user, const MimeRecord *record);
    bool (*end)(void *user); /* a multipart was closed; what comes is its epilogue */
    /* More multiparts in each other than mime_nesting_limit allows. header: the Content-Type that is one too many. */
    bool (*too_deep)(void *user, const char *header);
} MimeSink;

typedef struct MimeWalker MimeWalker;
MimeWalker *mime_walker_new(const MimeLimits *limits, const MimeSink *sink, void *user);
void mime_walker_free(MimeWalker *walker); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MimeWalker, mime_walker_free)
/* False: the sink wants no more. */
bool mime_walker_add(MimeWalker *walker, const char *data, size_t len, bool ends_line);
void mime_walker_finish(MimeWalker *walker); /* the end of the message */
