/* saslauthd.c - one question to saslauthd. */
#include "sasl/saslauthd.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

typedef struct {
    unsigned char data[SASLAUTHD_REQUEST_MAX];
    size_t len;
} Request;

static bool add(Request *request, const char *text, size_t len)
{
    if (sizeof request->data - request->len < 2 + len)
        return false;
    request->data[request->len++] = (unsigned char)(len >> 8);
    request->data[request->len++] = (unsigned char)len;
    memcpy(request->data + request->len, text, len);
    request->len += len;
    return true;
}

/* user@realm says which realm. */
static bool build(Request *request, const SaslauthdLogin *login)
{
    const char *at = strrchr(login->user, '@');
    const char *realm = at ? at + 1 : login->realm ? login->realm : "";

    request->len = 0;
    return add(request, login->user, at ? (size_t)(at - login->user) : strlen(login->user)) &&
           add(request, login->password, login->password_len) && add(request, login->service, strlen(login->service)) &&
           add(request, realm, strlen(realm));
}

/* False: not before the deadline; errno. */
static bool wait_for(int fd, short events, gint64 deadline)
{
    for (;;) {
        gint64 left = deadline - clock_ms();
        struct pollfd poll_fd = {.fd = fd, .events = events};
        int count = left > 0 ? poll(&poll_fd, 1, (int)MIN(left, G_MAXINT)) : 0;

        if (count > 0)
            return true;
        if (count == 0)
            errno = ETIMEDOUT;
        if (count == 0 || errno != EINTR)
            return false;
    }
}

static bool send_all(int fd, const Request *request, gint64 deadline)
{
    size_t sent = 0;

    while (sent < request->len) {
        ssize_t count = send(fd, request->data + sent, request->len - sent, MSG_NOSIGNAL);
        if (count > 0)
            sent += (size_t)count;
        else if (errno == EAGAIN ? !wait_for(fd, POLLOUT, deadline) : errno != EINTR)
            return false;
    }
    return true;
}

static bool receive(int fd, unsigned char *data, size_t len, gint64 deadline)
{
    size_t got = 0;

    while (got < len) {
        ssize_t count = recv(fd, data + got, len - got, 0);
        if (count > 0) {
            got += (size_t)count;
        } else if (count == 0) {
            errno = ECONNRESET;
            return false;
        } else if (errno == EAGAIN ? !wait_for(fd, POLLIN, deadline) : errno != EINTR) {
            return false;
        }
    }
    return true;
}

static SaslauthdAnswer talk(int fd, const Request *request, gint64 deadline, GError **error)
{
    unsigned char head[4]; /* a length, and the two octets that count; what follows is for nobody */

    if (!send_all(fd, request, deadline))
        fail_errno(error, "cannot ask saslauthd server");
    else if (!receive(fd, head, sizeof head, deadline))
        fail_errno(error, "no answer from saslauthd server");
    else if ((head[0] << 8 | head[1]) < 2)
        fail(error, "bad response from saslauthd");
    else if (memcmp(head + 2, "OK", 2) == 0)
        return SASLAUTHD_YES;
    else if (memcmp(head + 2, "NO", 2) == 0)
        return SASLAUTHD_NO;
    else
        fail(error, "bad response from saslauthd");
    return SASLAUTHD_AWAY;
}

SaslauthdAnswer saslauthd_ask(const Endpoint *saslauthd, const SaslauthdLogin *login, gint64 deadline, GError **error)
{
    Request request;
    SaslauthdAnswer answer = SASLAUTHD_NO;

    if (build(&request, login)) { /* else nobody has such a password */
        auto_fd fd = endpoint_connect(saslauthd, deadline, error);
        if (fd < 0)
            g_prefix_error(error, "cannot connect to saslauthd server: ");
        answer = fd < 0 ? SASLAUTHD_AWAY : talk(fd, &request, deadline, error);
    }
    explicit_bzero(&request, sizeof request);
    return answer;
}
