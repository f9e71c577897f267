/* match_test.c - match lists: every kind of element, both ways of matching parents, and what is wrong with a list. */
#include "base/clock.h"
#include "table/match.h"
#include "table/testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *patterns;
    unsigned flags;
    const char *name, *addr;
    MatchResult wanted;
} Row;

static void hosts(void **state)
{
    static const Row rows[] = {
        {"", 0, "a.test", "10.0.0.1", MATCH_NO},
        {"127.0.0.0/8 10.0.0.1", 0, "a.test", "10.0.0.1", MATCH_YES},
        {"127.0.0.0/8 10.0.0.1", 0, "a.test", "10.0.0.2", MATCH_NO},
        {"127.0.0.0/8,[::1]/128", 0, "a.test", "::1", MATCH_YES},
        {"[::1]", 0, "a.test", "::1", MATCH_YES},
        {"[2001:DB8::]/32", 0, "a.test", "2001:db8:1::1", MATCH_YES},
        {"[2001:db8::/32]", 0, "a.test", "2001:db8:1::1", MATCH_YES},
        {"0.0.0.0/0", 0, "a.test", "::1", MATCH_NO},
        {"!10.0.0.1 10.0.0.0/8", 0, "a.test", "10.0.0.1", MATCH_NO},
        {"!10.0.0.1 10.0.0.0/8", 0, "a.test", "10.0.0.2", MATCH_YES},
        {"!!10.0.0.1", 0, "a.test", "10.0.0.1", MATCH_YES},
        {"10.0.0.0/8 !10.0.0.1", 0, "a.test", "10.0.0.1", MATCH_YES},
        {"friend.test", 0, "mail.friend.test", "10.0.0.1", MATCH_NO},
        {".friend.test", 0, "mail.friend.test", "10.0.0.1", MATCH_YES},
        {".friend.test", 0, "friend.test", "10.0.0.1", MATCH_NO},
        {"Friend.Test", 0, "friend.test", "10.0.0.1", MATCH_YES},
        {"friend.test", MATCH_PARENT, "mail.friend.test", "10.0.0.1", MATCH_YES},
        {"friend.test", MATCH_PARENT, "mailfriend.test", "10.0.0.1", MATCH_NO},
        {".friend.test", MATCH_PARENT, "mail.friend.test", "10.0.0.1", MATCH_NO},
        {"inline:{10.0.0.1=x}", 0, "a.test", "10.0.0.1", MATCH_YES},
        {"inline:{.friend.test=x}", 0, "Mail.friend.test", "10.0.0.1", MATCH_YES},
        {"inline:{friend.test=x}", 0, "mail.friend.test", "10.0.0.1", MATCH_NO},
        {"inline:{friend.test=x}", MATCH_PARENT, "mail.friend.test", "10.0.0.1", MATCH_YES},
        {"!inline:{10.0.0.1=x} static:all", 0, "a.test", "10.0.0.1", MATCH_NO},
        {"cidr:{{10.0.0.0/8 x}}", 0, "a.test", "10.0.0.1", MATCH_YES},
        {"static:all", 0, "unknown", "", MATCH_NO},
        {"fail:x 10.0.0.1", 0, "a.test", "10.0.0.1", MATCH_FAILED},
        {"10.0.0.1 fail:x", 0, "a.test", "10.0.0.1", MATCH_YES},
        {"10.0.0.1/8", 0, "a.test", "10.0.0.1", MATCH_FAILED},
        {"10.0.0.0/99", 0, "a.test", "10.0.0.1", MATCH_FAILED},
        {"a.test 10.0.0.1/8", 0, "a.test", "10.0.0.1", MATCH_YES},
        {"10.0.0.1/8", 0, "a.test", "::1", MATCH_NO},
        {"[::1]/8 10.0.0.0/8", 0, "a.test", "10.0.0.1", MATCH_YES},
        {"[::x]", 0, "a.test", "::1", MATCH_FAILED},
        {"10.0.0.2 # not 10.0.0.1", 0, "a.test", "10.0.0.1", MATCH_NO},
        {"10.0.0.2 #10.0.0.3, 10.0.0.1", 0, "a.test", "10.0.0.2", MATCH_YES},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(MatchList) list = match_list_new("mynetworks", rows[i].patterns, rows[i].flags, NULL);
        assert_non_null(list);
        MatchResult got = match_host(list, rows[i].name, rows[i].addr);
        if (got != rows[i].wanted)
            fail_msg("row %zu: %s: %d", i, rows[i].patterns, (int)got);
    }
    g_autofree char *logged = testing_logged();
    assert_non_null(strstr(logged,
                           "warning: mynetworks: non-null host address bits in \"10.0.0.1/8\", perhaps you should "
                           "use \"10.0.0.0/8\" instead\n"));
    assert_non_null(strstr(logged, "warning: mynetworks: fail:x: table lookup problem\n"));
    assert_non_null(strstr(logged, "warning: mynetworks: comment at end of line is not supported: # not 10.0.0.1\n"));
}

