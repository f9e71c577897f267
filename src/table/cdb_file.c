/* cdb_file.c - constant databases, by the tinycdb library, which looks at every length and offset of a file before it
 * follows it. */
#include "table/cdb_file.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/source.h"
#include "table/new_file.h"

#include <cdb.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct CdbFile {
    char *path;
    struct cdb cdb; /* its descriptor is -1 unless it is open */
};

/* Whether all 256 hash tables lie in the file: what is no constant database is seen before it is asked. */
static bool has_tables(struct cdb *cdb, int fd)
{
    const unsigned char *header = cdb_get(cdb, 256 * 8, 0);
    struct stat status;

    if (!header || fstat(fd, &status) < 0)
        return false;
    errno = EPROTO;
    for (int i = 0; i < 256; i++) {
        guint64 begin = cdb_unpack(header + 8 * i), slots = cdb_unpack(header + 8 * i + 4);
        if (begin < 256 * 8 || begin + slots * 8 > (guint64)status.st_size)
            return false;
    }
    return true;
}

CdbFile *cdb_file_open(const char *path, GError **error)
{
    g_autoptr(CdbFile) file = g_new0(CdbFile, 1);
    auto_fd fd = source_open(path);

    file->path = g_strdup(path);
    file->cdb.cdb_fd = -1;
    if (fd < 0 || cdb_init(&file->cdb, fd) < 0) {
        fail_errno(error, "open database %s", path);
        file->cdb.cdb_fd = -1;
        return NULL;
    }
    if (has_tables(&file->cdb, fd_steal(&fd)))
        return g_steal_pointer(&file);
    fail_errno(error, "open database %s", path);
    return NULL;
}

void cdb_file_free(CdbFile *file)
{
    if (!file)
        return;
    if (file->cdb.cdb_fd >= 0) {
        int fd = file->cdb.cdb_fd; /* cdb_free() forgets it */
        cdb_free(&file->cdb);
        fd_clear(&fd);
    }
    g_free(file->path);
    g_free(file);
}

TableResult cdb_file_get(const CdbFile *file, const char *key, char **ret_value, GError **error)
{
    struct cdb cdb = file->cdb; /* where a search stands is written there: each has its own */
    size_t len = strlen(key);

    if (len >= G_MAXINT32)
        return TABLE_ABSENT;
    int found = cdb_find(&cdb, key, (unsigned)len + 1);
    if (found == 0)
        found = cdb_find(&cdb, key, (unsigned)len);
    if (found == 0)
        return TABLE_ABSENT;
    const char *value = found > 0 ? cdb_getdata(&cdb) : NULL;
    if (!value) {
        fail_errno(error, "error reading %s", file->path);
        return TABLE_FAILED;
    }
    *ret_value = g_strndup(value, cdb_datalen(&cdb));
    return TABLE_FOUND;
}

struct CdbWriter {
    NewFile file;
    bool with_nul;
    int fd;
    bool started; /* make is to be finished */
    struct cdb_make make;
};

CdbWriter *cdb_writer_new(const char *path, bool with_nul, GError **error)
{
    g_autoptr(CdbWriter) writer = g_new0(CdbWriter, 1);

    writer->with_nul = with_nul;
    writer->fd = new_file_begin(&writer->file, path, error);
    if (writer->fd < 0)
        return NULL;
    if (cdb_make_start(&writer->make, writer->fd) < 0) {
        fail_errno(error, "error writing %s", path);
        return NULL;
    }
    writer->started = true;
    return g_steal_pointer(&writer);
}

TableResult cdb_writer_put(CdbWriter *writer, const char *key, const char *value, bool replace, GError **error)
{
    size_t key_len = strlen(key) + writer->with_nul;
    size_t value_len = strlen(value) + writer->with_nul;
    int there = -1;

    errno = EFBIG;
    if (key_len < G_MAXINT32 && value_len < G_MAXINT32)
        there = cdb_make_put(&writer->make, key, (unsigned)key_len, value, (unsigned)value_len,
                             replace ? CDB_PUT_REPLACE : CDB_PUT_INSERT);
    if (there >= 0)
        return there > 0 ? TABLE_FOUND : TABLE_ABSENT;
    fail_errno(error, "error writing %s", writer->file.path);
    return TABLE_FAILED;
}

static bool finish(CdbWriter *writer)
{
    bool started = writer->started;

    writer->started = false;
    return !started || cdb_make_finish(&writer->make) == 0;
}

bool cdb_writer_commit(CdbWriter *writer, const char *model_path, GError **error)
{
    if (!finish(writer))
        return fail_errno(error, "error writing %s", writer->file.path);
    return new_file_commit(&writer->file, model_path, error);
}

void cdb_writer_free(CdbWriter *writer)
{
    if (!writer)
        return;
    finish(writer);
    fd_clear(&writer->fd);
    new_file_clear(&writer->file);
    g_free(writer);
}
