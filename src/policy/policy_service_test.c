#include "config/main_cf.h"
#include "policy/policy_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char main_cf_text[] = "myhostname = mx.example\nsmtpd_policy_service_timeout = 7\n"
                                   "smtpd_policy_service_policy_context = all\n";

static PolicyService *make(const char *text, GError **error)
{
    g_autoptr(MainCf) main_cf = main_cf_parse("/x", "/x/main.cf", main_cf_text, strlen(main_cf_text), error);
    const ConfigScope scope = {.process_name = "smtpd"};
    g_autoptr(Config) config = config_new(main_cf, &scope, error);

    assert_non_null(config);
    return policy_service_new(text, config, error);
}

static void takes_a_plain_name(void **state)
{
    g_autoptr(PolicyService) service = make("inet:127.0.0.1:9998", NULL);

    assert_string_equal(service->name, "127.0.0.1:9998");
    assert_int_equal(service->endpoint->port, 9998);
    assert_int_equal(service->timeout_ms, 7000);
    assert_int_equal(service->max_idle_ms, 300 * 1000);
    assert_int_equal(service->max_ttl_ms, 1000 * 1000);
    assert_int_equal(service->retry_delay_ms, 1000);
    assert_int_equal(service->try_limit, 2);
    assert_int_equal(service->request_limit, 0);
    assert_string_equal(service->default_action, "451 4.3.5 Server configuration problem");
    assert_string_equal(service->context, "all");
}

static void takes_paths(void **state)
{
    static const char *const names[][3] = {{"unix:private/policy", "private/policy", "./private/policy"},
                                           {"local:private/policy", "private/policy", "./private/policy"},
                                           {"unix:/run/x", "/run/x", "/run/x"}};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(PolicyService) service = make(names[i][0], NULL);
        assert_string_equal(service->name, names[i][1]);
        assert_string_equal(service->endpoint->path, names[i][2]);
    }
}

static void takes_options(void **state)
{
    g_autoptr(PolicyService) service = make("{inet:localhost:1, timeout=2m max_idle=3,max_ttl = 4,\n"
                                            "{ default_action = DEFER try, later } {policy_context=a b}, retry_delay=9,"
                                            " request_limit=5 try_limit=6 }",
                                            NULL);

    assert_null(service); /* blanks around '=' need braces */
    service = make("{inet:localhost:1, timeout=2m max_idle=3,{max_ttl = 4},\n"
                   "{ default_action = DEFER try, later } {policy_context=a b}, retry_delay=9,"
                   " request_limit=5 try_limit=6 }",
                   NULL);
    assert_non_null(service);
    assert_string_equal(service->name, "localhost:1");
    assert_int_equal(service->timeout_ms, 120 * 1000);
    assert_int_equal(service->max_idle_ms, 3000);
    assert_int_equal(service->max_ttl_ms, 4000);
    assert_int_equal(service->retry_delay_ms, 9000);
    assert_int_equal(service->request_limit, 5);
    assert_int_equal(service->try_limit, 6);
    assert_string_equal(service->default_action, "DEFER try, later");
    assert_string_equal(service->context, "a b");
}

static void refuses_what_is_wrong(void **state)
{
    static const char *const wrong[][2] = {
        {"{ inet:127.0.0.1:1, nosuch=1 }", "unknown option: \"nosuch = 1\""},
        {"{ inet:127.0.0.1:1, timeout=0 }", "invalid timeout: 0 (min 1)"},
        {"{ inet:127.0.0.1:1, timeout=5x }", "parameter timeout: bad time value or unit: 5x"},
        {"{ inet:127.0.0.1:1, try_limit=0 }", "invalid try_limit parameter value 0 < 1"},
        {"{ inet:127.0.0.1:1, request_limit=x }", "bad numerical configuration: request_limit = x"},
        {"{ inet:127.0.0.1:1, { default_action= } }", "bad string length 0 < 1: default_action = "},
        {"{ inet:127.0.0.1:1, =5 }", "malformed option: missing attribute name: \"...=5...\""},
        {"{ inet:127.0.0.1:1, x }", "malformed option: missing '=' after attribute name: \"...x...\""},
        {"tcp:127.0.0.1:1", "invalid transport name: tcp in service: tcp:127.0.0.1:1"},
        {"127.0.0.1:1", "invalid transport name: 127.0.0.1 in service: 127.0.0.1:1"},
        {"private/x", "need service transport:endpoint instead of \"private/x\""},
        {"inet:", "need service transport:endpoint instead of \"inet:\""},
        {"{ }", "empty policy service: \"{ }\""},
        {"{ inet:127.0.0.1:1", "policy service syntax error: missing '}' in \"{ inet:127.0.0.1:1\""},
        {"inet:127.0.0.1:99999", "bad port number in \"127.0.0.1:99999\": 1 to 65535 is right"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        assert_null(make(wrong[i][0], &error));
        assert_string_equal(error->message, wrong[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_plain_name),
        cmocka_unit_test(takes_paths),
        cmocka_unit_test(takes_options),
        cmocka_unit_test(refuses_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
