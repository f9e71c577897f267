#include "mail/xtext.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void values_are_encoded_and_decoded(void **state)
{
    static const struct {
        const char *plain, *encoded;
    } rows[] = {
        {"", ""},
        {"a=b", "a=b"},
        {"a+b c", "a+2Bb+20c"},
        {"[IPv6:::1]", "[IPv6:::1]"},
        {"\x01\x7f\xc3\xa9", "+01+7F+C3+A9"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *encoded = xtext_encode(rows[i].plain);
        g_autofree char *decoded = xtext_decode(rows[i].encoded);
        assert_string_equal(encoded, rows[i].encoded);
        assert_string_equal(decoded, rows[i].plain);
    }
}

static void malformed_text_is_refused(void **state)
{
    static const char *const rows[] = {"+", "a+4", "+4", "+G1", "+1G", "a+00", "+ 1"};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        assert_null(xtext_decode(rows[i]));
    g_autofree char *lower = xtext_decode("+2b");
    assert_string_equal(lower, "+");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_encoded_and_decoded),
        cmocka_unit_test(malformed_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
