/* lmdb_file.c - reading files of the Lightning database.
 *
 * Each lookup is a read transaction of its own, bound to no thread (MDB_NOTLS), and there is no reader table
 * (MDB_NOLOCK): our own writer never touches a file that is open here, and Postfix's changes it in one transaction,
 * which leaves the pages of the state before it alone. */
#include "table/lmdb_file.h"
#include "base/fail.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

/* Address space, not memory: a file that another program makes larger while it is open here must fit. */
#define MAP_SIZE (sizeof(void *) > 4 ? (size_t)1 << 32 : (size_t)1 << 28)

struct LmdbFile {
    char *path;
    MDB_env *env;
    MDB_dbi dbi;
};

static bool fail_lmdb(GError **error, const char *what, const char *path, int code)
{
    return fail(error, "%s %s: %s", what, path, mdb_strerror(code));
}

static int open_environment(LmdbFile *file)
{
    MDB_txn *txn = NULL;
    int code = mdb_env_create(&file->env);

    if (code == 0)
        code = mdb_env_set_mapsize(file->env, MAP_SIZE);
    if (code == 0)
        code = mdb_env_open(file->env, file->path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0644);
    if (code == 0)
        code = mdb_txn_begin(file->env, NULL, MDB_RDONLY, &txn);
    if (code == 0)
        code = mdb_dbi_open(txn, NULL, 0, &file->dbi);
    if (code == 0)
        return mdb_txn_commit(txn); /* keeps the handle */
    if (txn)
        mdb_txn_abort(txn);
    return code;
}

LmdbFile *lmdb_file_open(const char *path, GError **error)
{
    g_autoptr(LmdbFile) file = g_new0(LmdbFile, 1);

    file->path = g_strdup(path);
    int code = open_environment(file);
    if (code == 0)
        return g_steal_pointer(&file);
    fail_lmdb(error, "open database", path, code);
    return NULL;
}

void lmdb_file_free(LmdbFile *file)
{
    if (!file)
        return;
    if (file->env)
        mdb_env_close(file->env);
    g_free(file->path);
    g_free(file);
}

static char *without_nul(const MDB_val *value)
{
    return g_strndup(value->mv_data, value->mv_size); /* ends at the first NUL, wherever it is */
}

TableResult lmdb_file_get(const LmdbFile *file, const char *key, char **ret_value, GError **error)
{
    size_t len = strlen(key);
    MDB_val name = {.mv_size = len + 1, .mv_data = (void *)(uintptr_t)key};
    MDB_val value;
    MDB_txn *txn;

    if (len == 0 || len > LMDB_KEY_MAX)
        return TABLE_ABSENT;
    int code = mdb_txn_begin(file->env, NULL, MDB_RDONLY, &txn);
    if (code != 0) {
        fail_lmdb(error, "error reading", file->path, code);
        return TABLE_FAILED;
    }
    code = mdb_get(txn, file->dbi, &name, &value);
    if (code == MDB_NOTFOUND) {
        name.mv_size = len;
        code = mdb_get(txn, file->dbi, &name, &value);
    }
    if (code == 0)
        *ret_value = without_nul(&value);
    mdb_txn_abort(txn);
    if (code == 0)
        return TABLE_FOUND;
    if (code == MDB_NOTFOUND)
        return TABLE_ABSENT;
    fail_lmdb(error, "error reading", file->path, code);
    return TABLE_FAILED;
}

static int walk(MDB_cursor *cursor, TableEach *each, void *context)
{
    MDB_val name, value;
    int code;

    while ((code = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) == 0) {
        g_autofree char *key = without_nul(&name);
        g_autofree char *text = without_nul(&value);
        if (!each(context, key, text))
            return 0;
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

bool lmdb_file_walk(const LmdbFile *file, TableEach *each, void *context, GError **error)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    int code = mdb_txn_begin(file->env, NULL, MDB_RDONLY, &txn);

    if (code == 0)
        code = mdb_cursor_open(txn, file->dbi, &cursor);
    if (code == 0)
        code = walk(cursor, each, context);
    if (cursor)
        mdb_cursor_close(cursor);
    if (txn)
        mdb_txn_abort(txn);
    return code == 0 || fail_lmdb(error, "error reading", file->path, code);
}
