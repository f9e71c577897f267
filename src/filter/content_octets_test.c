#include "filter/content_octets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static Account account;

static bool collect(void *user, const char *data, size_t len, bool ends_line)
{
    g_string_append_len(user, data, (gssize)len);
    if (ends_line)
        g_string_append_c(user, '|');
    return true;
}

static void line_ends_become_lines(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"a\nb\n", "a|b|"},
        {"a\r\nb\r\n", "a|b|"},
        {"a\rb\r\r\n", "a\rb\r|"},
        {"a\n\n\r\nb", "a|||b"},
        {"a\r", "a\r"},
        {"\r\n", "|"},
        {"", ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        for (size_t portion = 1; portion < 4; portion++) {
            OctetReader reader = {.to = content_new("/tmp", &account), .limit = 100};
            g_autoptr(GString) got = g_string_new(NULL);
            size_t len = strlen(rows[i].in);
            for (size_t at = 0; at < len; at += portion)
                assert_true(octets_add(&reader, rows[i].in + at, MIN(portion, len - at)));
            assert_true(octets_finish(&reader));
            content_replay(reader.to, collect, got);
            assert_string_equal(got->str, rows[i].want);
            content_free(reader.to);
        }
}

static void a_file_has_the_same_octets(void **state)
{
    Content *content = content_new("/tmp", &account), *back = content_new("/tmp", &account);
    g_autofree char *line = g_strnfill(200000, 'x');
    g_autoptr(GString) first = g_string_new(NULL), second = g_string_new(NULL);

    content_add(content, "A: \xff", 4, true);
    content_add(content, line, 200000, true);
    content_add(content, "open", 4, false);
    int one = octets_to_file(content, "/tmp"), other = octets_to_file(content, "/tmp");
    assert_int_equal(octets_files_equal(one, other), 1);
    OctetReader reader = {.to = back, .limit = 1000000};
    assert_true(octets_from_file(&reader, one));
    content_replay(content, collect, first);
    content_replay(back, collect, second);
    assert_string_equal(first->str, second->str);
    assert_int_equal(pwrite(other, "y", 1, 100000), 1);
    assert_int_equal(octets_files_equal(one, other), 0);
    assert_int_equal(ftruncate(other, 5), 0);
    assert_int_equal(octets_files_equal(one, other), 0);
    reader = (OctetReader){.to = back, .limit = 1000};
    assert_false(octets_from_file(&reader, one));
    close(one);
    close(other);
    content_free(content);
    content_free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_ends_become_lines),
        cmocka_unit_test(a_file_has_the_same_octets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
