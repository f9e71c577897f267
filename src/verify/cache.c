/* cache.c - the file of results: where it is, and reading it. */
#include "verify/cache.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/root.h"
#include "base/source.h"
#include "verify/cache_private.h"

#include <string.h>
#include <sys/stat.h>

#define COMPLAIN_MS 60000
#define LOOK_MS 200

void cache_complain(VerifyCache *cache, const char *what, const char *why)
{
    gint64 now = clock_ms();

    if (cache->complained_ms != 0 && now - cache->complained_ms < COMPLAIN_MS)
        return;
    cache->complained_ms = now;
    log_warning("%s: %s: %s", cache->name, what, why);
}

/* "btree:/path", "proxy:lmdb:/path": the file's path without suffix. NULL: memory only. */
static char *path_of(const char *map)
{
    static const char *const types[] = {"btree:", "hash:", "lmdb:"};

    if (g_str_has_prefix(map, "proxy:"))
        map += strlen("proxy:");
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        if (g_str_has_prefix(map, types[i]) && map[strlen(types[i])] == '/')
            return g_strdup(map + strlen(types[i]));
    return NULL;
}

char *verify_cache_directory(const Config *config)
{
    g_autofree char *path = path_of(config_string(config, "address_verify_map"));

    return path ? g_path_get_dirname(path) : g_strdup(config_string(config, "data_directory"));
}

/* Without suffix; ret_is_kept: it outlives its writer. The caller frees. */
static char *find_path(const Config *config, bool *ret_is_kept)
{
    char *path = path_of(config_string(config, "address_verify_map"));

    *ret_is_kept = path != NULL;
    return path ? path : g_build_filename(config_string(config, "data_directory"), "verify_memory", NULL);
}

void verify_cache_will_read(const Config *config)
{
    bool is_kept;
    g_autofree char *path = find_path(config, &is_kept);
    g_autofree char *file = g_strconcat(path, ".lmdb", NULL);
    struct stat status;

    source_stat(file, &status);
}

VerifyCache *verify_cache_open(const Config *config, CacheAccess access, GError **error)
{
    VerifyCache *cache = g_new0(VerifyCache, 1);
    const char *map = config_string(config, "address_verify_map");
    bool is_kept;
    g_autofree char *path = find_path(config, &is_kept);

    pthread_mutex_init(&cache->lock, NULL);
    cache->name = g_strconcat("cache ", is_kept ? map : path, NULL);
    cache->path = g_strconcat(access == CACHE_WRITE ? root_path(path) : path, ".lmdb", NULL);
    cache->state_path = g_strconcat(cache->path, ".state", NULL);
    cache->writes = access == CACHE_WRITE;
    cache->limit = (guint)config_int(config, "address_verify_cache_limit");
    cache->times = cache_times(config);
    if (access == CACHE_READ)
        return cache;
    if (!is_kept && *map)
        log_warning("address_verify_map: %s is not supported, results are forgotten with each start: use btree:/path",
                    map);
    if (cache_writer_open(cache, !is_kept, error))
        return cache;
    verify_cache_close(cache);
    return NULL;
}

void verify_cache_close(VerifyCache *cache)
{
    if (!cache)
        return;
    cache_writer_close(cache);
    lmdb_file_free(cache->file);
    pthread_mutex_destroy(&cache->lock);
    g_free(cache->name);
    g_free(cache->path);
    g_free(cache->state_path);
    g_free(cache);
}

/* ---- Reading ---- */

/* The reader's view: the file may come, or be replaced, at any time. Under the lock. */
static bool look_at_file(VerifyCache *cache)
{
    g_autoptr(GError) error = NULL;
    struct stat status;

    if (source_is_sealed() && clock_ms() < cache->next_look_ms) /* else it costs next to nothing */
        return cache->file != NULL;
    cache->next_look_ms = clock_ms() + LOOK_MS;
    if (!source_stat(cache->path, &status)) {
        g_clear_pointer(&cache->file, lmdb_file_free);
        return false;
    }
    if (cache->file && (status.st_dev != cache->device || status.st_ino != cache->inode))
        g_clear_pointer(&cache->file, lmdb_file_free);
    if (cache->file || status.st_size == 0) /* empty: about to be made */
        return cache->file != NULL;
    cache->file = lmdb_file_open(cache->path, &error);
    if (!cache->file)
        cache_complain(cache, "open", error->message);
    cache->device = status.st_dev;
    cache->inode = status.st_ino;
    return cache->file != NULL;
}

static bool get_theirs(VerifyCache *cache, const char *key, CacheEntry *ret_entry)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    if (!look_at_file(cache))
        return false;
    TableResult result = lmdb_file_get(cache->file, key, &text, &error);
    if (result == TABLE_FAILED)
        cache_complain(cache, "read", error->message);
    return result == TABLE_FOUND && cache_entry_from_text(text, ret_entry);
}

bool verify_cache_get(VerifyCache *cache, const char *address, CacheEntry *ret_entry)
{
    g_autofree char *key = cache_key(address);

    if (!*key)
        return false;
    pthread_mutex_lock(&cache->lock);
    bool found = cache->writes ? cache_writer_get(cache, key, ret_entry) : get_theirs(cache, key, ret_entry);
    pthread_mutex_unlock(&cache->lock);
    return found;
}
