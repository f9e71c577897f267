#include "config/captured.h"
#include "config/main_cf.h"
#include "config/master_cf.h"
#include "config/master_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static Config *make_config(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MainCf) main_cf = main_cf_parse("/x", "/x/main.cf", text, strlen(text), &error);
    const ConfigScope scope = {.process_name = "master"};
    Config *config = main_cf ? config_new(main_cf, &scope, &error) : NULL;

    if (!config)
        fail_msg("%s", error->message);
    return config;
}

static GPtrArray *parse(const char *main_text, const char *text, GError **error)
{
    g_autoptr(Config) config = make_config(main_text);
    g_autoptr(Lines) lines = lines_open_text("M", text, strlen(text));

    return master_cf_parse(lines, "M", config, error);
}

/* All of a service in one line. */
static char *show(const Service *service)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "%d %s %s %s:%d %c%c%c %d%s %d %s", service->line, service->name, service->identity,
                           service->host ? service->host : "*", service->port, service->is_private ? 'y' : 'n',
                           service->unprivileged ? 'y' : 'n', service->chroot ? 'y' : 'n', service->wakeup,
                           service->wakeup_when_used ? "?" : "", service->maxproc, service->command);
    for (guint i = 0; i < service->overrides->len; i++)
        g_string_append_printf(text, " -o[%s]", (char *)g_ptr_array_index(service->overrides, i));
    for (guint i = 0; i < service->arguments->len; i++)
        g_string_append_printf(text, " [%s]", (char *)g_ptr_array_index(service->arguments, i));
    if (service->verbose)
        g_string_append_printf(text, " v%d", service->verbose);
    return g_string_free(text, FALSE);
}

static char *show_all(const GPtrArray *services)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < services->len; i++) {
        g_autofree char *one = show(g_ptr_array_index(services, i));
        g_string_append_printf(text, "%s\n", one);
    }
    return g_string_free(text, FALSE);
}

