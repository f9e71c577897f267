/* store.c - a message's way into the quarantine.
 *
 * The order is the promise:
 *   content file under its name (O_EXCL), locked; all of it; fsync; fsync of its directory
 *   the row and what belongs to it, in one transaction; then true
 *
 * The last megabyte of the disk is not for content: the database needs room even to forget a message, and a disk that
 * is full to the last block could not be emptied by `expire`. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "mail/address.h"
#include "mail/envelope_text.h"
#include "quarantine/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BUFFER_SIZE 65536 /* octets gathered before a write */
#define CREATE_TRIES 10   /* names taken by others, one after the other */
#define ROOM_LEFT (1 << 20)

typedef struct {
    int fd;
    int directory; /* opened for this message: a shared one would hide a failed write-back from all but the first */
    char *id;
    GString *buffer;
    guint64 size;
    bool failed; /* errno is in failure */
    int failure;
} Writer;

static bool flush(Writer *writer)
{
    if (!fd_write_all(writer->fd, writer->buffer->str, writer->buffer->len)) {
        writer->failed = true;
        writer->failure = errno;
        return false;
    }
    writer->size += writer->buffer->len;
    g_string_truncate(writer->buffer, 0);
    return true;
}

static bool take_piece(void *user, const char *data, size_t len, bool ends_line)
{
    Writer *writer = user;

    g_string_append_len(writer->buffer, data, (gssize)len);
    if (ends_line)
        g_string_append_c(writer->buffer, '\n');
    return writer->buffer->len < BUFFER_SIZE || flush(writer);
}

static bool create(const Quarantine *quarantine, Writer *writer, GError **error)
{
    writer->directory = open(quarantine->content_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (writer->directory < 0)
        return fail_errno(error, "open directory %s", quarantine->content_directory);
    for (int i = 0; i < CREATE_TRIES; i++) {
        g_free(writer->id);
        writer->id = quarantine_id_new();
        writer->fd = openat(writer->directory, writer->id, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (writer->fd >= 0 || errno != EEXIST)
            break;
    }
    if (writer->fd < 0)
        return fail_errno(error, "create a file in %s", quarantine->content_directory);
    /* Nobody else takes the lock of a file that is younger than an hour and has no row. */
    if (flock(writer->fd, LOCK_EX | LOCK_NB) < 0) {
        fail_errno(error, "lock %s/%s", quarantine->content_directory, writer->id);
        unlinkat(writer->directory, writer->id, 0);
        return false;
    }
    return true;
}

static bool has_room(const Writer *writer)
{
    struct statvfs disk;

    if (fstatvfs(writer->fd, &disk) < 0)
        return false;
    errno = ENOSPC;
    return (guint64)disk.f_bavail * disk.f_frsize >= ROOM_LEFT;
}

static bool write_content(Writer *writer, Content *content, GError **error)
{
    if (content_failed(content)) {
        errno = content_failed(content);
        return fail_errno(error, "content to be quarantined");
    }
    if (!content_replay(content, take_piece, writer) && !writer->failed) {
        errno = content_failed(content);
        return fail_errno(error, "content to be quarantined");
    }
    bool written = !writer->failed && flush(writer);
    if (writer->failed)
        errno = writer->failure;
    if (!written || !has_room(writer) || fsync(writer->fd) < 0 || fsync(writer->directory) < 0)
        return fail_errno(error, "write quarantined content %s", writer->id);
    return true;
}

/* ---- the row ---- */

static char *cut(const char *text)
{
    return g_strndup(text ? text : "", QUARANTINE_TEXT_MAX);
}

static bool insert_message(Quarantine *quarantine, const QuarantineMessage *message, const Writer *writer,
                           gint64 now_us, GError **error)
{
    g_autoptr(GString) envelope = envelope_to_text(message->envelope);
    g_autofree char *sender = address_fold(message->envelope->sender ? message->envelope->sender : "");
    g_autofree char *reason = cut(message->reason);

    return db_run(quarantine, error, "INSERT INTO message VALUES(?,?,?,?,?,?,?,?,?)", "tiiittttb", writer->id, now_us,
                  (gint64)writer->size, (gint64)QUARANTINE_HELD, sender, reason, message->trace ? message->trace : "",
                  message->nexthop ? message->nexthop : "", envelope->str, envelope->len) &&
           db_run(quarantine, error, "INSERT INTO event(id, at, who, what) VALUES(?,?,'filter','quarantined')", "ti",
                  writer->id, now_us);
}

static bool insert_recipients(Quarantine *quarantine, const GPtrArray *recipients, const char *id, GError **error)
{
    for (guint i = 0; i < recipients->len; i++) {
        const Recipient *recipient = g_ptr_array_index(recipients, i);
        g_autofree char *address = address_fold(recipient->address);
        if (!db_run(quarantine, error, "INSERT INTO recipient VALUES(?,?,?,?)", "titi", id, (gint64)i, address,
                    (gint64)QUARANTINE_HELD))
            return false;
    }
    return true;
}

static bool insert_client(Quarantine *quarantine, const XfAttrs *client, const char *id, GError **error)
{
    for (int i = 0; client && i < XF_COUNT; i++)
        if (client->value[i] &&
            !db_run(quarantine, error, "INSERT INTO client VALUES(?,?,?)", "tit", id, (gint64)i, client->value[i]))
            return false;
    return true;
}

static bool insert_verdicts(Quarantine *quarantine, const QuarantineMessage *message, const char *id, GError **error)
{
    for (size_t i = 0; i < message->verdict_count; i++) {
        const QuarantineVerdict *verdict = &message->verdicts[i];
        g_autofree char *inspector = cut(verdict->inspector);
        g_autofree char *action = cut(verdict->action);
        g_autofree char *text = cut(verdict->text);
        if (!db_run(quarantine, error, "INSERT INTO verdict VALUES(?,?,?,?,?,?)", "tittti", id, (gint64)i, inspector,
                    action, text, verdict->milliseconds))
            return false;
    }
    return true;
}

static bool insert_all(Quarantine *quarantine, const QuarantineMessage *message, const Writer *writer, bool *ret_unsure,
                       GError **error)
{
    const char *id = writer->id;

    if (!db_enter(quarantine, error))
        return false;
    bool done = db_begin(quarantine, error) && insert_message(quarantine, message, writer, clock_wall_us(), error) &&
                insert_recipients(quarantine, message->envelope->recipients, id, error) &&
                insert_client(quarantine, message->client, id, error) &&
                insert_verdicts(quarantine, message, id, error) && db_commit(quarantine, ret_unsure, error);
    db_leave(quarantine);
    return done;
}

bool quarantine_store(Quarantine *quarantine, const QuarantineMessage *message, char **ret_id, GError **error)
{
    Writer writer = {.fd = -1, .directory = -1};
    bool unsure = false;

    g_assert(message->envelope->recipients->len > 0);
    writer.buffer = g_string_sized_new(BUFFER_SIZE);
    bool made = create(quarantine, &writer, error);
    bool done = made && write_content(&writer, message->content, error) &&
                insert_all(quarantine, message, &writer, &unsure, error);
    if (made && !done && !unsure) /* else it stays for the row that may turn up; without one it is removed later */
        unlinkat(writer.directory, writer.id, 0);
    fd_clear(&writer.fd);
    fd_clear(&writer.directory);
    g_string_free(writer.buffer, TRUE);
    if (done)
        *ret_id = g_steal_pointer(&writer.id);
    g_free(writer.id);
    return done;
}
