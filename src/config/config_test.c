#include "config/captured.h"
#include "config/config.h"
#include "config/main_cf.h"
#include "config/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static GPtrArray *words(const char *first, ...)
{
    GPtrArray *array = g_ptr_array_new();
    va_list more;

    va_start(more, first);
    for (const char *word = first; word; word = va_arg(more, const char *))
        g_ptr_array_add(array, (void *)word);
    va_end(more);
    return array;
}

static Config *make(const char *text, const GPtrArray *overrides, GError **error)
{
    g_autoptr(MainCf) main_cf = main_cf_parse("/etc/x", "/etc/x/main.cf", text, strlen(text), error);
    const ConfigScope scope = {.process_name = "smtpd", .service_name = "smtp", .overrides = overrides};

    return main_cf ? config_new(main_cf, &scope, error) : NULL;
}

static Config *make_good(const char *text, const GPtrArray *overrides)
{
    g_autoptr(GError) error = NULL;
    Config *config = make(text, overrides, &error);

    if (!config)
        fail_msg("%s: %s", text, error->message);
    return config;
}

/* A main.cf and the error that it must give. */
static const struct {
    const char *text, *error, *logged;
} bad[] = {
    {"foo bar\n", "/etc/x/main.cf, line 1: missing '=' after attribute name: \"foo bar\"", ""},
    {"a=1\n\nfoo\n", "/etc/x/main.cf, line 3: missing '=' after attribute name: \"foo\"", ""},
    {"a = 1\n= b\n", "/etc/x/main.cf, line 2: missing attribute name: \"= b\"", ""},
    {"smtpd_helo_required = maybe\n", "bad boolean configuration: smtpd_helo_required = maybe", ""},
    {"smtpd_helo_required =\n", "bad boolean configuration: smtpd_helo_required = ", ""},
    {"smtpd_recipient_limit = 10k\n", "bad numerical configuration: smtpd_recipient_limit = 10k", ""},
    {"smtpd_recipient_limit =\n", "bad numerical configuration: smtpd_recipient_limit = ", ""},
    {"smtpd_recipient_limit = 99999999999999999999\n",
     "bad numerical configuration: smtpd_recipient_limit = 99999999999999999999", ""},
    {"smtpd_recipient_limit = 2147483648\n", "bad numerical configuration: smtpd_recipient_limit = 2147483648", ""},
    {"smtpd_recipient_limit = 0\n", "invalid smtpd_recipient_limit parameter value 0 < 1", ""},
    {"message_size_limit = -1\n", "invalid message_size_limit parameter value -1 < 0", ""},
    {"smtpd_forbid_bare_newline_reject_code = 600\n",
     "invalid smtpd_forbid_bare_newline_reject_code parameter value 600 > 599", ""},
    {"smtpd_timeout = 5x\n", "parameter smtpd_timeout: bad time value or unit: 5x", ""},
    {"smtpd_timeout = 5S\n", "parameter smtpd_timeout: bad time value or unit: 5S", ""},
    {"smtpd_timeout = 5ss\n", "parameter smtpd_timeout: bad time value or unit: 5ss", ""},
    {"smtpd_timeout = -5s\n", "parameter smtpd_timeout: bad time value or unit: -5s", ""},
    {"smtpd_timeout =\n", "parameter smtpd_timeout: bad time value or unit: ", ""},
    {"smtpd_timeout = 99999w\n", "parameter smtpd_timeout: bad time value or unit: 99999w", ""},
    {"smtpd_timeout = 0\n", "invalid smtpd_timeout: 0 (min 1)", ""},
    {"maximal_queue_lifetime = 101d\n", "invalid maximal_queue_lifetime: 101d (max 8640000)", ""},
    {"smtpd_banner =\n", "bad string length 0 < 1: smtpd_banner = ", ""},
    {"smtpd_proxy_options = speed_adjust, fast\n",
     "unknown smtpd_proxy_options value \"fast\" in \"speed_adjust, fast\"", ""},
    {"inet_protocols = ipv5\n", "unknown inet_protocols value \"ipv5\" in \"ipv5\"", ""},
    {"smtpd_forbid_bare_newline = maybe\n", "bad parameter value: 'smtpd_forbid_bare_newline = maybe'", ""},
    {"myhostname = a@b\n", "file /etc/x/main.cf: parameter myhostname: bad parameter value: a@b", ""},
    {"myhostname = -a.b\n", "file /etc/x/main.cf: parameter myhostname: bad parameter value: -a.b", ""},
    {"myhostname = a..b\n", "file /etc/x/main.cf: parameter myhostname: bad parameter value: a..b", ""},
    {"myhostname = 10.0.0.1\n", "file /etc/x/main.cf: parameter myhostname: bad parameter value: 10.0.0.1", ""},
    {"smtpd_banner = ${foo\n", "dictionary mail_dict: macro processing error",
     "warning: truncated macro reference: \"${foo\"\n"},
    {"x = $x\nrelayhost = $x\n", "dictionary mail_dict: macro processing error",
     "warning: unreasonable macro call nesting: \"x\"\n"},
    {"mine_destination_concurrency_limit = x\n", "bad numerical configuration: mine_destination_concurrency_limit = x",
     ""},
    {"mine_destination_rate_delay = x\n", "parameter mine_destination_rate_delay: bad time value or unit: x", ""},
    {"compatibility_level = x\n", "malformed compatibility level syntax: \"x\"", ""},
    {"smtpd_tls_wrappermode = x\n", "bad boolean configuration: smtpd_tls_wrappermode = x", ""},
};

