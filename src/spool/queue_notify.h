/* queue_notify.h - datagrams to the queue manager, at public/qmgr below $queue_directory. They are hints: one that is
 * lost is made up for by the scan of the queue, so nobody waits for them. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct QueueNotify QueueNotify; /* any thread */

typedef enum {
    QUEUE_NOTIFY_NEW = 'N',   /* the message of this id was committed just now, by who sends this, once */
    QUEUE_NOTIFY_FLUSH = 'F', /* look at all deferred messages now */
    QUEUE_NOTIFY_TRY = 'I',   /* look at this one */
    QUEUE_NOTIFY_ACTIVE = 'A' /* with a descriptor, see queue_ask_active() */
} QueueNotifyKind;
#define QUEUE_NOTIFY_MAX 64 /* octets of a datagram: kind, id */

/* Never fails for want of a queue manager: it may come later. Before threads and chroot. */
QueueNotify *queue_notify_open(const char *queue_directory, GError **error);
void queue_notify_close(QueueNotify *notify); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QueueNotify, queue_notify_close)

/* Does not block. False: nobody listens, or the queue of datagrams is full. */
bool queue_notify_send(QueueNotify *notify, QueueNotifyKind kind, const char *id); /* id NULL: none */

/* Asks which messages are active. Blocks up to timeout_ms. NULL: no queue manager runs, or it did not answer. Array of
 * char *, the caller's. */
GPtrArray *queue_ask_active(QueueNotify *notify, int timeout_ms, GError **error);
/* The queue manager's answer, over the descriptor that came with the question: ids, a line each. Does not block. */
void queue_answer_active(int socket, const char *ids, size_t len);