static void domains_and_strings(void **state)
{
    g_autoptr(MatchList) list = match_list_new("relay_domains", "a.test, !x.b.test, .b.test, [10.0.0.1]", 0, NULL);
    g_autoptr(MatchList) parents = match_list_new("relay_domains", "a.test", MATCH_PARENT, NULL);

    assert_int_equal(match_domain(list, "A.test"), MATCH_YES);
    assert_int_equal(match_domain(list, "x.a.test"), MATCH_NO);
    assert_int_equal(match_domain(list, "x.b.test"), MATCH_NO);
    assert_int_equal(match_domain(list, "y.b.test"), MATCH_YES);
    assert_int_equal(match_domain(parents, "x.a.test"), MATCH_YES);
    assert_int_equal(match_string(list, "A.TEST"), MATCH_YES);
    assert_int_equal(match_string(list, "y.b.test"), MATCH_NO);
}

static void files_are_spliced_in(void **state)
{
    g_autofree char *path = testing_file("list", "# hosts\n10.0.0.1 10.0.0.2\n!10.0.0.3\n  10.0.0.4\n");
    g_autofree char *patterns = g_strdup_printf("%s 10.0.0.3", path);
    g_autofree char *negated = g_strdup_printf("!%s 10.0.0.0/24", path);
    g_autoptr(MatchList) list = match_list_new("x", patterns, 0, NULL);
    g_autoptr(MatchList) inverse = match_list_new("x", negated, 0, NULL);
    g_autoptr(MatchList) missing = match_list_new("x", "10.0.0.1 /nonexistent/file", 0, NULL);

    assert_int_equal(match_host(list, "unknown", "10.0.0.2"), MATCH_YES);
    assert_int_equal(match_host(list, "unknown", "10.0.0.3"), MATCH_NO);
    assert_int_equal(match_host(inverse, "unknown", "10.0.0.2"), MATCH_NO);
    assert_int_equal(match_host(inverse, "unknown", "10.0.0.9"), MATCH_YES);
    assert_int_equal(match_host(missing, "unknown", "10.0.0.1"), MATCH_YES);
    assert_int_equal(match_host(missing, "unknown", "10.0.0.2"), MATCH_FAILED);
}

static void unusable_tables_are_errors(void **state)
{
    g_autoptr(GError) error = NULL;

    assert_null(match_list_new("mynetworks", "127.0.0.1 ::1", 0, &error));
    assert_string_equal(error->message, "open dictionary: expecting \"type:name\" form instead of \"::1\"");
}

static void a_file_that_names_itself_ends(void **state)
{
    g_autofree char *path = g_build_filename(testing_dir, "loop", NULL);
    g_autofree char *same_path = testing_file("loop", path);
    g_autoptr(MatchList) list = match_list_new("x", same_path, 0, NULL);

    assert_int_equal(match_host(list, "unknown", "10.0.0.2"), MATCH_FAILED);
}

/* Matches until that is the answer, or for ten seconds. */
static void assert_becomes(const MatchList *list, const char *text, MatchResult wanted)
{
    for (gint64 end = clock_ms() + 10000; clock_ms() < end; g_usleep(10000))
        if (match_string(list, text) == wanted)
            return;
    fail_msg("%s does not become %d", text, (int)wanted);
}

static void files_that_change_are_read_anew(void **state)
{
    g_autofree char *path = testing_file("changing", "one\n");
    g_autofree char *other_path = testing_file("other", "other\n");
    g_autofree char *patterns = g_strdup_printf("first, %s, last", path);
    g_autofree char *names_other = g_strdup_printf("two\n%s\n", other_path);
    g_autoptr(MatchList) list = match_list_new("list", patterns, 0, NULL);

    assert_int_equal(match_string(list, "one"), MATCH_YES);
    assert_true(g_file_set_contents(path, names_other, -1, NULL));
    assert_becomes(list, "two", MATCH_YES);
    assert_int_equal(match_string(list, "one"), MATCH_NO);
    assert_int_equal(match_string(list, "other"), MATCH_YES);
    assert_true(g_file_set_contents(other_path, "!last\n", -1, NULL));
    assert_becomes(list, "last", MATCH_NO);
    g_free(testing_logged());

    /* what cannot be, is not taken: a table that no program here reads, one that waits, no network, no file */
    static const char *const bad[] = {"sdbm:table\n", "tcp:127.0.0.1:1\n", "10.0.0.0/99\n"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        bool is_logged = false;
        assert_true(g_file_set_contents(path, bad[i], -1, NULL));
        for (gint64 end = clock_ms() + 10000; !is_logged && clock_ms() < end; g_usleep(10000)) {
            assert_int_equal(match_string(list, "two"), MATCH_YES);
            g_autofree char *logged = testing_logged();
            is_logged =
                strstr(logged, "list: a file has changed and cannot be read: going on with what it was") != NULL;
        }
        assert_true(is_logged);
    }
    assert_int_equal(g_unlink(path), 0);
    for (gint64 end = clock_ms() + 500; clock_ms() < end; g_usleep(10000))
        assert_int_equal(match_string(list, "two"), MATCH_YES);
    assert_true(g_file_set_contents(path, "three\n", -1, NULL));
    assert_becomes(list, "three", MATCH_YES);
    g_free(testing_logged());
}

static int begin(void **state)
{
    testing_begin();
    return 0;
}

static int end(void **state)
{
    testing_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),
        cmocka_unit_test(domains_and_strings),
        cmocka_unit_test(files_are_spliced_in),
        cmocka_unit_test(unusable_tables_are_errors),
        cmocka_unit_test(a_file_that_names_itself_ends),
        cmocka_unit_test(files_that_change_are_read_anew),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
