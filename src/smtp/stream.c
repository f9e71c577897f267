/* stream.c - buffers between a session and its descriptor. */
#include "smtp/stream.h"
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void stream_init(Stream *stream, int fd, Account *account)
{
    *stream = (Stream){.fd = fd, .account = account};
}

static void drop_input(Stream *stream)
{
    account_return(stream->account, stream->in_size);
    g_clear_pointer(&stream->in, g_free);
    stream->in_at = stream->in_len = stream->in_size = 0;
}

void stream_clear(Stream *stream)
{
    drop_input(stream);
    if (stream->out)
        g_string_free(g_steal_pointer(&stream->out), TRUE);
    fd_clear(&stream->fd);
}

/* Makes room for one read behind what is held. */
static void make_room(Stream *stream, size_t want)
{
    if (stream->in_at > 0) {
        memmove(stream->in, stream->in + stream->in_at, stream->in_len);
        stream->in_at = 0;
    }
    if (stream->in_size - stream->in_len >= want)
        return;
    account_take_anyway(stream->account, stream->in_len + want - stream->in_size);
    stream->in_size = stream->in_len + want;
    stream->in = g_realloc(stream->in, stream->in_size);
}

StreamStatus stream_fill(Stream *stream, size_t limit)
{
    if (stream->in_len >= limit)
        return STREAM_OK;
    size_t want = MIN(limit - stream->in_len, STREAM_READ_MAX);
    make_room(stream, want);
    for (;;) {
        ssize_t count = recv(stream->fd, stream->in + stream->in_len, want, 0);
        stream->drained = count < (ssize_t)want;
        if (count > 0) {
            stream->in_len += (size_t)count;
            return STREAM_OK;
        }
        int failure = errno;
        if (count < 0 && failure == EINTR)
            continue;
        if (stream->in_len == 0)
            drop_input(stream);
        if (count == 0)
            return STREAM_END;
        return failure == EAGAIN || failure == EWOULDBLOCK ? STREAM_WAIT : STREAM_LOST;
    }
}

const char *stream_peek(const Stream *stream, size_t *ret_len)
{
    *ret_len = stream->in_len;
    return stream->in ? stream->in + stream->in_at : "";
}

void stream_consume(Stream *stream, size_t len)
{
    g_assert(len <= stream->in_len);
    stream->in_at += len;
    stream->in_len -= len;
    if (stream->in_len == 0)
        drop_input(stream);
}

bool stream_has_more(Stream *stream)
{
    char octet;

    if (stream->in_len > 0 || stream->drained)
        return stream->in_len > 0;
    bool has_more = recv(stream->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    stream->drained = !has_more;
    return has_more;
}

bool stream_is_over(const Stream *stream)
{
    char octet;
    ssize_t count;

    if (stream->in_len > stream->in_at)
        return false;
    do
        count = recv(stream->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    return count == 0 || (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

void stream_put(Stream *stream, const char *data, size_t len)
{
    if (!stream->out)
        stream->out = g_string_new(NULL);
    g_string_append_len(stream->out, data, (gssize)len);
}

size_t stream_unsent(const Stream *stream)
{
    return stream->out ? stream->out->len - stream->out_at : 0;
}

StreamStatus stream_flush(Stream *stream)
{
    while (stream_unsent(stream) > 0) {
        ssize_t count = send(stream->fd, stream->out->str + stream->out_at, stream_unsent(stream), MSG_NOSIGNAL);
        if (count >= 0) {
            stream->out_at += (size_t)count;
            continue;
        }
        if (errno == EINTR)
            continue;
        return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_WAIT : STREAM_LOST;
    }
    if (stream->out)
        g_string_free(g_steal_pointer(&stream->out), TRUE);
    stream->out_at = 0;
    return STREAM_OK;
}
