/* content_octets.h - content that comes or goes as plain octets: lines end in LF; CRLF is taken for LF. */
#pragma once
#include "mail/content.h"

typedef struct {
    Content *to;
    guint64 limit; /* octets; more is a failure */
    guint64 octets;
    bool held_cr; /* a CR whose LF may come */
} OctetReader;

/* False: content_failed(to), or more than limit. */
bool octets_add(OctetReader *reader, const char *data, size_t len);
bool octets_finish(OctetReader *reader);

/* A new unnamed file with the content, positioned at its start. -1: errno. */
int octets_to_file(Content *content, const char *directory);
/* Whether the file has just what octets_to_file() writes of other. -1: cannot be read. */
int octets_files_equal(int one, int other);
/* The whole file, into reader. */
bool octets_from_file(OctetReader *reader, int file);
