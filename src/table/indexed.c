/* indexed.c - lmdb: and cdb:, and hash: and btree:, whose own files nothing here reads: F.lmdb stands for them if it is
 * newer than the text F, else the text itself does. */
#include "base/fail.h"
#include "base/log.h"
#include "base/source.h"
#include "table/backend.h"
#include "table/cdb_file.h"
#include "table/lmdb_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* A text that was changed this long ago should have been indexed since. */
#define STALE_AFTER 100 /* seconds */

static void warn_stale(const char *index_path, const char *text_path)
{
    struct stat index_stat, text_stat;

    if (source_stat(index_path, &index_stat) && source_stat(text_path, &text_stat) &&
        text_stat.st_mtime > index_stat.st_mtime && text_stat.st_mtime < time(NULL) - STALE_AFTER)
        log_warning("database %s is older than source file %s", index_path, text_path);
}

static bool open_lmdb(Table *table, const char *name, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s.lmdb", name);

    table_watch(table, path);
    table->data = lmdb_file_open(path, error);
    if (table->data)
        warn_stale(path, name);
    return table->data != NULL;
}

static TableResult lmdb_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    return lmdb_file_get(table->data, key, ret_value, error);
}

static void free_lmdb(void *data)
{
    lmdb_file_free(data);
}

static bool lmdb_walk(const Table *table, TableEach *each, void *context, GError **error)
{
    return lmdb_file_walk(table->data, each, context, error);
}

const TableBackend table_lmdb = {"lmdb", true, false, open_lmdb, lmdb_lookup, free_lmdb, lmdb_walk};

static bool open_cdb(Table *table, const char *name, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s.cdb", name);

    table_watch(table, path);
    table->data = cdb_file_open(path, error);
    if (table->data)
        warn_stale(path, name);
    return table->data != NULL;
}

static TableResult cdb_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    return cdb_file_get(table->data, key, ret_value, error);
}

static void free_cdb(void *data)
{
    cdb_file_free(data);
}

const TableBackend table_cdb = {"cdb", true, false, open_cdb, cdb_lookup, free_cdb};

static bool is_newer(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec > b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec >= b->st_mtim.tv_nsec;
}

/* table->data is the table that stands for this one. */
static bool open_substitute(Table *table, const char *name, GError **error)
{
    const char *type = table->backend->type;
    g_autofree char *index_path = g_strdup_printf("%s.lmdb", name);
    g_autofree char *db_path = g_strdup_printf("%s.db", name);
    g_autofree char *spec = NULL;
    struct stat index_stat, text_stat, db_stat;
    bool has_index = source_stat(index_path, &index_stat);
    bool has_text = source_stat(name, &text_stat);

    table_watch(table, index_path);
    table_watch(table, name);
    if (has_index && (!has_text || is_newer(&index_stat, &text_stat))) {
        spec = g_strdup_printf("lmdb:%s", name);
    } else if (has_text) {
        log_warning("%s:%s: %s %s, reading the text file; \"gatepost map lmdb:%s\" makes the index", type, name,
                    index_path, has_index ? "is older than its source" : "does not exist", name);
        spec = g_strdup_printf("texthash:%s", name);
    } else if (source_stat(db_path, &db_stat)) {
        g_set_error(error, TABLE_ERROR, TABLE_ERROR_UNUSABLE,
                    "%s:%s: cannot read %s (Berkeley DB): put its source text at %s and run \"gatepost map lmdb:%s\"",
                    type, name, db_path, name, name);
        return false;
    } else {
        errno = ENOENT;
        return fail_errno(error, "open database %s", db_path);
    }
    table->data = table_open_substitute(spec, table->exact, error);
    return table->data != NULL;
}

static TableResult substitute_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const Table *substitute = table->data;

    return substitute->backend->lookup(substitute, key, ret_value, error);
}

static void substitute_free(void *data)
{
    table_free(data);
}

static bool substitute_walk(const Table *table, TableEach *each, void *context, GError **error)
{
    return table_walk(table->data, each, context, error);
}

const TableBackend table_hash = {"hash",          true,           false, open_substitute, substitute_lookup,
                                 substitute_free, substitute_walk};
const TableBackend table_btree = {"btree",         true,           false, open_substitute, substitute_lookup,
                                  substitute_free, substitute_walk};
