/* queue_list.h - what lies in the queue, as mailq(1) shows it or as JSON, an object a line. */
#pragma once
#include "spool/spool_message.h"

typedef struct {
    GString *active, *incoming, *deferred, *hold; /* text of the messages of each queue, in this order in the output */
    guint64 messages, octets;
} QueueList;

typedef enum { QUEUE_LIST_TEXT, QUEUE_LIST_JSON } QueueListForm;

/* Reads the whole store. active: ids that the queue manager works on; NULL: not known. long_ids: enable_long_queue_ids,
 * for the columns. Messages that are being received, or cannot be read, are left out. False: a directory cannot be
 * read. */
bool queue_list_read(const Spool *spool, const GPtrArray *active, QueueListForm form, bool long_ids,
                     QueueList *ret_list, GError **error);
void queue_list_clear(QueueList *list);
/* All of it, with heading and summary where the form has them. Caller frees. */
GString *queue_list_text(const QueueList *list, QueueListForm form, bool long_ids);
