/* stream.c - buffers between a session and its descriptor. */
#include "smtp/stream.h"
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DISCARD_MAX 65536

void stream_init(Stream *stream, int fd, Account *account)
{
    *stream = (Stream){.fd = fd, .account = account};
}

static void drop_input(Stream *stream)
{
    account_return(stream->account, stream->in_size);
    if (stream->in) /* what was consumed is gone already */
        explicit_bzero(stream->in + stream->in_at, stream->in_len);
    g_clear_pointer(&stream->in, g_free);
    stream->in_at = stream->in_len = stream->in_size = 0;
}

void stream_clear(Stream *stream)
{
    drop_input(stream);
    if (stream->out)
        g_string_free(g_steal_pointer(&stream->out), TRUE);
    if (stream->tls) {
        tls_close_notify(stream->tls);
        account_return(stream->account, tls_is_established(stream->tls) ? TLS_CONNECTION_OCTETS : TLS_HANDSHAKE_OCTETS);
        g_clear_pointer(&stream->tls, tls_free);
    }
    fd_clear(&stream->fd);
}

/* Makes room for one read behind what is held. */
static void make_room(Stream *stream, size_t want)
{
    if (stream->in_at > 0) {
        memmove(stream->in, stream->in + stream->in_at, stream->in_len);
        explicit_bzero(stream->in + stream->in_len, stream->in_at);
        stream->in_at = 0;
    }
    if (stream->in_size - stream->in_len >= want)
        return;
    account_take_anyway(stream->account, stream->in_len + want - stream->in_size);
    stream->in_size = stream->in_len + want;
    char *larger = g_malloc(stream->in_size);
    if (stream->in) {
        memcpy(larger, stream->in, stream->in_len);
        explicit_bzero(stream->in, stream->in_len);
    }
    g_free(stream->in);
    stream->in = larger;
}

static StreamStatus plain_read(Stream *stream, size_t want, size_t *ret_len)
{
    ssize_t count;

    do
        count = recv(stream->fd, stream->in + stream->in_len, want, 0);
    while (count < 0 && errno == EINTR);
    stream->drained = count < (ssize_t)want;
    *ret_len = count > 0 ? (size_t)count : 0;
    if (count > 0)
        return STREAM_OK;
    if (count == 0)
        return STREAM_END;
    return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_WAIT : STREAM_LOST;
}

static StreamStatus status_of_tls(TlsStatus status)
{
    switch (status) {
    case TLS_DONE:
        return STREAM_OK;
    case TLS_WANT_READ:
    case TLS_WANT_WRITE:
        return STREAM_WAIT;
    case TLS_END:
        return STREAM_END;
    default:
        return STREAM_LOST;
    }
}

static StreamStatus tls_fill(Stream *stream, size_t want, size_t *ret_len)
{
    TlsStatus status = tls_read(stream->tls, stream->in + stream->in_len, want, ret_len);

    stream->read_waits_output = status == TLS_WANT_WRITE;
    stream->drained = status != TLS_DONE || !tls_has_pending(stream->tls); /* it reads ahead as far as it can */
    return status_of_tls(status);
}

StreamStatus stream_fill(Stream *stream, size_t limit)
{
    size_t len;

    if (stream->in_len >= limit)
        return STREAM_OK;
    size_t want = MIN(limit - stream->in_len, STREAM_READ_MAX);
    make_room(stream, want);
    StreamStatus status = stream->tls ? tls_fill(stream, want, &len) : plain_read(stream, want, &len);
    stream->in_len += len;
    if (stream->in_len == 0)
        drop_input(stream);
    return status;
}

const char *stream_peek(const Stream *stream, size_t *ret_len)
{
    *ret_len = stream->in_len;
    return stream->in ? stream->in + stream->in_at : "";
}

void stream_consume(Stream *stream, size_t len)
{
    g_assert(len <= stream->in_len);
    if (len > 0) /* it may have been a password */
        explicit_bzero(stream->in + stream->in_at, len);
    stream->in_at += len;
    stream->in_len -= len;
    if (stream->in_len == 0)
        drop_input(stream);
}

size_t stream_discard(Stream *stream)
{
    size_t dropped = stream->in_len, before;

    drop_input(stream);
    do {
        before = dropped;
        if (stream_fill(stream, STREAM_READ_MAX) == STREAM_OK)
            dropped += stream->in_len;
        drop_input(stream);
    } while (dropped > before && dropped < DISCARD_MAX);
    return dropped;
}

/* Looks without taking. */
static StreamStatus look(const Stream *stream)
{
    char octet;
    ssize_t count;

    if (stream->tls)
        return status_of_tls(tls_peek(stream->tls));
    do
        count = recv(stream->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count >= 0)
        return count > 0 ? STREAM_OK : STREAM_END;
    return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_WAIT : STREAM_LOST;
}

bool stream_has_more(Stream *stream)
{
    if (stream->in_len > 0 || stream->drained)
        return stream->in_len > 0;
    bool has_more = look(stream) == STREAM_OK;
    stream->drained = !has_more;
    return has_more;
}

bool stream_is_over(const Stream *stream)
{
    if (stream->in_len > 0)
        return false;
    StreamStatus status = look(stream);
    return status == STREAM_END || status == STREAM_LOST;
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

static StreamStatus write_some(Stream *stream, size_t *ret_len)
{
    const char *data = stream->out->str + stream->out_at;
    size_t len = stream_unsent(stream);
    ssize_t count;

    if (stream->tls) {
        TlsStatus status = tls_write(stream->tls, data, len, ret_len);
        stream->write_waits_input = status == TLS_WANT_READ;
        return status_of_tls(status);
    }
    do
        count = send(stream->fd, data, len, MSG_NOSIGNAL);
    while (count < 0 && errno == EINTR);
    *ret_len = count > 0 ? (size_t)count : 0;
    if (count >= 0)
        return STREAM_OK;
    return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_WAIT : STREAM_LOST;
}

StreamStatus stream_flush(Stream *stream)
{
    while (stream_unsent(stream) > 0) {
        size_t len = 0;
        StreamStatus status = write_some(stream, &len);
        stream->out_at += len;
        if (status != STREAM_OK)
            return status == STREAM_WAIT ? STREAM_WAIT : STREAM_LOST;
    }
    if (stream->out)
        g_string_free(g_steal_pointer(&stream->out), TRUE);
    stream->out_at = 0;
    return STREAM_OK;
}

unsigned stream_read_events(const Stream *stream)
{
    return stream->read_waits_output ? EPOLLOUT : EPOLLIN;
}

unsigned stream_write_events(const Stream *stream)
{
    return stream->write_waits_input ? EPOLLIN : EPOLLOUT;
}

void stream_begin_tls(Stream *stream, TlsContext *context, const char *peer)
{
    g_assert(!stream->tls && stream_unsent(stream) == 0);
    account_take_anyway(stream->account, TLS_HANDSHAKE_OCTETS);
    stream->tls = tls_new(context, stream->fd, peer);
    if (stream->in_len > 0)
        tls_feed(stream->tls, stream->in + stream->in_at, stream->in_len);
    drop_input(stream);
    stream->drained = false;
}

TlsStatus stream_handshake(Stream *stream)
{
    TlsStatus status = tls_handshake(stream->tls);

    if (status == TLS_DONE)
        account_return(stream->account, TLS_HANDSHAKE_OCTETS - TLS_CONNECTION_OCTETS);
    stream->read_waits_output = status == TLS_WANT_WRITE;
    stream->drained = false;
    return status;
}
