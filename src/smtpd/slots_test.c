#include "base/clock.h"
#include "smtpd/slots.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define SERVICE 7

typedef struct {
    Page *page;
    Sched *sched;
    ServiceProcess process, other; /* two generations of one line */
} Fixture;

static int setup(void **state)
{
    Fixture *fixture = g_new0(Fixture, 1);
    int fd;

    fixture->page = page_create(&fd);
    fixture->sched = sched_new(1, NULL);
    fixture->process.page = fixture->other.page = fixture->page;
    fixture->process.service_id = fixture->other.service_id = SERVICE;
    fixture->process.row = &fixture->page->rows[page_take_row(fixture->page, SERVICE, 1)];
    fixture->other.row = &fixture->page->rows[page_take_row(fixture->page, SERVICE, 2)];
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    Fixture *fixture = *state;

    sched_free(fixture->sched);
    g_free(fixture);
    return 0;
}

static void line_is_in_order_and_bounded(void **state)
{
    Fixture *fixture = *state;
    Slots *slots = slots_new(&fixture->process, fixture->sched, 1, 2, 60000);
    SlotPlace first = {0}, second = {0}, third = {0}, fourth = {0};
    gint64 deadline;

    assert_int_equal(slots_take(slots, &first, 1, &deadline), SLOT_TAKEN);
    assert_int_equal(slots_take(slots, &second, 2, &deadline), SLOT_WAIT);
    assert_int_equal(slots_take(slots, &third, 3, &deadline), SLOT_WAIT);
    assert_true(slots_line_is_full(slots));
    assert_int_equal(slots_take(slots, &fourth, 4, &deadline), SLOT_BUSY);
    assert_int_equal(page_sum_waiters(fixture->page, SERVICE), 2);
    slots_leave(slots, &first);
    assert_int_equal(slots_take(slots, &third, 3, &deadline), SLOT_WAIT); /* not its turn */
    assert_int_equal(slots_take(slots, &fourth, 4, &deadline), SLOT_BUSY);
    assert_int_equal(slots_take(slots, &second, 2, &deadline), SLOT_TAKEN);
    slots_leave(slots, &third); /* its client went away */
    assert_int_equal(page_sum_waiters(fixture->page, SERVICE), 0);
    slots_leave(slots, &second);
    assert_int_equal(slots_take(slots, &fourth, 4, &deadline), SLOT_TAKEN);
    slots_leave(slots, &fourth);
    slots_leave(slots, &fourth); /* nothing is held any more */
    assert_int_equal(page_sum_slots(fixture->page, SERVICE), 0);
    slots_free(slots);
}

static void generations_share_the_limit(void **state)
{
    Fixture *fixture = *state;
    Slots *old = slots_new(&fixture->process, fixture->sched, 1, 2, 60000);
    Slots *new = slots_new(&fixture->other, fixture->sched, 1, 2, 60000);
    SlotPlace first = {0}, second = {0};
    gint64 deadline;

    assert_int_equal(slots_take(old, &first, 1, &deadline), SLOT_TAKEN);
    assert_int_equal(slots_take(new, &second, 2, &deadline), SLOT_WAIT);
    assert_true(deadline < clock_ms() + 1000); /* nobody will tell us: look again soon */
    slots_leave(old, &first);
    assert_int_equal(slots_take(new, &second, 2, &deadline), SLOT_TAKEN);
    slots_leave(new, &second);
    slots_free(old);
    slots_free(new);
}

static void waiting_ends_and_hopeless_waits_do_not_begin(void **state)
{
    Fixture *fixture = *state;
    Slots *slots = slots_new(&fixture->process, fixture->sched, 1, 10, 20);
    SlotPlace first = {0}, second = {0}, third = {0};
    gint64 deadline;

    assert_int_equal(slots_take(slots, &first, 1, &deadline), SLOT_TAKEN);
    assert_int_equal(slots_take(slots, &second, 2, &deadline), SLOT_WAIT);
    while (clock_ms() < second.give_up_at + 5)
        poll(NULL, 0, 1);
    assert_int_equal(slots_take(slots, &second, 2, &deadline), SLOT_BUSY);
    slots_leave(slots, &first); /* it was held for longer than anybody may wait */
    assert_int_equal(slots_take(slots, &first, 1, &deadline), SLOT_TAKEN);
    assert_int_equal(slots_take(slots, &third, 3, &deadline), SLOT_WAIT); /* but the first in line may hope */
    assert_int_equal(slots_take(slots, &second, 2, &deadline), SLOT_BUSY);
    assert_true(slots_refusal_is_news(slots));
    assert_false(slots_refusal_is_news(slots));
    slots_leave(slots, &third);
    slots_leave(slots, &first);
    slots_free(slots);
}

