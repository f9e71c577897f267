#include "mail/date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void dates_have_two_digits_and_the_zone(void **state)
{
    static const struct {
        const char *zone;
        gint64 seconds;
        const char *want;
    } rows[] = {
        {"UTC0", 1795336928, "Sun, 22 Nov 2026 08:42:08 +0000 (UTC)"},
        {"CET-1CEST,M3.5.0,M10.5.0/3", 1783000000, "Thu, 02 Jul 2026 15:46:40 +0200 (CEST)"},
        {"NST3:30", 1767225600, "Wed, 31 Dec 2025 20:30:00 -0330 (NST)"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        setenv("TZ", rows[i].zone, 1);
        tzset();
        g_autofree char *got = date_for_header(rows[i].seconds * G_USEC_PER_SEC + 5);
        assert_string_equal(got, rows[i].want);
    }
    g_autofree char *digits = date_digits(G_GINT64_CONSTANT(1795336928999999)); /* in UTC whatever the zone */
    assert_string_equal(digits, "20261122084208");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dates_have_two_digits_and_the_zone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
