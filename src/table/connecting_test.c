/* connecting_test.c - connections that come, fail, and come too late. */
#include "base/clock.h"
#include "base/fail.h"
#include "table/connecting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct {
    atomic_bool may_end; /* what a resolver that hangs waits for */
} Owner;

static atomic_int closed, cleared, ended;
static char connection;

static void *connect_to(void *data, const void *host, gint64 deadline, GError **error)
{
    Owner *owner = data;

    while (!owner->may_end)
        g_usleep(1000);
    atomic_fetch_add(&ended, 1);
    if (host)
        return &connection;
    g_set_error_literal(error, FAIL_ERROR, 0, "no way");
    return NULL;
}

static void close_it(void *data)
{
    assert_ptr_equal(data, &connection);
    atomic_fetch_add(&closed, 1);
}

static void clear_it(void *data)
{
    (void)atomic_load(&ended); /* ThreadSanitizer does not see what GLib's counting of references puts in order */
    atomic_fetch_add(&cleared, 1);
}

static const Connecting how = {connect_to, close_it, clear_it};

static Owner *make_owner(bool may_end)
{
    Owner *owner = g_atomic_rc_box_new0(Owner);

    closed = cleared = ended = 0;
    owner->may_end = may_end;
    return owner;
}

static void wait_until(atomic_int *count, int wanted)
{
    gint64 limit = clock_ms() + 10000;

    while (*count < wanted && clock_ms() < limit)
        g_usleep(1000);
    assert_int_equal(*count, wanted);
}

static void in_time(void **state)
{
    Owner *owner = make_owner(true);
    g_autoptr(GError) error = NULL;

    assert_ptr_equal(connect_by(&how, owner, "host", clock_ms() + 10000, &error), &connection);
    assert_null(connect_by(&how, owner, NULL, clock_ms() + 10000, &error));
    assert_string_equal(error->message, "no way");
    g_atomic_rc_box_release_full(owner, clear_it);
    assert_int_equal(cleared, 1);
    assert_int_equal(closed, 0);
}

static void too_late(void **state)
{
    for (int is_good = 0; is_good < 2; is_good++) {
        Owner *owner = make_owner(false);
        g_autoptr(GError) error = NULL;
        assert_null(connect_by(&how, owner, is_good ? "host" : NULL, clock_ms() + 10, &error));
        assert_string_equal(error->message, "looking up its name takes too long");
        Owner *held = g_atomic_rc_box_acquire(owner);
        g_atomic_rc_box_release_full(owner, clear_it); /* the table is gone */
        held->may_end = true;
        wait_until(&ended, 1);
        g_atomic_rc_box_release_full(held, clear_it);
        wait_until(&cleared, 1);
        wait_until(&closed, is_good);
    }
}

static void not_too_many(void **state)
{
    Owner *owner = make_owner(false);

    for (int i = 0; i < CONNECTING_LEFT_MAX; i++)
        assert_null(connect_by(&how, owner, NULL, clock_ms() - 1000, NULL));
    g_autoptr(GError) error = NULL;
    assert_null(connect_by(&how, owner, NULL, clock_ms() + 10000, &error));
    assert_string_equal(error->message, "looking up the names of servers takes too long");
    owner->may_end = true;
    wait_until(&ended, CONNECTING_LEFT_MAX);
    for (gint64 limit = clock_ms() + 10000;;) { /* and again when they have ended */
        if (connect_by(&how, owner, "host", clock_ms() + 10000, NULL))
            break;
        assert_true(clock_ms() < limit);
    }
    g_atomic_rc_box_release_full(owner, clear_it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_time),
        cmocka_unit_test(too_late),
        cmocka_unit_test(not_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