static unsigned forgotten;

static void forget_thing(void *thing)
{
    forgotten++;
}

static void what_is_kept_goes_with_its_slot(void **state)
{
    Fixture *fixture = *state;
    Slots *slots = slots_new(&fixture->process, fixture->sched, 2, 2, 60000);
    SlotPlace first = {0}, second = {0}, third = {0};
    gint64 deadline;
    int old, new;

    forgotten = 0;
    assert_int_equal(slots_take(slots, &first, 1, &deadline), SLOT_TAKEN);
    assert_false(slots_leave_kept(slots, &first, &old)); /* nobody has said how to end it */
    slots_keep(slots, 60000, forget_thing);
    assert_int_equal(slots_take(slots, &second, 2, &deadline), SLOT_TAKEN);
    assert_null(second.kept);
    assert_int_equal(slots_take(slots, &third, 3, &deadline), SLOT_WAIT);
    assert_true(slots_leave_kept(slots, &first, &old));
    assert_int_equal(page_sum_slots(fixture->page, SERVICE), 2); /* it is one of the filter's processes still */
    slots_leave(slots, &first);                                  /* nothing is held any more */
    assert_int_equal(slots_take(slots, &third, 3, &deadline), SLOT_TAKEN);
    assert_ptr_equal(third.kept, &old);
    assert_true(slots_leave_kept(slots, &third, &old));
    assert_true(slots_leave_kept(slots, &second, &new));
    first = (SlotPlace){0};
    assert_int_equal(slots_take(slots, &first, 1, &deadline), SLOT_TAKEN);
    assert_ptr_equal(first.kept, &new); /* the newest */
    slots_leave(slots, &first);
    assert_int_equal(forgotten, 0);
    slots_free(slots);
    assert_int_equal(forgotten, 1);
    assert_int_equal(page_sum_slots(fixture->page, SERVICE), 0);
}

/* Another task of the scheduler: ends it when what was kept is gone. */
static Step until_forgotten(void *data, TaskRef self, unsigned reasons)
{
    Sched *sched = data;

    if (forgotten == 0)
        return step_park(0, clock_ms() + 5);
    sched_quit(sched);
    return step_end();
}

static Step stop_all(void *data, TaskRef self, unsigned reasons)
{
    sched_wake_all(data, WAKE_STOP);
    return step_end();
}

static void nothing_to_free(void *data)
{
}

static void what_is_kept_ends_in_time(void **state)
{
    Fixture *fixture = *state;

    for (int stops = 0; stops <= 1; stops++) {
        Sched *sched = sched_new(1, NULL);
        Slots *slots = slots_new(&fixture->process, sched, 1, 2, 60000);
        SlotPlace place = {0};
        gint64 deadline;
        int thing;

        forgotten = 0;
        slots_keep(slots, stops ? 3600000 : 20, forget_thing);
        assert_int_equal(slots_take(slots, &place, 1, &deadline), SLOT_TAKEN);
        assert_true(slots_leave_kept(slots, &place, &thing));
        sched_add(sched, -1, until_forgotten, nothing_to_free, sched);
        if (stops)
            sched_add(sched, -1, stop_all, nothing_to_free, sched);
        sched_run(sched);
        assert_int_equal(forgotten, 1);
        assert_int_equal(page_sum_slots(fixture->page, SERVICE), 0);
        assert_int_equal(slots_take(slots, &place, 1, &deadline), SLOT_TAKEN);
        assert_null(place.kept);
        assert_int_equal(slots_leave_kept(slots, &place, &thing), !stops); /* a process that ends keeps nothing */
        slots_leave(slots, &place);
        sched_free(sched);
        slots_free(slots);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(line_is_in_order_and_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(generations_share_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_kept_goes_with_its_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_kept_ends_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_ends_and_hopeless_waits_do_not_begin, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
