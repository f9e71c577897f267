/* queue_notify.c - datagrams to the queue manager.
 *
 * The answer to "which are active" comes in a memory file, because nothing else of any size can be handed to a client
 * that may not read: one sendmsg() that does not block, and the queue manager is done with it. */
#include "spool/queue_notify.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX (64 << 20) /* octets of a list of active messages */

struct QueueNotify {
    int socket; /* a datagram socket without a name, non-blocking */
    struct sockaddr_un peer;
};

QueueNotify *queue_notify_open(const char *queue_directory, GError **error)
{
    g_autofree char *path = g_strconcat(queue_directory, "/public/qmgr", NULL);
    struct sockaddr_un peer = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof peer.sun_path) {
        fail(error, "%s: longer than %zu octets", path, sizeof peer.sun_path - 1);
        return NULL;
    }
    int socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket_fd < 0) {
        fail_errno(error, "socket");
        return NULL;
    }
    QueueNotify *notify = g_new0(QueueNotify, 1);
    g_strlcpy(peer.sun_path, path, sizeof peer.sun_path);
    notify->socket = socket_fd;
    notify->peer = peer;
    return notify;
}

void queue_notify_close(QueueNotify *notify)
{
    if (!notify)
        return;
    close(notify->socket);
    g_free(notify);
}

static bool send_datagram(const QueueNotify *notify, QueueNotifyKind kind, const char *id, int fd)
{
    char text[QUEUE_NOTIFY_MAX];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof fd)];
    } control = {0};
    size_t len = id ? strlen(id) : 0;
    struct iovec part = {.iov_base = text, .iov_len = len + 1};
    struct msghdr message = {
        .msg_name = (void *)&notify->peer, .msg_namelen = sizeof notify->peer, .msg_iov = &part, .msg_iovlen = 1};

    g_assert(len < sizeof text);
    text[0] = (char)kind;
    if (len > 0)
        memcpy(text + 1, id, len);
    if (fd >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    ssize_t sent;
    do
        sent = sendmsg(notify->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)len + 1;
}

bool queue_notify_send(QueueNotify *notify, QueueNotifyKind kind, const char *id)
{
    return send_datagram(notify, kind, id, -1);
}

/* The file is somebody else's: it is looked at only up to the size it had first, through a copy. */
static GPtrArray *read_answer(int fd, GError **error)
{
    struct stat status;

    if (fstat(fd, &status) < 0 || status.st_size < 0 || status.st_size > ANSWER_MAX) {
        fail(error, "bad answer of the queue manager");
        return NULL;
    }
    g_autofree char *text = g_malloc0((size_t)status.st_size + 1);
    if (!fd_pread_all(fd, text, (size_t)status.st_size, 0)) {
        fail_errno(error, "answer of the queue manager");
        return NULL;
    }
    GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
        g_ptr_array_add(ids, g_strndup(line, (gsize)(end - line)));
    return ids;
}

GPtrArray *queue_ask_active(QueueNotify *notify, int timeout_ms, GError **error)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        fail_errno(error, "socketpair");
        return NULL;
    }
    auto_fd ours = pair[0];
    auto_fd theirs = pair[1];
    bool sent = send_datagram(notify, QUEUE_NOTIFY_ACTIVE, NULL, theirs);
    int saved = errno;
    fd_clear(&theirs);
    errno = saved;
    if (!sent) {
        fail_errno(error, "connect to %s", notify->peer.sun_path);
        return NULL;
    }
    struct pollfd wait = {.fd = ours, .events = POLLIN};
    gint64 deadline = clock_ms() + timeout_ms;
    int ready;
    do
        ready = poll(&wait, 1, clock_poll_timeout(deadline));
    while (ready < 0 && errno == EINTR);
    char octet;
    int answer = -1;
    size_t count = 0;
    if (ready <= 0 || fd_receive(ours, &octet, 1, &answer, 1, &count) != 1 || count != 1) {
        fail(error, "no answer from the queue manager");
        return NULL;
    }
    auto_fd file = answer;
    return read_answer(file, error);
}

void queue_answer_active(int socket_fd, const char *ids, size_t len)
{
    auto_fd file = memfd_create("gatepost-active", MFD_CLOEXEC);

    if (file < 0 || !fd_write_all(file, ids, len))
        return;
    if (fd_set_nonblock(socket_fd, true))
        (void)fd_send(socket_fd, "A", 1, &file, 1);
}
