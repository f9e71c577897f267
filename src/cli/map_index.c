/* map_index.c - making and changing indexes. A changed one is a new file, renamed when it is whole: readers see the old
 * one or the new one. lmdb files stand for hash: and btree: too; cdb files are made, and never changed. */
#include "cli/map_index.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/config.h"
#include "table/cdb_file.h"
#include "table/lmdb_file.h"
#include "table/table.h"
#include "table/text.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

Config *map_config(const MapOptions *options, GError **error)
{
    g_autoptr(MainCf) main_cf = main_cf_read(options->config_dir, error);

    return main_cf ? config_new(main_cf, &(ConfigScope){.process_name = "postmap", .stress = ""}, error) : NULL;
}

char *map_complete_spec(const MapOptions *options, const char *spec, GError **error)
{
    const char *type;

    if (strchr(spec, ':'))
        return g_strdup(spec);
    g_autoptr(Config) config = map_config(options, error);
    if (!config)
        return NULL;
    type = config_lookup(config, "default_database_type");
    return g_strdup_printf("%s:%s", type && *type ? type : "lmdb", spec);
}

char *map_read_key(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len = getline(&line, &size, stdin);

    if (len < 0) {
        free(line);
        return NULL;
    }
    if (len > 0 && line[len - 1] == '\n')
        line[--len] = '\0';
    char *key = g_strdup(line);
    free(line);
    return key;
}

/* One of them is set. */
typedef struct {
    LmdbWriter *lmdb;
    CdbWriter *cdb;
} Writer;

static TableResult writer_put(const Writer *writer, const char *key, const char *value, bool replace, GError **error)
{
    return writer->cdb ? cdb_writer_put(writer->cdb, key, value, replace, error)
                       : lmdb_writer_put(writer->lmdb, key, value, replace, error);
}

static bool writer_commit(const Writer *writer, const char *model_path, GError **error)
{
    return writer->cdb ? cdb_writer_commit(writer->cdb, model_path, error)
                       : lmdb_writer_commit(writer->lmdb, model_path, error);
}

static void writer_clear(Writer *writer)
{
    lmdb_writer_free(writer->lmdb);
    cdb_writer_free(writer->cdb);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Writer, writer_clear)

typedef struct {
    bool is_cdb;
    char *source;  /* the text file */
    char *path;    /* the index */
    char *shown;   /* for warnings, as Postfix names it: "lmdb:file", or of a cdb the file alone */
    int directory; /* locked against others who change an index in it */
} Target;

static void target_clear(Target *target)
{
    g_free(target->source);
    g_free(target->path);
    g_free(target->shown);
    fd_clear(&target->directory);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Target, target_clear)

static bool target_find(const MapOptions *options, const char *name, Target *ret, GError **error)
{
    g_autofree char *spec = map_complete_spec(options, name, error);

    if (!spec)
        return false;
    const char *file = strchr(spec, ':') + 1;
    g_autofree char *type = g_strndup(spec, (size_t)(file - spec) - 1);
    ret->is_cdb = strcmp(type, "cdb") == 0;
    if (ret->is_cdb && (options->incremental || options->delete))
        return fail(error, "%s: a cdb file is never changed: change its source, and make it anew", spec);
    if (strcmp(type, "hash") == 0 || strcmp(type, "btree") == 0)
        log_warning("%s: the index is made as %s.lmdb, which stands for type %s here", spec, file, type);
    else if (!ret->is_cdb && strcmp(type, "lmdb") != 0)
        return fail(error, "unsupported dictionary type: %s does not support bulk-mode creation.", type);
    ret->source = g_strdup(file);
    ret->path = g_strconcat(file, ret->is_cdb ? ".cdb" : ".lmdb", NULL);
    ret->shown = g_strconcat(ret->is_cdb ? "" : "lmdb:", file, NULL);
    return true;
}

static bool target_lock(Target *target, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(target->path);

    target->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target->directory < 0)
        return fail_errno(error, "open %s", directory);
    while (flock(target->directory, LOCK_EX) < 0)
        if (errno != EINTR)
            return fail_errno(error, "lock %s", directory);
    return true;
}

/* A text that is another user's is read, and its index written, as that user. */
static bool become_owner(const MapOptions *options, int source, GError **error)
{
    struct stat status;

    if (geteuid() != 0 || options->keep_privileges)
        return true;
    if (fstat(source, &status) < 0)
        return fail_errno(error, "stat");
    if (status.st_uid == 0)
        return true;
    if (setgroups(0, NULL) < 0 || setegid(status.st_gid) < 0 || seteuid(status.st_uid) < 0)
        return fail_errno(error, "become the owner of the file");
    return true;
}

static bool become_self(GError **error)
{
    if (geteuid() == getuid())
        return true;
    return (seteuid(getuid()) == 0 && setegid(getgid()) == 0) || fail_errno(error, "become root again");
}

static bool put_record(const MapOptions *options, const Target *target, const Writer *writer, const char *key,
                       const char *value, GError **error)
{
    g_autofree char *own_key = options->exact ? g_strdup(key) : table_fold_key(key);

    if (!target->is_cdb && strlen(own_key) > LMDB_KEY_MAX) {
        log_warning("%s: ignoring a key of %zu octets, more than %d: \"%.30s...\"", target->shown, strlen(own_key),
                    LMDB_KEY_MAX, key);
        return true;
    }
    TableResult result = writer_put(writer, own_key, value, options->replace, error);
    if (result == TABLE_FOUND && !options->replace && !options->quiet)
        log_warning("%s: duplicate entry: \"%s\"", target->shown, own_key);
    return result != TABLE_FAILED;
}

#define FILE_MAX (64 * 1024 * 1024)

