/* spool_message.c - reading messages, and what becomes of them. */
#include "spool/spool_message.h"
#include "base/fail.h"
#include "base/fd.h"
#include "mail/envelope_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

FAIL_DEFINE_DOMAIN(spool_error)

struct SpoolMessage {
    int fd;
    char *id;
    FirstLine line;
    gint64 mtime;
    Envelope *envelope;
    Result *results; /* one for each recipient; an empty dsn: none */
};

static bool spool_fail(GError **error, SpoolError code, const char *what)
{
    if (code == SPOOL_ERROR_IO)
        g_set_error(error, SPOOL_ERROR, (gint)code, "%s: %s", what, g_strerror(errno));
    else
        g_set_error_literal(error, SPOOL_ERROR, (gint)code, what);
    return false;
}

static bool read_first_line(SpoolMessage *message, goffset *ret_size, GError **error)
{
    char text[FIRST_LINE_LEN];
    struct stat status;

    if (fstat(message->fd, &status) < 0)
        return spool_fail(error, SPOOL_ERROR_IO, "read its status");
    if (!S_ISREG(status.st_mode) || status.st_nlink == 0)
        return spool_fail(error, SPOOL_ERROR_GONE, "not there any more");
    size_t len = MIN((size_t)status.st_size, sizeof text);
    if (!fd_pread_all(message->fd, text, len, 0))
        return spool_fail(error, SPOOL_ERROR_IO, "read its first line");
    switch (first_line_read(text, len, &message->line)) {
    case FIRST_LINE_VALID:
        break;
    case FIRST_LINE_UNWRITTEN:
        return spool_fail(error, SPOOL_ERROR_UNFINISHED, "its reception did not end");
    case FIRST_LINE_VERSION:
        return spool_fail(error, SPOOL_ERROR_VERSION, "written by another release");
    case FIRST_LINE_BAD:
        return spool_fail(error, SPOOL_ERROR_CORRUPT, "its first line is damaged");
    }
    guint64 size = (guint64)status.st_size - FIRST_LINE_LEN;
    if (message->line.content_len > size || message->line.envelope_len > size - message->line.content_len)
        return spool_fail(error, SPOOL_ERROR_CORRUPT, "it is shorter than its first line says");
    message->mtime = status.st_mtime;
    *ret_size = status.st_size;
    return true;
}

static goffset envelope_offset(const SpoolMessage *message)
{
    return FIRST_LINE_LEN + (goffset)message->line.content_len;
}

static bool read_envelope(SpoolMessage *message, GError **error)
{
    size_t len = message->line.envelope_len;

    if (len > ENVELOPE_TEXT_MAX)
        return spool_fail(error, SPOOL_ERROR_CORRUPT, "its envelope is too long");
    g_autofree char *text = g_malloc(len + 1);
    if (!fd_pread_all(message->fd, text, len, envelope_offset(message)))
        return spool_fail(error, SPOOL_ERROR_IO, "read its envelope");
    text[len] = '\0';
    g_autoptr(GError) why = NULL;
    if (spool_crc(0, text, len) != message->line.envelope_crc)
        return spool_fail(error, SPOOL_ERROR_CORRUPT, "its envelope does not match its checksum");
    message->envelope = envelope_from_text(text, len, &why);
    if (!message->envelope)
        return spool_fail(error, SPOOL_ERROR_CORRUPT, why->message);
    return true;
}

/* Takes in one line of results; what is torn or about nobody is passed over. */
static void take_result(SpoolMessage *message, const char *line, size_t len)
{
    Result result;

    if (!result_from_text(line, len, &result))
        return;
    if (result.recipient >= message->envelope->recipients->len) {
        result_clear(&result);
        return;
    }
    Result *known = &message->results[result.recipient];
    if (known->dsn[0] != '\0' && known->status != RESULT_DEFERRED) {
        result_clear(&result);
        return;
    }
    result_clear(known);
    *known = result;
}

/* Line by line, with a buffer of fixed size: the file may have been appended to for five days. A line that does not fit
 * is none of ours. */
