/* spool.h - the message store: one file per message under $queue_directory/gatepost/, durable before anybody says 250.
 *
 *   spool/XX/ID   messages under way, in 256 shards      hold/ID   kept until somebody looks      corrupt/ID   failed
 * their checksum
 *
 * A file: a fixed-width first line (version, lengths, checksums of content and envelope; written last), content with LF
 * ends, envelope as text, then results, one line each, as deliveries end. A message belongs to who holds its flock().
 * This is the writer's side; spool_message.h is the reader's, spool_scan.h lists messages, spool_format.h has the
 * lines' exact form. docs/architecture.md has the protocol. */
#pragma once
#include "mail/envelope.h"
#include <sys/types.h>

typedef struct Spool Spool;
typedef struct SpoolWriter SpoolWriter;

typedef struct {
    const char *directory; /* $queue_directory/gatepost */
    bool long_ids;         /* enable_long_queue_ids */
} SpoolOptions;

/* Makes and syncs the directories that are missing, directory itself included, mode 0700. Those that it makes are given
 * to owner and group
 * ((uid_t)-1, (gid_t)-1: the caller's). For a root that prepares them for $mail_owner before the first listener opens.
 */
bool spool_make_directories(const char *directory, uid_t owner, gid_t group, GError **error);

/* Opens the store, for any number of threads; the same as above for directories that are missing. Before threads. */
Spool *spool_open(const SpoolOptions *options, GError **error);
/* For who only looks: makes nothing. */
Spool *spool_open_to_read(const char *directory, GError **error);
void spool_free(Spool *spool); /* after all its writers and messages; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Spool, spool_free)
bool spool_free_space(const Spool *spool, guint64 *ret_octets, GError **error); /* for the 452 check */

/* One queue manager at a time: a lock that lives as long as the descriptor, the caller's. False: error; its code is
 * EWOULDBLOCK when another one has it. */
bool spool_lock_manager(const Spool *spool, int *ret_fd, GError **error);

/* A new message: its file exists (O_EXCL) and is locked; it is nobody's until committed. Thread-safe; does not block
 * for long (page cache). */
SpoolWriter *spool_create(Spool *spool, GError **error);
const char *spool_writer_id(const SpoolWriter *writer); /* queue id */
gint64 spool_writer_time_us(const SpoolWriter *writer); /* of creation: the id's and Message-Id's time */
/* Content as LF text, in order. A failed write is remembered; commit then fails. */
bool spool_write(SpoolWriter *writer, const char *data, size_t len);
guint64 spool_writer_size(const SpoolWriter *writer); /* content octets so far */
/* Blocks (behind a gate). Writes envelope and first line, syncs file and shard. True: the message is on stable storage,
 * whole, once; the lock is let go and the writer is freed. False: nothing of it will ever be delivered; the writer is
 * freed all the same. hold: goes to hold/. A probe is not synced: nobody was promised anything. */
bool spool_commit(SpoolWriter *writer, const Envelope *envelope, bool hold, GError **error);
void spool_abort(SpoolWriter *writer); /* removes the file; NULL is fine */
