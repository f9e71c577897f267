#include "spawn/spawn_attributes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static bool parse(const char *line, SpawnAttributes *ret, GError **error)
{
    g_autoptr(GPtrArray) words = config_split(line);

    return spawn_attributes_parse(words, "daemon", ret, error);
}

static void takes_a_line(void **state)
{
    SpawnAttributes attributes;

    assert_true(parse("user=nobody:daemon argv=/bin/sh -c user=x", &attributes, NULL));
    assert_string_equal(attributes.user, "nobody");
    assert_string_equal(attributes.group, "daemon");
    assert_string_equal(attributes.program, "/bin/sh");
    assert_int_equal(g_strv_length(attributes.argv), 3);
    assert_string_equal(attributes.argv[2], "user=x");
    spawn_attributes_clear(&attributes);
    assert_true(parse("user=nobody argv= sh", &attributes, NULL));
    assert_null(attributes.group);
    assert_string_equal(attributes.argv[0], "sh");
    spawn_attributes_clear(&attributes);
}

static void refuses_what_is_wrong(void **state)
{
    static const char *const wrong[][2] = {
        {"", "missing user= attribute"},
        {"argv=/bin/sh", "missing user= attribute"},
        {"user=nobody", "missing argv= attribute"},
        {"user=nobody argv=", "missing argv= attribute"},
        {"user=nobody flags=x argv=/bin/sh", "unknown attribute name: flags=x"},
        {"user=nosuchuser argv=/bin/sh", "unknown user name: nosuchuser"},
        {"user=nobody:nosuchgroup argv=/bin/sh", "unknown group name: nosuchgroup"},
        {"user=root argv=/bin/sh", "request to deliver as root"},
        {"user=daemon argv=/bin/sh", "request to deliver as daemon"},
        {"user=nobody argv=/nonexistent/x", "argv=: there is no program /nonexistent/x"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        SpawnAttributes attributes;
        assert_false(parse(wrong[i][0], &attributes, &error));
        assert_string_equal(error->message, wrong[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_line),
        cmocka_unit_test(refuses_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
