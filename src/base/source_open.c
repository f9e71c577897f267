/* source_open.c - opening a table's file, or looking at it, as root for somebody who is not.
 *
 * Where nobody but root can say what a name stands for, it is followed as it is. From the first directory on in which
 * another user may put names, no symbolic link is: else whoever has become that user (a queue manager in
 * $data_directory, say) had any file of the system handed out under the name of a table. */
#include "base/fd.h"
#include "base/source_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A FIFO would make open() wait, and a device might do anything. */
#define FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

/* Whether root alone decides what name is in directory: both whole paths. */
static bool is_roots(const char *directory, const char *name)
{
    struct stat above, entry;

    if (stat(directory, &above) < 0 || above.st_uid != 0)
        return false;
    bool others_write = (above.st_mode & S_IWOTH) || ((above.st_mode & S_IWGRP) && above.st_gid != 0);
    return !others_write || ((above.st_mode & S_ISVTX) && lstat(name, &entry) == 0 && entry.st_uid == 0);
}

/* How long the beginning of an absolute path is that is a directory in which others may put names; 0: there is none. */
static size_t others_directory(const char *path)
{
    for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        size_t len = MAX((size_t)(slash - path), 1);
        const char *next = strchr(slash + 1, '/');
        g_autofree char *directory = g_strndup(path, len);
        g_autofree char *name = next ? g_strndup(path, (size_t)(next - path)) : g_strdup(path);
        if (!is_roots(directory, name))
            return len;
    }
    return 0;
}

static int open_without_links(const char *path, size_t directory_len, guint64 flags)
{
    const struct open_how how = {.flags = flags, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};
    g_autofree char *directory = g_strndup(path, directory_len);
    auto_fd above = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (above < 0)
        return -1;
    return (int)syscall(SYS_openat2, above, path + directory_len + strspn(path + directory_len, "/"), &how, sizeof how);
}

/* Nor does another name of a file of root's give it away. */
static bool may_be_read(const struct stat *status)
{
    return status->st_uid != 0 || (status->st_mode & S_IROTH);
}

static size_t others_part(const char *path)
{
    return geteuid() == 0 && *path == '/' ? others_directory(path) : 0;
}

bool source_stat_for_others(const char *path, struct stat *ret_status)
{
    size_t others = others_part(path);

    if (others == 0)
        return stat(path, ret_status) == 0;
    auto_fd fd = open_without_links(path, others, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, ret_status) < 0)
        return false;
    if (may_be_read(ret_status))
        return true;
    errno = EACCES;
    return false;
}

int source_open_for_others(const char *path, struct stat *ret_status)
{
    size_t others = others_part(path);
    auto_fd fd = others > 0 ? open_without_links(path, others, FLAGS) : open(path, FLAGS);

    if (fd < 0 || fstat(fd, ret_status) < 0)
        return -1;
    if (!S_ISREG(ret_status->st_mode) || (others > 0 && !may_be_read(ret_status))) {
        errno = S_ISREG(ret_status->st_mode) ? EACCES : EINVAL;
        return -1;
    }
    return fd_steal(&fd);
}
