#include "mail/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void take_header(void *user, const char *text, size_t len)
{
    g_string_append_c(user, '[');
    g_string_append_len(user, text, (gssize)len);
    g_string_append_c(user, ']');
}

static void take_end(void *user)
{
    g_string_append(user, "--");
}

static void take_body(void *user, const char *data, size_t len, bool ends_line)
{
    g_string_append_len(user, data, (gssize)len);
    if (ends_line)
        g_string_append_c(user, '$');
}

static const HeaderSink sink = {take_header, take_end, take_body};

/* text: lines with '\n', in pieces of at most portion octets. */
static GString *read_all(const char *text, size_t portion, size_t limit)
{
    GString *out = g_string_new(NULL);
    HeaderReader reader;

    header_reader_init(&reader, limit, &sink, out);
    while (*text) {
        size_t line = strcspn(text, "\n");
        size_t len = MIN(line, portion);
        bool ends_line = len == line && text[len] == '\n';
        header_reader_add(&reader, text, len, ends_line);
        text += len + ends_line;
    }
    header_reader_finish(&reader);
    header_reader_clear(&reader);
    return out;
}

static void headers_are_read_however_they_are_cut(void **state)
{
    static const struct {
        const char *in;
        size_t limit;
        const char *want;
    } rows[] = {
        {"A: b\nC: d\n\nbody\n\nmore\n", 100, "[A: b][C: d]--$body$$more$"},
        {"A: b\n c\n\td\nE:\n\n", 100, "[A: b\n c\n\td][E:]--$"},
        {"A : b\n\n", 100, "[A : b]--$"},
        {"", 100, "--"},
        {"\nbody\n", 100, "--$body$"},
        {"A: b\n", 100, "[A: b]--"},
        {"A: b", 100, "[A: b]--"},
        {"A: b\n c", 100, "[A: b\n c]--"},
        {"A: b\nno header\nC: d\n", 100, "[A: b]--$no header$C: d$"},
        {"A: b\nno header", 100, "[A: b]--$no header"},
        {" continues nothing\nA: b\n", 100, "--$ continues nothing$A: b$"},
        {": x\n", 100, "--$: x$"},
        {"A\tb: x\n", 100, "--$A\tb: x$"},
        {"\xc3\xa9: x\n", 100, "--$\xc3\xa9: x$"},
        {"A: b\n \n\nbody\n", 100, "[A: b\n ]--$body$"},
        {"Long: 123456789\n folded\nB: c\n\n", 10, "[Long: 1234][B: c]--$"},
        {"A: b\n 6789abc\n def\n\n", 10, "[A: b\n 6789]--$"},
        {"0123456789abc: d\ne\n", 10, "--$0123456789abc: d$e$"},
        {"0123456789abc", 10, "--$0123456789abc"},
        {"A: 0123456\n x\n\n", 10, "[A: 0123456]--$"},
        {"A: 0123456\n x\n\n", 11, "[A: 0123456 ]--$"},
        {"A: 0123456\n x\n\n", 12, "[A: 0123456\n ]--$"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (size_t portion = 1; portion < 30; portion++) {
            g_autoptr(GString) got = read_all(rows[i].in, portion, rows[i].limit);
            if (strcmp(got->str, rows[i].want) != 0)
                fail_msg("row %zu, portions of %zu: %s, not %s", i, portion, got->str, rows[i].want);
        }
    }
}

static void names_are_found(void **state)
{
    size_t value;

    assert_int_equal(header_name("Subject : x", 11, &value), 7);
    assert_int_equal(value, 9);
    assert_int_equal(header_name("Subject", 7, NULL), 0);
    assert_int_equal(header_name("Sub\0ject:", 9, NULL), 0);
    assert_true(header_is("SUBJECT: x", 10, "Subject"));
    assert_false(header_is("Subjects: x", 11, "Subject"));
    assert_false(header_is("Subject", 7, "Subject"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read_however_they_are_cut),
        cmocka_unit_test(names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
