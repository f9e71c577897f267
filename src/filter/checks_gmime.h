/* checks_gmime.h - names and encodings of parts, as GMime reads them. The only file that knows GMime. */
#pragma once
#include <glib.h>

void mime_library_init(void); /* once, before the first thread */

/* The file names in a Content-Type or Content-Disposition header (the whole of it): parameters name and filename, RFC
 * 2231 and RFC 2047 decoded, and as a program reads them that knows neither nor the rules of quoting. In UTF-8, without
 * control characters, each once. Array of char*, which the caller unrefs. */
GPtrArray *mime_file_names(const char *header);

/* The Content-Transfer-Encoding, as far as there is something to decode. */
typedef struct MimeDecoder MimeDecoder;
/* value: the header's. NULL: content stands as it is. */
MimeDecoder *mime_decoder_new(const char *value);
void mime_decoder_free(MimeDecoder *decoder); /* NULL is fine */
/* Appends what data decodes to. Content goes in as it stands in the message, with line ends. */
void mime_decoder_add(MimeDecoder *decoder, const char *data, size_t len, GString *out);
