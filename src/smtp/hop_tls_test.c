/* hop_tls_test.c - levels of peers that the configuration names. The dialogues are in the end-to-end tests. */
#include "smtp/hop_tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static Config *config;

static int read_config(void **state)
{
    g_autofree char *directory = g_dir_make_tmp("hop_tls_test_XXXXXX", NULL);
    g_autofree char *file = g_build_filename(directory, "main.cf", NULL);
    const ConfigScope scope = {.process_name = "smtpd", .stress = ""};
    bool done = g_file_set_contents(file, "compatibility_level = 3.6\nfilter_tls_security_level = encrypt\n", -1, NULL);

    g_autoptr(MainCf) main_cf = main_cf_read(directory, NULL);
    config = main_cf ? config_new(main_cf, &scope, NULL) : NULL;
    unlink(file);
    rmdir(directory);
    return done && config ? 0 : -1;
}

static int free_config(void **state)
{
    config_free(config);
    return 0;
}

static HopTls *open_text(const char *text)
{
    g_autoptr(GError) error = NULL;
    HopTls *tls;

    if (!hop_tls_open_text(config, "level", text, &tls, &error))
        fail_msg("%s", error->message);
    return tls;
}

static void levels_are_read(void **state)
{
    static const struct {
        const char *text;
        TlsLevel level;
        bool is_none;
    } cases[] = {{"", TLS_LEVEL_NONE, true},
                 {"none", TLS_LEVEL_NONE, true},
                 {"may", TLS_LEVEL_MAY, false},
                 {"encrypt", TLS_LEVEL_ENCRYPT, false},
                 {"secure match=x.example", TLS_LEVEL_SECURE, false}};
    HopTls *tls;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        tls = open_text(cases[i].text);
        assert_int_equal(tls == NULL, cases[i].is_none);
        assert_int_equal(hop_tls_level(tls), cases[i].level);
        hop_tls_free(tls);
    }
    assert_true(hop_tls_open(config, "filter_tls_security_level", &tls, NULL));
    assert_int_equal(hop_tls_level(tls), TLS_LEVEL_ENCRYPT);
    hop_tls_free(tls);
}

static void mistakes_are_errors(void **state)
{
    static const char *const texts[] = {"sometimes", "dane", "encrypt match", "verify match=x tafile=/absent/ca.pem"};

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        HopTls *tls;
        assert_false(hop_tls_open_text(config, "level", texts[i], &tls, &error));
        assert_null(tls);
        assert_non_null(error);
    }
}

/* A connection is kept for another session only then. */
static void what_is_asked_is_compared(void **state)
{
    HopTls *may = open_text("may"), *again = open_text("may"), *encrypt = open_text("encrypt");

    assert_true(hop_tls_equal(NULL, NULL));
    assert_true(hop_tls_equal(may, again));
    assert_false(hop_tls_equal(may, encrypt));
    assert_false(hop_tls_equal(NULL, encrypt));
    assert_false(hop_tls_equal(may, NULL));
    hop_tls_free(may);
    hop_tls_free(again);
    hop_tls_free(encrypt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_read),
        cmocka_unit_test(mistakes_are_errors),
        cmocka_unit_test(what_is_asked_is_compared),
    };

    return cmocka_run_group_tests(tests, read_config, free_config);
}
