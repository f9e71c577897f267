/* spool_scan.c - listing messages. */
#include "spool/spool_scan.h"
#include "base/fail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct SpoolScan {
    const Spool *spool;
    SpoolPlace place;
    guint next, end; /* directories */
};

SpoolScan *spool_scan_new(const Spool *spool, SpoolPlace place)
{
    SpoolScan *scan = g_new0(SpoolScan, 1);

    scan->spool = spool;
    scan->place = place;
    scan->end = place == SPOOL_QUEUE ? SPOOL_SHARDS : 1;
    return scan;
}

void spool_scan_free(SpoolScan *scan)
{
    g_free(scan);
}

bool spool_scan_next(SpoolScan *scan, GPtrArray **ret_ids, GError **error)
{
    if (scan->next >= scan->end)
        return false;
    SpoolDirectory directory = scan->place == SPOOL_QUEUE ? spool_shard(scan->next) : spool_directory(scan->place, "");
    scan->next++;

    int fd = spool_open_directory(scan->spool, &directory);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        fail_errno(error, "open directory %s", directory.path);
        if (fd >= 0)
            close(fd);
        return false;
    }
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    struct dirent *entry;
    while (errno = 0, (entry = readdir(stream)) != NULL)
        if (id_is_valid(entry->d_name))
            g_ptr_array_add(ids, g_strdup(entry->d_name));
    if (errno != 0) {
        fail_errno(error, "read directory %s", directory.path);
        closedir(stream);
        return false;
    }
    closedir(stream);
    *ret_ids = g_steal_pointer(&ids);
    return true;
}

bool spool_next_attempt(const Spool *spool, SpoolPlace place, const char *id, gint64 *ret_wall_seconds)
{
    SpoolDirectory directory = spool_directory(place, id);
    g_autofree char *path = g_strconcat(directory.path, "/", id, NULL);
    struct stat status;

    if (fstatat(spool->root, path, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    *ret_wall_seconds = status.st_mtime;
    return true;
}
