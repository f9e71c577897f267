/* spool_writer.c - a message's way onto stable storage.
 *
 * The order is the promise (see spool.h, docs/architecture.md):
 *   create   the file under its final name (O_EXCL), locked; zeros in place of the first line
 *   write    content
 *   commit   envelope; name in hold/ if it shall be held; first line; fsync file; fsync its directory; then true
 * A message without its first line is nobody's: whoever finds it unlocked removes it. With it and unlocked, it is
 * delivered. So after the first line only a failed sync can still refuse, and then the line is taken away again before
 * the lock is let go.
 *
 * The directory is opened by each writer for itself, before the file is made: the kernel reports a failed write-back
 * once to each open file description, so that with a shared descriptor one writer's fsync would hide the failure from
 * the next. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "mail/envelope_text.h"
#include "mail/ids.h"
#include "spool/spool_format.h"
#include "spool/spool_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE 16384 /* octets gathered before a write */
#define CREATE_TRIES 10   /* names taken by others, one after the other; the first is free but for a wonder */

struct SpoolWriter {
    Spool *spool;
    char *id;
    MessageKey key;
    gint64 time_us;
    int fd;        /* of the file; holds the lock */
    int directory; /* that the file lies in */
    int shard;     /* hold/ only: the directory that it came from */
    GString *buffer;
    guint64 content_len;
    guint32 content_crc;
    int failed; /* errno of the first failed write; 0: none */
};

static void writer_free(SpoolWriter *writer)
{
    fd_clear(&writer->fd);
    fd_clear(&writer->directory);
    fd_clear(&writer->shard);
    if (writer->buffer)
        g_string_free(writer->buffer, TRUE);
    g_free(writer->id);
    g_free(writer);
}

typedef enum { CREATED, NAME_TAKEN, NOT_CREATED } Creation;

/* Makes and locks the file of a new id. Between open() and flock() the queue manager may find the file unlocked and
 * unwritten, and remove it as what a crash left: then another name is tried. */
