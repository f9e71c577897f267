/* cache_writer.c - the file of results, for the queue manager. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "verify/cache_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY_OCTETS_MAX 4096 /* that an entry takes in the file at most, with half of a page empty */
#define READERS_MAX 1024
#define UNKNOWN_BOOT "unknown"

/* ---- The file ---- */

static void close_file(VerifyCache *cache)
{
    g_clear_pointer(&cache->env, mdb_env_close);
}

static int open_environment(VerifyCache *cache)
{
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC;
    size_t size = MAX((size_t)cache->limit, 1000) * ENTRY_OCTETS_MAX;
    MDB_txn *txn = NULL;
    int code = mdb_env_create(&cache->env);

    if (code == 0)
        code = mdb_env_set_mapsize(cache->env, size);
    if (code == 0)
        code = mdb_env_set_maxreaders(cache->env, READERS_MAX);
    if (code == 0)
        code = mdb_env_open(cache->env, cache->path, flags, 0600);
    if (code == 0)
        code = mdb_txn_begin(cache->env, NULL, 0, &txn);
    if (code == 0)
        code = mdb_dbi_open(txn, NULL, 0, &cache->dbi);
    if (code == 0)
        return mdb_txn_commit(txn); /* keeps the handle */
    if (txn)
        mdb_txn_abort(txn);
    return code;
}

static int open_file(VerifyCache *cache)
{
    struct stat status;
    int code = open_environment(cache);

    if (code == 0 && stat(cache->path, &status) == 0) {
        cache->device = status.st_dev;
        cache->inode = status.st_ino;
        return 0;
    }
    close_file(cache);
    return code;
}

static char *boot_line(void)
{
    char *id = NULL;

    if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &id, NULL, NULL))
        return g_strdup(UNKNOWN_BOOT);
    return g_strstrip(id);
}

/* From here until it is closed the file is not whole on the disk. */
static bool mark_unsynced(VerifyCache *cache, GError **error)
{
    g_autofree char *boot = boot_line();
    g_autofree char *directory = g_path_get_dirname(cache->path);
    auto_fd fd = open(cache->state_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || !fd_write_all(fd, boot, strlen(boot)) || fsync(fd) < 0)
        return fail_errno(error, "write %s", cache->state_path);
    auto_fd above = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0 || fsync(above) < 0)
        return fail_errno(error, "sync directory %s", directory);
    cache->is_marked = true;
    return true;
}

/* Whether another boot wrote to the file and did not sync it. */
static bool may_be_torn(const VerifyCache *cache)
{
    g_autofree char *boot = boot_line();
    g_autofree char *written = NULL;

    return g_file_get_contents(cache->state_path, &written, NULL, NULL) &&
           (strcmp(written, boot) != 0 || strcmp(boot, UNKNOWN_BOOT) == 0);
}

static void remove_file(const VerifyCache *cache)
{
    g_autofree char *lock = g_strconcat(cache->path, "-lock", NULL);

    unlink(cache->path);
    unlink(lock);
}

bool cache_writer_open(VerifyCache *cache, bool forget, GError **error)
{
    if (!forget && may_be_torn(cache)) {
        log_info_as("verify", "%s: written before the system went down, begun anew", cache->name);
        forget = true;
    }
    if (forget)
        remove_file(cache);
    if (access(cache->path, F_OK) < 0 && errno == ENOENT)
        return true;
    if (!mark_unsynced(cache, error))
        return false;
    int code = open_file(cache);
    if (code == MDB_INVALID || code == MDB_VERSION_MISMATCH || code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND) {
        log_warning_as("verify", "%s: %s: begun anew", cache->name, mdb_strerror(code));
        remove_file(cache);
        code = open_file(cache);
    }
    return code == 0 || fail(error, "open %s: %s", cache->path, mdb_strerror(code));
}

void cache_writer_close(VerifyCache *cache)
{
    if (cache->env && mdb_env_sync(cache->env, 1) == 0)
        unlink(cache->state_path);
    close_file(cache);
}

/* ---- Entries in the file ---- */

static MDB_val value_of(const char *text)
{
    return (MDB_val){.mv_size = strlen(text), .mv_data = (void *)text};
}

/* Postfix's files may have a NUL at the end of values. */
static bool read_entry(const MDB_val *value, CacheEntry *ret_entry)
{
    g_autofree char *text = g_strndup(value->mv_data, value->mv_size);

    return cache_entry_from_text(text, ret_entry);
}

static int get(const VerifyCache *cache, MDB_txn *txn, const char *key, CacheEntry *ret_entry)
{
    MDB_val name = value_of(key), value;
    int code = mdb_get(txn, cache->dbi, &name, &value);

    return code == 0 && !read_entry(&value, ret_entry) ? MDB_NOTFOUND : code;
}

bool cache_writer_get(VerifyCache *cache, const char *key, CacheEntry *ret_entry)
{
    MDB_txn *txn;
    int code = cache->env ? mdb_txn_begin(cache->env, NULL, MDB_RDONLY, &txn) : MDB_NOTFOUND;

    if (code == 0) {
        code = get(cache, txn, key, ret_entry);
        mdb_txn_abort(txn);
    }
    if (code != 0 && code != MDB_NOTFOUND)
        cache_complain(cache, "read", mdb_strerror(code));
    return code == 0;
}

/* ---- Writing ---- */

typedef struct {
    const VerifyCache *cache;
    gint64 now;
    bool only_expired;
    bool with_good;  /* good results may go, too */
    gint64 cut;      /* what was updated until then goes */
    GArray *updated; /* of gint64: times of what may go, where they are collected; else NULL */
    guint kept, dropped;
} Sweep;

