/* spool_message.h - a message in the store, for those who deliver, list or remove it.
 *
 * Who opens it with SPOOL_LOCK owns it until the last copy of its descriptor is closed, whichever process has it: the
 * queue manager passes the descriptor to delivery agents, and the lock lives as long as any of them works. One thread
 * uses a SpoolMessage at a time. */
#pragma once
#include "spool/spool.h"
#include "spool/spool_format.h"
#include "spool/spool_place.h"

typedef enum {
    SPOOL_ERROR_GONE,       /* no such file, or it was removed meanwhile */
    SPOOL_ERROR_BUSY,       /* somebody else has the lock: look again later, and read its results anew */
    SPOOL_ERROR_UNFINISHED, /* never committed. With the lock: its writer is gone, remove it */
    SPOOL_ERROR_CORRUPT,    /* damaged: to corrupt/, never removed */
    SPOOL_ERROR_VERSION,    /* written by a release that this one does not know: leave it alone */
    SPOOL_ERROR_IO,         /* anything else that the system said */
} SpoolError;
#define SPOOL_ERROR (spool_error_quark())
GQuark spool_error_quark(void);

typedef struct SpoolMessage SpoolMessage;

typedef enum { SPOOL_LOOK, SPOOL_LOCK } SpoolAccess; /* LOOK: read only, without the lock; nobody is disturbed */

/* Opens a message, checks first line and envelope against their checksums, reads envelope and results. Content is
 * checked by those who read it (spool_content_read()). NULL: SPOOL_ERROR. */
SpoolMessage *spool_message_open(const Spool *spool, SpoolPlace place, const char *id, SpoolAccess access,
                                 GError **error);
/* The same from a descriptor that was passed along by who has the lock; it becomes the message's, also on failure. */
SpoolMessage *spool_message_take(int fd, const char *id, GError **error);
void spool_message_free(
    SpoolMessage *message); /* closes: the lock goes with the last copy of the descriptor. NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SpoolMessage, spool_message_free)

int spool_message_fd(const SpoolMessage *message); /* borrowed */
const char *spool_message_id(const SpoolMessage *message);
const MessageKey *spool_message_key(const SpoolMessage *message);
guint64 spool_message_size(const SpoolMessage *message); /* octets of content, as stored */
guint64 spool_message_wire_size(const SpoolMessage *message); /* the same with CRLF line ends: log lines, mailq, SIZE= */
const Envelope *spool_message_envelope(const SpoolMessage *message);
gint64 spool_message_mtime(const SpoolMessage *message); /* seconds since 1970 when opened: that of the next attempt */

/* What is known of a recipient: its last result, and a final one for good. NULL: none yet. Owned by message. */
const Result *spool_message_result(const SpoolMessage *message, guint recipient);
/* Appends a result to the file, before anybody is told of it. durable: on stable storage when this returns (where a
 * repeat would double mail). False: the file may not have it. Callable from several processes with the descriptor at
 * once. message does not learn it. */
bool spool_message_add_result(const SpoolMessage *message, const Result *result, bool durable, GError **error);

/* Content from its beginning, in pieces, with its checksum kept. Zero-initialise but for message. */
typedef struct {
    const SpoolMessage *message;
    guint64 done;
    guint32 crc;
} SpoolContent;
/* Octets read, at most size; 0 at the end, and only if the whole content had its checksum: nobody may say a final dot
 * or name a file before that 0. -1: SPOOL_ERROR, CORRUPT or IO. */
ssize_t spool_content_read(SpoolContent *content, char *buffer, size_t size, GError **error);

/* For who has the lock. */
bool spool_message_set_next_attempt(const SpoolMessage *message, gint64 wall_seconds, GError **error);
/* Names a message by place and id: what cannot be opened (UNFINISHED, CORRUPT) is removed and moved, too. */
bool spool_remove(const Spool *spool, SpoolPlace place, const char *id, GError **error);
bool spool_move(const Spool *spool, SpoolPlace from, SpoolPlace to, const char *id,
                GError **error); /* durable when it returns true */
/* For an UNFINISHED or CORRUPT message, found without a lock: takes the lock, looks again, and removes it or moves it
 * to corrupt/. *ret_done: whether anything was done; not when its writer or a deliverer has it, or it is gone, or it
 * turned out to be whole. False: it should have been done but failed. */
bool spool_recover(const Spool *spool, SpoolPlace place, const char *id, SpoolError *ret_what, bool *ret_done,
                   GError **error);