static Creation create_file(SpoolWriter *writer, GError **error)
{
    SpoolDirectory directory = spool_directory(SPOOL_QUEUE, writer->id);
    struct stat status;

    writer->directory = spool_open_directory(writer->spool, &directory);
    if (writer->directory < 0) {
        fail_errno(error, "open directory %s", directory.path);
        return NOT_CREATED;
    }
    writer->fd = openat(writer->directory, writer->id, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (writer->fd < 0 && errno == EEXIST)
        return NAME_TAKEN;
    if (writer->fd < 0) {
        fail_errno(error, "create %s/%s", directory.path, writer->id);
        return NOT_CREATED;
    }
    if (flock(writer->fd, LOCK_EX | LOCK_NB) == 0 && fstat(writer->fd, &status) == 0 && status.st_nlink == 1)
        return CREATED;
    unlinkat(writer->directory, writer->id, 0);
    return NAME_TAKEN;
}

SpoolWriter *spool_create(Spool *spool, GError **error)
{
    SpoolWriter *writer = g_new0(SpoolWriter, 1);
    Creation creation = NAME_TAKEN;

    writer->spool = spool;
    writer->fd = writer->directory = writer->shard = -1;
    writer->key = message_key_new();
    for (int i = 0; i < CREATE_TRIES && creation == NAME_TAKEN; i++) {
        fd_clear(&writer->fd);
        fd_clear(&writer->directory);
        g_free(writer->id);
        writer->time_us = clock_wall_us();
        writer->id = spool->long_ids ? id_new_long(writer->time_us) : id_new_short(writer->time_us);
        creation = create_file(writer, error);
    }
    if (creation == NAME_TAKEN)
        fail(error, "create a queue file: %d names were taken", CREATE_TRIES);
    if (creation != CREATED) {
        writer_free(writer);
        return NULL;
    }
    if (lseek(writer->fd, FIRST_LINE_LEN, SEEK_SET) < 0)
        writer->failed = errno;
    writer->buffer = g_string_sized_new(1024);
    return writer;
}

const char *spool_writer_id(const SpoolWriter *writer)
{
    return writer->id;
}

gint64 spool_writer_time_us(const SpoolWriter *writer)
{
    return writer->time_us;
}

guint64 spool_writer_size(const SpoolWriter *writer)
{
    return writer->content_len;
}

static bool write_out(SpoolWriter *writer, const char *data, size_t len)
{
    if (writer->failed == 0 && !fd_write_all(writer->fd, data, len))
        writer->failed = errno ? errno : EIO;
    return writer->failed == 0;
}

static bool flush_buffer(SpoolWriter *writer)
{
    bool done = write_out(writer, writer->buffer->str, writer->buffer->len);

    g_string_truncate(writer->buffer, 0);
    return done;
}

bool spool_write(SpoolWriter *writer, const char *data, size_t len)
{
    if (writer->failed != 0)
        return false;
    writer->content_crc = spool_crc(writer->content_crc, data, len);
    writer->content_len += len;
    if (writer->buffer->len + len > BUFFER_SIZE && !flush_buffer(writer))
        return false;
    if (len >= BUFFER_SIZE)
        return write_out(writer, data, len);
    g_string_append_len(writer->buffer, data, (gssize)len);
    return true;
}

/* Takes back whatever a commit wrote and removes the file, while the lock keeps others away. Best effort from here on:
 * the syncs make it likelier that a crash does not bring the message back, which would then be delivered although the
 * client was told to try again. */
static void discard(SpoolWriter *writer)
{
    static const char zeros[FIRST_LINE_LEN];
    bool unwritten = pwrite(writer->fd, zeros, sizeof zeros, 0) == (ssize_t)sizeof zeros;
    bool removed = unlinkat(writer->directory, writer->id, 0) == 0 || errno == ENOENT;

    if (writer->shard >= 0) /* its way into hold/ may be undone by a crash */
        fsync(writer->shard);
    fsync(writer->directory);
    if (!unwritten && !removed)
        fd_steal(&writer->fd); /* never closed: the lock is all that keeps the queue manager from delivering it */
    writer_free(writer);
}

void spool_abort(SpoolWriter *writer)
{
    if (!writer)
        return;
    /* No first line was written: no sync is needed, what a crash brings back is removed. */
    unlinkat(writer->directory, writer->id, 0);
    writer_free(writer);
}

static bool move_to_hold(SpoolWriter *writer, GError **error)
{
    SpoolDirectory hold = spool_directory(SPOOL_HOLD, writer->id);
    auto_fd directory = spool_open_directory(writer->spool, &hold);

    if (directory < 0)
        return fail_errno(error, "open directory %s", hold.path);
    if (renameat2(writer->directory, writer->id, directory, writer->id, RENAME_NOREPLACE) < 0)
        return fail_errno(error, "move %s to %s", writer->id, hold.path);
    writer->shard = writer->directory;
    writer->directory = fd_steal(&directory);
    return true;
}

static bool write_envelope(SpoolWriter *writer, const Envelope *envelope, FirstLine *line, GError **error)
{
    g_autoptr(GString) text = envelope_to_text(envelope);

    if (text->len > ENVELOPE_TEXT_MAX)
        return fail(error, "the envelope of %s has %zu octets", writer->id, text->len);
    line->envelope_len = text->len;
    line->envelope_crc = spool_crc(0, text->str, text->len);
    flush_buffer(writer);
    if (!write_out(writer, text->str, text->len)) {
        errno = writer->failed;
        return fail_errno(error, "write %s", writer->id);
    }
    return true;
}

static bool write_and_sync(SpoolWriter *writer, const Envelope *envelope, bool hold, GError **error)
{
    FirstLine line = {.key = writer->key};
    char text[FIRST_LINE_LEN];

    if (!write_envelope(writer, envelope, &line, error) || (hold && !move_to_hold(writer, error)))
        return false;
    line.content_len = writer->content_len;
    line.content_crc = writer->content_crc;
    first_line_write(&line, text);
    if (pwrite(writer->fd, text, sizeof text, 0) != (ssize_t)sizeof text)
        return fail_errno(error, "write the first line of %s", writer->id);
    if (envelope->probe != PROBE_NONE)
        return true;
    /* A failed fsync is final: the kernel has dropped the pages or marked them clean, so that a second one would
     * succeed and mean nothing. */
    if (fsync(writer->fd) < 0)
        return fail_errno(error, "sync %s", writer->id);
    if (fsync(writer->directory) < 0 || (writer->shard >= 0 && fsync(writer->shard) < 0))
        return fail_errno(error, "sync the directory of %s", writer->id);
    return true;
}

bool spool_commit(SpoolWriter *writer, const Envelope *envelope, bool hold, GError **error)
{
    if (write_and_sync(writer, envelope, hold, error)) {
        writer_free(writer);
        return true;
    }
    discard(writer);
    return false;
}
