/* remove.c - a message's way out of the quarantine without being released. The row goes first: what a crash leaves is a
 * file without a row. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "quarantine/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GARBAGE_AGE_S 3600
#define BATCH 1000 /* ids read at once: nothing else of them is in memory */

static bool delete_row(Quarantine *quarantine, const char *id, bool *ret_was_there, GError **error)
{
    if (!db_enter(quarantine, error))
        return false;
    bool done = db_run(quarantine, error, "DELETE FROM message WHERE id = ?", "t", id);
    *ret_was_there = done && sqlite3_changes(quarantine->db) > 0;
    db_leave(quarantine);
    return done;
}

bool quarantine_delete(Quarantine *quarantine, const char *typed, GError **error)
{
    g_autofree char *id = quarantine_id_parse(typed, error);
    g_autoptr(GError) why = NULL;
    bool was_there;

    if (!id)
        return false;
    g_autofree char *path = quarantine_content_path(quarantine, id);
    auto_fd content = quarantine_lock_content(quarantine, id, &why);
    bool gone = content < 0 && g_error_matches(why, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND);
    if (content < 0 && !gone) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    if (!delete_row(quarantine, id, &was_there, error)) /* a row whose content somebody else took away goes, too */
        return false;
    if (!was_there) {
        g_set_error(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND, "%s: not in quarantine", id);
        return false;
    }
    if (content >= 0 && unlink(path) < 0)
        return fail_errno(error, "remove %s", path);
    return true;
}

/* ---- retention ---- */

/* Ids by a statement with one number. NULL: error. */
static GPtrArray *select_ids(Quarantine *quarantine, const char *sql, gint64 number, GArray *sizes, GError **error)
{
    GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);
    GError *why = NULL;

    if (!db_enter(quarantine, error)) {
        g_ptr_array_unref(ids);
        return NULL;
    }
    {
        auto_statement *statement = db_prepare(quarantine, &why, sql, "ii", number, (gint64)BATCH);
        while (statement && db_next(quarantine, statement, &why)) {
            gint64 size = sqlite3_column_int64(statement, 1);
            g_ptr_array_add(ids, db_text(statement, 0));
            g_array_append_val(sizes, size);
        }
    }
    db_leave(quarantine);
    if (why) {
        g_propagate_error(error, why);
        g_clear_pointer(&ids, g_ptr_array_unref);
    }
    return ids;
}

typedef enum { REMOVED, LEFT, FAILED } Removal;

static Removal remove_one(Quarantine *quarantine, const char *id, GError **error)
{
    g_autoptr(GError) why = NULL;

    if (quarantine_delete(quarantine, id, &why))
        return REMOVED;
    if (why->domain == QUARANTINE_ERROR) /* in use, or another process was faster */
        return LEFT;
    g_propagate_error(error, g_steal_pointer(&why));
    return FAILED;
}

/* Removes those that a statement finds, until `excess` octets are gone. The statement does not find again what was
 * removed; what was left would come again, so a batch that is left as it was is the last. */
static bool remove_found(Quarantine *quarantine, const char *sql, gint64 number, gint64 excess, guint64 *count,
                         GError **error)
{
    for (bool progress = true; progress && excess > 0;) {
        g_autoptr(GArray) sizes = g_array_new(FALSE, FALSE, sizeof(gint64));
        g_autoptr(GPtrArray) ids = select_ids(quarantine, sql, number, sizes, error);
        if (!ids)
            return false;
        progress = false;
        for (guint i = 0; i < ids->len && excess > 0; i++) {
            Removal removal = remove_one(quarantine, g_ptr_array_index(ids, i), error);
            if (removal == FAILED)
                return false;
            if (removal == LEFT)
                continue;
            progress = true;
            ++*count;
            excess -= g_array_index(sizes, gint64, i);
        }
    }
    return true;
}

static bool total_size(Quarantine *quarantine, gint64 *ret_size, GError **error)
{
    if (!db_enter(quarantine, error))
        return false;
    bool done;
    {
        auto_statement *statement = db_prepare(quarantine, error, "SELECT coalesce(sum(size), 0) FROM message", "");
        done = statement && db_next(quarantine, statement, error);
        if (done)
            *ret_size = sqlite3_column_int64(statement, 0);
    }
    db_leave(quarantine);
    return done;
}

/* ---- what a crash left ---- */

static bool has_row(Quarantine *quarantine, const char *id, bool *ret_has, GError **error)
{
    GError *why = NULL;

    if (!db_enter(quarantine, error))
        return false;
    {
        auto_statement *statement = db_prepare(quarantine, &why, "SELECT 1 FROM message WHERE id = ?", "t", id);
        *ret_has = statement && db_next(quarantine, statement, &why);
    }
    db_leave(quarantine);
    if (why)
        g_propagate_error(error, why);
    return !why;
}

/* A file that is nobody's. The lock is asked for before the row: who stores holds it until the row is there. */
static bool sweep_one(Quarantine *quarantine, int directory, const char *name, guint64 *count, GError **error)
{
    struct stat status;
    bool has;

    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(status.st_mode) ||
        status.st_mtime > time(NULL) - GARBAGE_AGE_S)
        return true;
    auto_fd fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return true;
    if (!has_row(quarantine, name, &has, error))
        return false;
    if (!has && unlinkat(directory, name, 0) == 0)
        ++*count;
    return true;
}

static bool sweep(Quarantine *quarantine, guint64 *count, GError **error)
{
    auto_fd directory = open(quarantine->content_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = directory < 0 ? NULL : fdopendir(directory);
    const struct dirent *entry;
    bool done = true;

    if (!dir)
        return fail_errno(error, "open directory %s", quarantine->content_directory);
    while (done && (entry = readdir(dir)))
        done = sweep_one(quarantine, directory, entry->d_name, count, error);
    fd_steal(&directory); /* closedir() closes it */
    closedir(dir);
    return done;
}

bool quarantine_expire(Quarantine *quarantine, const QuarantineLimits *limits, QuarantineExpired *ret, GError **error)
{
    gint64 oldest_us = clock_wall_us() - limits->max_age_s * G_USEC_PER_SEC;
    gint64 total;

    *ret = (QuarantineExpired){0};
    if (limits->max_age_s > 0 &&
        !remove_found(quarantine, "SELECT id, 0 FROM message WHERE stored < ? ORDER BY stored LIMIT ?", oldest_us, 1,
                      &ret->by_age, error))
        return false;
    if (limits->max_size > 0) {
        if (!total_size(quarantine, &total, error) ||
            !remove_found(quarantine, "SELECT id, size FROM message ORDER BY state <> ?1, stored LIMIT ?2",
                          QUARANTINE_RELEASED, total - limits->max_size, &ret->by_size, error))
            return false;
    }
    return sweep(quarantine, &ret->garbage, error);
}
