#include "config/captured.h"
#include "config/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct {
    const char *input;
    size_t len;         /* 0: strlen(input) */
    const char *wanted; /* "NUMBER:text|..." */
    const char *logged;
} Row;

static const Row rows[] = {
    {"", 0, "", ""},
    {"a", 0, "1:a|", ""},
    {"a\n", 0, "1:a|", ""},
    {"a = b \nc\n", 0, "1:a = b |2:c|", ""},
    {"a\n b\n\tc\nd", 0, "1:a b\tc|4:d|", ""},
    {"# x\n\n  \t\n  # y\na # z\n", 0, "5:a # z|", ""},
    /* nothing that is dropped ends a logical line */
    {"a\n  # b\n# c\n\n   \n  d\ne\n", 0, "1:a  d|7:e|", ""},
    {"a\r\n b\r\n\r\nc\r\n", 0, "1:a\r b\r|4:c\r|", ""},
    {"\vx\na\n", 0, "2:a|", "warning: S: logical line must not start with whitespace: \"?x\"\n"},
    {"  x\n   y\n# c\n z\na\n b\n", 0, "5:a b|",
     "warning: S: logical line must not start with whitespace: \"  x   y z\"\n"},
    {" 23456789012345678901234567890\n", 0, "",
     "warning: S: logical line must not start with whitespace: \" 23456789012345678901234567890\"\n"},
    {" 234567890123456789012345678901\n", 0, "",
     "warning: S: logical line must not start with whitespace: \" 23456789012345678901234567890...\"\n"},
    {"a\0b\n c\nd\n", 9, "1:a|3:d|", "warning: S, line 1: text after null byte may be ignored\n"},
    {"\0b\nd\n", 5, "2:d|", "warning: S, line 1: text after null byte may be ignored\n"},
    {"a\\\nb\n", 0, "1:a\\|2:b|", ""},
};

static char *read_all(Lines *lines)
{
    GString *got = g_string_new(NULL);
    const char *text;
    int number;

    while ((text = lines_next(lines, &number, NULL)))
        g_string_append_printf(got, "%d:%s|", number, text);
    lines_close(lines);
    return g_string_free(got, FALSE);
}

static void reads_text(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        size_t len = rows[i].len ? rows[i].len : strlen(rows[i].input);
        captured_start();
        g_autofree char *got = read_all(lines_open_text("S", rows[i].input, len));
        g_autofree char *logged = captured_stop();
        assert_string_equal(got, rows[i].wanted);
        assert_string_equal(logged, rows[i].logged);
    }
}

static void reads_a_file_alike(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        size_t len = rows[i].len ? rows[i].len : strlen(rows[i].input);
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], rows[i].input, len), len);
        close(ends[1]);
        captured_start();
        g_autofree char *got = read_all(lines_open_fd("S", ends[0]));
        g_autofree char *logged = captured_stop();
        assert_string_equal(got, rows[i].wanted);
        assert_string_equal(logged, rows[i].logged);
    }
}

static void has_no_limit_of_length(void **state)
{
    g_autofree char *text = g_strnfill(3000000, 'x');
    Lines *lines = lines_open_text("S", text, 3000000);
    int number;

    assert_int_equal(strlen(lines_next(lines, &number, NULL)), 3000000);
    assert_null(lines_next(lines, &number, NULL));
    lines_close(lines);
}

static void says_why_it_cannot_read(void **state)
{
    g_autoptr(GError) error = NULL;

    assert_null(lines_open("/nonexistent/main.cf", &error));
    assert_string_equal(error->message, "open /nonexistent/main.cf: No such file or directory");
    g_clear_error(&error);
    g_autoptr(Lines) lines = lines_open("/", NULL); /* a directory opens, but cannot be read */
    assert_non_null(lines);
    assert_null(lines_next(lines, NULL, &error));
    assert_string_equal(error->message, "read /: Is a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_text),
        cmocka_unit_test(reads_a_file_alike),
        cmocka_unit_test(has_no_limit_of_length),
        cmocka_unit_test(says_why_it_cannot_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
