/* trace_files_test.c */
#include "cli/trace_files.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static char *directory;

static char *at(const char *name)
{
    return g_build_filename(directory, name, NULL);
}

static void written(const char *path, time_t when)
{
    const struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void put(const char *name, const char *text, gssize len, time_t when)
{
    g_autofree char *path = at(name);

    assert_true(g_file_set_contents(path, text, len, NULL));
    written(path, when);
}

static void put_gz(const char *name, const char *text, size_t cut, time_t when)
{
    g_autofree char *path = at(name);
    gzFile file = gzopen(path, "wb");
    struct stat status;

    assert_int_equal(gzputs(file, text), (int)strlen(text));
    assert_int_equal(gzclose(file), Z_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size - (off_t)cut), 0);
    written(path, when);
}

static void take_line(void *user, const char *line, gint64 written_us)
{
    g_string_append_printf(user, "%d:%s|", (int)(written_us / G_USEC_PER_SEC), line);
}

static void expect(TraceFiles *files, const char *wanted)
{
    g_autoptr(GString) text = g_string_new(NULL);

    trace_files_read(files, take_line, text);
    assert_string_equal(text->str, wanted);
}

static void test_neighbours(void **state)
{
    g_autoptr(TraceFiles) files = trace_files_new();
    g_autoptr(TraceFiles) late = trace_files_new();
    g_autofree char *path = at("log");
    g_autofree char *fifo = at("log.fifo");

    put("log", "five\nsix", -1, 500);
    put("log.1", "three\nfour\n", -1, 400);
    put_gz("log.2.gz", "one\ntwo\n", 0, 300);
    put_gz("log.1.gz", "half of log.1, as it is being compressed\n", 0, 300);
    put("log.0.bz2", "BZh", -1, 200);
    put("logo", "no\n", -1, 100);
    put("other", "no\n", -1, 100);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_true(trace_files_add(files, path, 0, NULL));
    assert_true(trace_files_add(files, path, 0, NULL) == false); /* all of it is there */
    for (int i = 0; i < 2; i++)
        expect(files, "300:one|300:two|400:three|400:four|500:five|500:six|");
    assert_int_equal(trace_files_complaints(files)->len, 4); /* fifo and bz2, twice */
    assert_true(trace_files_add(late, path, 450 * (gint64)G_USEC_PER_SEC, NULL));
    expect(late, "500:five|500:six|");
}

static void test_octets(void **state)
{
    g_autoptr(TraceFiles) files = trace_files_new();
    g_autofree char *path = at("odd");
    g_autofree char *longest = g_strnfill(TRACE_LINE_MAX, 'x');
    g_autofree char *longer = g_strconcat(longest, "yyy\nz\n", NULL);

    put("odd", "a\0b\n\nc\n", 7, 2);
    put("odd.x", longer, -1, 3);
    assert_true(trace_files_add(files, path, 0, NULL));
    g_autofree char *wanted = g_strconcat("2:a?b|2:|2:c|3:", longest, "|3:z|", NULL);
    expect(files, wanted);
}

static void test_damaged(void **state)
{
    g_autoptr(TraceFiles) files = trace_files_new();
    g_autofree char *path = at("bad");

    put_gz("bad.1.gz", "one\ntwo\n", 9, 1);
    put("bad", "three\n", -1, 2);
    assert_true(trace_files_add(files, path, 0, NULL));
    for (int i = 0; i < 2; i++) {
        g_autoptr(GString) text = g_string_new(NULL);
        trace_files_read(files, take_line, text);
        assert_true(g_str_has_suffix(text->str, "2:three|"));
    }
    assert_int_equal(trace_files_complaints(files)->len, 1);
}

static void test_nothing(void **state)
{
    g_autoptr(TraceFiles) files = trace_files_new();
    g_autofree char *path = at("nowhere");
    g_autoptr(GError) error = NULL;

    assert_false(trace_files_add(files, path, 0, &error));
    assert_non_null(strstr(error->message, "nowhere: No such file"));
}

static int make(void **state)
{
    directory = g_dir_make_tmp("trace-XXXXXX", NULL);
    return directory ? 0 : -1;
}

static int unmake(void **state)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = at(name);
        unlink(path);
    }
    rmdir(directory);
    g_free(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_neighbours), cmocka_unit_test(test_octets),
                                       cmocka_unit_test(test_damaged), cmocka_unit_test(test_nothing)};

    return cmocka_run_group_tests(tests, make, unmake);
}