static const struct {
    const char *text, *wanted, *logged;
} good[] = {
    {"", "", ""},
    {"smtp inet n - - - - smtpd\n", "1 smtp inet/:25 *:25 nyn 0 100 smtpd\n", ""},
    {"# x\n\n25 inet n - y - 20 smtpd\n", "3 25 inet/:25 *:25 nyy 0 20 smtpd\n", ""},
    {"submission inet n n n 5? 0 smtpd\n", "1 submission inet/:587 *:587 nnn 5? 0 smtpd\n", ""},
    {"smtps inet n - n 20x 7y smtpd\n", "1 smtps inet/:465 *:465 nyn 20 7 smtpd\n", ""},
    {"127.0.0.1:smtp inet n - n - - smtpd\n", "1 127.0.0.1:smtp inet/[127.0.0.1]:25 127.0.0.1:25 nyn 0 100 smtpd\n",
     ""},
    {":61 inet n - n - - smtpd\n", "1 :61 inet/:61 *:61 nyn 0 100 smtpd\n", ""},
    {"[0:0::1]:61 inet n - n - - smtpd\n", "1 [0:0::1]:61 inet/[::1]:61 ::1:61 nyn 0 100 smtpd\n", ""},
    {"::1:61 inet n - n - - smtpd\n", "1 ::1:61 inet/[::1]:61 ::1:61 nyn 0 100 smtpd\n", ""},
    {"[ipv6:::1]:61 inet n - n - - smtpd\n", "1 [ipv6:::1]:61 inet/[::1]:61 ::1:61 nyn 0 100 smtpd\n", ""},
    {"LocalHost:61 inet n - n - - smtpd\n", "1 LocalHost:61 inet/[localhost]:61 localhost:61 nyn 0 100 smtpd\n", ""},
    {"x unix - - - - - smtp\n", "1 x unix/private/x *:0 yyn 0 100 smtp\n", ""},
    {"x unix n - - - - smtp\n", "1 x unix/public/x *:0 nyn 0 100 smtp\n", ""},
    {"postlog unix-dgram n - n - 1 postlogd\n", "1 postlog unix-dgram/public/postlog *:0 nyn 0 1 postlogd\n", ""},
    {"x fifo n - n - 1 pickup\n", "1 x fifo/public/x *:0 nyn 0 1 pickup\n", ""},
    {"smtpd pass - - n - - smtpd\n", "1 smtpd pass/private/smtpd *:0 yyn 0 100 smtpd\n", ""},
    /* arguments */
    {"x unix - - - - - smtp -o a=b -oc=d -o { e = f  g } -o {h=i} -o j=$k -v -vv\n",
     "1 x unix/private/x *:0 yyn 0 100 smtp -o[a=b] -o[c=d] -o[e=f  g] -o[h=i] -o[j=$k] v3\n", ""},
    {"x unix - - - - - smtp -o a\n", "1 x unix/private/x *:0 yyn 0 100 smtp -o[a]\n", ""},
    {"x unix - n - - - pipe -o a=b flags=DRhu user=v {argv=/bin/x -o} -v { ${recipient} }\n",
     "1 x unix/private/x *:0 ynn 0 100 pipe -o[a=b] [flags=DRhu] [user=v] [argv=/bin/x -o] [-v] [${recipient}]\n", ""},
    {"x unix - n - - - pipe -- -o a={ b c}\n", "1 x unix/private/x *:0 ynn 0 100 pipe [-o] [a={ b c}]\n", ""},
    {"x unix - - - - - smtp -D\n", "1 x unix/private/x *:0 yyn 0 100 smtp\n",
     "warning: service x: option -D has no effect here\n"},
    /* continuations with comments between, as in the specification */
    {"127.0.0.1:10026 inet n       -       n       -        -      smtpd\n"
     "    -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n"
     "    -o smtpd_client_restrictions=\n"
     "#   -o ignored=1\n"
     "\n"
     "    # -o ignored=2\n"
     "    -o smtpd_recipient_restrictions=permit_mynetworks,reject\n"
     "x unix - - - - - smtp\n",
     "1 127.0.0.1:10026 inet/[127.0.0.1]:10026 127.0.0.1:10026 nyn 0 100 smtpd "
     "-o[smtpd_authorized_xforward_hosts=127.0.0.0/8] -o[smtpd_client_restrictions=] "
     "-o[smtpd_recipient_restrictions=permit_mynetworks,reject]\n"
     "8 x unix/private/x *:0 yyn 0 100 smtp\n",
     ""},
    /* the last entry of a service counts */
    {"smtp inet n - n - 1 smtpd\nsmtp unix - - n - - smtp\n25 inet n - n - 2 smtpd\n",
     "2 smtp unix/private/smtp *:0 yyn 0 100 smtp\n3 25 inet/:25 *:25 nyn 0 2 smtpd\n",
     "warning: duplicate master.cf entry for service \"smtp\" (25) -- using the last entry\n"},
    {"127.0.0.1:smtp inet n - n - 1 smtpd\n[127.0.0.1]:25 inet n - n - 2 smtpd\n",
     "2 [127.0.0.1]:25 inet/[127.0.0.1]:25 127.0.0.1:25 nyn 0 2 smtpd\n",
     "warning: duplicate master.cf entry for service \"127.0.0.1:smtp\" ([127.0.0.1]:25) -- using the last entry\n"},
    {"x unix n - n - - smtp\nx unix n - n - 3 smtp\n", "2 x unix/public/x *:0 nyn 0 3 smtp\n",
     "warning: duplicate master.cf entry for service \"x\" (public/x) -- using the last entry\n"},
    {"a-b unix - - n - - smtp\na_b unix - - n - - smtp\n",
     "1 a-b unix/private/a-b *:0 yyn 0 100 smtp\n2 a_b unix/private/a_b *:0 yyn 0 100 smtp\n", ""},
};

