/* Patterns of DNS lists. */
#include "access/dns_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void patterns_match(void **state)
{
    static const struct {
        const char *list, *addr;
        bool wanted;
    } rows[] = {
        {"bl.test", "127.0.0.2", true},
        {"bl.test", "10.1.2.3", true},
        {"bl.test", "::1", false},
        {"bl.test", "", false},
        {"bl.test=127.0.0.2", "127.0.0.2", true},
        {"bl.test=127.0.0.2", "127.0.0.3", false},
        {"bl.test=127.0.0.2", "127.0.1.2", false},
        {"bl.test=127.0.0.[2;4..6]", "127.0.0.2", true},
        {"bl.test=127.0.0.[2;4..6]", "127.0.0.3", false},
        {"bl.test=127.0.0.[2;4..6]", "127.0.0.4", true},
        {"bl.test=127.0.0.[2;4..6]", "127.0.0.6", true},
        {"bl.test=127.0.0.[2;4..6]", "127.0.0.7", false},
        {"bl.test=127.0.[0..255].[0;255]", "127.0.9.255", true},
        {"bl.test=127.0.[0..255].[0;255]", "127.0.9.254", false},
        {"bl.test=[127].0.0.2", "127.0.0.2", true},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(DnsList) list = dns_list_new(rows[i].list, NULL);
        assert_non_null(list);
        assert_string_equal(list->text, rows[i].list);
        assert_string_equal(list->domain, "bl.test");
        if (dns_list_matches(list, rows[i].addr) != rows[i].wanted)
            fail_msg("%s %s", rows[i].list, rows[i].addr);
    }
}

static void bad_patterns_are_told(void **state)
{
    static const struct {
        const char *pattern, *wanted;
    } rows[] = {
        {"", "empty address pattern"},
        {"127.0.0", "need \".\" at \"127.0.0><\""},
        {"127.0.0.", "need decimal number 0..255 or \"[\" at \"127.0.0.><\""},
        {"127.0.0.300", "need decimal number 0..255 or \"[\" at \"127.0.0.>300<\""},
        {"127.0.0.99999999999999999999", "need decimal number 0..255 or \"[\" at \"127.0.0.>99999999999999999999<\""},
        {"127.0.0.4x", "garbage after pattern at \"127.0.0.4>x<\""},
        {"127.0.0.4.5", "garbage after pattern at \"127.0.0.4>.<5\""},
        {"127.0.0.[4", "need \";\" or \"]\" at \"127.0.0.[4><\""},
        {"127.0.0.[]", "need decimal number 0..255 at \"127.0.0.[>]<\""},
        {"127.0.0.[1;]", "need decimal number 0..255 at \"127.0.0.[1;>]<\""},
        {"127.0.0.[1..]", "need decimal number 0..255 at \"127.0.0.[1..>]<\""},
        {"127.0.0.[9..5]", "numeric range error at \"127.0.0.[9..>5<]\""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = g_strdup_printf("bl.test=%s", rows[i].pattern);
        g_autoptr(GError) error = NULL;
        assert_null(dns_list_new(text, &error));
        assert_string_equal(error->message, rows[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(bad_patterns_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
