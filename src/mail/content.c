/* content.c - a message's content: LF-ended lines in a buffer or an unnamed file. A line cannot hold an LF, so LF alone
 * is the frame. */
#include "mail/content.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/root.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536     /* octets of a write or read */
#define BUFFER_MIN 8192 /* of a buffer: most messages fit, and what does not goes to the file in no smaller pieces */

struct Content {
    const char *directory;
    Account *account;
    char *text; /* in memory; with a file: what is not written yet */
    size_t len, size;
    int fd;
    off_t written;
    int failure;
};

Content *content_new(const char *directory, Account *account)
{
    Content *content = g_new0(Content, 1);

    content->directory = directory;
    content->account = account;
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
        account_return(content->account, content->size);
    g_free(content->text);
    fd_clear(&content->fd);
    g_free(content);
}

/* Writes what is in memory to the file, which is made now if it is the first time. */
static bool spill(Content *content)
{
    if (content->fd < 0)
        content->fd = open(root_path(content->directory), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (content->fd < 0 || !fd_write_all(content->fd, content->text, content->len)) {
        content->failure = errno;
        return false;
    }
    content->written += (off_t)content->len;
    content->len = 0;
    if (content->size > CHUNK) {
        account_return(content->account, content->size - CHUNK);
        content->text = g_realloc(content->text, content->size = CHUNK);
    }
    return true;
}

/* Makes room for what is to be held. With anyway the account is not asked. */
static bool grow(Content *content, size_t want, bool anyway)
{
    size_t size = MAX(content->size, BUFFER_MIN);

    while (size < want)
        size *= 2;
    if (anyway)
        account_take_anyway(content->account, size - content->size);
    else if (!account_take(content->account, size - content->size))
        return false;
    content->text = g_realloc(content->text, content->size = size);
    return true;
}

static void log_full(const Content *content)
{
    Account *account = content->account;

    if (account_limit_is_news(account))
        log_warning("%s = %zu: so many octets of messages are held in memory, further ones go to disk",
                    account->name ? account->name : "content in memory", account->limit);
}

/* Makes room for len octets behind what is held, on disk if need be. */
static bool make_room(Content *content, size_t len)
{
    size_t want = content->len + len;

    if (want <= content->size)
        return true;
    if (want <= (content->fd < 0 ? CONTENT_IN_MEMORY_MAX : CHUNK)) {
        if (grow(content, want, false))
            return true;
        log_full(content);
    }
    return spill(content) && (len <= content->size || grow(content, len, true));
}

void content_add(Content *content, const char *data, size_t len, bool ends_line)
{
    if (content->failure || !make_room(content, len + 1))
        return;
    memcpy(content->text + content->len, data, len);
    content->len += len;
    if (ends_line)
        content->text[content->len++] = '\n';
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
    return done == content->len || replay_chunk(content->text + done, content->len - done, at, take, user);
}

bool content_replay(Content *content, ContentTake take, void *user)
{
    guint64 at = 0;

    return content_replay_from(content, &at, take, user);
}