static void reads_services(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        captured_start();
        g_autoptr(GPtrArray) services = parse("", good[i].text, &error);
        g_autofree char *logged = captured_stop();
        if (!services)
            fail_msg("%s: %s", good[i].text, error->message);
        g_autofree char *got = show_all(services);
        assert_string_equal(got, good[i].wanted);
        assert_string_equal(logged, good[i].logged);
    }
}

static const struct {
    const char *text, *error;
} bad[] = {
    {"a\n", "missing \"transport type\" field"},
    {"smtp inet n - n -\n", "missing \"max_proc\" field"},
    {"smtp inet n - n - -\n", "missing \"command\" field"},
    {"- inet n - n - - smtpd\n", "field \"service name\" has no default value"},
    {"smtp - n - n - - smtpd\n", "field \"transport type\" has no default value"},
    {"smtp inet n - n - - -\n", "field \"command\" has no default value"},
    {"smtp tcp n - n - - smtpd\n", "bad transport type: tcp"},
    {"smtp inet - - n - - smtpd\n", "inet service cannot be private"},
    {"smtp inet y - n - - smtpd\n", "inet service cannot be private"},
    {"smtp inet x - n - - smtpd\n", "field \"private\": bad value: \"x\""},
    {"smtp inet n X n - - smtpd\n", "field \"unprivileged\": bad value: \"X\""},
    {"smtp inet n - Y - - smtpd\n", "field \"chroot\": bad value: \"Y\""},
    {"smtp inet n - n x - smtpd\n", "field \"wakeup_time\": bad value: \"x\""},
    {"smtp inet n - n -5 - smtpd\n", "field \"wakeup_time\": bad value: \"-5\""},
    {"smtp inet n - n - x smtpd\n", "field \"max_proc\": bad value: \"x\""},
    {"smtp inet n - n - -5 smtpd\n", "field \"max_proc\": bad value: \"-5\""},
    {"smtp inet n - n - 9999999999 smtpd\n", "field \"max_proc\": bad value: \"9999999999\""},
    {"127.0.0.1: inet n - n - - smtpd\n", "missing service information in \"127.0.0.1:\""},
    {"[127.0.0.1] inet n - n - - smtpd\n", "missing service information in \"[127.0.0.1]\""},
    {"[127.0.0.1]: inet n - n - - smtpd\n", "missing service information in \"[127.0.0.1]:\""},
    {"[127.0.0.1 inet n - n - - smtpd\n", "missing \"]\" in \"[127.0.0.1\""},
    {"[127.0.0.1]61 inet n - n - - smtpd\n", "garbage after \"]\" in \"[127.0.0.1]61\""},
    {"[127.0.0.1]:61x inet n - n - - smtpd\n", "garbage after numerical service in \"[127.0.0.1]:61x\""},
    {"127.0.0.1 inet n - n - - smtpd\n", "garbage after numerical service in \"127.0.0.1\""},
    {"61x inet n - n - - smtpd\n", "garbage after numerical service in \"61x\""},
    {"[ipv6:x]:61 inet n - n - - smtpd\n", "malformed IPv6 address in \"[ipv6:x]:61\""},
    {"[ipv6:::g]:61 inet n - n - - smtpd\n", "malformed IPv6 address in \"[ipv6:::g]:61\""},
    {"a@b:61 inet n - n - - smtpd\n", "valid hostname or network address required in \"a@b:61\""},
    {"a:b:61 inet n - n - - smtpd\n", "valid hostname or network address required in \"a:b:61\""},
    {"[]:61 inet n - n - - smtpd\n", "valid hostname or network address required in \"[]:61\""},
    {"nosuchport inet n - n - - smtpd\n", "bad hostname or network address: nosuchport"},
    {"70000 inet n - n - - smtpd\n", "bad hostname or network address: 70000"},
    {"0 inet n - n - - smtpd\n", "bad hostname or network address: 0"},
    {"smtp inet n - n - - smtpd -o { a = b\n", "missing '}' in \"{ a = b\""},
    {"smtp inet n - n - - smtpd -o {a=b}c\n", "syntax error after '}' in \"{a=b}c\""},
    {"smtp inet n - n - - smtpd -x\n", "invalid option: x"},
    {"smtp inet n - n - - smtpd -o\n", "invalid option: o"},
    {"smtp inet n - n - - smtpd -o a = b\n", "unexpected command-line argument: ="},
    {"c unix n - n - 1 cleanup\n", "service c requires a process limit of 0"},
    {"cleanup unix n - n - - cleanup\n", "service cleanup requires a process limit of 0"},
    {"qmgr unix n - n 300 2 qmgr\n", "service qmgr requires a process limit of 1"},
    {"postlog unix-dgram n - n - 0 postlogd\n", "service postlog requires a process limit of 1"},
    {"local unix - - n - - local\n", "service local requires privileged operation"},
    {"x unix - y n - - pipe\n", "service x requires privileged operation"},
};

