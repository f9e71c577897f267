/* checks_content_type.h - as much of a Content-Type as the structure of a message depends on (RFC 2045 section 5.1),
 * read as leniently as Postfix's cleanup(8) does. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum { MIME_TYPE_OTHER, MIME_TYPE_MULTIPART, MIME_TYPE_DIGEST, MIME_TYPE_MESSAGE } MimeTypeKind;

typedef struct {
    MimeTypeKind kind;     /* MESSAGE: message/rfc822, message/global */
    GPtrArray *boundaries; /* of char*; of a multipart, as they are named; NULL: none */
} MimeContentType;

/* value: what follows the colon, folds included. max: of boundaries. */
void mime_content_type_parse(const char *value, guint max, MimeContentType *ret);
void mime_content_type_clear(MimeContentType *type);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MimeContentType, mime_content_type_clear)