/* Of those that have to make room. */
static bool goes(const Sweep *sweep, const CacheEntry *entry)
{
    if (cache_entry_is_expired(entry, &sweep->cache->times, sweep->now))
        return true;
    return !sweep->only_expired && (sweep->with_good || entry->status != ADDRESS_OK) && entry->updated <= sweep->cut;
}

static void collect(Sweep *sweep, const CacheEntry *entry)
{
    if (sweep->with_good || entry->status != ADDRESS_OK)
        g_array_append_val(sweep->updated, entry->updated);
}

static int sweep_entries(MDB_txn *txn, Sweep *sweep)
{
    MDB_cursor *cursor;
    MDB_val name, value;
    int code = mdb_cursor_open(txn, sweep->cache->dbi, &cursor);

    if (code != 0)
        return code;
    while ((code = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) == 0) {
        g_auto(CacheEntry) entry = {0};
        bool is_entry = read_entry(&value, &entry);
        if (sweep->updated) {
            if (is_entry)
                collect(sweep, &entry);
        } else if (!is_entry || goes(sweep, &entry)) {
            if ((code = mdb_cursor_del(cursor, 0)) != 0)
                break;
            sweep->dropped++;
        } else {
            sweep->kept++;
        }
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

static gint compare_times(gconstpointer a, gconstpointer b)
{
    gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;

    return (left > right) - (left < right);
}

/* Makes room for an eighth of what fits: the oldest of the bad results, of all where there are few of those. */
static int make_room(const VerifyCache *cache, MDB_txn *txn, gint64 now)
{
    guint wanted = MAX(cache->limit / 8, 1);
    g_autoptr(GArray) updated = g_array_new(FALSE, FALSE, sizeof(gint64));
    Sweep sweep = {.cache = cache, .now = now, .updated = updated};
    int code = sweep_entries(txn, &sweep);

    if (code == 0 && updated->len < wanted) {
        g_array_set_size(updated, 0);
        sweep.with_good = true;
        code = sweep_entries(txn, &sweep);
    }
    if (code != 0)
        return code;
    g_array_sort(updated, compare_times);
    sweep.cut = updated->len == 0 ? 0 : g_array_index(updated, gint64, MIN(wanted, updated->len) - 1);
    sweep.updated = NULL;
    code = sweep_entries(txn, &sweep);
    log_info_as("verify", "%s is full: retained=%u dropped=%u entries", cache->name, sweep.kept, sweep.dropped);
    return code;
}

static int put(const VerifyCache *cache, MDB_txn *txn, const char *key, const CacheEntry *entry)
{
    gint64 now = clock_wall_us() / G_USEC_PER_SEC;
    g_autofree char *text = cache_entry_to_text(entry);
    MDB_val name = value_of(key), value = value_of(text);
    g_auto(CacheEntry) old = {0};
    MDB_stat size;
    int code = get(cache, txn, key, &old);

    if (code == 0 && entry->status != ADDRESS_OK && old.status == ADDRESS_OK &&
        !cache_entry_is_expired(&old, &cache->times, now))
        return 0;
    if (code == MDB_NOTFOUND && (code = mdb_stat(txn, cache->dbi, &size)) == 0 && size.ms_entries >= cache->limit)
        code = make_room(cache, txn, now);
    return code == 0 ? mdb_put(txn, cache->dbi, &name, &value, 0) : code;
}

static int in_transaction(VerifyCache *cache, const char *key, const CacheEntry *entry, Sweep *sweep)
{
    MDB_txn *txn;
    int code = cache->env ? mdb_txn_begin(cache->env, NULL, 0, &txn) : ENOENT;

    if (code != 0)
        return code;
    code = sweep ? sweep_entries(txn, sweep) : put(cache, txn, key, entry);
    if (code == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

static void make_file(VerifyCache *cache)
{
    g_autoptr(GError) error = NULL;

    if (!cache->is_marked && !mark_unsynced(cache, &error)) {
        cache_complain(cache, "open", error->message);
        return;
    }
    int code = open_file(cache);
    if (code != 0)
        cache_complain(cache, "open", mdb_strerror(code));
}

bool verify_cache_put(VerifyCache *cache, const char *address, const CacheEntry *entry)
{
    g_autofree char *key = cache_key(address);
    struct stat status;

    g_assert(cache->writes);
    if (!*key)
        return true;
    pthread_mutex_lock(&cache->lock);
    /* There is none yet, or somebody removed it, which is how it is made anew: readers will look for it at its place.
     */
    bool is_there = stat(cache->path, &status) == 0;
    if (!cache->env || !is_there || status.st_ino != cache->inode || status.st_dev != cache->device) {
        close_file(cache);
        if (!is_there)
            remove_file(cache); /* the locks of those who have the old one open are not the new one's */
        make_file(cache);
    }
    int code = in_transaction(cache, key, entry, NULL);
    if (code != 0)
        cache_complain(cache, "write", mdb_strerror(code));
    pthread_mutex_unlock(&cache->lock);
    return code == 0;
}

void verify_cache_clean(VerifyCache *cache)
{
    Sweep sweep = {.cache = cache, .now = clock_wall_us() / G_USEC_PER_SEC, .only_expired = true};
    int dead;

    g_assert(cache->writes);
    pthread_mutex_lock(&cache->lock);
    if (cache->env)
        mdb_reader_check(cache->env, &dead);
    int code = cache->env ? in_transaction(cache, NULL, NULL, &sweep) : 0;
    if (code != 0)
        cache_complain(cache, "clean", mdb_strerror(code));
    else if (sweep.kept > 0 || sweep.dropped > 0)
        log_info_as("verify", "%s full cleanup: retained=%u dropped=%u entries", cache->name, sweep.kept,
                    sweep.dropped);
    pthread_mutex_unlock(&cache->lock);
}
