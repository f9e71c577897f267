/* map_command_test.c - postmap's options: what they leave in the file, the exit status, and what is said. */
#include "cli/map_command.h"
#include "table/lmdb_file.h"
#include "table/testing.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char *text_path, *index_path, *spec;

/* Runs with words between blanks, "@" for the table. input: standard input. Returns the exit status; *ret_output is the
 * caller's. */
static int run(const char *words, const char *input, char **ret_output)
{
    g_autofree char *line = g_strdup_printf("postmap %s", words);
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    int in = memfd_create("in", 0), out = memfd_create("out", 0);
    int old_in = dup(STDIN_FILENO), old_out = dup(STDOUT_FILENO);
    char buffer[4096] = "";

    for (char **word = argv; *word; word++)
        if (strcmp(*word, "@") == 0) {
            g_free(*word);
            *word = g_strdup(spec);
        }
    assert_true(write(in, input, strlen(input)) == (ssize_t)strlen(input) && lseek(in, 0, SEEK_SET) == 0);
    fflush(stdout);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    clearerr(stdin);
    int status = map_command((int)g_strv_length(argv), argv, testing_dir);
    fflush(stdout);
    dup2(old_in, STDIN_FILENO);
    dup2(old_out, STDOUT_FILENO);
    assert_true(pread(out, buffer, sizeof buffer - 1, 0) >= 0);
    close(in);
    close(out);
    close(old_in);
    close(old_out);
    if (ret_output)
        *ret_output = g_strdup(buffer);
    return status;
}

static void assert_run(const char *words, const char *input, int status, const char *output)
{
    g_autofree char *got = NULL;
    int got_status = run(words, input, &got);

    if (got_status != status || strcmp(got, output) != 0)
        fail_msg("%s: status %d, output \"%s\"", words, got_status, got);
}

static void an_index_is_made_asked_and_changed(void **state)
{
    g_autofree char *duplicates =
        g_strdup_printf("warning: %s: duplicate entry: \"foo\"\nwarning: %s, line 3: expected "
                        "format: key whitespace value\n",
                        spec, text_path);

    assert_run("@", "", 0, "");
    g_autofree char *logged = testing_logged();
    assert_string_equal(logged, duplicates);
    assert_run("-q FOO @", "", 0, "bar\n");
    assert_run("-q none @", "", 1, "");
    assert_run("-q - @", "none\nfoo\nalpha\n", 0, "foo\tbar\nalpha\tbeta\n");
    assert_run("-s @", "", 0, "alpha\tbeta\nfoo\tbar\n");
    assert_run("-q foo inline:{foo=first} @", "", 0, "first\n");
    assert_run("-i @", "new value\nfoo other\n", 0, "");
    assert_run("-s @", "", 0, "alpha\tbeta\nfoo\tbar\nnew\tvalue\n");
    assert_run("-i -r @", "foo other\n", 0, "");
    assert_run("-q foo @", "", 0, "other\n");
    assert_run("-d new @", "", 0, "");
    assert_run("-d new @", "", 1, "");
    assert_run("-d - @", "foo\nnone\n", 0, "");
    assert_run("-s @", "", 0, "alpha\tbeta\n");
    g_free(testing_logged());
    assert_run("-w @", "", 0, "");
    g_autofree char *quiet = testing_logged();
    assert_null(strstr(quiet, "duplicate"));
}

static void keys_end_with_nul_or_not(void **state)
{
    g_autofree char *content = NULL;
    gsize len;

    assert_run("@", "", 0, "");
    assert_true(g_file_get_contents(index_path, &content, &len, NULL));
    assert_non_null(memmem(content, len, "foo\0bar\0", 8));
    g_clear_pointer(&content, g_free);
    assert_run("-n @", "", 0, "");
    assert_true(g_file_get_contents(index_path, &content, &len, NULL));
    assert_non_null(memmem(content, len, "foobar", 6));
    assert_run("-q foo @", "", 0, "bar\n");
    assert_run("-f @", "", 0, "");
    assert_run("-f -q Foo @", "", 0, "bar\n");
    g_free(testing_logged());
}

static void the_index_is_as_secret_as_its_source(void **state)
{
    struct stat status;

    assert_int_equal(chmod(text_path, 0640), 0);
    assert_run("@", "", 0, "");
    assert_int_equal(stat(index_path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    g_free(testing_logged());
}

/* Who has the old file open reads it to the end; a failure leaves it alone. */
static void an_old_index_is_whole_until_the_new_one_is(void **state)
{
    g_autofree char *value = NULL;
    g_autofree char *missing = g_strdup_printf("lmdb:%s/missing", testing_dir);

    assert_run("@", "", 0, "");
    g_autoptr(LmdbFile) old = lmdb_file_open(index_path, NULL);
    assert_run("-d foo @", "", 0, "");
    assert_int_equal(lmdb_file_get(old, "foo", &value, NULL), LMDB_FOUND);
    assert_int_equal(run(missing, "", NULL), 1);
    g_autoptr(GDir) dir = g_dir_open(testing_dir, 0, NULL);
    for (const char *name; (name = g_dir_read_name(dir)) != NULL;)
        assert_null(strstr(name, ".lmdb."));
    g_free(testing_logged());
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *words, *logged;
    } rows[] = {
        {"-w", "fatal: usage: postmap [-finNoprsvw] [-c config_dir] [-d key] [-q key] [map_type:]file...\n"},
        {"-x @", "fatal: usage: postmap [-finNoprsvw] [-c config_dir] [-d key] [-q key] [map_type:]file...\n"},
        {"-q a -s @", "fatal: specify only one of -s -q or -d\n"},
        {"-q a -q b @", "fatal: specify only one of -s -q or -d\n"},
        {"regexp:/x", "fatal: unsupported dictionary type: regexp does not support bulk-mode creation.\n"},
        {"-q a nosuch:x", "fatal: unsupported dictionary type: nosuch\n"},
        {"-q a fail:x", "fatal: table fail:x: query error: Application error\n"},
        {"-q a lmdb:/nonexistent", "fatal: open database /nonexistent.lmdb: No such file or directory\n"},
        {"-s static:x", "fatal: table static:x: sequence operation is not supported\n"},
        {"lmdb:/nonexistent", "fatal: open /nonexistent: No such file or directory\n"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        assert_int_equal(run(rows[i].words, "", NULL), 1);
        g_autofree char *logged = testing_logged();
        assert_string_equal(logged, rows[i].logged);
    }
}

static void hash_means_lmdb(void **state)
{
    g_autofree char *words = g_strdup_printf("hash:%s", text_path);

    assert_int_equal(run(words, "", NULL), 0);
    g_autofree char *logged = testing_logged();
    assert_non_null(strstr(logged, "the index is made as "));
    assert_run("-q foo @", "", 0, "bar\n");
}

static int begin(void **state)
{
    testing_begin();
    text_path = testing_file("map", "Foo bar\nfoo second\nnokey\nalpha beta\n");
    index_path = g_strconcat(text_path, ".lmdb", NULL);
    spec = g_strconcat("lmdb:", text_path, NULL);
    return 0;
}

static int end(void **state)
{
    testing_end();
    g_free(text_path);
    g_free(index_path);
    g_free(spec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_is_made_asked_and_changed),
        cmocka_unit_test(keys_end_with_nul_or_not),
        cmocka_unit_test(the_index_is_as_secret_as_its_source),
        cmocka_unit_test(an_old_index_is_whole_until_the_new_one_is),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(hash_means_lmdb),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
