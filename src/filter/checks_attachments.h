/* checks_attachments.h - attachments by name and by true type (attachment_names, attachment_types). Fed with what the
 * MimeWalker finds. A message that cannot be looked into is an error of the Checking: more parts than parts_limit, a
 * header with a name that header_size_limit cuts, an encoding given twice and differently, messages encoded in each
 * other deeper than mime_nesting_limit. Archives are not opened. */
#pragma once
#include "filter/checks.h"

typedef struct Attachments Attachments;

void attachments_init(void); /* before the first thread */
Attachments *attachments_new(Checking *checking);
void attachments_free(Attachments *attachments);                    /* NULL is fine */
void attachments_part(Attachments *attachments, MimeHeaders where); /* another part begins; the one before has ended */
void attachments_header(Attachments *attachments, const MimeHeader *header);
void attachments_body(Attachments *attachments, const MimeRecord *record);
void attachments_finish(Attachments *attachments); /* the end of the message */