/* As base64, what stands in the files that value names. NULL: error. Caller frees. */
static char *read_files(const char *value, GError **error)
{
    g_autoptr(GPtrArray) paths = config_split(value);
    g_autoptr(GString) all = g_string_new(NULL);

    for (guint i = 0; i < paths->len; i++) {
        const char *path = paths->pdata[i];
        size_t len;
        g_autofree char *content = fd_read_file(path, FILE_MAX, &len, error);
        if (!content)
            return NULL;
        g_string_append_len(all, content, (gssize)len);
    }
    return g_base64_encode((const guchar *)all->str, all->len);
}

static bool is_utf8_wanted(const MapOptions *options)
{
    if (options->any_octets)
        return false;
    g_autoptr(Config) config = map_config(options, NULL);
    return !config || config_bool(config, "smtputf8_enable");
}

/* False: the record is left out, which was logged. */
static bool complete_record(const MapOptions *options, const char *shown, int line, const char *key, char **value)
{
    g_autoptr(GError) why = NULL;

    if ((!g_utf8_validate(key, -1, NULL) || !g_utf8_validate(*value, -1, NULL)) && is_utf8_wanted(options)) {
        log_warning("%s, line %d: non-UTF-8 input \"%s %s\" -- ignoring this line", shown, line, key, *value);
        return false;
    }
    if (!options->files)
        return true;
    char *content = read_files(*value, &why);
    if (!content) {
        log_warning("%s, line %d: %s: skipping this entry", shown, line, why->message);
        return false;
    }
    g_free(*value);
    *value = content;
    return true;
}

static bool put_records(const MapOptions *options, const Target *target, const Writer *writer, Lines *lines,
                        const char *shown, GError **error)
{
    for (;;) {
        g_autofree char *key = NULL;
        g_autofree char *value = NULL;
        int line;

        switch (
            text_next(lines, shown, options->aliases ? TEXT_FOR_ALIASES : TEXT_FOR_INDEX, &key, &value, &line, error)) {
        case TEXT_END:
            return true;
        case TEXT_ERROR:
            return false;
        case TEXT_SKIPPED:
            break;
        case TEXT_RECORD:
            if (complete_record(options, shown, line, key, &value) &&
                !put_record(options, target, writer, key, value, error))
                return false;
            break;
        }
    }
}

/* What an index holds already, as the start of its successor. An index that is not there holds nothing. */
static bool copy_present(const Target *target, LmdbWriter *writer, GError **error)
{
    if (access(target->path, F_OK) < 0 && errno == ENOENT)
        return true;
    g_autoptr(LmdbFile) present = lmdb_file_open(target->path, error);
    return present && lmdb_writer_copy(writer, present, error);
}

static bool write_index(const MapOptions *options, Target *target, Lines *lines, const char *shown, GError **error)
{
    if (!target_lock(target, error))
        return false;
    g_auto(Writer) writer = {0};
    if (target->is_cdb)
        writer.cdb = cdb_writer_new(target->path, options->nul == NUL_ALWAYS, error);
    else
        writer.lmdb = lmdb_writer_new(target->path, options->nul != NUL_NEVER, error);
    return (writer.cdb || writer.lmdb) && (!options->incremental || copy_present(target, writer.lmdb, error)) &&
           put_records(options, target, &writer, lines, shown, error) &&
           writer_commit(&writer, options->own_permissions ? NULL : target->source, error);
}

bool map_make_index(const MapOptions *options, const char *name, GError **error)
{
    g_auto(Target) target = {.directory = -1};

    if (!target_find(options, name, &target, error))
        return false;
    const char *shown = options->incremental ? "stdin" : target.source;
    auto_fd fd = options->incremental ? dup(STDIN_FILENO) : open(target.source, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(error, "open %s", shown);
    if (!options->incremental && !become_owner(options, fd, error))
        return false;
    g_autoptr(Lines) lines = lines_open_fd(shown, fd_steal(&fd));
    return write_index(options, &target, lines, shown, error) && become_self(error);
}

static bool delete_key(LmdbWriter *writer, const MapOptions *options, const char *key, bool *ret_found, GError **error)
{
    g_autofree char *own_key = options->exact ? g_strdup(key) : table_fold_key(key);
    TableResult result = lmdb_writer_delete(writer, own_key, error);

    *ret_found |= result == TABLE_FOUND;
    return result != TABLE_FAILED;
}

static bool delete_from(const MapOptions *options, const char *name, const GPtrArray *keys, bool *ret_found,
                        GError **error)
{
    g_auto(Target) target = {.directory = -1};
    bool found = false;

    if (!target_find(options, name, &target, error) || !target_lock(&target, error))
        return false;
    g_autoptr(LmdbFile) present = lmdb_file_open(target.path, error);
    g_autoptr(LmdbWriter) writer = present ? lmdb_writer_new(target.path, options->nul != NUL_NEVER, error) : NULL;
    if (!writer || !lmdb_writer_copy(writer, present, error))
        return false;
    for (guint i = 0; i < keys->len; i++)
        if (!delete_key(writer, options, g_ptr_array_index(keys, i), &found, error))
            return false;
    *ret_found |= found;
    return !found || lmdb_writer_commit(writer, options->own_permissions ? NULL : target.source, error);
}

bool map_delete_keys(const MapOptions *options, char **names, bool *ret_found, GError **error)
{
    g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);

    if (strcmp(options->delete, "-") != 0)
        g_ptr_array_add(keys, g_strdup(options->delete));
    else
        for (char *key; (key = map_read_key()) != NULL;)
            g_ptr_array_add(keys, key);
    for (; *names; names++)
        if (!delete_from(options, *names, keys, ret_found, error))
            return false;
    return true;
}
