/* runner_copy.c - a message as a file that a program may read and change: alone in a directory that is its user's. */
#include "base/fd.h"
#include "base/runner_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536
#define COPY_PREFIX "gatepost-"
#define COPY_NAME_LEN (strlen(COPY_PREFIX) + 16)
#define LEFT_AFTER_S 60 /* a copy that nobody holds is younger only while it is made */
#define DEPTH_MAX 16    /* of what a program may leave in its directory */

static bool copy(int from, int to)
{
    char chunk[CHUNK];
    off_t at = 0;
    ssize_t count;

    while ((count = pread(from, chunk, sizeof chunk, at)) > 0) {
        if (!fd_write_all(to, chunk, (size_t)count))
            return false;
        at += count;
    }
    return count == 0;
}

static bool give(const RunnerPlan *plan, int fd)
{
    return !plan->change_user || fchown(fd, plan->uid, plan->gid) == 0;
}

static bool fill(const RunnerPlan *plan, int directory, int input)
{
    auto_fd file = openat(directory, RUNNER_FILE_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    return file >= 0 && copy(input, file) && give(plan, file) && give(plan, directory);
}

int runner_copy_make(const RunnerPlan *plan, int input, char **ret_path)
{
    guint64 random;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return -1;
    g_autofree char *path = g_strdup_printf("%s/" COPY_PREFIX "%016" G_GINT64_MODIFIER "x", plan->directory, random);
    if (mkdir(path, 0700) < 0)
        return -1;
    auto_fd directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0 || flock(directory, LOCK_EX | LOCK_NB) < 0 || !fill(plan, directory, input)) {
        int failure = errno;
        runner_copy_remove(path, directory);
        errno = failure;
        return -1;
    }
    *ret_path = g_steal_pointer(&path);
    return fd_steal(&directory);
}

int runner_copy_open(int directory)
{
    auto_fd file = openat(directory, RUNNER_FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat status;

    return file >= 0 && fstat(file, &status) == 0 && S_ISREG(status.st_mode) ? fd_steal(&file) : -1;
}

/* By descriptors, so that no link leads anywhere else. */
static void empty(int directory, int depth)
{
    int own = dup(directory);
    DIR *entries = own >= 0 ? fdopendir(own) : NULL;
    const struct dirent *entry;

    if (!entries) {
        fd_clear(&own);
        return;
    }
    rewinddir(entries);
    while ((entry = readdir(entries))) {
        if (g_str_equal(entry->d_name, ".") || g_str_equal(entry->d_name, ".."))
            continue;
        if (unlinkat(directory, entry->d_name, 0) == 0 || depth == 0)
            continue;
        auto_fd below = openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0)
            empty(below, depth - 1);
        unlinkat(directory, entry->d_name, AT_REMOVEDIR);
    }
    closedir(entries);
}

void runner_copy_remove(const char *path, int directory)
{
    if (directory >= 0)
        empty(directory, DEPTH_MAX);
    rmdir(path);
}

static bool is_left(const RunnerPlan *plan, int copy)
{
    uid_t owner = plan->change_user ? plan->uid : geteuid();
    struct stat status;

    return fstat(copy, &status) == 0 && status.st_uid == owner && status.st_mtime < time(NULL) - LEFT_AFTER_S &&
           flock(copy, LOCK_EX | LOCK_NB) == 0;
}

void runner_copy_sweep(const RunnerPlan *plan)
{
    DIR *entries = opendir(plan->directory);
    const struct dirent *entry;

    while (entries && (entry = readdir(entries))) {
        if (!g_str_has_prefix(entry->d_name, COPY_PREFIX) || strlen(entry->d_name) != COPY_NAME_LEN)
            continue;
        auto_fd copy = openat(dirfd(entries), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (copy >= 0 && is_left(plan, copy)) {
            empty(copy, DEPTH_MAX);
            unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
        }
    }
    if (entries)
        closedir(entries);
}
