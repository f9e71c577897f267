#include "base/clock.h"
#include "qmgr/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char *next(Backlog *backlog)
{
    const char *id;
    unsigned flags;

    return backlog_next(backlog, &id, &flags) ? g_strdup_printf("%s%s%s", id, flags & BACKLOG_UNTRIED ? " untried" : "",
                                                                flags & BACKLOG_FLUSHED ? " flushed" : "")
                                              : g_strdup("");
}

static void assert_next(Backlog *backlog, const char *wanted)
{
    g_autofree char *got = next(backlog);

    assert_string_equal(got, wanted);
}

static void a_message_is_given_out_once(void **state)
{
    Backlog *backlog = backlog_new(10);

    assert_true(backlog_add(backlog, "one", BACKLOG_TOLD));
    assert_true(backlog_add(backlog, "one", BACKLOG_FOUND));
    assert_true(backlog_knows(backlog, "one"));
    assert_next(backlog, "one untried");
    assert_true(backlog_add(backlog, "one", BACKLOG_TOLD)); /* active: nothing happens */
    assert_next(backlog, "");
    assert_int_equal(backlog_active(backlog), 1);
    backlog_defer(backlog, "one", 1000);
    assert_int_equal(backlog_active(backlog), 0);
    assert_next(backlog, "");
    backlog_run(backlog, 999);
    assert_next(backlog, "");
    backlog_run(backlog, 1000);
    assert_next(backlog, "one"); /* an attempt was made: nobody may take it for new */
    backlog_forget(backlog, "one");
    assert_false(backlog_knows(backlog, "one"));
    assert_true(backlog_add(backlog, "one", BACKLOG_FOUND));
    assert_true(backlog_add(backlog, "two", BACKLOG_FOUND_NEW));
    assert_true(backlog_has_next(backlog));
    assert_next(backlog, "one");
    assert_next(backlog, "two untried");
    assert_false(backlog_has_next(backlog));
    backlog_defer(backlog, "two", 1000);
    assert_false(backlog_has_next(backlog));
    backlog_run(backlog, 1000);
    assert_true(backlog_has_next(backlog));
    assert_next(backlog, "two");
    backlog_free(backlog);
}

static void new_and_deferred_take_turns(void **state)
{
    Backlog *backlog = backlog_new(10);

    backlog_add_deferred(backlog, "d1", 5);
    backlog_add_deferred(backlog, "d2", 6);
    backlog_add(backlog, "n1", BACKLOG_FOUND);
    backlog_add(backlog, "n2", BACKLOG_FOUND);
    backlog_add(backlog, "n3", BACKLOG_FOUND);
    backlog_flush(backlog);
    g_autoptr(GString) order = g_string_new(NULL);
    for (int i = 0; i < 5; i++) {
        g_autofree char *id = next(backlog);
        g_string_append_printf(order, "%c", id[0]);
    }
    assert_string_equal(order->str, "ndndn");
    backlog_free(backlog);
}

static void flush_and_try_say_so(void **state)
{
    Backlog *backlog = backlog_new(10);

    backlog_add_deferred(backlog, "a", G_MAXINT64);
    backlog_add_deferred(backlog, "b", G_MAXINT64);
    backlog_try(backlog, "b");
    backlog_try(backlog, "unknown");
    assert_next(backlog, "b flushed");
    backlog_flush(backlog);
    assert_next(backlog, "a flushed");
    backlog_flush(backlog); /* both are active */
    assert_next(backlog, "");
    backlog_free(backlog);
}

static void locked_ones_are_looked_at_again(void **state)
{
    Backlog *backlog = backlog_new(10);

    backlog_add(backlog, "a", BACKLOG_FOUND);
    backlog_add(backlog, "b", BACKLOG_FOUND);
    assert_next(backlog, "a");
    assert_next(backlog, "b");
    backlog_look_again(backlog, "a", 100);
    backlog_look_again(backlog, "b", 200);
    backlog_tick(backlog, 50);
    assert_int_equal(backlog_tick_time(backlog), 100);
    assert_next(backlog, "");
    backlog_tick(backlog, 100);
    assert_int_equal(backlog_tick_time(backlog), 200);
    assert_next(backlog, "a");
    assert_true(backlog_add(backlog, "b", BACKLOG_TOLD)); /* its writer is done with it */
    assert_next(backlog, "b");
    assert_int_equal(backlog_tick_time(backlog), CLOCK_NEVER);
    backlog_free(backlog);
}

static void waiting_ones_are_bounded(void **state)
{
    Backlog *backlog = backlog_new(2);

    assert_true(backlog_add(backlog, "a", BACKLOG_FOUND) && backlog_add(backlog, "b", BACKLOG_FOUND));
    assert_false(backlog_has_room(backlog));
    assert_false(backlog_add(backlog, "c", BACKLOG_TOLD));
    assert_false(backlog_knows(backlog, "c"));
    assert_true(backlog_add(backlog, "a", BACKLOG_FOUND));
    assert_next(backlog, "a");
    assert_true(backlog_add(backlog, "c", BACKLOG_FOUND));
    gsize len;
    g_autofree char *active = backlog_list_active(backlog, &len);
    assert_string_equal(active, "a\n");
    assert_int_equal(len, 2);
    backlog_free(backlog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_given_out_once), cmocka_unit_test(new_and_deferred_take_turns),
        cmocka_unit_test(flush_and_try_say_so),        cmocka_unit_test(locked_ones_are_looked_at_again),
        cmocka_unit_test(waiting_ones_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
