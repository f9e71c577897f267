/* fd.c - file descriptors. */
#include "base/fd.h"
#include "base/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_clear(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

int fd_steal(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

bool fd_write_all(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t written = write(fd, at, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        at += written;
        len -= (size_t)written;
    }
    return true;
}

bool fd_pread_all(int fd, void *data, size_t len, off_t offset)
{
    char *at = data;

    while (len > 0) {
        ssize_t count = pread(fd, at, len, offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            if (count == 0)
                errno = 0;
            return false;
        }
        at += count;
        offset += count;
        len -= (size_t)count;
    }
    return true;
}

static bool change_flag(int fd, int get, int set, int flag, bool on)
{
    int flags = fcntl(fd, get);

    return flags >= 0 && fcntl(fd, set, on ? flags | flag : flags & ~flag) >= 0;
}

bool fd_set_nonblock(int fd, bool nonblock)
{
    return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, nonblock);
}

bool fd_set_cloexec(int fd, bool cloexec)
{
    return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, cloexec);
}

char *fd_read_file(const char *path, size_t max, size_t *ret_len, GError **error)
{
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    g_autoptr(GString) text = g_string_new(NULL);
    char chunk[16384];

    if (fd < 0) {
        fail_errno(error, "open %s", path);
        return NULL;
    }
    for (;;) {
        ssize_t count = read(fd, chunk, sizeof chunk);
        if (count < 0 && errno == EINTR)
            continue;
        if (count > 0 && text->len + (size_t)count > max) {
            errno = EFBIG;
            count = -1;
        }
        if (count < 0) {
            fail_errno(error, "read %s", path);
            return NULL;
        }
        if (count == 0)
            break;
        g_string_append_len(text, chunk, count);
    }
    if (ret_len)
        *ret_len = text->len;
    return g_string_free(g_steal_pointer(&text), FALSE);
}

bool fd_send(int socket, const void *data, size_t len, const int *fds, size_t count)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
    } control = {0};
    struct iovec part = {.iov_base = (void *)data, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    g_assert(count <= FD_PASS_MAX);
    if (count > 0) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    }
    for (;;) {
        ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        return sent == (ssize_t)len;
    }
}

/* Takes over the descriptors that came; those beyond max_fds are closed. Returns how many came in all. */
static size_t take_descriptors(struct msghdr *message, int *fds, size_t max_fds)
{
    size_t came = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++, came++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            if (came < max_fds)
                fds[came] = fd;
            else
                close(fd);
        }
    }
    return came;
}

ssize_t fd_receive(int socket, void *data, size_t size, int *fds, size_t max_fds, size_t *ret_count)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
    } control;
    struct iovec part = {.iov_base = data, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t len;

    *ret_count = 0;
    do
        len = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (len < 0 && errno == EINTR);
    if (len < 0)
        return -1;
    size_t came = take_descriptors(&message, fds, max_fds);
    if (came > max_fds || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        for (size_t i = 0; i < MIN(came, max_fds); i++)
            close(fds[i]);
        errno = EMSGSIZE;
        return -1;
    }
    *ret_count = came;
    return len;
}