static void refuses_bad_lines(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = g_strconcat("# one\nfine unix - - n - - smtp\n", bad[i].text, NULL);
        g_autofree char *wanted = g_strconcat("M: line 3: ", bad[i].error, NULL);
        g_autoptr(GPtrArray) services = parse("", text, &error);
        if (services)
            fail_msg("accepted: %s", bad[i].text);
        assert_string_equal(error->message, wanted);
    }
}

static void defaults_come_from_main_cf(void **state)
{
    g_autoptr(GPtrArray) services =
        parse("default_process_limit = 7\ncompatibility_level = 0\nknown_tcp_ports = mine=other=2525\n",
              "mine inet n - - - - smtpd\nother inet n - n - 3 smtpd\n", NULL);
    g_autofree char *got = show_all(services);

    assert_string_equal(got, "2 other inet/:2525 *:2525 nyn 0 3 smtpd\n");
    g_autoptr(GPtrArray) chrooted = parse("compatibility_level = 0\n", "x unix - - - - - smtp\n", NULL);
    assert_true(((Service *)g_ptr_array_index(chrooted, 0))->chroot);
}

static void disabled_services_are_left_out(void **state)
{
    static const struct {
        const char *list, *wanted;
    } rows[] = {
        {"", "abc"},
        {"inet", "c"},
        {"unix", "ab"},
        {"25/inet", "bc"},
        {"!26/inet inet", "bc"},
        {"26/unix", "abc"},
        {"c/unix, 26/inet", "a"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = g_strdup_printf("master_service_disable = %s\n", rows[i].list);
        g_autoptr(GPtrArray) services =
            parse(text, "25 inet n - n - - a\n26 inet n - n - - b\nc unix n - n - - c\n", NULL);
        g_autoptr(GString) got = g_string_new(NULL);
        for (guint j = 0; j < services->len; j++)
            g_string_append(got, ((Service *)g_ptr_array_index(services, j))->command);
        assert_string_equal(got->str, rows[i].wanted);
    }
}

static void reads_files(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("gatepost-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/master.cf", dir);
    g_autoptr(Config) config = make_config("inet_protocols = ipv4\n");
    g_autoptr(GError) error = NULL;

    assert_null(master_cf_read(dir, config, &error));
    g_autofree char *missing = g_strdup_printf("open %s: No such file or directory", path);
    assert_string_equal(error->message, missing);
    g_clear_error(&error);

    assert_true(g_file_set_contents(path, "127.0.0.1:25 inet n - n - - smtpd\n", -1, NULL));
    g_autoptr(GPtrArray) services = master_cf_read(dir, config, &error);
    assert_int_equal(services->len, 1);

    assert_true(g_file_set_contents(path, "# x\n[::1]:25 inet n - n - - smtpd\n", -1, NULL));
    assert_null(master_cf_read(dir, config, &error));
    g_autofree char *no_address = g_strdup_printf("%s: line 2: no valid IP address found: [::1]:25", path);
    assert_string_equal(error->message, no_address);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_services),
        cmocka_unit_test(refuses_bad_lines),
        cmocka_unit_test(defaults_come_from_main_cf),
        cmocka_unit_test(disabled_services_are_left_out),
        cmocka_unit_test(reads_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
