/* time_option_test.c */
#include "cli/time_option.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define NOW (1795336928 * (gint64)G_USEC_PER_SEC) /* 2026-11-22 08:42:08 UTC */

static void test_times(void **state)
{
    static const struct {
        const char *text;
        gint64 seconds; /* -1: bad */
    } table[] = {
        {"@1795336928", 1795336928},
        {"@", -1},
        {"@1x", -1},
        {"2h", 1795336928 - 7200},
        {"1w", 1795336928 - 604800},
        {"2", -1},
        {"2y", -1},
        {"2hh", -1},
        {"-2h", -1},
        {"2026-11-22", 1795305600},
        {"2026-11-22 09:22", 1795339320},
        {"2026-11-22 09:22:08", 1795339328},
        {"2026-11-22T09:22:08", 1795339328},
        {"2026-13-22", -1},
        {"yesterday", -1},
        {"", -1},
        {"99999999999999999999h", -1},
    };

    setenv("TZ", "UTC", 1);
    tzset();
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        gint64 us = -G_USEC_PER_SEC;
        bool fine = time_option_parse(table[i].text, NOW, &us);
        assert_int_equal(fine, table[i].seconds >= 0);
        assert_int_equal(us / G_USEC_PER_SEC, table[i].seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_times)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
