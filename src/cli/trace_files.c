/* trace_files.c - log files, line by line. */
#include "cli/trace_files.h"
#include "base/fail.h"
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define FILES_MAX 500
#define PIECE 262144

typedef struct {
    char *path;
    int fd;
    gint64 written_us;
    bool complained;
} File;

struct TraceFiles {
    GPtrArray *files; /* of File*, sorted by time */
    GPtrArray *complaints;
};

static void file_free(gpointer data)
{
    File *file = data;

    close(file->fd);
    g_free(file->path);
    g_free(file);
}

TraceFiles *trace_files_new(void)
{
    TraceFiles *files = g_new0(TraceFiles, 1);

    files->files = g_ptr_array_new_with_free_func(file_free);
    files->complaints = g_ptr_array_new_with_free_func(g_free);
    return files;
}

void trace_files_free(TraceFiles *files)
{
    if (!files)
        return;
    g_ptr_array_unref(files->files);
    g_ptr_array_unref(files->complaints);
    g_free(files);
}

const GPtrArray *trace_files_complaints(const TraceFiles *files)
{
    return files->complaints;
}

static void complain(TraceFiles *files, const char *path, const char *why)
{
    g_ptr_array_add(files->complaints, g_strdup_printf("%s: %s", path, why));
}

/* ---- which ---- */

static gint compare(gconstpointer a, gconstpointer b)
{
    const File *first = *(const File *const *)a, *second = *(const File *const *)b;

    if (first->written_us != second->written_us)
        return first->written_us < second->written_us ? -1 : 1;
    return -strcmp(first->path, second->path); /* mail.log.2 before mail.log.1 before mail.log */
}

static bool is_known(const TraceFiles *files, const struct stat *status)
{
    for (guint i = 0; i < files->files->len; i++) {
        const File *file = files->files->pdata[i];
        struct stat other;
        if (fstat(file->fd, &other) == 0 && other.st_dev == status->st_dev && other.st_ino == status->st_ino)
            return true;
    }
    return false;
}

static void add_file(TraceFiles *files, const char *path, gint64 since_us)
{
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0) {
        complain(files, path, g_strerror(errno));
        return;
    }
    gint64 written_us = (gint64)status.st_mtim.tv_sec * G_USEC_PER_SEC + status.st_mtim.tv_nsec / 1000;
    if (!S_ISREG(status.st_mode))
        complain(files, path, "not a file");
    else if (written_us >= since_us - G_USEC_PER_SEC && !is_known(files, &status)) {
        File *file = g_new0(File, 1);
        file->path = g_strdup(path);
        file->written_us = written_us;
        file->fd = fd_steal(&fd);
        g_ptr_array_add(files->files, file);
    }
}

static bool is_compressed_otherwise(const char *name)
{
    return g_str_has_suffix(name, ".bz2") || g_str_has_suffix(name, ".xz") || g_str_has_suffix(name, ".zst");
}

/* While a file is being compressed both are there. */
static bool is_unfinished(const char *path)
{
    g_autofree char *plain = g_str_has_suffix(path, ".gz") ? g_strndup(path, strlen(path) - 3) : NULL;

    return plain && access(plain, F_OK) == 0;
}

static void add_neighbours(TraceFiles *files, const char *path, gint64 since_us)
{
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *base = g_path_get_basename(path);
    g_autofree char *prefix = g_strconcat(base, ".", NULL);
    DIR *dir = opendir(directory);
    struct dirent *entry;

    if (!dir) {
        complain(files, directory, g_strerror(errno));
        return;
    }
    while ((entry = readdir(dir))) {
        g_autofree char *full = g_build_filename(directory, entry->d_name, NULL);
        if (!g_str_has_prefix(entry->d_name, prefix) || is_unfinished(full))
            continue;
        if (is_compressed_otherwise(entry->d_name)) {
            complain(files, full, "only gzip can be read");
        } else if (files->files->len >= FILES_MAX) {
            complain(files, directory, "too many files");
            break;
        } else {
            add_file(files, full, since_us);
        }
    }
    closedir(dir);
}

bool trace_files_add(TraceFiles *files, const char *path, gint64 since_us, GError **error)
{
    guint before = files->files->len;

    add_file(files, path, 0); /* always: a log that nobody has written to since then is no mistake */
    add_neighbours(files, path, since_us);
    g_ptr_array_sort(files->files, compare);
    if (files->files->len > before)
        return true;
    return fail(error, "%s", files->complaints->len > 0 ? (char *)files->complaints->pdata[0] : path);
}

/* ---- lines ---- */

/* The line under way. */
typedef struct {
    TraceLineFunc *func;
    void *user;
    GString *line;
    gint64 written_us;
} Lines;

static void add_octets(Lines *lines, const char *data, size_t len)
{
    gsize start = lines->line->len;

    g_string_append_len(lines->line, data, (gssize)MIN(len, TRACE_LINE_MAX - start));
    for (gsize i = start; i < lines->line->len; i++)
        if (lines->line->str[i] == '\0')
            lines->line->str[i] = '?';
}

static void end_line(Lines *lines)
{
    lines->func(lines->user, lines->line->str, lines->written_us);
    g_string_truncate(lines->line, 0);
}

static void add_piece(Lines *lines, const char *data, size_t len)
{
    while (len > 0) {
        const char *newline = memchr(data, '\n', len);
        size_t part = newline ? (size_t)(newline - data) : len;
        add_octets(lines, data, part);
        if (newline)
            end_line(lines);
        part += newline != NULL;
        data += part;
        len -= part;
    }
}

static void read_file(TraceFiles *files, File *file, Lines *lines)
{
    g_autofree char *piece = g_malloc(PIECE);
    int fd = lseek(file->fd, 0, SEEK_SET) == 0 ? fcntl(file->fd, F_DUPFD_CLOEXEC, 0) : -1;
    gzFile input = fd >= 0 ? gzdopen(fd, "rb") : NULL; /* reads what is not compressed as it is */
    int got, code = Z_OK;

    if (!input) {
        complain(files, file->path, g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return;
    }
    gzbuffer(input, PIECE);
    lines->written_us = file->written_us;
    while ((got = gzread(input, piece, PIECE)) > 0)
        add_piece(lines, piece, (size_t)got);
    if (lines->line->len > 0)
        end_line(lines);
    const char *why = gzerror(input, &code);
    if ((got < 0 || code != Z_OK) && !file->complained) {
        complain(files, file->path, code == Z_ERRNO ? g_strerror(errno) : why);
        file->complained = true;
    }
    gzclose(input);
}

void trace_files_read(TraceFiles *files, TraceLineFunc *func, void *user)
{
    g_autoptr(GString) line = g_string_sized_new(TRACE_LINE_MAX);
    Lines lines = {.func = func, .user = user, .line = line};

    for (guint i = 0; i < files->files->len; i++)
        read_file(files, files->files->pdata[i], &lines);
}