static void refuses_bad_values(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        captured_start();
        g_autoptr(Config) config = make(bad[i].text, NULL, &error);
        g_autofree char *logged = captured_stop();
        if (config)
            fail_msg("accepted: %s", bad[i].text);
        assert_string_equal(error->message, bad[i].error);
        assert_string_equal(logged, bad[i].logged);
    }
}

/* "name=value" settings, and what a getter says afterwards. */
static void reads_all_types(void **state)
{
    g_autoptr(Config) config = make_good("smtpd_helo_required = YES\nsmtpd_recipient_limit=7\n"
                                         "smtpd_timeout = 5\nsmtpd_starttls_timeout = 2m\nmaximal_queue_lifetime = 2\n"
                                         "message_size_limit = 5000000000\n"
                                         "smtpd_banner =   a\n   b $smtpd_recipient_limit # c  \n"
                                         "receive_override_options = no_milters,no_address_mappings\n"
                                         "smtpd_proxy_timeout = 3h\nminimal_backoff_time=1w\n",
                                         NULL);

    assert_true(config_bool(config, "smtpd_helo_required"));
    assert_false(config_bool(config, "disable_vrfy_command"));
    assert_int_equal(config_int(config, "smtpd_recipient_limit"), 7);
    assert_int_equal(config_int(config, "message_size_limit"), 5000000000);
    assert_int_equal(config_seconds(config, "smtpd_timeout"), 5);
    assert_int_equal(config_seconds(config, "maximal_queue_lifetime"), 2 * 86400);
    assert_int_equal(config_seconds(config, "smtpd_proxy_timeout"), 3 * 3600);
    assert_int_equal(config_seconds(config, "smtpd_proxy_wait_time"), 3 * 3600);
    assert_int_equal(config_seconds(config, "minimal_backoff_time"), 7 * 86400);
    assert_string_equal(config_string(config, "smtpd_banner"), "a   b 7 # c");
    assert_true(config_is_set(config, "smtpd_banner"));
    assert_false(config_is_set(config, "smtpd_proxy_ehlo"));
    assert_string_equal(config_directory(config), "/etc/x");
}

static void unit_of_a_bare_time_is_the_defaults(void **state)
{
    g_autoptr(Config) config = make_good("delay_warning_time = 4\nbounce_queue_lifetime = 1\nsmtpd_timeout = 9\n"
                                         "smtpd_proxy_timeout = 2\nsmtpd_proxy_wait_time = 3\n",
                                         NULL);

    assert_int_equal(config_seconds(config, "delay_warning_time"), 4 * 3600);
    assert_int_equal(config_seconds(config, "bounce_queue_lifetime"), 86400);
    assert_int_equal(config_seconds(config, "smtpd_timeout"), 9);
    assert_int_equal(config_seconds(config, "smtpd_proxy_wait_time"), 3);
}

