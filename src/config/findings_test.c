#include "config/captured.h"
#include "config/findings.h"
#include "config/master_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    const char *main_text, *master_text;
    const char *logged;
    const char *error; /* NULL: none */
} rows[] = {
    {"smtpd_banner = hi\nmyhostname = a.b\n", "", "", NULL},
    {"mumble = 1\nhe-llo = 2\n", "",
     "warning: /x/main.cf: unused parameter: mumble=1\nwarning: /x/main.cf: unused parameter: he-llo=2\n", NULL},
    /* through others, in whichever branch */
    {"a = 1\nb = $a\nc = ${b?{x}:{$d}}\nd=2\nsmtpd_banner = $c\n", "", "", NULL},
    {"smtpd_banner = x $nope ${nope}\n", "", "warning: /x/main.cf: undefined parameter: nope\n", NULL},
    {"smtpd_client_connection_limit_exceptions = 10.0.0.1\n", "", "", NULL}, /* an old name in a default */
    {"smtpd_restriction_classes = one, two\none = permit\n", "", "", NULL},
    /* transports */
    {"smtp_destination_rate_delay = 1\nmine_destination_rate_delay = 1\nspawn_time_limit = 1\npol_time_limit = 1\n",
     "smtp unix - - n - - smtp\npol unix - n n - 0 spawn\n",
     "warning: /x/main.cf: unused parameter: mine_destination_rate_delay=1\n"
     "warning: /x/main.cf: unused parameter: spawn_time_limit=1\n",
     NULL},
    /* overrides: used there, or from there, or what main.cf refers to */
    {"a = 1\nsmtpd_banner = x $b\n",
     "25 inet n - n - - smtpd -o smtpd_helo_restrictions=$a -o b=2 -o c=$b -o smtpd_x=1\n",
     "warning: /x/master.cf: unused parameter: c=$b\nwarning: /x/master.cf: unused parameter: smtpd_x=1\n"
     "warning: /x/main.cf: undefined parameter: b\n",
     NULL},
    {"", "25 inet n - n - - smtpd -o smtpd_banner=$nope\n", "warning: /x/master.cf: undefined parameter: nope\n", NULL},
    /* support */
    {"biff = no\nmilter_connect_timeout = 5s\nmilter_command_timeout = 30s\nmax_use = 3\n", "",
     "warning: /x/main.cf: parameter biff is not supported and is ignored\n"
     "warning: /x/main.cf: parameter milter_connect_timeout is not supported and is ignored\n"
     "warning: /x/main.cf: parameter max_use has no effect here\n",
     NULL},
    {"", "25 inet n - n - - smtpd -o biff=no\n26 inet n - n - - smtpd -o biff=no\n",
     "warning: /x/master.cf: parameter biff is not supported and is ignored\n", NULL},
    {"smtpd_milters =\nsmtpd_tls_security_level = none\nsmtpd_sasl_auth_enable = no\nheader_checks = $empty\nempty =\n",
     "", "", NULL},
    /* what an unused setting refers to is used */
    {"a = $b\nb = 1\nc = $d\nd = $c\n", "", "warning: /x/main.cf: unused parameter: a=$b\n", NULL},
    {"tls = encrypt\n", "25 inet n - n - - smtpd -o content_filter=$tls\n", "",
     "/x/master.cf: parameter content_filter = encrypt is not supported (Transport and next hop that all mail takes "
     "first, after the queue): mail would pass without it"},
    {"smtp_sasl_auth_enable = yes\ncontent_filter = x\n", "",
     "error: /x/main.cf: parameter content_filter = x is not supported (Transport and next hop that all mail takes "
     "first, after the queue): mail would pass without it\n",
     "/x/main.cf: parameter smtp_sasl_auth_enable = yes is not supported (Whether the client authenticates): mail "
     "would pass without it"},
};

static void finds_what_is_doubtful(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(MainCf) main_cf =
            main_cf_parse("/x", "/x/main.cf", rows[i].main_text, strlen(rows[i].main_text), NULL);
        const ConfigScope scope = {.process_name = "master"};
        g_autoptr(Config) config = config_new(main_cf, &scope, NULL);
        g_autoptr(Lines) lines = lines_open_text("M", rows[i].master_text, strlen(rows[i].master_text));
        g_autoptr(GPtrArray) services = master_cf_parse(lines, "M", config, NULL);
        assert_non_null(services);
        captured_start();
        bool passed = findings_report(main_cf, services, &error);
        g_autofree char *logged = captured_stop();
        assert_string_equal(logged, rows[i].logged);
        assert_int_equal(passed, rows[i].error == NULL);
        if (!passed)
            assert_string_equal(error->message, rows[i].error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_is_doubtful),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
