/* sqlite_files.c - takes the place of three system calls that SQLite makes.
 *
 * Before each transaction SQLite looks whether a journal is there. To ask the master each time would cost more than the
 * lookup does, so that what was found counts for a moment: a journal matters only after a writer died. */
#include "table/sqlite_files.h"
#include "base/clock.h"
#include "base/source.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

static const char *const beside[] = {"-journal", "-wal", "-shm"};

typedef struct {
    gint64 until;
    int failure;
    struct stat status;
} Known;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards known */
static GHashTable *known;                                /* path -> Known */

static int open_file(const char *path, int flags, int mode)
{
    int fd;

    if ((flags & O_ACCMODE) != O_RDONLY)
        return open(path, flags, mode);
    fd = source_open(path);
    return fd >= 0 || errno != EPERM ? fd : open(path, flags, mode);
}

static int look_at(const char *path, struct stat *ret_status)
{
    return source_stat(path, ret_status) || (errno == EPERM && stat(path, ret_status) == 0) ? 0 : -1;
}

static bool is_beside(const char *path)
{
    for (size_t i = 0; i < G_N_ELEMENTS(beside); i++)
        if (g_str_has_suffix(path, beside[i]))
            return true;
    return false;
}

static int look_at_file(const char *path, struct stat *ret_status)
{
    if (!source_is_sealed() || !is_beside(path))
        return look_at(path, ret_status);
    pthread_mutex_lock(&lock);
    if (!known)
        known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    Known *entry = g_hash_table_lookup(known, path);
    if (!entry)
        g_hash_table_insert(known, g_strdup(path), entry = g_new0(Known, 1));
    if (clock_ms() >= entry->until) {
        entry->failure = look_at(path, &entry->status) == 0 ? 0 : errno;
        entry->until = clock_ms() + SQLITE_FILES_LOOK_MS;
    }
    *ret_status = entry->status;
    errno = entry->failure;
    int result = entry->failure == 0 ? 0 : -1;
    pthread_mutex_unlock(&lock);
    return result;
}

/* For the parts of a path that may be symbolic links: later it is what it was called by. */
static int look_at_link(const char *path, struct stat *ret_status)
{
    if (!source_is_sealed())
        return lstat(path, ret_status);
    errno = ENOENT;
    return -1;
}

static void replace(void)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");

    vfs->xSetSystemCall(vfs, "open", (sqlite3_syscall_ptr)open_file);
    vfs->xSetSystemCall(vfs, "stat", (sqlite3_syscall_ptr)look_at_file);
    vfs->xSetSystemCall(vfs, "lstat", (sqlite3_syscall_ptr)look_at_link);
}

void sqlite_files_use(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, replace);
}

void sqlite_files_name(const char *database)
{
    struct stat status;

    source_stat(database, &status);
    for (size_t i = 0; i < G_N_ELEMENTS(beside); i++) {
        g_autofree char *path = g_strconcat(database, beside[i], NULL);
        source_stat(path, &status);
    }
}
