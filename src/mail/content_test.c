/* content_test.c - content in memory and on disk. */
#include "base/fd.h"
#include "base/log.h"
#include "mail/content.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool gather(void *user, const char *data, size_t len, bool ends_line)
{
    g_string_append_len(user, data, (gssize)len);
    if (ends_line)
        g_string_append_c(user, '\n');
    return true;
}

/* Adds lines of that length until there are so many octets; all must come back, and no more than memory be held. */
static void round_trip(Account *account, size_t line, size_t octets, size_t memory)
{
    Content *content = content_new("/tmp", account);
    g_autoptr(GString) wanted = g_string_new(NULL);
    g_autoptr(GString) got = g_string_new(NULL);
    size_t before = account->used, most = 0;

    for (size_t number = 0; wanted->len < octets; number++) {
        g_autofree char *text = g_strnfill(line, (char)('a' + number % 26));
        content_add(content, text, line, number % 3 != 1);
        gather(wanted, text, line, number % 3 != 1);
        most = MAX(most, account->used - before);
    }
    assert_int_equal(content_failed(content), 0);
    assert_true(content_replay(content, gather, got));
    assert_int_equal(got->len, wanted->len);
    assert_memory_equal(got->str, wanted->str, wanted->len);
    assert_in_range(most, 1, memory);
    content_free(content);
    assert_int_equal(account->used, before);
}

static void all_of_it_comes_back(void **state)
{
    static const size_t lines[] = {1, 78, 2048, 16384}, octets[] = {1, 8191, 8192, 100000, 262144, 262145, 1000000};
    Account account = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
        for (size_t j = 0; j < G_N_ELEMENTS(octets); j++)
            round_trip(&account, lines[i], octets[j], CONTENT_IN_MEMORY_MAX);
}

static int log_pipe[2];

static void a_full_account_sends_it_to_disk(void **state)
{
    Account account = {.limit = 50000, .used = 50000, .name = "smtpd_content_memory_limit"};
    char log[4096] = "";

    round_trip(&account, 78, 1000000, 8192);
    round_trip(&account, 16384, 1000000, 32768); /* a piece has to be somewhere */
    account.used = 30000;
    round_trip(&account, 78, 1000000, 20000);
    assert_true(read(log_pipe[0], log, sizeof log - 1) > 0);
    const char *warning = strstr(log, "warning: smtpd_content_memory_limit = 50000: ");
    assert_non_null(warning);
    assert_null(strstr(warning + 1, "warning")); /* once a minute */
}

static void a_failure_is_remembered(void **state)
{
    Account account = {.limit = 1};
    Content *content = content_new("/does/not/exist", &account);

    content_add(content, "x", 1, true);
    assert_int_not_equal(content_failed(content), 0);
    content_add(content, "y", 1, true);
    content_free(content);
    assert_int_equal(account.used, 0);
}

static int start_log(void **state)
{
    if (pipe(log_pipe) != 0)
        return -1;
    fd_set_nonblock(log_pipe[0], true);
    log_set_tag("postfix", "smtpd");
    log_to_file(log_pipe[1], "mx");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_comes_back),
        cmocka_unit_test(a_full_account_sends_it_to_disk),
        cmocka_unit_test(a_failure_is_remembered),
    };

    return cmocka_run_group_tests(tests, start_log, NULL);
}
