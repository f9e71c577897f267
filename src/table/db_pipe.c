/* db_pipe.c - portions for databases' libraries. */
#include "table/db_pipe.h"
#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORTION 16384 /* octets; a pair of sockets holds more */

static bool is_between(const DbPipe *pipe, int fd)
{
    struct stat status;

    return pipe->own >= 0 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) && status.st_ino == pipe->inode;
}

bool db_pipe_insert(DbPipe *pipe, int fd)
{
    int pair[2];
    struct stat status;

    if (is_between(pipe, fd))
        return true;
    db_pipe_end(pipe);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    auto_fd own = pair[0], theirs = pair[1];
    auto_fd server = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    /* A library that read without asking us to wait would wait for itself: OpenSSL's reads in libmariadb do that where
     * the descriptor blocks. */
    if (server < 0 || !fd_set_nonblock(theirs, true) || fstat(theirs, &status) < 0 || dup3(theirs, fd, O_CLOEXEC) < 0)
        return false;
    *pipe = (DbPipe){.own = fd_steal(&own),
                     .server = fd_steal(&server),
                     .inode = status.st_ino,
                     .allowed = pipe->allowed,
                     .to_send = g_byte_array_new()};
    return true;
}

void db_pipe_allow(DbPipe *pipe, size_t octets)
{
    pipe->received = 0;
    pipe->allowed = octets;
}

bool db_pipe_is_flooded(const DbPipe *pipe)
{
    return pipe->received > pipe->allowed;
}

/* The server's side is over: the library reads that as the end. */
static void tell_end(DbPipe *pipe)
{
    pipe->has_ended = true;
    shutdown(pipe->own, SHUT_WR);
}

/* What the library wrote goes out, as far as the server takes it. */
static void send_out(DbPipe *pipe)
{
    guint8 portion[PORTION];

    for (;;) {
        if (pipe->to_send->len == 0) {
            ssize_t count = recv(pipe->own, portion, sizeof portion, MSG_DONTWAIT);
            if (count <= 0)
                return;
            g_byte_array_append(pipe->to_send, portion, (guint)count);
        }
        ssize_t sent = send(pipe->server, pipe->to_send->data, pipe->to_send->len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) { /* what it said before is still to be read */
            g_byte_array_set_size(pipe->to_send, 0);
            continue;
        }
        if (sent <= 0)
            return;
        g_byte_array_remove_range(pipe->to_send, 0, (guint)sent);
    }
}

/* The library has read all there was, so that a portion fits. */
static void take_in(DbPipe *pipe)
{
    guint8 portion[PORTION];
    ssize_t count = recv(pipe->server, portion, sizeof portion, MSG_DONTWAIT);

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        tell_end(pipe);
        return;
    }
    pipe->received += (size_t)count;
    if (!db_pipe_is_flooded(pipe) && send(pipe->own, portion, (size_t)count, MSG_DONTWAIT | MSG_NOSIGNAL) != count)
        tell_end(pipe); /* it closed its end */
}

static bool is_ready(int fd, short events)
{
    struct pollfd look = {.fd = fd, .events = events};

    return poll(&look, 1, 0) > 0;
}

bool db_pipe_wait(DbPipe *pipe, int fd, short events, gint64 deadline)
{
    for (;;) {
        send_out(pipe);
        if (is_ready(fd, events))
            return true;
        if ((events & POLLIN) && !pipe->has_ended)
            take_in(pipe);
        if (db_pipe_is_flooded(pipe))
            return false;
        if (is_ready(fd, events))
            return true;
        struct pollfd wait = {.fd = pipe->server,
                              .events = (short)((events & POLLIN) | (pipe->to_send->len > 0 ? POLLOUT : 0))};
        if (poll(&wait, 1, clock_poll_timeout(deadline)) <= 0 && clock_ms() >= deadline)
            return false;
    }
}

void db_pipe_end(DbPipe *pipe)
{
    if (pipe->own < 0)
        return;
    send_out(pipe);
    fd_clear(&pipe->own);
    fd_clear(&pipe->server);
    g_clear_pointer(&pipe->to_send, g_byte_array_unref);
}
