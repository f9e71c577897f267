/* database.c - the quarantine's index.
 *
 * Write-ahead log and synchronous=FULL: a commit is one append and one fsync, whoever lists does not stop who stores,
 * and what is committed survives a power cut (with a rollback journal it would take three syncs, and the directory's
 * besides). The price, shared memory, confines a quarantine to one machine, as our queue is.
 *
 * One connection for all threads of a process: SQLite lets one write at a time anyway, and the lock here waits with a
 * limit. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "mail/ids.h"
#include "quarantine/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define VERSION "1"
#define WAL_KEPT "4194304" /* octets of the log file that stay when it was longer */
#define LOCK_PAUSE_US 10000

FAIL_DEFINE_DOMAIN(quarantine_error)

static const char schema[] =
    "CREATE TABLE message(id TEXT PRIMARY KEY NOT NULL, stored INTEGER NOT NULL, size INTEGER NOT NULL,"
    "  state INTEGER NOT NULL, sender TEXT NOT NULL, reason TEXT NOT NULL, trace TEXT NOT NULL, nexthop TEXT NOT NULL,"
    "  envelope BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX message_stored ON message(stored);"
    "CREATE TABLE recipient(id TEXT NOT NULL REFERENCES message(id) ON DELETE CASCADE, number INTEGER NOT NULL,"
    "  address TEXT NOT NULL, state INTEGER NOT NULL, PRIMARY KEY(id, number)) WITHOUT ROWID;"
    "CREATE TABLE client(id TEXT NOT NULL REFERENCES message(id) ON DELETE CASCADE, attribute INTEGER NOT NULL,"
    "  value TEXT NOT NULL, PRIMARY KEY(id, attribute)) WITHOUT ROWID;"
    "CREATE TABLE verdict(id TEXT NOT NULL REFERENCES message(id) ON DELETE CASCADE, number INTEGER NOT NULL,"
    "  inspector TEXT NOT NULL, action TEXT NOT NULL, text TEXT NOT NULL, milliseconds INTEGER NOT NULL,"
    "  PRIMARY KEY(id, number)) WITHOUT ROWID;"
    "CREATE TABLE event(number INTEGER PRIMARY KEY, id TEXT NOT NULL REFERENCES message(id) ON DELETE CASCADE,"
    "  at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);"
    "CREATE INDEX event_id ON event(id);"
    "PRAGMA user_version=" VERSION;

static bool db_fail(Quarantine *quarantine, GError **error)
{
    return fail(error, "%s/index.db: %s", quarantine->directory,
                quarantine->db ? sqlite3_errmsg(quarantine->db) : "out of memory");
}

/* ---- whose turn it is ---- */

bool db_enter(Quarantine *quarantine, GError **error)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += QUARANTINE_WAIT_MS / 1000;
    if (pthread_mutex_timedlock(&quarantine->lock, &until) != 0)
        return fail(error, "%s: busy for %d s", quarantine->directory, QUARANTINE_WAIT_MS / 1000);
    return true;
}

void db_leave(Quarantine *quarantine)
{
    if (!sqlite3_get_autocommit(quarantine->db))
        sqlite3_exec(quarantine->db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&quarantine->lock);
}

/* ---- statements ---- */

static bool bind_all(sqlite3_stmt *statement, const char *types, va_list args)
{
    int result = SQLITE_OK;

    for (int i = 1; types[i - 1] && result == SQLITE_OK; i++) {
        const char *text;
        switch (types[i - 1]) {
        case 't':
            result = sqlite3_bind_text(statement, i, va_arg(args, const char *), -1, SQLITE_STATIC);
            break;
        case 'i':
            result = sqlite3_bind_int64(statement, i, va_arg(args, gint64));
            break;
        case 'b':
            text = va_arg(args, const char *);
            result = sqlite3_bind_blob64(statement, i, text, va_arg(args, size_t), SQLITE_STATIC);
            break;
        default:
            g_assert_not_reached();
        }
    }
    return result == SQLITE_OK;
}

static sqlite3_stmt *prepare(Quarantine *quarantine, GError **error, const char *sql, const char *types, va_list args)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(quarantine->db, sql, -1, &statement, NULL) == SQLITE_OK && bind_all(statement, types, args))
        return statement;
    db_fail(quarantine, error);
    sqlite3_finalize(statement);
    return NULL;
}

sqlite3_stmt *db_prepare(Quarantine *quarantine, GError **error, const char *sql, const char *types, ...)
{
    va_list args;

    va_start(args, types);
    sqlite3_stmt *statement = prepare(quarantine, error, sql, types, args);
    va_end(args);
    return statement;
}

bool db_next(Quarantine *quarantine, sqlite3_stmt *statement, GError **error)
{
    int result = sqlite3_step(statement);

    if (result != SQLITE_ROW && result != SQLITE_DONE)
        db_fail(quarantine, error);
    return result == SQLITE_ROW;
}

char *db_text(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    return g_strdup(text ? text : "");
}

bool db_run(Quarantine *quarantine, GError **error, const char *sql, const char *types, ...)
{
    va_list args;

    va_start(args, types);
    auto_statement *statement = prepare(quarantine, error, sql, types, args);
    va_end(args);
    return statement && (sqlite3_step(statement) == SQLITE_DONE || db_fail(quarantine, error));
}

bool db_begin(Quarantine *quarantine, GError **error)
{
    return db_run(quarantine, error, "BEGIN IMMEDIATE", "");
}

