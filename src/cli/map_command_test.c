/* map_command_test.c - postmap's options: what they leave in the file, the exit status, and what is said. */
#include "cli/map_command.h"
#include "table/cdb_file.h"
#include "table/lmdb_file.h"
#include "table/testing.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdio_ext.h>
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
    __fpurge(stdin); /* what the last run left unread */
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
    assert_int_equal(lmdb_file_get(old, "foo", &value, NULL), TABLE_FOUND);
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
        {"-w", "fatal: usage: postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...\n"},
        {"-x @", "fatal: usage: postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...\n"},
        {"-q a -s @", "fatal: specify only one of -s -q or -d\n"},
        {"-q a -q b @", "fatal: specify only one of -s -q or -d\n"},
        {"-h -q foo @", "fatal: specify -b -h or -m only with \"-q -\"\n"},
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

static void a_constant_database_is_made_and_asked(void **state)
{
    g_autofree char *make = g_strdup_printf("cdb:%s", text_path);
    g_autofree char *make_with_nul = g_strdup_printf("-N -w cdb:%s", text_path);
    g_autofree char *replace = g_strdup_printf("-r -p cdb:%s", text_path);
    g_autofree char *query = g_strdup_printf("-q FOO cdb:%s", text_path);
    g_autofree char *none = g_strdup_printf("-q none cdb:%s", text_path);
    g_autofree char *many = g_strdup_printf("-q - cdb:%s", text_path);
    g_autofree char *list = g_strdup_printf("-s cdb:%s", text_path);
    g_autofree char *delete = g_strdup_printf("-d foo cdb:%s", text_path);
    g_autofree char *add = g_strdup_printf("-i cdb:%s", text_path);
    g_autofree char *path = g_strdup_printf("%s.cdb", text_path);
    g_autofree char *refused =
        g_strdup_printf("fatal: cdb:%s: a cdb file is never changed: change its source, and make "
                        "it anew\n",
                        text_path);
    g_autofree char *duplicates =
        g_strdup_printf("warning: %s: duplicate entry: \"foo\"\nwarning: %s, line 3: expected "
                        "format: key whitespace value\n",
                        text_path, text_path);
    g_autofree char *content = NULL;
    gsize len;
    struct stat status;

    assert_int_equal(chmod(text_path, 0600), 0);
    assert_run(make, "", 0, "");
    g_autofree char *logged = testing_logged();
    assert_string_equal(logged, duplicates);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_true(g_file_get_contents(path, &content, &len, NULL));
    assert_non_null(memmem(content, len, "foobar", 6));
    assert_run(query, "", 0, "bar\n");
    assert_run(none, "", 1, "");
    assert_run(many, "none\nalpha\nfoo\n", 0, "alpha\tbeta\nfoo\tbar\n");
    g_free(testing_logged());

    assert_run(make_with_nul, "", 0, "");
    g_clear_pointer(&content, g_free);
    assert_true(g_file_get_contents(path, &content, &len, NULL));
    assert_non_null(memmem(content, len, "foo\0bar\0", 8));
    assert_run(query, "", 0, "bar\n");
    assert_run(replace, "", 0, "");
    assert_run(query, "", 0, "second\n");
    g_free(testing_logged());

    assert_run(delete, "", 1, "");
    assert_run(add, "a b\n", 1, "");
    g_autofree char *twice = g_strconcat(refused, refused, NULL);
    g_autofree char *logged_twice = testing_logged();
    assert_string_equal(logged_twice, twice);
    assert_run(list, "", 1, "");
    g_free(testing_logged());
}

/* Every length and offset of a file may be a lie. */
static void a_damaged_constant_database_fails(void **state)
{
    g_autofree char *make = g_strdup_printf("-w cdb:%s", text_path);
    g_autofree char *path = g_strdup_printf("%s.cdb", text_path);
    g_autofree char *good = NULL;
    gsize len;

    assert_run(make, "", 0, "");
    assert_true(g_file_get_contents(path, &good, &len, NULL));
    for (gsize cut = 0; cut < len; cut += cut < 2000 ? 500 : 1) {
        g_autofree char *bad_path = testing_file("bad.cdb", "");
        assert_true(g_file_set_contents(bad_path, good, (gssize)cut, NULL));
        g_autoptr(CdbFile) file = cdb_file_open(bad_path, NULL);
        assert_null(file); /* the tables of what is where are at its end */
    }
    for (gsize at = 2048; at < len; at++) {
        g_autofree char *bad_path = testing_file("bad.cdb", "");
        g_autofree char *bad = g_memdup2(good, len);
        g_autofree char *value = NULL;
        bad[at] = (char)0xff;
        assert_true(g_file_set_contents(bad_path, bad, (gssize)len, NULL));
        g_autoptr(CdbFile) file = cdb_file_open(bad_path, NULL);
        assert_non_null(file);
        cdb_file_get(file, "foo", &value, NULL);
    }
    g_free(testing_logged());
}

