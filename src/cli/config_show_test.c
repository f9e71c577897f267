#include "cli/config_edit.h"
#include "cli/config_show.h"
#include "config/captured.h"
#include "config/findings.h"
#include "config/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const char main_text[] = "myhostname = a.b\n"
                                "mydestination =   $myhostname,\n   localhost   x\n\tyy\n"
                                "smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, "
                                "check_client_access inline:{a=b, {c = d}}, permit, reject, and_more, and_more, more\n"
                                "empty =\nfoo = $empty\nunused = 1\nsmtpd_banner = $foo  hi\n";

static const char *const master_text[] = {
    "smtp inet n - y - - smtpd",
    "submission inet n - y - - smtpd -o syslog_name=postfix/$service_name -o { smtpd_helo_required = yes } "
    "-o {smtpd_banner = a b c} -o smtpd_client_restrictions=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,bbbbbbbbbbbbbbbbbbbbbbbb "
    "-v",
    "pickup unix n - y 60 1 pickup",
    "maildrop  unix  - n n - - pipe flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient} {x y}",
    "127.0.0.1:10025 inet n - n - - smtpd",
};

static GPtrArray *entries(void)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)master_entry_free);

    for (size_t i = 0; i < G_N_ELEMENTS(master_text); i++)
        g_ptr_array_add(list, master_entry_new(master_text[i], NULL));
    return list;
}

static GPtrArray *words(const char *text)
{
    return config_split(text);
}

/* What is wanted is what postconf 3.7.11 prints. */
static const struct {
    ConfigStyle style;
    const char *names;
    const char *wanted;
    const char *logged;
} params[] = {
    {{.which = CONFIG_SET},
     "",
     "empty =\nfoo = $empty\nmydestination = $myhostname, localhost x yy\nmyhostname = a.b\nsmtpd_banner = $foo hi\n"
     "smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, check_client_access "
     "inline:{a=b, {c = d}}, permit, reject, and_more, and_more, more\n",
     ""},
    {{.which = CONFIG_SET, .names_only = true, .names_directory = true},
     "",
     "config_directory\nempty\nfoo\nmydestination\nmyhostname\nsmtpd_banner\nsmtpd_recipient_restrictions\n",
     ""},
    {{.expand = true},
     "mydestination smtpd_timeout",
     "mydestination = a.b, localhost x yy\nsmtpd_timeout = 300s\n",
     ""},
    {{.values_only = true, .expand = true}, "smtpd_banner foo", "hi\n\n", ""},
    {{.which = CONFIG_ALL},
     "nosuch smtpd_timeout unused",
     "smtpd_timeout = ${stress?{10}:{300}}s\n",
     "warning: nosuch: unknown parameter\nwarning: unused: unknown parameter\n"},
    {{.which = CONFIG_DEFAULTS},
     "mydestination foo maildrop_time_limit pickup_time_limit smtpd_proxy_wait_limit",
     "mydestination = $myhostname, localhost.$mydomain, localhost\nmaildrop_time_limit = $command_time_limit\n"
     "smtpd_proxy_wait_limit = 1000\n",
     "warning: foo: unknown parameter\nwarning: pickup_time_limit: unknown parameter\n"},
    {{.fold = true},
     "smtpd_recipient_restrictions",
     "smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination,\n"
     "    check_client_access inline:{a=b, {c = d}}, permit, reject, and_more,\n    and_more, more\n",
     ""},
    {{.which = CONFIG_DEFAULTS, .fold = true},
     "smtpd_relay_restrictions",
     "smtpd_relay_restrictions = ${{$compatibility_level} <level {1} ? {} :\n"
     "    {permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination}}\n",
     ""},
};

static void shows_parameters(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(params); i++) {
        g_autoptr(MainCf) main_cf = main_cf_parse("/x", "/x/main.cf", main_text, strlen(main_text), NULL);
        g_autoptr(GHashTable) used = findings_used(main_cf, NULL);
        g_autoptr(GPtrArray) list = entries();
        g_autoptr(GPtrArray) names = words(params[i].names);
        captured_start();
        g_autofree char *got = config_show_params(main_cf, list, used, &params[i].style, names, NULL);
        g_autofree char *logged = captured_stop();
        assert_string_equal(got, params[i].wanted);
        assert_string_equal(logged, params[i].logged);
    }
}

