/* stream.h - the two buffers between a session and its descriptor. Never blocks. The one place of a session that reads
 * and writes it. */
#pragma once
#include "base/account.h"
#include "net/tls.h"
#include <glib.h>
#include <stdbool.h>

#define STREAM_READ_MAX 16384 /* octets taken by one read */
#define STREAM_OUT_MAX 4096   /* replies are sent when so many octets wait; nothing new runs while any are unsent */

typedef enum {
    STREAM_OK,
    STREAM_WAIT, /* the descriptor has nothing, or takes nothing, now: park */
    STREAM_END,  /* end of input */
    STREAM_LOST, /* reset, broken pipe */
} StreamStatus;

typedef struct {
    int fd; /* owned, non-blocking */
    Account *account;
    char *in; /* allocated while it holds something */
    size_t in_at, in_len, in_size;
    GString *out; /* likewise */
    size_t out_at;
    Tls *tls;                                  /* NULL: octets go as they are */
    bool read_waits_output, write_waits_input; /* the last WAIT of each was for the other direction (TLS alone) */
    bool drained; /* the last look took, or found, all that had come: the next octet is worth waiting for, not trying */
} Stream;

void stream_init(Stream *stream, int fd, Account *account);
void stream_clear(Stream *stream); /* closes */

/* One read. Input behind what is not consumed yet; at most `limit` octets are held at once (then OK without reading).
 */
StreamStatus stream_fill(Stream *stream, size_t limit);
const char *stream_peek(const Stream *stream, size_t *ret_len); /* valid until the next fill or consume */
void stream_consume(Stream *stream, size_t len);
size_t stream_discard(
    Stream *stream); /* all that the peer has sent so far (64 kB at most from the kernel); the number of octets */
/* Octets that the peer has sent, in our buffer or in the kernel's: what a client sent before it was its turn. */
bool stream_has_more(Stream *stream);
/* The peer has closed its side, or is gone, and all that it sent was read. */
bool stream_is_over(const Stream *stream);

void stream_put(Stream *stream, const char *data, size_t len);
size_t stream_unsent(const Stream *stream);
StreamStatus stream_flush(Stream *stream); /* OK: all is sent */

/* After WAIT: EPOLLIN or EPOLLOUT, what to park for. */
unsigned stream_read_events(const Stream *stream);
unsigned stream_write_events(const Stream *stream);

/* From now on octets are those inside TLS, and what was read and not consumed is taken for TLS, too. Nothing waits to
 * be sent. The first handshake comes with stream_handshake(): as tls_handshake(); WAIT by stream_read_events(). */
void stream_begin_tls(Stream *stream, TlsContext *context, const char *peer);
TlsStatus stream_handshake(Stream *stream);
