/* content_octets.c - content as plain octets. */
#include "filter/content_octets.h"
#include "base/fd.h"
#include "base/root.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 65536

bool octets_add(OctetReader *reader, const char *data, size_t len)
{
    reader->octets += len;
    if (reader->octets > reader->limit)
        return false;
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t piece = end ? (size_t)(end - data) : len;
        bool cr = piece > 0 && data[piece - 1] == '\r';
        if (reader->held_cr && piece > 0)
            content_add(reader->to, "\r", 1, false);
        if (piece > 0 || end)
            content_add(reader->to, data, piece - cr, end != NULL);
        reader->held_cr = cr && !end;
        size_t used = piece + (end != NULL);
        data += used;
        len -= used;
    }
    return content_failed(reader->to) == 0;
}

bool octets_finish(OctetReader *reader)
{
    if (reader->held_cr)
        content_add(reader->to, "\r", 1, false);
    reader->held_cr = false;
    return content_failed(reader->to) == 0;
}

/* --- files --- */

typedef struct {
    int fd;
    bool failed;
    size_t used;
    char buffer[CHUNK];
} Writer;

static bool flush(Writer *writer)
{
    if (!fd_write_all(writer->fd, writer->buffer, writer->used))
        writer->failed = true;
    writer->used = 0;
    return !writer->failed;
}

static bool write_octets(Writer *writer, const char *data, size_t len)
{
    while (len > 0) {
        size_t part = MIN(len, CHUNK - writer->used);
        memcpy(writer->buffer + writer->used, data, part);
        writer->used += part;
        data += part;
        len -= part;
        if (writer->used == CHUNK && !flush(writer))
            return false;
    }
    return true;
}

static bool write_piece(void *user, const char *data, size_t len, bool ends_line)
{
    return write_octets(user, data, len) && (!ends_line || write_octets(user, "\n", 1));
}

int octets_to_file(Content *content, const char *directory)
{
    auto_fd fd = open(root_path(directory), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    g_autofree Writer *writer = g_new0(Writer, 1);

    writer->fd = fd;
    if (fd < 0)
        return -1;
    bool all = content_replay(content, write_piece, writer) && flush(writer);
    if (!all && content_failed(content))
        errno = content_failed(content);
    return all && lseek(fd, 0, SEEK_SET) == 0 ? fd_steal(&fd) : -1;
}

int octets_files_equal(int one, int other)
{
    g_autofree char *left = g_malloc(CHUNK), *right = g_malloc(CHUNK);
    struct stat a, b;

    if (fstat(one, &a) < 0 || fstat(other, &b) < 0)
        return -1;
    if (a.st_size != b.st_size)
        return 0;
    for (off_t at = 0; at < a.st_size; at += CHUNK) {
        size_t len = (size_t)MIN(a.st_size - at, CHUNK);
        if (!fd_pread_all(one, left, len, at) || !fd_pread_all(other, right, len, at))
            return -1;
        if (memcmp(left, right, len) != 0)
            return 0;
    }
    return 1;
}

bool octets_from_file(OctetReader *reader, int file)
{
    g_autofree char *chunk = g_malloc(CHUNK);
    off_t at = 0;
    ssize_t count;

    while ((count = pread(file, chunk, CHUNK, at)) > 0) {
        if (!octets_add(reader, chunk, (size_t)count))
            return false;
        at += count;
    }
    return count == 0 && octets_finish(reader);
}