static bool read_results(SpoolMessage *message, goffset size, GError **error)
{
    goffset at = envelope_offset(message) + (goffset)message->line.envelope_len;
    char buffer[2 * RESULT_LINE_MAX];
    size_t held = 0;

    message->results = g_new0(Result, message->envelope->recipients->len);
    while (at < size) {
        size_t want = MIN(sizeof buffer - held, (size_t)(size - at));
        if (!fd_pread_all(message->fd, buffer + held, want, at))
            return spool_fail(error, SPOOL_ERROR_IO, "read its results");
        at += (goffset)want;
        held += want;
        char *line = buffer, *end;
        while ((end = memchr(line, '\n', held - (size_t)(line - buffer)))) {
            take_result(message, line, (size_t)(end - line));
            line = end + 1;
        }
        held -= (size_t)(line - buffer);
        if (held >= RESULT_LINE_MAX)
            held = 0;
        memmove(buffer, line, held);
    }
    return true;
}

SpoolMessage *spool_message_take(int fd, const char *id, GError **error)
{
    g_autoptr(SpoolMessage) message = g_new0(SpoolMessage, 1);
    goffset size;

    message->fd = fd;
    message->id = g_strdup(id);
    if (!read_first_line(message, &size, error) || !read_envelope(message, error) ||
        !read_results(message, size, error))
        return NULL;
    return g_steal_pointer(&message);
}

static int open_file(const Spool *spool, SpoolPlace place, const char *id, SpoolAccess access, GError **error)
{
    SpoolDirectory directory = spool_directory(place, id);
    g_autofree char *path = g_strconcat(directory.path, "/", id, NULL);
    int flags = access == SPOOL_LOCK ? O_RDWR | O_APPEND : O_RDONLY;
    auto_fd fd = -1;

    if (!id_is_valid(id)) {
        spool_fail(error, SPOOL_ERROR_GONE, "not a queue id");
        return -1;
    }
    fd = openat(spool->root, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        spool_fail(error, errno == ENOENT ? SPOOL_ERROR_GONE : SPOOL_ERROR_IO, errno == ENOENT ? "not there" : path);
        return -1;
    }
    if (access == SPOOL_LOCK && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        spool_fail(error, errno == EWOULDBLOCK ? SPOOL_ERROR_BUSY : SPOOL_ERROR_IO,
                   errno == EWOULDBLOCK ? "locked" : path);
        return -1;
    }
    return fd_steal(&fd);
}

SpoolMessage *spool_message_open(const Spool *spool, SpoolPlace place, const char *id, SpoolAccess access,
                                 GError **error)
{
    int fd = open_file(spool, place, id, access, error);

    return fd < 0 ? NULL : spool_message_take(fd, id, error);
}

void spool_message_free(SpoolMessage *message)
{
    if (!message)
        return;
    for (guint i = 0; message->results && i < message->envelope->recipients->len; i++)
        result_clear(&message->results[i]);
    g_free(message->results);
    envelope_free(message->envelope);
    fd_clear(&message->fd);
    g_free(message->id);
    g_free(message);
}

int spool_message_fd(const SpoolMessage *message)
{
    return message->fd;
}

const char *spool_message_id(const SpoolMessage *message)
{
    return message->id;
}

const MessageKey *spool_message_key(const SpoolMessage *message)
{
    return &message->line.key;
}

guint64 spool_message_size(const SpoolMessage *message)
{
    return message->line.content_len;
}

guint64 spool_message_wire_size(const SpoolMessage *message)
{
    gint64 size = spool_message_envelope(message)->size;

    return size > 0 ? (guint64)size : message->line.content_len;
}

const Envelope *spool_message_envelope(const SpoolMessage *message)
{
    return message->envelope;
}

gint64 spool_message_mtime(const SpoolMessage *message)
{
    return message->mtime;
}

const Result *spool_message_result(const SpoolMessage *message, guint recipient)
{
    g_assert(recipient < message->envelope->recipients->len);
    return message->results[recipient].dsn[0] != '\0' ? &message->results[recipient] : NULL;
}