static void defaults_are_those_of_the_newest(void **state)
{
    g_autoptr(Config) config = make_good("myhostname = mx.example.test\n", NULL);
    static const struct {
        const char *name, *wanted;
    } defaults[] = {
        {"mail_name", "gatepost"},
        {"syslog_name", "postfix"},
        {"smtpd_banner", "mx.example.test ESMTP gatepost"},
        {"smtpd_forbid_bare_newline", "normalize"},
        {"smtpd_relay_restrictions", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination"},
        {"smtpd_proxy_timeout", "100s"},
        {"smtpd_proxy_ehlo", "mx.example.test"},
        {"smtpd_proxy_wait_time", "100s"},
        {"smtpd_proxy_concurrency_limit", ""},
        {"filter_nexthop", ""},
        {"filter_authorized_hosts", "127.0.0.0/8, [::1]/128"},
        {"dns_servers", ""},
        {"mydomain", "example.test"},
        {"mydestination", "mx.example.test, localhost.example.test, localhost"},
        {"relay_domains", ""},
        {"mynetworks_style", "host"},
        {"process_name", "smtpd"},
        {"service_name", "smtp"},
        {"config_directory", "/etc/x"},
        {"queue_directory", "/var/spool/postfix"},
        {"stress", ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(defaults); i++)
        assert_string_equal(config_string(config, defaults[i].name), defaults[i].wanted);
    assert_true(config_bool(config, "smtpd_forbid_unauth_pipelining"));
    assert_true(config_bool(config, "smtpd_relay_before_recipient_restrictions"));
    assert_true(config_bool(config, "smtputf8_enable"));
    assert_int_equal(config_seconds(config, "smtpd_timeout"), 300);
    assert_int_equal(config_int(config, "smtpd_hard_error_limit"), 20);
    assert_int_equal(config_int(config, "smtpd_proxy_wait_limit"), 1000);
    assert_true(config_level_at_least(config, 3, 11));
}

static void old_levels_have_old_defaults(void **state)
{
    g_autoptr(Config) config = make_good("compatibility_level = 0\nmydestination = d.test\n", NULL);

    assert_string_equal(config_string(config, "smtpd_relay_restrictions"), "");
    assert_string_equal(config_string(config, "mynetworks_style"), "subnet");
    assert_string_equal(config_string(config, "relay_domains"), "d.test");
    assert_false(config_bool(config, "smtputf8_enable"));
    assert_true(config_bool(config, "append_dot_mydomain"));
    assert_false(config_level_at_least(config, 1, 0));

    g_autoptr(Config) newer = make_good("compatibility_level = 3.10\n", NULL);
    assert_true(config_level_at_least(newer, 3, 6));
    assert_true(config_level_at_least(newer, 3, 10));
    assert_false(config_level_at_least(newer, 3, 11));
}

static void stress_changes_defaults(void **state)
{
    g_autoptr(MainCf) main_cf = main_cf_parse("/x", "/x/main.cf", "", 0, NULL);
    const ConfigScope scope = {.process_name = "smtpd", .stress = "yes"};
    g_autoptr(Config) config = config_new(main_cf, &scope, NULL);

    assert_int_equal(config_seconds(config, "smtpd_timeout"), 10);
    assert_int_equal(config_int(config, "smtpd_hard_error_limit"), 1);
    assert_true(config_bool(config, "smtpd_per_request_deadline"));
    assert_string_equal(config_string(config, "service_name"), "smtpd");
}

static void overrides_win(void **state)
{
    g_autoptr(GPtrArray) overrides = words("smtpd_banner=first", "smtpd_banner = $mine", "mine={a b}", "x=1",
                                           "process_name=no", "service_name=no", NULL);
    g_autoptr(Config) config = make_good("mine = file\nsmtpd_proxy_ehlo = $mine\n", overrides);

    assert_string_equal(config_string(config, "smtpd_banner"), "{a b}");
    assert_string_equal(config_string(config, "smtpd_proxy_ehlo"), "{a b}");
    assert_string_equal(config_string(config, "process_name"), "smtpd");
    assert_string_equal(config_string(config, "service_name"), "smtp");
    assert_string_equal(config_lookup(config, "mine"), "{a b}");
    assert_string_equal(config_lookup(config, "x"), "1");
    assert_string_equal(config_lookup(config, "smtpd_proxy_timeout"), "100s");
    assert_null(config_lookup(config, "nothing"));

    static const struct {
        const char *override, *error;
    } rows[] = {
        {"smtpd_banner", "invalid \"-o smtpd_banner\" option value: missing '=' after attribute name"},
        {"=x", "invalid \"-o =x\" option value: missing attribute name"},
        {"smtpd_recipient_limit=x", "bad numerical configuration: smtpd_recipient_limit = x"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) one = words(rows[i].override, NULL);
        assert_null(make("", one, &error));
        assert_string_equal(error->message, rows[i].error);
    }
}

static void what_nobody_reads_may_be_bad(void **state)
{
    captured_start();
    g_autoptr(Config) config = make_good("mine = ${bad\nmilter_connect_timeout = never\n", NULL);
    g_autofree char *logged = captured_stop();

    assert_string_equal(logged, "");
    assert_null(config_lookup(config, "mine"));
    assert_int_equal(config_seconds(config, "milter_connect_timeout"), 30);
}

static void warns_of_repeated_names(void **state)
{
    captured_start();
    g_autoptr(Config) config = make_good("a = 1\nb = 2\na = 1\na = 3\n  4\na = 5\n", NULL);
    g_autofree char *logged = captured_stop();

    assert_string_equal(config_lookup(config, "a"), "5");
    assert_string_equal(logged, "warning: /etc/x/main.cf, line 4: overriding earlier entry: a=1\n"
                                "warning: /etc/x/main.cf, line 6: overriding earlier entry: a=3  4\n");
}

static void transports_have_their_own(void **state)
{
    g_autoptr(Config) config = make_good("default_destination_concurrency_limit = 7\n"
                                         "a-b_destination_concurrency_limit = 3\n"
                                         "smtp_destination_rate_delay = 2m\nrelay_destination_rate_delay = 4\n",
                                         NULL);
    const char *limit = "_destination_concurrency_limit", *limits = "default_destination_concurrency_limit";
    const char *delay = "_destination_rate_delay", *delays = "default_destination_rate_delay";

    assert_int_equal(config_transport_int(config, "a-b", limit, limits), 3);
    assert_int_equal(config_transport_int(config, "a-b", limit + 1, limits), 3);
    assert_int_equal(config_transport_int(config, "smtp", limit, limits), 7);
    assert_int_equal(config_transport_int(config, "local", limit, limits), 2);
    assert_int_equal(config_transport_seconds(config, "smtp", delay, delays), 120);
    assert_int_equal(config_transport_seconds(config, "relay", delay, delays), 4);
    assert_int_equal(config_transport_seconds(config, "lmtp", delay, delays), 0);
}

static void splits_lists(void **state)
{
    static const struct {
        const char *list, *wanted;
    } rows[] = {
        {"", ""},
        {" , \t", ""},
        {"a", "a|"},
        {"a,b c\t d,,e ", "a|b|c|d|e|"},
        {"check_client_access inline:{a=b, {c = d, e}}, permit",
         "check_client_access|inline:{a=b, {c = d, e}}|permit|"},
        {"{a b}{c d}", "{a b}{c d}|"},
        {"{a b", "{a b|"},
        {"a} b", "a}|b|"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GPtrArray) list = config_split(rows[i].list);
        g_autoptr(GString) got = g_string_new(NULL);
        for (guint j = 0; j < list->len; j++)
            g_string_append_printf(got, "%s|", (char *)g_ptr_array_index(list, j));
        assert_string_equal(got->str, rows[i].wanted);
    }
}

static void expands_text_of_others(void **state)
{
    g_autoptr(Config) config = make_good("a = b $c\nc = d\n", NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *text = config_expand(config, " [$a] ", &error);

    assert_string_equal(text, " [b d] ");
    captured_start();
    assert_null(config_expand(config, "${a", &error));
    g_autofree char *logged = captured_stop();
    assert_string_equal(error->message, "dictionary mail_dict: macro processing error");
    assert_string_equal(logged, "warning: truncated macro reference: \"${a\"\n");
}

static void missing_file_is_named(void **state)
{
    g_autoptr(GError) error = NULL;

    assert_null(main_cf_read("/nonexistent", &error));
    assert_string_equal(error->message, "open /nonexistent/main.cf: No such file or directory");
}

static void check_row(const Param *param, void *data)
{
    const char **last = data;

    if (*last && strcmp(*last, param->name) >= 0)
        fail_msg("%s stands in the table twice, or out of order", param->name);
    *last = param->name;
    if (params_find(param->name) != param)
        fail_msg("%s is not found", param->name);
    assert_true(param->help && *param->help && !g_str_has_suffix(param->help, "."));
    if (param->type == PARAM_WORDS || param->type == PARAM_ENUM)
        assert_non_null(param->words);
    if (param->type == PARAM_STRING && param->support != PARAM_PROTECTS)
        assert_null(param->words);
}

static void the_table_is_sound(void **state)
{
    const char *last = NULL;

    params_each(check_row, &last); /* that all defaults are valid shows whenever a view is made */
    for (size_t i = 0; i < param_suffix_count; i++)
        assert_non_null(params_find(param_suffixes[i].source));
    assert_string_equal(params_find_suffix("x_destination_recipient_limit")->source,
                        "default_destination_recipient_limit");
    assert_string_equal(params_find_suffix("x_recipient_limit")->source, "default_recipient_limit");
    assert_null(params_find_suffix("_recipient_limit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_values),
        cmocka_unit_test(reads_all_types),
        cmocka_unit_test(unit_of_a_bare_time_is_the_defaults),
        cmocka_unit_test(defaults_are_those_of_the_newest),
        cmocka_unit_test(old_levels_have_old_defaults),
        cmocka_unit_test(stress_changes_defaults),
        cmocka_unit_test(overrides_win),
        cmocka_unit_test(what_nobody_reads_may_be_bad),
        cmocka_unit_test(warns_of_repeated_names),
        cmocka_unit_test(transports_have_their_own),
        cmocka_unit_test(splits_lists),
        cmocka_unit_test(expands_text_of_others),
        cmocka_unit_test(missing_file_is_named),
        cmocka_unit_test(the_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
