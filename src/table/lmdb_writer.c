/* lmdb_writer.c - making files of the Lightning database: a new file beside the old one, renamed when it is whole. */
#include "base/fail.h"
#include "base/fd.h"
#include "table/lmdb_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Address space that a file may grow into while it is written. */
#define MAP_SIZE (sizeof(void *) > 4 ? (size_t)1 << 34 : (size_t)1 << 30)

struct LmdbWriter {
    char *path;      /* to be replaced */
    char *temporary; /* NULL once renamed */
    bool with_nul;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
};

static bool fail_lmdb(GError **error, const LmdbWriter *writer, int code)
{
    return fail(error, "error writing %s: %s", writer->path, mdb_strerror(code));
}

static int open_environment(LmdbWriter *writer)
{
    int code = mdb_env_create(&writer->env);

    if (code == 0)
        code = mdb_env_set_mapsize(writer->env, MAP_SIZE);
    if (code == 0)
        code = mdb_env_open(writer->env, writer->temporary, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0644);
    if (code == 0)
        code = mdb_txn_begin(writer->env, NULL, 0, &writer->txn);
    if (code == 0)
        code = mdb_dbi_open(writer->txn, NULL, 0, &writer->dbi);
    return code;
}

LmdbWriter *lmdb_writer_new(const char *path, bool with_nul, GError **error)
{
    g_autoptr(LmdbWriter) writer = g_new0(LmdbWriter, 1);

    writer->path = g_strdup(path);
    writer->with_nul = with_nul;
    g_autofree char *temporary = g_strdup_printf("%s.XXXXXX", path);
    auto_fd fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        fail_errno(error, "open database %s", path);
        return NULL;
    }
    writer->temporary = g_steal_pointer(&temporary);
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

LmdbResult lmdb_writer_put(LmdbWriter *writer, const char *key, const char *value, bool replace, GError **error)
{
    MDB_val name = as_value(writer, key);
    MDB_val content = as_value(writer, value);
    MDB_val old;
    int code = mdb_get(writer->txn, writer->dbi, &name, &old);
    LmdbResult result = code == 0 ? LMDB_FOUND : LMDB_ABSENT;

    if (result == LMDB_FOUND && !replace)
        return LMDB_FOUND;
    if (code == 0 || code == MDB_NOTFOUND)
        code = mdb_put(writer->txn, writer->dbi, &name, &content, 0);
    if (code == 0)
        return result;
    fail_lmdb(error, writer, code);
    return LMDB_FAILED;
}

LmdbResult lmdb_writer_delete(LmdbWriter *writer, const char *key, GError **error)
{
    MDB_val name = as_value(writer, key);
    int code = mdb_del(writer->txn, writer->dbi, &name, NULL);

    if (code == 0)
        return LMDB_FOUND;
    if (code == MDB_NOTFOUND || code == MDB_BAD_VALSIZE)
        return LMDB_ABSENT;
    fail_lmdb(error, writer, code);
    return LMDB_FAILED;
}

typedef struct {
    LmdbWriter *writer;
    GError **error;
    bool ok;
} Copy;

static bool copy_pair(void *context, const char *key, const char *value)
{
    Copy *copy = context;

    copy->ok = lmdb_writer_put(copy->writer, key, value, false, copy->error) != LMDB_FAILED;
    return copy->ok;
}

bool lmdb_writer_copy(LmdbWriter *writer, const LmdbFile *from, GError **error)
{
    Copy copy = {.writer = writer, .error = error, .ok = true};

    return lmdb_file_walk(from, copy_pair, &copy, error) && copy.ok;
}

/* A table that may be read only by some is not opened to all by its index. */
static bool take_permissions(int fd, const char *model_path, const char *replaced, GError **error)
{
    struct stat model;

    if ((!model_path || stat(model_path, &model) < 0) && stat(replaced, &model) < 0)
        return fchmod(fd, 0644) == 0 || fail_errno(error, "chmod");
    if (fchmod(fd, model.st_mode & 0777 & ~0111U) < 0)
        return fail_errno(error, "change permissions of %s", replaced);
    if (geteuid() == 0 && fchown(fd, model.st_uid, model.st_gid) < 0)
        return fail_errno(error, "change owner of %s", replaced);
    return true;
}

bool lmdb_writer_commit(LmdbWriter *writer, const char *model_path, GError **error)
{
    int code = mdb_txn_commit(writer->txn);

    writer->txn = NULL;
    if (code != 0)
        return fail_lmdb(error, writer, code);
    mdb_env_close(writer->env);
    writer->env = NULL;
    auto_fd fd = open(writer->temporary, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(error, "open database %s", writer->temporary);
    if (!take_permissions(fd, model_path, writer->path, error))
        return false;
    if (fsync(fd) < 0)
        return fail_errno(error, "sync %s", writer->temporary);
    if (rename(writer->temporary, writer->path) < 0)
        return fail_errno(error, "rename %s to %s", writer->temporary, writer->path);
    g_clear_pointer(&writer->temporary, g_free);
    return true;
}

void lmdb_writer_free(LmdbWriter *writer)
{
    if (!writer)
        return;
    if (writer->txn)
        mdb_txn_abort(writer->txn);
    if (writer->env)
        mdb_env_close(writer->env);
    if (writer->temporary)
        unlink(writer->temporary);
    g_free(writer->temporary);
    g_free(writer->path);
    g_free(writer);
}