bool spool_message_add_result(const SpoolMessage *message, const Result *result, bool durable, GError **error)
{
    g_autoptr(GString) text = result_to_text(result);
    ssize_t written;

    do
        written = write(message->fd, text->str, text->len);
    while (written < 0 && errno == EINTR);
    if (written >= 0 && written < (ssize_t)text->len)
        errno = ENOSPC; /* what else stops a write in the middle; the torn line will be passed over */
    if (written < (ssize_t)text->len)
        return fail_errno(error, "write the result of recipient %u", result->recipient);
    if (durable && fdatasync(message->fd) < 0)
        return fail_errno(error, "sync the result of recipient %u", result->recipient);
    return true;
}

ssize_t spool_content_read(SpoolContent *content, char *buffer, size_t size, GError **error)
{
    const SpoolMessage *message = content->message;
    size_t want = (size_t)MIN((guint64)size, message->line.content_len - content->done);

    if (want == 0) {
        if (content->crc == message->line.content_crc)
            return 0;
        spool_fail(error, SPOOL_ERROR_CORRUPT, "its content does not match its checksum");
        return -1;
    }
    if (!fd_pread_all(message->fd, buffer, want, FIRST_LINE_LEN + (off_t)content->done)) {
        spool_fail(error, SPOOL_ERROR_IO, "read its content");
        return -1;
    }
    content->crc = spool_crc(content->crc, buffer, want);
    content->done += want;
    return (ssize_t)want;
}

bool spool_message_set_next_attempt(const SpoolMessage *message, gint64 wall_seconds, GError **error)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)wall_seconds}};

    if (futimens(message->fd, times) < 0)
        return fail_errno(error, "set the time of %s", message->id);
    return true;
}

bool spool_remove(const Spool *spool, SpoolPlace place, const char *id, GError **error)
{
    SpoolDirectory directory = spool_directory(place, id);
    g_autofree char *path = g_strconcat(directory.path, "/", id, NULL);

    if (unlinkat(spool->root, path, 0) < 0)
        return fail_errno(error, "remove %s", path);
    return true;
}

bool spool_move(const Spool *spool, SpoolPlace from, SpoolPlace to, const char *id, GError **error)
{
    SpoolDirectory old = spool_directory(from, id), new = spool_directory(to, id);
    auto_fd old_fd = spool_open_directory(spool, &old);
    auto_fd new_fd = spool_open_directory(spool, &new);

    if (old_fd < 0 || new_fd < 0)
        return fail_errno(error, "open directory %s", old_fd < 0 ? old.path : new.path);
    if (renameat2(old_fd, id, new_fd, id, RENAME_NOREPLACE) < 0)
        return fail_errno(error, "move %s from %s to %s", id, old.path, new.path);
    if (fsync(new_fd) < 0 || fsync(old_fd) < 0)
        return fail_errno(error, "sync %s after moving %s there", new.path, id);
    return true;
}

bool spool_recover(const Spool *spool, SpoolPlace place, const char *id, SpoolError *ret_what, bool *ret_done,
                   GError **error)
{
    g_autoptr(GError) why = NULL;
    /* Not spool_message_open(): the lock must outlive the failure to read. */
    auto_fd fd = open_file(spool, place, id, SPOOL_LOCK, &why);
    auto_fd copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);

    *ret_done = false;
    if (fd < 0)
        return true;
    if (copy < 0)
        return fail_errno(error, "lock %s", id);
    g_autoptr(SpoolMessage) message = spool_message_take(fd_steal(&fd), id, &why);
    if (message)
        return true;
    *ret_what = (SpoolError)why->code;
    if (why->code == SPOOL_ERROR_UNFINISHED)
        *ret_done = spool_remove(spool, place, id, error);
    else if (why->code == SPOOL_ERROR_CORRUPT)
        *ret_done = spool_move(spool, place, SPOOL_CORRUPT, id, error);
    else
        return true;
    return *ret_done;
}
