/* spool.c - the directories of the store. */
#include "spool/spool.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/root.h"
#include "spool/spool_format.h"
#include "spool/spool_place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

SpoolDirectory spool_shard(guint shard)
{
    SpoolDirectory directory;

    snprintf(directory.path, sizeof directory.path, "spool/%02x", shard % SPOOL_SHARDS);
    return directory;
}

SpoolDirectory spool_directory(SpoolPlace place, const char *id)
{
    SpoolDirectory directory;

    if (place == SPOOL_QUEUE)
        return spool_shard(spool_crc(0, id, strlen(id)));
    g_strlcpy(directory.path, place == SPOOL_HOLD ? "hold" : "corrupt", sizeof directory.path);
    return directory;
}

int spool_open_directory(const Spool *spool, const SpoolDirectory *directory)
{
    return openat(spool->root, directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

typedef struct {
    uid_t owner;
    gid_t group;
} Owner;

/* Makes one directory below parent unless it is there. */
static bool make_directory(int parent, const char *path, const Owner *owner, GError **error)
{
    if (mkdirat(parent, path, 0700) < 0)
        return errno == EEXIST || fail_errno(error, "create directory %s", path);
    if ((owner->owner != (uid_t)-1 || owner->group != (gid_t)-1) &&
        fchownat(parent, path, owner->owner, owner->group, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_errno(error, "change the owner of %s", path);
    return true;
}

static bool sync_directory(int parent, const char *path, GError **error)
{
    auto_fd fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return fail_errno(error, "sync directory %s", path);
    return true;
}

/* A hint to file systems that know it (ext4: chattr +T): directories made here lie far apart. A file's inode is
 * searched for from the beginning of its directory's group, past all that were freed a short time ago, which in a queue
 * are thousands: apart, each shard searches only past its own, and mailboxes on the same disk past none. */
static void spread_out(int parent, const char *path)
{
    auto_fd fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int flags = 0;

    if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_TOPDIR_FL)) {
        flags |= FS_TOPDIR_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

/* Below root. Synced even when all were there: who made them may have ended before it could sync. */
static bool make_inner_directories(int root, const Owner *owner, GError **error)
{
    if (!make_directory(root, "spool", owner, error) || !make_directory(root, "hold", owner, error) ||
        !make_directory(root, "corrupt", owner, error))
        return false;
    spread_out(root, "spool");
    for (guint shard = 0; shard < SPOOL_SHARDS; shard++)
        if (!make_directory(root, spool_shard(shard).path, owner, error))
            return false;
    return sync_directory(root, "spool", error) && sync_directory(root, ".", error);
}

static int open_root(const char *directory, const Owner *owner, GError **error)
{
    g_autofree char *parent = g_path_get_dirname(directory);

    if (!make_directory(AT_FDCWD, directory, owner, error) || !sync_directory(AT_FDCWD, parent, error))
        return -1;
    auto_fd root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        fail_errno(error, "open directory %s", directory);
        return -1;
    }
    if (!make_inner_directories(root, owner, error)) {
        g_prefix_error(error, "%s: ", directory);
        return -1;
    }
    return fd_steal(&root);
}

bool spool_make_directories(const char *directory, uid_t owner, gid_t group, GError **error)
{
    auto_fd root = open_root(directory, &(Owner){owner, group}, error);

    return root >= 0;
}

Spool *spool_open(const SpoolOptions *options, GError **error)
{
    int root = open_root(root_path(options->directory), &(Owner){(uid_t)-1, (gid_t)-1}, error);

    if (root < 0)
        return NULL;
    Spool *spool = g_new0(Spool, 1);
    spool->root = root;
    spool->long_ids = options->long_ids;
    return spool;
}

Spool *spool_open_to_read(const char *directory, GError **error)
{
    int root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (root < 0) {
        fail_errno(error, "open directory %s", directory);
        return NULL;
    }
    Spool *spool = g_new0(Spool, 1);
    spool->root = root;
    return spool;
}

void spool_free(Spool *spool)
{
    if (!spool)
        return;
    close(spool->root);
    g_free(spool);
}

bool spool_free_space(const Spool *spool, guint64 *ret_octets, GError **error)
{
    struct statvfs space;

    if (fstatvfs(spool->root, &space) < 0)
        return fail_errno(error, "free space of the queue's file system");
    *ret_octets = (guint64)space.f_bavail * space.f_frsize;
    return true;
}

bool spool_lock_manager(const Spool *spool, int *ret_fd, GError **error)
{
    auto_fd fd = openat(spool->root, "qmgr.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return fail_errno(error, "open qmgr.lock");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return fail_errno(error, "lock qmgr.lock");
    *ret_fd = fd_steal(&fd);
    return true;
}
