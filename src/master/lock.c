/* lock.c - the locks that keep two mail systems out of one directory. */
#include "master/lock.h"
#include "base/fail.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 10
#define PAUSE_US 50000

/* lock_holder() holds a shared lock for a moment; a start at that moment must not fail because of it. */
static bool take(int fd)
{
    for (int i = 0; i < TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        g_usleep(PAUSE_US);
    }
    errno = EWOULDBLOCK;
    return false;
}

bool lock_write_pid(int fd, GError **error)
{
    g_autofree char *line =
        g_strdup_printf("%32ld\n", (long)getpid()); /* as wide as Postfix's: scripts read this file */

    if (pwrite(fd, line, 33, 0) != 33 || ftruncate(fd, 33) < 0)
        return fail_errno(error, "write the process id into the lock file");
    return true;
}

bool lock_take(const char *path, int *ret_fd, GError **error)
{
    struct stat status;
    auto_fd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

    if (fd < 0)
        return fail_errno(error, "open lock file %s", path);
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_nlink != 1)
        return fail(error, "open lock file %s: not a regular file with one name", path);
    if (!take(fd))
        return fail_errno(error, "open lock file %s: unable to set exclusive lock", path);
    if (!lock_write_pid(fd, error))
        return false;
    *ret_fd = fd_steal(&fd);
    return true;
}

bool lock_holder(const char *path, pid_t *ret_pid, GError **error)
{
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char text[64] = "";

    *ret_pid = 0;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return true;
    if (fd < 0)
        return fail_errno(error, "open lock file %s", path);
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return true;
    if (errno != EWOULDBLOCK)
        return fail_errno(error, "lock file %s", path);
    if (pread(fd, text, sizeof text - 1, 0) <= 0)
        return fail_errno(error, "read lock file %s", path);
    long pid = strtol(text, NULL, 10);
    if (pid <= 0 || pid > G_MAXINT)
        return fail(error, "lock file %s holds no process id", path);
    *ret_pid = (pid_t)pid;
    return true;
}
