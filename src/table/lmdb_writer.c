/* lmdb_writer.c - making files of the Lightning database. */
#include "base/fail.h"
#include "base/fd.h"
#include "table/lmdb_file.h"
#include "table/new_file.h"

#include <stdint.h>
#include <string.h>

/* Address space that a file may grow into while it is written. */
#define MAP_SIZE (sizeof(void *) > 4 ? (size_t)1 << 34 : (size_t)1 << 30)

struct LmdbWriter {
    NewFile file;
    bool with_nul;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
};

static bool fail_lmdb(GError **error, const LmdbWriter *writer, int code)
{
    return fail(error, "error writing %s: %s", writer->file.path, mdb_strerror(code));
}

static int open_environment(LmdbWriter *writer)
{
    int code = mdb_env_create(&writer->env);

    if (code == 0)
        code = mdb_env_set_mapsize(writer->env, MAP_SIZE);
    if (code == 0)
        code = mdb_env_open(writer->env, writer->file.temporary, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0644);
    if (code == 0)
        code = mdb_txn_begin(writer->env, NULL, 0, &writer->txn);
    if (code == 0)
        code = mdb_dbi_open(writer->txn, NULL, 0, &writer->dbi);
    return code;
}

LmdbWriter *lmdb_writer_new(const char *path, bool with_nul, GError **error)
{
    g_autoptr(LmdbWriter) writer = g_new0(LmdbWriter, 1);

    writer->with_nul = with_nul;
    auto_fd fd = new_file_begin(&writer->file, path, error);
    if (fd < 0)
        return NULL;
    int code = open_environment(writer); /* an empty file is a new database */
    if (code != 0) {
        fail_lmdb(error, writer, code);
        return NULL;
    }
    return g_steal_pointer(&writer);
}

static MDB_val as_value(const LmdbWriter *writer, const char *text)
{
    return (MDB_val){.mv_size = strlen(text) + writer->with_nul, .mv_data = (void *)(uintptr_t)text};
}

TableResult lmdb_writer_put(LmdbWriter *writer, const char *key, const char *value, bool replace, GError **error)
{
    MDB_val name = as_value(writer, key);
    MDB_val content = as_value(writer, value);
    MDB_val old;
    int code = mdb_get(writer->txn, writer->dbi, &name, &old);
    TableResult result = code == 0 ? TABLE_FOUND : TABLE_ABSENT;

    if (result == TABLE_FOUND && !replace)
        return TABLE_FOUND;
    if (code == 0 || code == MDB_NOTFOUND)
        code = mdb_put(writer->txn, writer->dbi, &name, &content, 0);
    if (code == 0)
        return result;
    fail_lmdb(error, writer, code);
    return TABLE_FAILED;
}

TableResult lmdb_writer_delete(LmdbWriter *writer, const char *key, GError **error)
{
    MDB_val name = as_value(writer, key);
    int code = mdb_del(writer->txn, writer->dbi, &name, NULL);

    if (code == 0)
        return TABLE_FOUND;
    if (code == MDB_NOTFOUND || code == MDB_BAD_VALSIZE)
        return TABLE_ABSENT;
    fail_lmdb(error, writer, code);
    return TABLE_FAILED;
}

typedef struct {
    LmdbWriter *writer;
    GError **error;
    bool ok;
} Copy;

static bool copy_pair(void *context, const char *key, const char *value)
{
    Copy *copy = context;

    copy->ok = lmdb_writer_put(copy->writer, key, value, false, copy->error) != TABLE_FAILED;
    return copy->ok;
}

bool lmdb_writer_copy(LmdbWriter *writer, const LmdbFile *from, GError **error)
{
    Copy copy = {.writer = writer, .error = error, .ok = true};

    return lmdb_file_walk(from, copy_pair, &copy, error) && copy.ok;
}

bool lmdb_writer_commit(LmdbWriter *writer, const char *model_path, GError **error)
{
    int code = mdb_txn_commit(writer->txn);

    writer->txn = NULL;
    if (code != 0)
        return fail_lmdb(error, writer, code);
    mdb_env_close(writer->env);
    writer->env = NULL;
    return new_file_commit(&writer->file, model_path, error);
}

void lmdb_writer_free(LmdbWriter *writer)
{
    if (!writer)
        return;
    if (writer->txn)
        mdb_txn_abort(writer->txn);
    if (writer->env)
        mdb_env_close(writer->env);
    new_file_clear(&writer->file);
    g_free(writer);
}