static void aliases_are_names_and_values(void **state)
{
    static const char text[] =
        "Root: me\n\"Two words\" : a, b\nesc\\:aped: x:y\nlist: a,\n  b\nuser@dom: x\na,b: c\nnone x\nempty:\n: x\n";
    g_autofree char *path = testing_file("aliases", text);
    g_autofree char *table = g_strdup_printf("cdb:%s", path);
    char program[] = "postalias";
    static const struct {
        const char *key, *value;
    } rows[] = {
        {"root", "me\n"}, {"two words", "a, b\n"}, {"esc:aped", "x:y\n"}, {"list", "a,  b\n"}, {"user@dom", ""}};

    assert_int_equal(map_command(2, (char *[]){program, table, NULL}, testing_dir), 0);
    g_autofree char *logged = testing_logged();
    g_autofree char *wanted =
        g_strdup_printf("warning: %s, line 6: name must be local\nwarning: %s, line 7: need name:value pair\nwarning: "
                        "%s, line 8: need name:value "
                        "pair\nwarning: %s, line 9: need name:value pair\nwarning: %s, line 10: need name:value pair\n",
                        path, path, path, path, path);
    assert_string_equal(logged, wanted);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Table) asked = table_open_strict(table, false, NULL);
        g_autofree char *value = NULL;
        TableResult result = table_query(asked, rows[i].key, &value, NULL);
        g_autofree char *line = g_strdup_printf("%s%s", value ? value : "", value ? "\n" : "");
        assert_int_equal(result, *rows[i].value ? TABLE_FOUND : TABLE_ABSENT);
        assert_string_equal(line, rows[i].value);
    }
}

static void keys_of_a_message(void **state)
{
    static const char message[] =
        "Subject: a\n b\nContent-Type: multipart/mixed; boundary=x\n\npre\n--x\nX-Part: 1\n\nt1\n"
        "--x\nContent-Type: message/rfc822\n\nSubject: in\n\nend";
    static const struct {
        const char *options, *found;
    } rows[] = {
        {"-h", "[Subject: a\n b]\n[Content-Type: multipart/mixed; boundary=x]\n"},
        {"-hm", "[Subject: a\n b]\n[Content-Type: multipart/mixed; boundary=x]\n[X-Part: 1]\n[Content-Type: "
                "message/rfc822]\n[Subject: in]\n"},
        {"-b", "[]\n[pre]\n[--x]\n[X-Part: 1]\n[]\n[t1]\n[--x]\n[Content-Type: message/rfc822]\n[]\n[Subject: "
               "in]\n[]\n[end]\n"},
        {"-b -m", "[]\n[pre]\n[--x]\n[]\n[t1]\n[--x]\n[]\n[end]\n"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = testing_file("pattern", "/(.*)/ [$1]\n");
        g_autofree char *ask = g_strdup_printf("%s -q - pcre:%s", rows[i].options, path);
        g_autofree char *got = NULL;
        if (run(ask, message, &got) != 0)
            fail_msg("%s: %s", ask, testing_logged());
        g_autoptr(GString) values = g_string_new(NULL);
        for (const char *at = got; (at = strstr(at, "\t[")) != NULL; at = strstr(at, "]\n"))
            g_string_append_len(values, at + 1, strstr(at, "]\n") + 2 - (at + 1));
        assert_string_equal(values->str, rows[i].found);
    }
    assert_run("-b -q - static:x", "no header\n", 0, "\tx\nno header\tx\n");
    assert_run("-h -U -q - static:x", "A: \xff\nB: c\n", 0, "B: c\tx\n");
}

static void values_may_be_files(void **state)
{
    g_autofree char *one = testing_file("one", "hello\n"), *two = testing_file("two", "world");
    g_autofree char *text = g_strdup_printf("a %s\nb %s, %s\nc %s.no\n", one, one, two, two);
    g_autofree char *path = testing_file("files", text);
    g_autofree char *make = g_strdup_printf("-F lmdb:%s", path);
    g_autofree char *list = g_strdup_printf("-s lmdb:%s", path);
    g_autofree char *query = g_strdup_printf("-F -q b lmdb:%s", path);

    assert_run(make, "", 0, "");
    g_autofree char *logged = testing_logged();
    assert_non_null(strstr(logged, ".no: No such file or directory: skipping this entry\n"));
    assert_run(list, "", 0, "a\taGVsbG8K\nb\taGVsbG8Kd29ybGQ=\n");
    assert_run(query, "", 0, "hello\nworld\n");
    assert_run("-F -q foo static:no", "", 1, "");
    g_free(testing_logged());
}

static void octets_are_utf8_unless_told(void **state)
{
    g_autofree char *path = testing_file("octets", "a\xff b\nc d\xff\nu\xc3\xbc x\n");
    g_autofree char *make = g_strdup_printf("lmdb:%s", path);
    g_autofree char *make_any = g_strdup_printf("-u lmdb:%s", path);
    g_autofree char *list = g_strdup_printf("-s lmdb:%s", path);

    assert_run(make, "", 0, "");
    assert_run(list, "", 0, "u\xc3\xbc\tx\n");
    g_autofree char *logged = testing_logged();
    assert_non_null(strstr(logged, "line 2: non-UTF-8 input \"c d?\" -- ignoring this line\n"));
    assert_run(make_any, "", 0, "");
    assert_run(list, "", 0, "a\xff\tb\nc\td\xff\nu\xc3\xbc\tx\n");
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
        cmocka_unit_test(a_constant_database_is_made_and_asked),
        cmocka_unit_test(a_damaged_constant_database_fails),
        cmocka_unit_test(aliases_are_names_and_values),
        cmocka_unit_test(keys_of_a_message),
        cmocka_unit_test(values_may_be_files),
        cmocka_unit_test(octets_are_utf8_unless_told),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
