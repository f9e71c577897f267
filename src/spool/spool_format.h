/* spool_format.h - the lines of a message's file that are the spool's own: the first one, and results. Text in, records
 * out; no I/O here.
 *
 *   first line   gatepost-message 1 KEY CONTENT-LENGTH ENVELOPE-LENGTH CONTENT-CRC ENVELOPE-CRC LINE-CRC
 *                always FIRST_LINE_LEN octets with its LF; numbers in lower-case hexadecimal, padded; the last checksum
 * is that of the line before it. Zeros stand there until the message is committed result       an empty line, then R1
 * RECIPIENT STATUS DSN TIME RELAY TEXT LINE-CRC the empty line ends a line that a crash tore, so that what comes after
 * is whole
 *
 * Checksums are CRC-32 (zlib): against disks and crashes, not against people; the directory is nobody else's. */
#pragma once
#include "mail/ids.h"
#include <stddef.h>

#define FIRST_LINE_LEN 113
#define RESULT_TEXT_MAX 2048 /* octets kept of a result's text */
#define RESULT_LINE_MAX 8192 /* octets of a result's line, LF included */

typedef struct {
    MessageKey key;
    guint64 content_len, envelope_len; /* octets; content begins at FIRST_LINE_LEN, the envelope right after it */
    guint32 content_crc, envelope_crc;
} FirstLine;

typedef enum {
    FIRST_LINE_VALID,
    FIRST_LINE_UNWRITTEN, /* zeros, or the beginning of a first line and nothing or zeros after it: never committed */
    FIRST_LINE_VERSION,   /* of a release that this one does not know */
    FIRST_LINE_BAD,       /* something else: damaged */
} FirstLineState;

void first_line_write(const FirstLine *line, char ret_text[FIRST_LINE_LEN]);
/* text: the first len octets of the file, at most FIRST_LINE_LEN. *ret_line is set when VALID. */
FirstLineState first_line_read(const char *text, size_t len, FirstLine *ret_line);

/* What became of one recipient in one attempt. */
typedef enum { RESULT_SENT, RESULT_DEFERRED, RESULT_BOUNCED } ResultStatus; /* all but DEFERRED are final */
const char *result_status_name(ResultStatus status);                        /* "sent", "deferred", "bounced" */
bool result_status_from_name(const char *name, ResultStatus *ret_status);

typedef struct {
    guint recipient; /* number in the envelope */
    ResultStatus status;
    char dsn[12];   /* "4.4.1" */
    gint64 time_us; /* when it was known */
    char *relay;    /* "host[addr]:port", "virtual", "none" */
    char *text;     /* as in the log, "delivered to maildir" */
} Result;

void result_clear(Result *result);
bool result_dsn_is_valid(const char *dsn); /* D.DDD.DDD, and fits */
/* The line with the empty one before it: to be written with one write(). Longer texts are cut. Caller frees. */
GString *result_to_text(const Result *result);
/* line, len: without LF. False: torn or damaged or empty; *ret_result is untouched. The caller clears it. */
bool result_from_text(const char *line, size_t len, Result *ret_result);

/* Any text as one word without blanks and controls ("%HH" for those; "%" alone for the empty text), cut after max
 * octets; and back. NULL: not such a word. Caller frees. */
void spool_word_append(GString *out, const char *text, size_t max);
char *spool_word_read(const char *word);

guint32 spool_crc(guint32 crc, const char *data, size_t len); /* begins with 0, goes on with what it returned */
