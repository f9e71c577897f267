#include "base/fd.h"
#include "base/log.h"
#include "config/main_cf.h"
#include "master/logdest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

static char *directory;

static MainCf *parse(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "DIR", -1);
    g_autofree char *whole = g_strjoinv(directory, parts);

    return main_cf_parse("/conf", "/conf/main.cf", whole, strlen(whole), NULL);
}

static bool open_it(const char *text, LogDestination *ret_destination, char **ret_message)
{
    const ConfigScope scope = {.process_name = "master", .stress = ""};
    g_autoptr(MainCf) main_cf = parse(text);
    g_autoptr(Config) config = config_new(main_cf, &scope, NULL);
    g_autoptr(GError) error = NULL;

    assert_non_null(config);
    if (log_destination_open(config, ret_destination, &error))
        return true;
    *ret_message = g_strdup(error->message);
    return false;
}

static void a_file_must_lie_below_a_prefix(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"maillog_file_prefixes = /var DIR\nmaillog_file = DIR/log\n", true},
        {"maillog_file_prefixes = DIR/log\nmaillog_file = DIR/log\n", true},
        {"maillog_file_prefixes = DIR/\nmaillog_file = DIR/log\n", true},
        {"maillog_file_prefixes = /, DIR/l\nmaillog_file = DIR/log\n", false},
        {"maillog_file_prefixes = DIR/l\nmaillog_file = DIR/log\n", false},
        {"maillog_file_prefixes = DIR/lo DIR/logs\nmaillog_file = DIR/log\n", false},
        {"maillog_file_prefixes = DIR/a\nmaillog_file = DIR/a/../log\n", false},
        {"maillog_file_prefixes = DIR\nmaillog_file = DIR\n", false}, /* a directory */
        {"maillog_file_prefixes = DIR\nmaillog_file = DIR/none/log\n", false},
        {"maillog_file = DIR/log\n", false}, /* the default is /var and /dev/stdout */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        LogDestination destination = {.fd = -1};
        g_autofree char *message = NULL;

        if (open_it(rows[i].text, &destination, &message) != rows[i].good)
            fail_msg("%s: %s", rows[i].text, message ? message : "opened");
        assert_true(rows[i].good || strstr(message, "maillog_file"));
        log_destination_clear(&destination);
    }
}

static void a_new_file_has_the_mode_and_lines_the_host(void **state)
{
    LogDestination destination;
    g_autofree char *path = g_build_filename(directory, "new", NULL);
    g_autofree char *message = NULL;
    struct stat status;

    assert_true(open_it("maillog_file_prefixes = DIR\nmaillog_file = $config_base/new\nconfig_base = DIR\n"
                        "maillog_file_permissions = 0640\nmyhostname = mx.gate.test\n",
                        &destination, &message));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    log_destination_use(&destination, "postfix", "master");
    log_info("here");
    log_to_stderr();
    g_autofree char *text = fd_read_file(path, 1000, NULL, NULL);
    assert_non_null(strstr(text, " mx postfix/master["));
    log_destination_clear(&destination);
    assert_int_equal(destination.fd, -1);
}

static void without_a_file_it_is_syslog(void **state)
{
    LogDestination destination;
    g_autofree char *message = NULL;

    assert_true(open_it("", &destination, &message));
    assert_int_equal(destination.fd, -1);
    assert_int_equal(destination.facility, LOG_MAIL);
    assert_null(destination.host);
    log_destination_clear(&destination);
    assert_true(open_it("syslog_facility = local3\n", &destination, &message));
    assert_int_equal(destination.facility, LOG_LOCAL3);
    log_destination_clear(&destination);
}

static void a_bad_value_elsewhere_does_not_hide_the_log(void **state)
{
    const char *text =
        "maillog_file_prefixes = DIR\nmaillog_file = DIR/unchecked\nsmtpd_timeout = never\nmyhostname = a b.c\n";
    const ConfigScope scope = {.process_name = "master", .stress = ""};
    g_autoptr(MainCf) main_cf = parse(text);
    LogDestination destination;

    assert_null(config_new(main_cf, &scope, NULL));
    assert_true(log_destination_open_unchecked(main_cf, &destination, NULL));
    assert_true(destination.fd >= 0);
    assert_string_equal(destination.host, "a");
    log_destination_clear(&destination);
}

static void a_file_that_cannot_be_parsed_does_not_hide_it_either(void **state)
{
    g_autofree char *path = g_build_filename(directory, "main.cf", NULL);
    g_autofree char *log = g_build_filename(directory, "guessed", NULL);
    g_autofree char *text =
        g_strdup_printf("= bar\nmaillog_file_prefixes =\n %s\nno equals sign\nmaillog_file = %s\n", directory, log);
    LogDestination destination = {.fd = -1};

    assert_true(g_file_set_contents(path, text, -1, NULL));
    assert_true(log_destination_guess(directory, &destination));
    assert_int_equal(access(log, F_OK), 0);
    log_destination_clear(&destination);
    assert_true(g_file_set_contents(path, "maillog_file\n", -1, NULL));
    assert_false(log_destination_guess(directory, &destination));
    assert_int_equal(unlink(path), 0);
    assert_true(log_destination_guess(directory, &destination)); /* syslog */
    assert_int_equal(destination.fd, -1);
    log_destination_clear(&destination);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_must_lie_below_a_prefix),
        cmocka_unit_test(a_new_file_has_the_mode_and_lines_the_host),
        cmocka_unit_test(without_a_file_it_is_syslog),
        cmocka_unit_test(a_bad_value_elsewhere_does_not_hide_the_log),
        cmocka_unit_test(a_file_that_cannot_be_parsed_does_not_hide_it_either),
    };
    umask(022);
    directory = g_dir_make_tmp("logdest-XXXXXX", NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    g_autofree char *remove = g_strdup_printf("rm -r '%s'", directory);
    failed += system(remove) != 0;
    g_free(directory);
    return failed;
}
