/* testing.h - what the tests of tables share: a directory for files, and the log as a string. For tests alone. */
#pragma once
#include "base/log.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <sys/mman.h>
#include <unistd.h>

static char *testing_dir; /* ends with its process */
static int testing_log = -1;

static inline void testing_begin(void)
{
    g_autofree char *template = g_build_filename(g_get_tmp_dir(), "table-test-XXXXXX", NULL);

    testing_dir = g_strdup(g_mkdtemp(template));
    testing_log = memfd_create("log", 0);
    log_set_tag("postfix", "test");
    log_to_file(testing_log, "host");
}

static inline void testing_end(void)
{
    GDir *dir = g_dir_open(testing_dir, 0, NULL);

    for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *path = g_build_filename(testing_dir, name, NULL);
        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(testing_dir);
    g_clear_pointer(&testing_dir, g_free);
    log_to_stderr();
    close(testing_log);
}

/* Writes a file of that name; returns its path, for the caller to free. */
static inline char *testing_file(const char *name, const char *content)
{
    char *path = g_build_filename(testing_dir, name, NULL);

    g_assert_true(g_file_set_contents(path, content, -1, NULL));
    return path;
}

/* What was logged since the last call: lines without time, host and tag. The caller frees. */
static inline char *testing_logged(void)
{
    off_t size = lseek(testing_log, 0, SEEK_END);
    g_autofree char *raw = g_malloc0((gsize)size + 1);
    GString *out = g_string_new(NULL);

    g_assert_true(pread(testing_log, raw, (size_t)size, 0) == size);
    g_assert_true(ftruncate(testing_log, 0) == 0 && lseek(testing_log, 0, SEEK_SET) == 0);
    g_auto(GStrv) lines = g_strsplit(raw, "\n", -1);
    for (char **line = lines; *line; line++) {
        const char *text = strstr(*line, "]: ");
        if (text)
            g_string_append_printf(out, "%s\n", text + 3);
    }
    return g_string_free(out, FALSE);
}
