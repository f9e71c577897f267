/* header.h - the header section of a message (RFC 5322 section 2.2), read from canonical pieces of lines as they come. No I/O. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* Where the reader hands things. Pointers are valid during the call. */
typedef struct {
    /* A logical header: its lines joined by '\n', none at the end. It may hold any octet but CR. What is longer than the limit was cut. */
    void (*header)(void *user, const char *text, size_t len);
    void (*end)(void *user); /* once, after the last header and before the body (or at the end of a message without one) */
    /* The body, from the empty line on. Where a line that is no header follows the headers directly, an empty line comes first: that line
     * is body, and must be body to everybody who reads the message later. */
    void (*body)(void *user, const char *data, size_t len, bool ends_line);
} HeaderSink;

typedef struct {
    const HeaderSink *sink;
    void *user;
    size_t limit;   /* octets kept of one logical header (header_size_limit) */
    GString *text;  /* the present logical header, or the line that may begin one */
    bool in_line;   /* within a line */
    bool is_header; /* the present line is known to belong to a header */
    bool in_body;
} HeaderReader;

void header_reader_init(HeaderReader *reader, size_t limit, const HeaderSink *sink, void *user);
void header_reader_clear(HeaderReader *reader);
void header_reader_add(HeaderReader *reader, const char *data, size_t len, bool ends_line);
void header_reader_finish(HeaderReader *reader); /* the end of the message */

/* Length of the name at the start of a header ("Subject" of "Subject : x"), 0 where text is no header. *ret_value: offset of what follows the
 * colon; may be NULL. */
size_t header_name(const char *text, size_t len, size_t *ret_value);
bool header_is(const char *text, size_t len, const char *name); /* any letter case */