static void all_parameters_are_shown_sorted(void **state)
{
    g_autoptr(MainCf) main_cf = main_cf_parse("/x", "/x/main.cf", main_text, strlen(main_text), NULL);
    g_autoptr(GHashTable) used = findings_used(main_cf, NULL);
    g_autoptr(GPtrArray) list = entries();
    const ConfigStyle style = {.which = CONFIG_ALL, .names_only = true};
    g_autofree char *got = config_show_params(main_cf, list, used, &style, NULL, NULL);
    g_auto(GStrv) lines = g_strsplit(got, "\n", -1);
    guint count = 0, table = 0;

    for (size_t i = 0; i < param_group_count; i++)
        table += (guint)*param_groups[i].count;
    for (; lines[count + 1]; count++)
        assert_true(count == 0 || strcmp(lines[count - 1], lines[count]) < 0);
    assert_int_equal(count, table + 2 + 17); /* empty, foo; those of the transport maildrop */
    assert_true(g_strv_contains((const char *const *)lines, "maildrop_destination_rate_delay"));
}

static void a_bad_reference_is_an_error(void **state)
{
    g_autoptr(MainCf) main_cf = main_cf_parse("/x", "/x/main.cf", "smtpd_banner = ${a", 18, NULL);
    g_autoptr(GHashTable) used = findings_used(main_cf, NULL);
    g_autoptr(GPtrArray) list = entries();
    g_autoptr(GError) error = NULL;
    const ConfigStyle style = {.which = CONFIG_SET, .expand = true};

    captured_start();
    assert_null(config_show_params(main_cf, list, used, &style, NULL, &error));
    g_autofree char *logged = captured_stop();
    assert_string_equal(error->message, "macro processing error");
    assert_string_equal(logged, "warning: truncated macro reference: \"${a\"\n");
}

#define SUBMISSION_ARGUMENTS                                                                                           \
    "-o syslog_name=postfix/$service_name -o smtpd_helo_required=yes -o {smtpd_banner=a b c} "                         \
    "-o smtpd_client_restrictions=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,bbbbbbbbbbbbbbbbbbbbbbbb -v"

static const struct {
    char mode;
    ConfigStyle style;
    const char *patterns;
    const char *wanted;
    const char *logged;
} services[] = {
    {'M',
     {.fold = false},
     "",
     "smtp       inet  n       -       y       -       -       smtpd\n"
     "submission inet  n       -       y       -       -       smtpd " SUBMISSION_ARGUMENTS "\n"
     "pickup     unix  n       -       y       60      1       pickup\n"
     "maildrop   unix  -       n       n       -       -       pipe flags=DRXhu user=vmail argv=/usr/bin/maildrop -d "
     "${recipient} {x y}\n"
     "127.0.0.1:10025 inet n   -       n       -       -       smtpd\n",
     ""},
    {'M',
     {.fold = true},
     "submission/inet maildrop",
     "submission inet  n       -       y       -       -       smtpd\n"
     "    -o syslog_name=postfix/$service_name\n    -o smtpd_helo_required=yes\n    -o {smtpd_banner=a b c}\n"
     "    -o smtpd_client_restrictions=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,bbbbbbbbbbbbbbbbbbbbbbbb\n    -v\n"
     "maildrop   unix  -       n       n       -       -       pipe flags=DRXhu\n"
     "    user=vmail argv=/usr/bin/maildrop -d ${recipient} {x y}\n",
     ""},
    {'M',
     {.fold = false},
     "nosuch/inet smtp/unix",
     "",
     "warning: unmatched request: \"nosuch/inet\"\n"
     "warning: unmatched request: \"smtp/unix\"\n"},
    {'F', {.fold = false}, "*/unix/chroot", "pickup/unix/chroot = y\nmaildrop/unix/chroot = n\n", ""},
    {'F', {.values_only = true}, "pickup/unix/wakeup", "60\n", ""},
    {'F', {.fold = false}, "submission/inet/command", "submission/inet/command = smtpd " SUBMISSION_ARGUMENTS "\n", ""},
    {'P',
     {.fold = false},
     "",
     "submission/inet/smtpd_banner = a b c\n"
     "submission/inet/smtpd_client_restrictions = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,bbbbbbbbbbbbbbbbbbbbbbbb\n"
     "submission/inet/smtpd_helo_required = yes\nsubmission/inet/syslog_name = postfix/$service_name\n",
     ""},
    {'P', {.expand = true}, "*/*/syslog_name", "submission/inet/syslog_name = postfix/submission\n", ""},
    {'P', {.fold = false}, "smtp/inet/x", "", "warning: unmatched request: \"smtp/inet/x\"\n"},
};

