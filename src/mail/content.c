/* content.c - a message's content: LF-ended lines in a buffer or an unnamed file. A line cannot hold an LF, so LF alone
 * is the frame. */
#include "mail/content.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536

struct Content {
    const char *directory;
    Account *account;
    GString *text; /* in memory; with a file: what is not written yet */
    size_t charged;
    int fd;
    off_t written;
    int failure;
};

Content *content_new(const char *directory, Account *account)
{
    Content *content = g_new0(Content, 1);

    content->directory = directory;
    content->account = account;
    content->text = g_string_new(NULL);
    content->fd = -1;
    return content;
}

Content *content_of_file(int fd, off_t len)
{
    Content *content = content_new(NULL, NULL);

    content->fd = fd;
    content->written = len;
    return content;
}

void content_free(Content *content)
{
    if (!content)
        return;
    if (content->account)
        account_return(content->account, content->charged);
    g_string_free(content->text, TRUE);
    fd_clear(&content->fd);
    g_free(content);
}

/* Writes what is in memory to the file, which is made now if it is the first time. */
static bool spill(Content *content)
{
    if (content->fd < 0)
        content->fd = open(content->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (content->fd < 0 || !fd_write_all(content->fd, content->text->str, content->text->len)) {
        content->failure = errno;
        return false;
    }
    content->written += (off_t)content->text->len;
    account_return(content->account, content->charged);
    content->charged = 0;
    g_string_truncate(content->text, 0);
    return true;
}

void content_add(Content *content, const char *data, size_t len, bool ends_line)
{
    size_t room = content->fd < 0 ? CONTENT_IN_MEMORY_MAX : CHUNK;

    if (content->failure)
        return;
    bool fits = content->text->len + len + 1 <= room && account_take(content->account, len + 1);
    if (!fits) {
        if (!spill(content))
            return;
        account_take_anyway(content->account, len + 1);
    }
    content->charged += len + 1;
    g_string_append_len(content->text, data, (gssize)len);
    if (ends_line)
        g_string_append_c(content->text, '\n');
}

int content_failed(const Content *content)
{
    return content->failure;
}

static bool replay_chunk(const char *data, size_t len, guint64 *at, ContentTake take, void *user)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t piece = end ? (size_t)(end - data) : len;
        if (!take(user, data, piece, end != NULL))
            return false;
        size_t used = piece + (end != NULL);
        data += used;
        len -= used;
        *at += used;
    }
    return true;
}

bool content_replay_from(Content *content, guint64 *at, ContentTake take, void *user)
{
    char chunk[CHUNK];
    guint64 written = (guint64)content->written;

    while (*at < written) {
        size_t want = (size_t)MIN(written - *at, CHUNK);
        if (!fd_pread_all(content->fd, chunk, want, (off_t)*at)) {
            content->failure = errno ? errno : EIO;
            return false;
        }
        if (!replay_chunk(chunk, want, at, take, user))
            return false;
    }
    size_t done = (size_t)(*at - written);
    return replay_chunk(content->text->str + done, content->text->len - done, at, take, user);
}

bool content_replay(Content *content, ContentTake take, void *user)
{
    guint64 at = 0;

    return content_replay_from(content, &at, take, user);
}
