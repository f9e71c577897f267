/* tls_descriptor.c - the descriptor of a connection as OpenSSL wants it: octets that were read too early come first,
 * and a peer that is gone is an error, not a signal. */
#include "net/tls_private.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

static BIO_METHOD *method;

static size_t take_early(Tls *tls, char *data, size_t size)
{
    size_t len = MIN(size, tls->early_len - tls->early_at);

    memcpy(data, tls->early + tls->early_at, len);
    tls->early_at += len;
    if (tls->early_at == tls->early_len)
        g_clear_pointer(&tls->early, g_free);
    return len;
}

static bool is_temporary(int failure)
{
    return failure == EAGAIN || failure == EWOULDBLOCK || failure == EINTR;
}

/* The library takes messages of its own until octets come, without an end. */
static ssize_t receive(Tls *tls, char *data, size_t size)
{
    if (tls->asides > TLS_ASIDES_MAX) {
        errno = EPROTO;
        return -1;
    }
    return tls->early ? (ssize_t)take_early(tls, data, size) : recv(tls->fd, data, size, 0);
}

static int read_octets(BIO *bio, char *data, size_t size, size_t *ret_len)
{
    Tls *tls = BIO_get_data(bio);
    ssize_t count = receive(tls, data, size);

    BIO_clear_retry_flags(bio);
    *ret_len = count > 0 ? (size_t)count : 0;
    if (count < 0 && is_temporary(errno))
        BIO_set_retry_read(bio);
    tls->input_ended |= count == 0;
    return count > 0 ? 1 : count < 0 ? -1 : 0;
}

static int write_octets(BIO *bio, const char *data, size_t len, size_t *ret_len)
{
    Tls *tls = BIO_get_data(bio);
    ssize_t count = send(tls->fd, data, len, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    *ret_len = count > 0 ? (size_t)count : 0;
    if (count < 0 && is_temporary(errno))
        BIO_set_retry_write(bio);
    return count >= 0 ? 1 : -1;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    const Tls *tls = BIO_get_data(bio);

    if (command == BIO_CTRL_EOF)
        return tls->input_ended;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "descriptor");
    if (!method)
        g_error("no memory for TLS");
    BIO_meth_set_read_ex(method, read_octets);
    BIO_meth_set_write_ex(method, write_octets);
    BIO_meth_set_ctrl(method, control);
}

BIO *tls_descriptor(Tls *tls, int fd)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_method);
    BIO *bio = BIO_new(method);
    if (!bio)
        g_error("no memory for a TLS connection");
    tls->fd = fd;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    return bio;
}
