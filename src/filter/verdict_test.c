#include "filter/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void refusals_are_one_clean_line(void **state)
{
    static const struct {
        int code;
        const char *status, *text, *want;
    } rows[] = {
        {550, "5.7.1", "no thanks", "550 5.7.1 no thanks"},
        {550, "5.7.1", "5.6.7 it has its own", "550 5.6.7 it has its own"},
        {451, "4.7.1", "5.6.7 of another class", "451 4.6.7 of another class"},
        {550, "5.7.1", "5.6 is no status", "550 5.7.1 5.6 is no status"},
        {550, "5.7.1", "5.6.7x neither", "550 5.7.1 5.6.7x neither"},
        {550, "5.7.1", "", "550 5.7.1"},
        {550, "5.7.1", "5.1.2", "550 5.1.2"},
        {554, "5.7.1", "a line\r\n250 and one more", "554 5.7.1 a line?"},
        {554, "5.7.1", "bell\a", "554 5.7.1 bell?"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(Verdict) verdict = {0};
        verdict_reject(&verdict, rows[i].code, rows[i].status, rows[i].text, NULL);
        assert_string_equal(verdict.reply, rows[i].want);
        assert_int_equal(verdict.kind, VERDICT_REJECT);
    }
}

static void a_long_text_is_cut(void **state)
{
    g_auto(Verdict) verdict = {0};
    g_autofree char *text = g_strnfill(5000, 'x');

    verdict_tempfail(&verdict, 451, "4.7.1", text, "why");
    assert_true(strlen(verdict.reply) <= 510);
    assert_string_equal(verdict.reason, "why");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_are_one_clean_line),
        cmocka_unit_test(a_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
