/* dirs.c - directories of the mail system. */
#include "master/dirs.h"
#include "base/fail.h"
#include "base/fd.h"
#include "spool/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum { FOR_ROOT, FOR_OWNER, FOR_PUBLIC } DirOwner;

/* One directory, below parents that belong to root or the caller. Owner and mode are set on the descriptor: nobody can
 * put another directory in its place meanwhile. */
static bool make_one(const char *path, mode_t mode, DirOwner whose, const Owner *owner, GError **error)
{
    if (mkdir(path, 0700) < 0) {
        struct stat status;
        int saved = errno;
        if (saved == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
            return true;
        errno = saved;
        return fail_errno(error, "make directory %s", path);
    }
    auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fail_errno(error, "open directory %s", path);
    if (owner->root && whose != FOR_ROOT &&
        fchown(fd, owner->uid, whose == FOR_PUBLIC ? owner->public_gid : owner->gid) < 0)
        return fail_errno(error, "owner of directory %s", path);
    if (fchmod(fd, mode) < 0)
        return fail_errno(error, "mode of directory %s", path);
    return true;
}

static bool make_below(const char *top, const char *name, mode_t mode, DirOwner whose, const Owner *owner,
                       GError **error)
{
    g_autofree char *path = g_build_filename(top, name, NULL);

    return make_one(path, mode, whose, owner, error);
}

static bool make_with_parents(const char *path, mode_t mode, DirOwner whose, const Owner *owner, GError **error)
{
    g_autofree char *parent = g_path_get_dirname(path);

    if (!g_path_is_absolute(path))
        return fail(error, "not an absolute path: %s", path);
    if (access(parent, F_OK) < 0 && !make_with_parents(parent, 0755, FOR_ROOT, owner, error))
        return false;
    return make_one(path, mode, whose, owner, error);
}

/* The store's own directories, with the owner's rights: the one above them is the owner's, who might have put anything
 * there. */
static bool make_store(const char *queue, const Owner *owner, GError **error)
{
    g_autofree char *path = g_build_filename(queue, "gatepost", NULL);

    owner_enter(owner);
    bool made = spool_make_directories(path, (uid_t)-1, (gid_t)-1, error);
    owner_leave(owner);
    return made;
}

/* With the owner's rights where they suffice: data_directory is the owner's, too. */
static bool make_quarantine(const char *path, const Owner *owner, GError **error)
{
    owner_enter(owner);
    bool there = mkdir(path, 0700) == 0 || errno == EEXIST;
    owner_leave(owner);
    return there || make_with_parents(path, 0700, FOR_OWNER, owner, error);
}

bool dirs_make(const Config *config, const Owner *owner, GError **error)
{
    const char *queue = config_string(config, "queue_directory");

    return make_with_parents(queue, 0755, FOR_ROOT, owner, error) &&
           make_with_parents(config_string(config, "data_directory"), 0700, FOR_OWNER, owner, error) &&
           make_below(queue, config_string(config, "process_id_directory"), 0755, FOR_ROOT, owner, error) &&
           make_below(queue, "private", 0700, FOR_OWNER, owner, error) &&
           make_below(queue, "public", 0710, FOR_PUBLIC, owner, error) &&
           make_below(queue, "gatepost", 0700, FOR_OWNER, owner, error) && make_store(queue, owner, error) &&
           make_quarantine(config_string(config, "quarantine_directory"), owner, error);
}

/* Queue files lie in these or, hashed, up to two levels below. */
static guint64 count_files(int parent, const char *name, int depth)
{
    auto_fd fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    guint64 count = 0;
    const struct dirent *entry;
    DIR *dir;

    if (fd < 0 || !(dir = fdopendir(fd)))
        return 0;
    while ((entry = readdir(dir))) {
        struct stat status;
        if (entry->d_name[0] == '.' || fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(status.st_mode))
            count++;
        else if (S_ISDIR(status.st_mode) && depth > 0)
            count += count_files(fd, entry->d_name, depth - 1);
    }
    fd_steal(&fd); /* closedir() closes it */
    closedir(dir);
    return count;
}

guint64 dirs_count_postfix_mail(const char *queue_directory)
{
    static const char *const queues[] = {"maildrop", "incoming", "active", "deferred", "hold"};
    auto_fd top = open(queue_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    guint64 count = 0;

    for (size_t i = 0; top >= 0 && i < G_N_ELEMENTS(queues); i++)
        count += count_files(top, queues[i], 2);
    return count;
}