static void shows_services(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(services); i++) {
        g_autoptr(MainCf) main_cf = main_cf_parse("/x", "/x/main.cf", main_text, strlen(main_text), NULL);
        g_autoptr(GPtrArray) list = entries();
        g_autoptr(GPtrArray) patterns = words(services[i].patterns);
        const ConfigStyle *style = &services[i].style;
        captured_start();
        g_autofree char *got = services[i].mode == 'M'   ? config_show_services(list, style, patterns, NULL)
                               : services[i].mode == 'F' ? config_show_fields(list, style, patterns, NULL)
                                                         : config_show_overrides(main_cf, list, style, patterns, NULL);
        g_autofree char *logged = captured_stop();
        assert_string_equal(got, services[i].wanted);
        assert_string_equal(logged, services[i].logged);
    }
}

static void refuses_bad_patterns(void **state)
{
    g_autoptr(GPtrArray) list = entries();
    g_autoptr(GPtrArray) empty = words("/inet"), field = words("pickup/unix/foo"), deep = words("a/b/c");
    g_autoptr(GError) error = NULL;
    const ConfigStyle style = {.fold = false};

    assert_null(config_show_services(list, &style, empty, &error));
    assert_string_equal(error->message, "-M option requires service_name[/type]");
    g_clear_error(&error);
    assert_null(config_show_services(list, &style, deep, &error));
    assert_string_equal(error->message, "-M option requires service_name[/type]");
    g_clear_error(&error);
    assert_null(config_show_fields(list, &style, field, &error));
    assert_string_equal(error->message, "invalid service attribute name: \"foo\"");
}

static const struct {
    ConfigEdit edit;
    const char *change;
    const char *text, *wanted;
} edits[] = {
    {CONFIG_EDIT_SET, "a=2", "", "a = 2\n"},
    {CONFIG_EDIT_SET, " a =  2 3 ", "# x\na = 1\nb = 1", "# x\na = 2 3\nb = 1\n"},
    {CONFIG_EDIT_SET, "a=2", "a=1\n x\n# keep\n y\n\nb = 1\n z\n", "a = 2\n# keep\n\nb = 1\n z\n"},
    {CONFIG_EDIT_SET, "a=2", "a = 1\nb = 1\na = 3\n", "a = 2\nb = 1\n"},
    {CONFIG_EDIT_SET, "a=2", "ab = 1\n#a = 3\n", "ab = 1\n#a = 3\na = 2\n"},
    {CONFIG_EDIT_REMOVE, "a", "a = 1\n  2\nb = 1\n", "b = 1\n"},
    {CONFIG_EDIT_COMMENT, "a", "a = 1\n  2\n# x\nb = 1\n", "#a = 1\n#  2\n# x\nb = 1\n"},
};

static void edits_text(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(edits); i++) {
        g_autoptr(GPtrArray) list = g_ptr_array_new();
        g_ptr_array_add(list, (void *)edits[i].change);
        g_autofree char *got = config_edit_text(edits[i].text, edits[i].edit, list, NULL);
        assert_string_equal(got, edits[i].wanted);
    }

    static const struct {
        ConfigEdit edit;
        const char *change;
    } bad[] = {
        {CONFIG_EDIT_SET, "a"},      {CONFIG_EDIT_SET, "=a"},  {CONFIG_EDIT_SET, "a=b\nc=d"},
        {CONFIG_EDIT_REMOVE, "a=b"}, {CONFIG_EDIT_REMOVE, ""},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GPtrArray) list = g_ptr_array_new();
        g_ptr_array_add(list, (void *)bad[i].change);
        assert_null(config_edit_text("a = 1\n", bad[i].edit, list, NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_parameters),
        cmocka_unit_test(all_parameters_are_shown_sorted),
        cmocka_unit_test(a_bad_reference_is_an_error),
        cmocka_unit_test(shows_services),
        cmocka_unit_test(refuses_bad_patterns),
        cmocka_unit_test(edits_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
