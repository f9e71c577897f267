/* quarantine_options_test.c */
#include "cli/quarantine_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW (1795336928 * (gint64)G_USEC_PER_SEC) /* 2026-11-22 08:42:08 UTC */

static bool read_words(const char *words, QuarantineOptions *options)
{
    static char **argv; /* the options point into it */
    char *usage;

    g_strfreev(argv);
    argv = g_strsplit(words, " ", 0);
    quarantine_options_clear(options);
    *options = (QuarantineOptions){0};
    bool fine = quarantine_options_read((int)g_strv_length(argv), argv, NOW, options, &usage);
    assert_true(fine == !usage);
    g_free(usage);
    return fine;
}

static void test_words(void **state)
{
    static const struct {
        const char *words;
        bool fine;
    } table[] = {
        {"q", false},
        {"q nonsense", false},
        {"q list", true},
        {"q list --limit 3 --state released,uncertain --json", true},
        {"q list --limit 0", false},
        {"q list --state lost", false},
        {"q list --since never", false},
        {"q list --force", false},
        {"q list --nonsense", false},
        {"q list --sender", false},
        {"q list bcdfghjk --sender a@b", false},
        {"q show", false},
        {"q show bcdfghjk --content --json", true},
        {"q show --reason x", true},
        {"q show --raw bcdfghjk", true},
        {"q show --raw bcdfghjk ccdfghjk", false},
        {"q show --raw --reason x", false},
        {"q release", false},
        {"q release --all", true},
        {"q release --all bcdfghjk", false},
        {"q release bcdfghjk --recipient a@b --nexthop [::1]:10026 --force", true},
        {"q release bcdfghjk --sender a@b", false},
        {"q release --sender a@b", true},
        {"q delete", false},
        {"q delete --until 7d", true},
        {"q delete bcdfghjk --recipient a@b", false},
        {"q delete --nexthop x bcdfghjk", false},
        {"q expire", true},
        {"q expire bcdfghjk", false},
        {"q expire --sender a@b", false},
    };
    QuarantineOptions options = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
        if (read_words(table[i].words, &options) != table[i].fine)
            fail_msg("%s", table[i].words);
    assert_true(read_words("q release bcdfghjk --recipient a@b --id ccdfghjk", &options));
    assert_int_equal(options.action, QUARANTINE_RELEASE);
    assert_int_equal(options.ids->len, 2);
    assert_string_equal(options.filter.recipient, "a@b");
    assert_true(read_words("q list --state released --since 1h --limit 5", &options));
    assert_int_equal(options.filter.states, 1 << QUARANTINE_RELEASED);
    assert_int_equal(options.filter.since_us, NOW - 3600 * (gint64)G_USEC_PER_SEC);
    assert_int_equal(options.filter.limit, 5);
    quarantine_options_clear(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
