#include "mail/header_append.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void take(void *user, const char *data, size_t len, bool ends_line)
{
    g_string_append_len(user, data, (gssize)len);
    if (ends_line)
        g_string_append_c(user, '\n');
}

static GString *appended(const char *text, size_t portion)
{
    GString *out = g_string_new(NULL);
    HeaderAppend append = {.name = "X-New", .value = "yes"};

    while (*text) {
        size_t line = strcspn(text, "\n");
        size_t len = MIN(line, portion);
        bool ends_line = len == line && text[len] == '\n';
        header_append_add(&append, text, len, ends_line, take, out);
        text += len + ends_line;
    }
    header_append_finish(&append, take, out);
    header_append_finish(&append, take, out);
    header_append_clear(&append);
    return out;
}

static void it_comes_behind_all_others(void **state)
{
    static const char *const rows[][2] = {
        {"A: b\n\nbody\n\nX-New: no\n", "A: b\nX-New: yes\n\nbody\n\nX-New: no\n"},
        {"A: b\n c\n\td\n\nbody", "A: b\n c\n\td\nX-New: yes\n\nbody"},
        {"A: b\n", "A: b\nX-New: yes\n"},
        {"A: b", "A: b\nX-New: yes\n"},
        {"A: b\nX-Ne", "A: b\nX-New: yes\nX-Ne\n"},
        {"", "X-New: yes\n"},
        {"\nbody\n", "X-New: yes\n\nbody\n"},
        {"no header\nA: b\n\n", "X-New: yes\nno header\nA: b\n\n"},
        {"A: b\nnone\nC: d\n", "A: b\nX-New: yes\nnone\nC: d\n"},
        {"A: b\nwords with : colon\n", "A: b\nX-New: yes\nwords with : colon\n"},
        {": x\n", "X-New: yes\n: x\n"},
        {"A: b\n.\n..\n", "A: b\nX-New: yes\n.\n..\n"},
        {"X-New: yes\n\nbody\n", "X-New: yes\n\nbody\n"},
        {"A: b\nx-NEW :\t YES \n\nbody\n", "A: b\nx-NEW :\t YES \n\nbody\n"},
        {"X-New: yes", "X-New: yes\n"},
        {"X-New: yess\n\n", "X-New: yess\nX-New: yes\n\n"},
        {"X-New: no\n\n", "X-New: no\nX-New: yes\n\n"},
        {"X-New:\n yes\n\n", "X-New:\n yes\nX-New: yes\n\n"},
        {"X-Newer: yes\n\n", "X-Newer: yes\nX-New: yes\n\n"},
        {"X-New\n\n", "X-New: yes\nX-New\n\n"},
        {"A: b\n\xff: c\n\n", "A: b\nX-New: yes\n\xff: c\n\n"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (size_t portion = 1; portion < 20; portion++) {
            GString *out = appended(rows[i][0], portion);
            if (strcmp(out->str, rows[i][1]) != 0)
                fail_msg("row %zu, portions of %zu: %s", i, portion, out->str);
            g_string_free(out, TRUE);
        }
    }
}

static void no_line_is_held_for_long(void **state)
{
    GString *out = g_string_new(NULL);
    HeaderAppend append = {.name = "X-New", .value = "yes"};
    g_autofree char *name = g_strnfill(2000, 'x');
    g_autofree char *value = g_strnfill(2000, ' ');

    header_append_add(&append, "X-New:", 6, false, take, out);
    assert_int_equal(out->len, 0);
    header_append_add(&append, value, 2000, false, take, out);
    assert_int_equal(out->len, 2006);
    header_append_add(&append, "yes", 3, true, take, out);
    header_append_add(&append, name, 2000, false, take, out); /* no header any more, whatever comes */
    assert_int_equal(out->len, 2010 + strlen("X-New: yes\n") + 2000);
    header_append_add(&append, ": x", 3, true, take, out);
    header_append_finish(&append, take, out);
    assert_int_equal(out->len, 2010 + strlen("X-New: yes\n") + 2004);
    g_string_free(out, TRUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_behind_all_others),
        cmocka_unit_test(no_line_is_held_for_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
