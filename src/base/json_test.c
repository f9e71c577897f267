#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void strings_are_valid_and_safe(void **state)
{
    static const struct {
        const char *text, *wanted;
    } table[] = {
        {"", "\"\""},
        {"a\"b\\c/", "\"a\\\"b\\\\c/\""},
        {"\n\x1b[2J\x7f", "\"\\u000a\\u001b[2J\\u007f\""},
        {"\xc3\xa9\xc2\x9b", "\"\xc3\xa9\\u009b\""}, /* a letter; CSI as one control */
        {"\xe2\x80\xae", "\"\\u202e\""},             /* right to left from here */
        {"\xf3\xa0\x80\x81", "\"\\udb40\\udc01\""},  /* a tag */
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
        {"a\xff", "\"a\xef\xbf\xbd\""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autoptr(GString) out = g_string_new(NULL);
        json_append_string(out, table[i].text);
        assert_string_equal(out->str, table[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strings_are_valid_and_safe)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