bool db_commit(Quarantine *quarantine, bool *ret_unsure, GError **error)
{
    auto_statement *statement = db_prepare(quarantine, error, "COMMIT", "");

    if (!statement)
        return false;
    int result = sqlite3_step(statement);
    /* A write or sync that fails may have put the whole transaction into the log all the same: we have none of it, but
     * who reads that log after a power cut finds it. A full disk is no such case: the end is missing. */
    if (ret_unsure)
        *ret_unsure = result != SQLITE_DONE && result != SQLITE_FULL;
    return result == SQLITE_DONE || db_fail(quarantine, error);
}

/* ---- opening ---- */

static bool run_all(Quarantine *quarantine, const char *sql, GError **error)
{
    return sqlite3_exec(quarantine->db, sql, NULL, NULL, NULL) == SQLITE_OK || db_fail(quarantine, error);
}

static bool make_schema(Quarantine *quarantine, GError **error)
{
    if (!db_begin(quarantine, error))
        return false;
    auto_statement *statement = db_prepare(quarantine, error, "PRAGMA user_version", "");
    if (!statement || !db_next(quarantine, statement, error))
        return false;
    gint64 version = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    if (version > 1)
        return fail(error, "%s/index.db: made by a later release (version %" G_GINT64_FORMAT ")", quarantine->directory,
                    version);
    return (version == 1 || run_all(quarantine, schema, error)) && db_commit(quarantine, NULL, error);
}

static bool open_database(Quarantine *quarantine, GError **error)
{
    g_autofree char *path = g_build_filename(quarantine->directory, "index.db", NULL);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

    if (sqlite3_open_v2(path, &quarantine->db, flags, NULL) != SQLITE_OK)
        return db_fail(quarantine, error);
    sqlite3_extended_result_codes(quarantine->db, 0);
    sqlite3_busy_timeout(quarantine->db, QUARANTINE_WAIT_MS);
    return run_all(quarantine,
                   "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                   "PRAGMA temp_store=MEMORY;" /* other directories are forbidden */
                   "PRAGMA journal_size_limit=" WAL_KEPT,
                   error) &&
           make_schema(quarantine, error);
}

/* The directory, ours alone. -1: error is set. */
static int open_own(const char *path, GError **error)
{
    struct stat status;

    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        fail_errno(error, "make directory %s", path);
        return -1;
    }
    auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &status) < 0) {
        fail_errno(error, "open directory %s", path);
        return -1;
    }
    if (status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        fail(error, "%s: must belong to user id %u and have mode 0700", path, (unsigned)geteuid());
        return -1;
    }
    return fd_steal(&fd);
}

/* One at a time, so that none finds the database half made. */
static bool lock_directory(int fd, const char *path, GError **error)
{
    gint64 deadline = clock_ms() + QUARANTINE_WAIT_MS;

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK || clock_ms() >= deadline)
            return fail_errno(error, "lock %s", path);
        g_usleep(LOCK_PAUSE_US);
    }
    return true;
}

static bool sync_directory(int fd, const char *path, GError **error)
{
    return fsync(fd) == 0 || fail_errno(error, "sync directory %s", path);
}

static bool open_all(Quarantine *quarantine, GError **error)
{
    g_autofree char *parent = g_path_get_dirname(quarantine->directory);
    auto_fd fd = open_own(quarantine->directory, error);
    auto_fd content = fd < 0 ? -1 : open_own(quarantine->content_directory, error);
    auto_fd above = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && content >= 0 && lock_directory(fd, quarantine->directory, error) &&
           open_database(quarantine, error) && sync_directory(fd, quarantine->directory, error) &&
           (above < 0 || sync_directory(above, parent, error));
}

Quarantine *quarantine_open(const char *directory, GError **error)
{
    g_autoptr(Quarantine) quarantine = g_new0(Quarantine, 1);

    quarantine->directory = g_strdup(directory);
    quarantine->content_directory = g_build_filename(directory, "content", NULL);
    pthread_mutex_init(&quarantine->lock, NULL);
    return open_all(quarantine, error) ? g_steal_pointer(&quarantine) : NULL;
}

void quarantine_free(Quarantine *quarantine)
{
    if (!quarantine)
        return;
    sqlite3_close(quarantine->db);
    pthread_mutex_destroy(&quarantine->lock);
    g_free(quarantine->directory);
    g_free(quarantine->content_directory);
    g_free(quarantine);
}

/* ---- names ---- */

char *quarantine_id_new(void)
{
    return id_new_spoken(ID_LENGTH);
}

char *quarantine_id_parse(const char *typed, GError **error)
{
    g_autofree char *id = g_ascii_strdown(typed, -1);

    if (strlen(id) == ID_LENGTH && strspn(id, ID_SPOKEN_DIGITS) == ID_LENGTH)
        return g_steal_pointer(&id);
    g_set_error(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND, "%s: not an id of the quarantine", typed);
    return NULL;
}

char *quarantine_content_path(const Quarantine *quarantine, const char *id)
{
    return g_build_filename(quarantine->content_directory, id, NULL);
}

int quarantine_lock_content(const Quarantine *quarantine, const char *id, GError **error)
{
    g_autofree char *path = quarantine_content_path(quarantine, id);
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat status;

    if (fd < 0 && errno == ENOENT) {
        g_set_error(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND, "%s: not in quarantine", id);
        return -1;
    }
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &status) == 0) {
        if (status.st_nlink > 0)
            return fd_steal(&fd);
        g_set_error(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND, "%s: deleted just now", id);
    } else if (fd >= 0 && errno == EWOULDBLOCK) {
        g_set_error(error, QUARANTINE_ERROR, QUARANTINE_ERROR_BUSY, "%s: somebody works on it just now", id);
    } else {
        fail_errno(error, "open %s", path);
    }
    return -1;
}
