#include "filter/inspector_settings.h"

#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Config *config;

static int set_up(void **state)
{
    g_autofree char *directory = g_dir_make_tmp("inspectorXXXXXX", NULL);
    g_autofree char *file = g_build_filename(directory, "main.cf", NULL);
    static const ConfigScope scope = {.process_name = "filter", .stress = ""};

    assert_true(g_file_set_contents(file, "here = /etc/here\nmyhostname = h.test\n", -1, NULL));
    g_autoptr(MainCf) main_cf = main_cf_read(directory, NULL);
    config = config_new(main_cf, &scope, NULL);
    g_unlink(file);
    g_rmdir(directory);
    return config ? 0 : -1;
}

static int tear_down(void **state)
{
    config_free(config);
    return 0;
}

static void attributes_are_read(void **state)
{
    g_autoptr(InspectorSettings) settings = inspector_settings_new(
        "{ checks: header_checks=pcre:$here/a, regexp:/b, timeout = 2m , exit=1:reject,2:tempfail,"
        " size_limit=10M, braced={ a, b=c }, argv=/bin/x ${sender} --file=$here }",
        config, NULL);
    gint64 number;

    assert_non_null(settings);
    assert_string_equal(inspector_settings_kind(settings), "checks");
    assert_string_equal(settings_name(settings), "checks");
    assert_string_equal(settings_text(settings, "header_checks"), "pcre:/etc/here/a, regexp:/b");
    assert_string_equal(settings_text(settings, "exit"), "1:reject,2:tempfail");
    assert_string_equal(settings_text(settings, "braced"), "a, b=c");
    assert_string_equal(settings_text(settings, "argv"), "/bin/x ${sender} --file=$here");
    assert_null(settings_text(settings, "nothing"));
    assert_true(settings_seconds(settings, "timeout", 0, &number, NULL));
    assert_int_equal(number, 120);
    assert_false(inspector_settings_all_known(settings, NULL));
    assert_true(settings_octets(settings, "size_limit", 0, &number, NULL));
    assert_int_equal(number, 10 << 20);
    assert_true(inspector_settings_all_known(settings, NULL));
}

static void a_value_in_front_gets_a_name(void **state)
{
    g_autoptr(InspectorSettings) settings =
        inspector_settings_new("{smtp: 127.0.0.1:10030, name=second}", config, NULL);

    assert_true(inspector_settings_name_value(settings, "endpoint", NULL));
    assert_string_equal(settings_text(settings, "endpoint"), "127.0.0.1:10030");
    assert_string_equal(settings_name(settings), "second");
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *element, *want;
    } rows[] = {
        {"checks:", "\"checks:\": expected { KIND: attribute=value, ... }"},
        {"{ checks }", "\"{ checks }\": expected { KIND: attribute=value, ... }"},
        {"{}", "\"{}\": expected { KIND: attribute=value, ... }"},
        {"{ checks: a=1, a=2 }", "checks: attribute \"a\" is given twice"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(InspectorSettings) settings = inspector_settings_new(rows[i].element, config, &error);
        assert_null(settings);
        assert_string_equal(error->message, rows[i].want);
    }
}

static void numbers_are_checked(void **state)
{
    g_autoptr(InspectorSettings) settings =
        inspector_settings_new("{ checks: t=10x, u=-1, v=, w=5K, x=99999999999G, y=5 k }", config, NULL);
    gint64 number;

    for (const char *name = "tuv"; *name; name++)
        assert_false(settings_seconds(settings, (char[]){*name, '\0'}, 0, &number, NULL));
    for (const char *name = "tuvwxy"; *name; name++)
        assert_false(settings_octets(settings, (char[]){*name, '\0'}, 0, &number, NULL));
    assert_true(settings_octets(settings, "z", 7, &number, NULL));
    assert_int_equal(number, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_are_read),
        cmocka_unit_test(a_value_in_front_gets_a_name),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(numbers_are_checked),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
