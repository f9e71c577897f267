/* Every test runs a scheduler of its own until its tasks have ended; a watchdog ends the program when one hangs. Tasks
 * use g_assert, since cmocka's assertions work in the first thread only. */
#include "base/clock.h"
#include "net/sched.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_S 120

static Sched *new_sched(unsigned pollers)
{
    Sched *sched = sched_new(pollers, NULL);

    alarm(WATCHDOG_S);
    assert_non_null(sched);
    return sched;
}

static void make_pair(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
}

/* A task that is a script: its script function gets the number of the run, from 0, and what the test shares. */
typedef struct Script Script;
struct Script {
    Sched *sched;
    Step (*step)(Script *script, TaskRef self, unsigned reasons);
    void *shared;
    int number, run, fd;
    gint64 until;
};

static Step run_script(void *data, TaskRef self, unsigned reasons)
{
    Script *script = data;
    Step step = script->step(script, self, reasons);

    script->run++;
    return step;
}

static void free_script(void *data)
{
    Script *script = data;

    if (script->fd >= 0)
        close(script->fd);
    g_free(script);
}

static TaskRef add_script(Sched *sched, int fd, int number, Step (*step)(Script *, TaskRef, unsigned), void *shared)
{
    Script *script = g_new0(Script, 1);

    *script = (Script){.sched = sched, .step = step, .shared = shared, .number = number, .fd = fd};
    return sched_add(sched, fd, run_script, free_script, script);
}

/* --- order ------------------------------------------------------------------------------------------------------- */

static Step log_and_repeat(Script *script, TaskRef self, unsigned reasons)
{
    g_string_append_c(script->shared, (char)('a' + script->number));
    return script->run < 2 ? step_again() : step_end();
}

static void tasks_run_in_turn(void **state)
{
    g_autoptr(GString) log = g_string_new(NULL);
    Sched *sched = new_sched(1);

    for (int i = 0; i < 3; i++)
        add_script(sched, -1, i, log_and_repeat, log);
    assert_int_equal(sched_tasks(sched), 3);
    sched_run(sched);
    assert_string_equal(log->str, "abcabcabc");
    assert_int_equal(sched_tasks(sched), 0);
    sched_free(sched);
}

static void an_empty_scheduler_returns(void **state)
{
    Sched *sched = new_sched(2);

    sched_run(sched);
    sched_free(sched);
}

/* --- timers ------------------------------------------------------------------------------------------------------- */

typedef struct {
    GString *log;
    gint64 start;
    int delays[8];
} Delays;

static Step wait_delay(Script *script, TaskRef self, unsigned reasons)
{
    Delays *delays = script->shared;

    if (script->run == 0) {
        g_assert_cmpint(reasons, ==, WAKE_START);
        script->until = delays->start + delays->delays[script->number];
        return step_park(0, script->until);
    }
    g_assert_cmpint(reasons, ==, WAKE_TIMER);
    g_assert_true(clock_ms() >= script->until);
    g_string_append_c(delays->log, (char)('a' + script->number));
    return step_end();
}

static void deadlines_come_in_order(void **state)
{
    Delays delays = {.log = g_string_new(NULL), .start = clock_ms(), .delays = {80, 20, -5000, 120, 60, 40, 100, 0}};
    Sched *sched = new_sched(1);

    for (int i = 0; i < 8; i++)
        add_script(sched, -1, i, wait_delay, &delays);
    sched_run(sched);
    assert_string_equal(delays.log->str, "chbfeagd");
    g_string_free(delays.log, TRUE);
    sched_free(sched);
}

/* Parks with a later deadline, then with an earlier one, as sessions do; the one in force counts. */
static Step change_deadline(Script *script, TaskRef self, unsigned reasons)
{
    static const int delays[] = {50, 5000, 70, 10};

    if (script->run == 4) {
        g_assert_cmpint(reasons, ==, WAKE_TIMER);
        g_assert_true(clock_ms() >= script->until && clock_ms() < script->until + 2000);
        return step_end();
    }
    script->until = clock_ms() + delays[script->run];
    if (script->run < 3)
        sched_wake(script->sched, self, WAKE_ANSWER);
    return step_park(0, script->until);
}

static Step end_late(Script *script, TaskRef self, unsigned reasons)
{
    return script->run == 0 ? step_park(0, clock_ms() + 150) : step_end();
}

static void the_last_deadline_counts(void **state)
{
    Sched *sched = new_sched(1);
    gint64 start = clock_ms();

    add_script(sched, -1, 0, change_deadline, NULL);
    add_script(sched, -1, 0, end_late, NULL);
    sched_run(sched);
    assert_true(clock_ms() - start < 3000);
    sched_free(sched);
}

/* --- wakes --------------------------------------------------------------------------------------------------- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int stage;
} Meeting;

static void meeting_set(Meeting *meeting, int stage)
{
    pthread_mutex_lock(&meeting->lock);
    meeting->stage = MAX(meeting->stage, stage); /* who comes late does not turn it back */
    pthread_cond_broadcast(&meeting->changed);
    pthread_mutex_unlock(&meeting->lock);
}

static void meeting_wait(Meeting *meeting, int stage)
{
    pthread_mutex_lock(&meeting->lock);
    while (meeting->stage < stage)
        pthread_cond_wait(&meeting->changed, &meeting->lock);
    pthread_mutex_unlock(&meeting->lock);
}

#define MEETING_INIT                                                                                                   \
    {                                                                                                                  \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                         \
    }

static Step be_woken_while_running(Script *script, TaskRef self, unsigned reasons)
{
    Meeting *meeting = script->shared;

    if (script->run == 0) {
        meeting_set(meeting, 1);
        meeting_wait(meeting, 2); /* the wake comes here */
        return step_park(0, clock_ms() + 60000);
    }
    g_assert_cmpint(reasons, ==, WAKE_ANSWER | WAKE_STOP);
    return step_end();
}

typedef struct {
    Sched *sched;
    Meeting *meeting;
    TaskRef task;
} Waker;

static void *wake_while_running(void *data)
{
    Waker *waker = data;

    meeting_wait(waker->meeting, 1);
    sched_wake(waker->sched, waker->task, WAKE_ANSWER);
    sched_wake(waker->sched, waker->task, WAKE_STOP);
    meeting_set(waker->meeting, 2);
    return NULL;
}

static void a_wake_while_running_is_kept(void **state)
{
    Meeting meeting = MEETING_INIT;
    Sched *sched = new_sched(2);
    Waker waker = {.sched = sched, .meeting = &meeting};
    pthread_t thread;

    waker.task = add_script(sched, -1, 0, be_woken_while_running, &meeting);
    assert_int_equal(pthread_create(&thread, NULL, wake_while_running, &waker), 0);
    sched_run(sched);
    pthread_join(thread, NULL);
    sched_free(sched);
}

static Step park_for_answer(Script *script, TaskRef self, unsigned reasons)
{
    Meeting *meeting = script->shared;

    if (script->run == 0) {
        meeting_set(meeting, 1);
        return step_park(0, CLOCK_NEVER);
    }
    g_assert_cmpint(reasons, ==, WAKE_ANSWER);
    return step_end();
}

static void *wake_when_parked(void *data)
{
    Waker *waker = data;

    meeting_wait(waker->meeting, 1);
    usleep(20000); /* most likely it is parked and the threads sleep; correct either way */
    sched_wake(waker->sched, waker->task, WAKE_ANSWER);
    return NULL;
}

static void a_wake_from_another_thread_arrives(void **state)
{
    for (unsigned pollers = 1; pollers <= 3; pollers++) {
        Meeting meeting = MEETING_INIT;
        Sched *sched = new_sched(pollers);
        Waker waker = {.sched = sched, .meeting = &meeting};
        pthread_t thread;

        waker.task = add_script(sched, -1, 0, park_for_answer, &meeting);
        assert_int_equal(pthread_create(&thread, NULL, wake_when_parked, &waker), 0);
        sched_run(sched);
        pthread_join(thread, NULL);
        sched_free(sched);
    }
}

/* Parks without a word about the second descriptor: an octet there wakes it, one wake for each. */
static Step take_second(Script *script, TaskRef self, unsigned reasons)
{
    int *pair = script->shared;
    char octet;

    if (script->run == 0) {
        g_assert_true(sched_watch(script->sched, self, pair[0], true));
        g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
        return step_park(EPOLLIN, CLOCK_NEVER);
    }
    g_assert_cmpint(reasons, ==, WAKE_ANSWER);
    if (recv(pair[0], &octet, 1, 0) < 0) /* writable: told when it was added */
        return step_park(0, CLOCK_NEVER);
    if (++script->number == 3)
        return step_end();
    g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
    return step_park(script->number == 2 ? EPOLLIN : 0, CLOCK_NEVER);
}

static void a_second_descriptor_wakes_its_task(void **state)
{
    int own[2], second[2];
    Sched *sched = new_sched(2);

    make_pair(own);
    make_pair(second);
    add_script(sched, own[0], 0, take_second, second);
    sched_run(sched);
    sched_free(sched);
    close(own[1]);
    close(second[0]);
    close(second[1]);
}

/* The first task watches and ends, the second one takes the descriptor over: the octet that lies there is its wake.
 * One poller, so that they come in this order. */
static Step watch_and_end(Script *script, TaskRef self, unsigned reasons)
{
    int *pair = script->shared;

    g_assert_true(sched_watch(script->sched, self, pair[0], false));
    g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
    return step_end();
}

static Step take_over(Script *script, TaskRef self, unsigned reasons)
{
    int *pair = script->shared;
    char octet;

    if (script->run == 0)
        return step_park(0, clock_ms() + 10);
    if (script->run == 1) {
        g_assert_cmpint(reasons, ==, WAKE_TIMER);
        g_assert_true(sched_watch(script->sched, self, pair[0], false));
        return step_park(0, CLOCK_NEVER);
    }
    g_assert_cmpint(reasons, ==, WAKE_ANSWER);
    g_assert_cmpint(recv(pair[0], &octet, 1, 0), ==, 1);
    return step_end();
}

static void a_second_descriptor_goes_from_task_to_task(void **state)
{
    int second[2];
    Sched *sched = new_sched(1);

    make_pair(second);
    add_script(sched, -1, 0, watch_and_end, second);
    add_script(sched, -1, 0, take_over, second);
    sched_run(sched);
    sched_free(sched);
    close(second[0]);
    close(second[1]);
}

static Step end_at_once(Script *script, TaskRef self, unsigned reasons)
{
    return step_end();
}

static Step expect_only_timer(Script *script, TaskRef self, unsigned reasons)
{
    TaskRef *stale = script->shared;

    if (script->run == 0)
        return step_park(0, clock_ms() + 30);
    g_assert_cmpint(reasons, ==, WAKE_TIMER);
    g_assert_true(self != *stale && (guint32)self == (guint32)*stale); /* the slot again, another generation */
    return step_end();
}

static Step end_then_reuse(Script *script, TaskRef self, unsigned reasons)
{
    TaskRef *stale = script->shared;

    if (script->run == 0) {
        *stale = add_script(script->sched, -1, 0, end_at_once, NULL);
        return step_again();
    }
    if (script->run == 1) {
        add_script(script->sched, -1, 0, expect_only_timer, stale);
        return step_park(0, clock_ms() + 10);
    }
    sched_wake(script->sched, *stale, WAKE_ANSWER);
    sched_wake(script->sched, 0, WAKE_ANSWER);
    sched_wake(script->sched, G_MAXUINT64, WAKE_ANSWER);
    return step_end();
}

static void a_wake_for_an_ended_task_is_dropped(void **state)
{
    TaskRef stale = 0;
    Sched *sched = new_sched(1);

    add_script(sched, -1, 0, end_then_reuse, &stale);
    sched_run(sched);
    sched_free(sched);
}

static Step wake_itself_and_end(Script *script, TaskRef self, unsigned reasons)
{
    int *runs = script->shared;

    (*runs)++;
    sched_wake(script->sched, self, WAKE_ANSWER);
    return step_end();
}

static void ending_with_a_wake_pending_ends(void **state)
{
    int runs = 0;
    Sched *sched = new_sched(1);

    add_script(sched, -1, 0, wake_itself_and_end, &runs);
    sched_run(sched);
    assert_int_equal(runs, 1);
    sched_free(sched);
}

static Step park_until_stop(Script *script, TaskRef self, unsigned reasons)
{
    atomic_int *parked = script->shared;

    if (script->run == 0) {
        atomic_fetch_add(parked, 1);
        return step_park(0, CLOCK_NEVER);
    }
    g_assert_cmpint(reasons, ==, WAKE_STOP);
    return step_end();
}

static Step stop_when_all_parked(Script *script, TaskRef self, unsigned reasons)
{
    atomic_int *parked = script->shared;

    if (atomic_load(parked) < 3000)
        return step_park(0, clock_ms() + 1);
    sched_wake_all(script->sched, WAKE_STOP);
    return step_end();
}

static void all_can_be_woken(void **state)
{
    atomic_int parked = 0;
    Sched *sched = new_sched(3);

    for (int i = 0; i < 3000; i++) /* more than one chunk of slots */
        add_script(sched, -1, i, park_until_stop, &parked);
    add_script(sched, -1, 0, stop_when_all_parked, &parked);
    sched_run(sched);
    sched_free(sched);
}

/* --- descriptors ---------------------------------------------------------------------------------------------- */

static Step read_until_end(Script *script, TaskRef self, unsigned reasons)
{
    char octets[16];
    ssize_t count = read(script->fd, octets, sizeof octets);

    if (count < 0 && errno == EAGAIN)
        return step_park(EPOLLIN | EPOLLRDHUP, clock_ms() + 60000);
    if (count > 0) {
        g_string_append_len(script->shared, octets, count);
        return step_again();
    }
    g_assert_true(reasons == 0 || (reasons & (WAKE_INPUT | WAKE_HANGUP)));
    return step_end();
}

static Step write_slowly(Script *script, TaskRef self, unsigned reasons)
{
    if (script->run == 5)
        return step_end();
    g_assert_cmpint(write(script->fd, "x", 1), ==, 1);
    return step_park(EPOLLOUT, clock_ms() + 60000);
}

static void descriptors_wake_their_tasks(void **state)
{
    g_autoptr(GString) got = g_string_new(NULL);
    int pair[2];
    Sched *sched = new_sched(2);

    make_pair(pair);
    add_script(sched, pair[0], 0, read_until_end, got);
    add_script(sched, pair[1], 0, write_slowly, NULL);
    sched_run(sched);
    assert_string_equal(got->str, "xxxxx");
    sched_free(sched);
}

typedef struct {
    int first[2], second[2];
} TwoPairs;

static Step exchange_fd(Script *script, TaskRef self, unsigned reasons)
{
    TwoPairs *pairs = script->shared;
    char octet;

    switch (script->run) {
    case 0:
        return step_park(EPOLLIN, clock_ms() + 10);
    case 1:
        g_assert_cmpint(reasons, ==, WAKE_TIMER);
        sched_change_fd(script->sched, self, pairs->second[0]);
        g_assert_cmpint(write(pairs->first[1], "2", 1), ==, 1); /* nobody watches this one any more */
        return step_park(EPOLLIN, clock_ms() + 50);
    case 2:
        g_assert_cmpint(reasons, ==, WAKE_TIMER);
        g_assert_cmpint(write(pairs->second[1], "3", 1), ==, 1);
        return step_park(EPOLLIN, clock_ms() + 60000);
    default:
        g_assert_cmpint(reasons, ==, WAKE_INPUT);
        g_assert_cmpint(read(pairs->second[0], &octet, 1), ==, 1);
        g_assert_cmpint(octet, ==, '3');
        return step_end();
    }
}

static void a_task_can_exchange_its_descriptor(void **state)
{
    TwoPairs pairs;
    Sched *sched = new_sched(2);

    make_pair(pairs.first);
    make_pair(pairs.second);
    add_script(sched, pairs.first[0], 0, exchange_fd, &pairs);
    sched_run(sched);
    close(pairs.first[1]);
    close(pairs.second[0]);
    close(pairs.second[1]);
    sched_free(sched);
}

/* The descriptor's number stays, what is behind it does not: dup2() by its owner has taken the old one out of the set.
 */
static Step replace_fd(Script *script, TaskRef self, unsigned reasons)
{
    int *pair = script->shared;
    char octet;

    switch (script->run) {
    case 0:
        return step_park(EPOLLIN, clock_ms() + 10);
    case 1:
        g_assert_cmpint(reasons, ==, WAKE_TIMER);
        g_assert_cmpint(dup2(pair[0], script->fd), ==, script->fd);
        g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
        return step_park(EPOLLIN, clock_ms() + 60000);
    default:
        g_assert_cmpint(reasons, ==, WAKE_INPUT);
        g_assert_cmpint(read(script->fd, &octet, 1), ==, 1);
        return step_end();
    }
}

static void a_descriptor_replaced_by_its_owner_is_watched(void **state)
{
    int first[2], second[2];
    Sched *sched = new_sched(2);

    make_pair(first);
    make_pair(second);
    add_script(sched, first[0], 0, replace_fd, second);
    sched_run(sched);
    close(first[1]);
    close(second[0]);
    close(second[1]);
    sched_free(sched);
}

static Step run_until_set(Script *script, TaskRef self, unsigned reasons)
{
    return *(bool *)script->shared ? step_end() : step_again();
}

static Step set_after_input(Script *script, TaskRef self, unsigned reasons)
{
    char octet = 'x';

    if (script->run == 0)
        return step_park(0, clock_ms() + 10);
    if (script->run == 1) {
        g_assert_cmpint(reasons, ==, WAKE_TIMER);
        return step_park(EPOLLOUT, CLOCK_NEVER);
    }
    g_assert_cmpint(reasons, ==, WAKE_OUTPUT);
    *(bool *)script->shared = write(script->fd, &octet, 1) == 1;
    return step_end();
}

static void a_task_that_never_waits_keeps_nobody_out(void **state)
{
    bool set = false;
    int pair[2];
    Sched *sched = new_sched(1);

    make_pair(pair);
    add_script(sched, -1, 0, run_until_set, &set);
    add_script(sched, pair[0], 0, set_after_input, &set);
    sched_run(sched);
    assert_true(set);
    close(pair[1]);
    sched_free(sched);
}

/* A descriptor that epoll cannot watch (a file) or that is none: the task is told to try, and not in a busy loop. */
static Step park_on_file(Script *script, TaskRef self, unsigned reasons)
{
    if (script->run == 0) {
        script->until = clock_ms();
        return step_park(EPOLLIN, clock_ms() + 60000);
    }
    g_assert_cmpint(reasons, ==, WAKE_INPUT | WAKE_OUTPUT);
    g_assert_true(clock_ms() - script->until >= 50);
    if (script->run == 1) { /* an earlier deadline is kept */
        script->until = clock_ms() - 50;
        return step_park(EPOLLIN, clock_ms() + 60000);
    }
    return step_end();
}

static Step time_out_on_file(Script *script, TaskRef self, unsigned reasons)
{
    if (script->run == 0)
        return step_park(EPOLLIN, clock_ms() + 10);
    g_assert_cmpint(reasons, ==, WAKE_TIMER);
    return step_end();
}

static void what_cannot_be_watched_is_tried_again(void **state)
{
    FILE *files[2] = {tmpfile(), tmpfile()};
    Sched *sched = new_sched(2);

    add_script(sched, dup(fileno(files[0])), 0, park_on_file, NULL);
    add_script(sched, dup(fileno(files[1])), 0, time_out_on_file, NULL);
    sched_run(sched);
    sched_free(sched);
    fclose(files[0]);
    fclose(files[1]);
}

/* --- gates ---------------------------------------------------------------------------------------------------- */

typedef struct {
    Gate *gate;
    atomic_int inside, most, passed, timed_out;
    GString *order;
    Meeting meeting;
} GateTest;

static void note_inside(GateTest *test)
{
    int inside = atomic_fetch_add(&test->inside, 1) + 1, most = atomic_load(&test->most);

    while (inside > most && !atomic_compare_exchange_weak(&test->most, &most, inside))
        ;
}

static Step pass_gate(Script *script, TaskRef self, unsigned reasons)
{
    GateTest *test = script->shared;

    if (script->run == 0)
        return step_gate(test->gate, CLOCK_NEVER);
    g_assert_cmpint(reasons, ==, WAKE_GATE);
    note_inside(test);
    usleep(2000);
    if (test->order)
        g_string_append_c(test->order, (char)('a' + script->number));
    atomic_fetch_sub(&test->inside, 1);
    atomic_fetch_add(&test->passed, 1);
    return step_end();
}

static void a_gate_lets_in_as_many_as_it_has_places(void **state)
{
    GateTest test = {.meeting = MEETING_INIT};
    Sched *sched = new_sched(1);

    test.gate = sched_gate_new(sched, 3);
    for (int i = 0; i < 60; i++)
        add_script(sched, -1, i, pass_gate, &test);
    sched_run(sched);
    assert_int_equal(atomic_load(&test.passed), 60);
    assert_int_equal(atomic_load(&test.most), 3);
    sched_free(sched);
}

static void a_gate_serves_in_order(void **state)
{
    GateTest test = {.meeting = MEETING_INIT, .order = g_string_new(NULL)};
    Sched *sched = new_sched(1);

    test.gate = sched_gate_new(sched, 1);
    for (int i = 0; i < 20; i++)
        add_script(sched, -1, i, pass_gate, &test);
    sched_run(sched);
    assert_string_equal(test.order->str, "abcdefghijklmnopqrst");
    g_string_free(test.order, TRUE);
    sched_free(sched);
}

/* Blocks its thread until another task has run: with one poller that works only if a thread takes over. */
static Step block_for_other(Script *script, TaskRef self, unsigned reasons)
{
    GateTest *test = script->shared;

    if (script->run == 0)
        return step_gate(test->gate, CLOCK_NEVER);
    meeting_set(&test->meeting, 1);
    meeting_wait(&test->meeting, 2);
    return step_end();
}

static Step free_the_blocked(Script *script, TaskRef self, unsigned reasons)
{
    GateTest *test = script->shared;

    if (script->run < 3)
        return step_park(EPOLLIN, clock_ms() + 20); /* a timer, so that somebody has to wait for it */
    meeting_set(&test->meeting, 2);
    return step_end();
}

static void polling_goes_on_while_a_thread_blocks(void **state)
{
    GateTest test = {.meeting = MEETING_INIT};
    Sched *sched = new_sched(1);

    test.gate = sched_gate_new(sched, 2);
    add_script(sched, -1, 0, block_for_other, &test);
    add_script(sched, -1, 0, block_for_other, &test);
    add_script(sched, -1, 0, free_the_blocked, &test);
    sched_run(sched);
    sched_free(sched);
}

/* The same without a gate, though none should: whoever takes long holds up nobody for long. */
static Step wait_for_other(Script *script, TaskRef self, unsigned reasons)
{
    GateTest *test = script->shared;

    meeting_set(&test->meeting, 1);
    meeting_wait(&test->meeting, 2);
    return step_end();
}

static void a_long_task_holds_up_nobody(void **state)
{
    GateTest test = {.meeting = MEETING_INIT};
    Sched *sched = new_sched(3);

    add_script(sched, -1, 0, wait_for_other, &test);
    add_script(sched, -1, 0, wait_for_other, &test);
    add_script(sched, -1, 0, free_the_blocked, &test);
    sched_run(sched);
    sched_free(sched);
}

static Step wait_at_gate(Script *script, TaskRef self, unsigned reasons)
{
    GateTest *test = script->shared;

    if (script->run == 0) {
        meeting_wait(&test->meeting, 1);
        sched_wake(script->sched, self, WAKE_ANSWER); /* kept, but no reason to leave the line */
        return step_gate(test->gate, clock_ms() + 30);
    }
    g_assert_cmpint(reasons, ==, WAKE_TIMER | WAKE_ANSWER);
    if (atomic_fetch_add(&test->timed_out, 1) == 4)
        meeting_set(&test->meeting, 2);
    return step_end();
}

static void who_waits_too_long_leaves_the_line(void **state)
{
    GateTest test = {.meeting = MEETING_INIT};
    Sched *sched = new_sched(2);

    test.gate = sched_gate_new(sched, 1);
    add_script(sched, -1, 0, block_for_other, &test);
    for (int i = 0; i < 5; i++)
        add_script(sched, -1, i, wait_at_gate, &test);
    sched_run(sched);
    assert_int_equal(atomic_load(&test.timed_out), 5);
    sched_free(sched);
}

/* Through the same gate again and again, and from one into another. */
static Step pass_gates(Script *script, TaskRef self, unsigned reasons)
{
    Gate **gates = script->shared;

    if (script->run > 0)
        g_assert_cmpint(reasons, ==, WAKE_GATE);
    return script->run < 40 ? step_gate(gates[(script->run / 3 + script->number) % 2], CLOCK_NEVER) : step_end();
}

static void gates_follow_each_other(void **state)
{
    for (unsigned pollers = 1; pollers <= 3; pollers++) {
        Sched *sched = new_sched(pollers);
        Gate *gates[2] = {sched_gate_new(sched, 1), sched_gate_new(sched, 2)};

        for (int i = 0; i < 30; i++)
            add_script(sched, -1, i, pass_gates, gates);
        sched_run(sched);
        sched_free(sched);
    }
}

static int count_threads(void)
{
    g_autofree char *text = NULL;
    int threads = 0;

    assert_true(g_file_get_contents("/proc/self/status", &text, NULL, NULL));
    assert_int_equal(sscanf(strstr(text, "Threads:"), "Threads: %d", &threads), 1);
    return threads;
}

typedef struct {
    Gate *gate;
    atomic_int most_threads, left;
} CrowdTest;

static Step be_a_crowd(Script *script, TaskRef self, unsigned reasons)
{
    CrowdTest *test = script->shared;

    if (reasons & WAKE_GATE) {
        int threads = count_threads(), most = atomic_load(&test->most_threads);
        while (threads > most && !atomic_compare_exchange_weak(&test->most_threads, &most, threads))
            ;
        usleep(1000);
    }
    return script->run < 10 ? step_gate(test->gate, CLOCK_NEVER) : step_end();
}

static void threads_are_bounded(void **state)
{
    int before = count_threads();
    CrowdTest test = {0};
    Sched *sched = new_sched(2);

    test.gate = sched_gate_new(sched, 4);
    for (int i = 0; i < 50; i++)
        add_script(sched, -1, i, be_a_crowd, &test);
    sched_run(sched);
    assert_true(atomic_load(&test.most_threads) >= before + 3);
    /* The caller is one of them; one may be on its way back from a gate. */
    assert_true(atomic_load(&test.most_threads) <= before + 2 + 4);
    assert_int_equal(count_threads(), before);
    sched_free(sched);
}

static Step come_back(Script *script, TaskRef self, unsigned reasons)
{
    if (script->run == 0)
        return step_gate(script->shared, CLOCK_NEVER);
    if (reasons & WAKE_GATE) {
        usleep(50000); /* until another thread waits for events in this one's place */
        return step_again();
    }
    sched_quit(script->sched);
    return step_end();
}

#define TOO_LATE_MS 10000

static Step wake_all_too_late(Script *script, TaskRef self, unsigned reasons)
{
    return script->run == 0 ? step_park(0, clock_ms() + TOO_LATE_MS) : step_end();
}

/* Its thread has lost its part to another one, which waits for events and must hear of it. */
static void who_comes_back_from_a_gate_goes_on(void **state)
{
    Sched *sched = new_sched(1);
    gint64 start = clock_ms();

    add_script(sched, -1, 0, come_back, sched_gate_new(sched, 1));
    add_script(sched, -1, 0, wake_all_too_late, NULL);
    sched_run(sched);
    assert_true(clock_ms() < start + TOO_LATE_MS);
    sched_free(sched);
}

/* --- ending --------------------------------------------------------------------------------------------------- */

static void count_free(void *data)
{
    atomic_fetch_add((atomic_int *)data, 1);
}

static Step park_forever(void *data, TaskRef self, unsigned reasons)
{
    return step_park(0, CLOCK_NEVER);
}

static Step quit_soon(Script *script, TaskRef self, unsigned reasons)
{
    if (script->run == 0)
        return step_park(0, clock_ms() + 30);
    sched_quit(script->sched);
    return step_park(0, CLOCK_NEVER);
}

static Step run_three_times(Script *script, TaskRef self, unsigned reasons)
{
    return script->run < 2 ? step_again() : step_end();
}

/* Whatever each thread is doing just then: waiting, or taking a look at the descriptors between two tasks. */
static void the_end_reaches_every_thread(void **state)
{
    for (int round = 0; round < 300; round++) {
        Sched *sched = new_sched(3);
        for (int i = 0; i < 33 + round % 64; i++)
            add_script(sched, -1, i, run_three_times, NULL);
        sched_run(sched);
        sched_free(sched);
    }
}

static void quitting_frees_what_is_left(void **state)
{
    for (unsigned pollers = 1; pollers <= 4; pollers++) {
        atomic_int freed = 0;
        Sched *sched = new_sched(pollers);

        for (int i = 0; i < 100; i++)
            sched_add(sched, -1, park_forever, count_free, &freed);
        add_script(sched, -1, 0, quit_soon, NULL);
        sched_run(sched);
        assert_int_equal(atomic_load(&freed), 100);
        assert_int_equal(sched_tasks(sched), 0);
        sched_free(sched);
    }
}

static void a_scheduler_that_never_ran_frees_its_tasks(void **state)
{
    atomic_int freed = 0;
    Sched *sched = new_sched(2);

    for (int i = 0; i < 3; i++)
        sched_add(sched, -1, park_forever, count_free, &freed);
    sched_free(sched);
    assert_int_equal(atomic_load(&freed), 3);
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

typedef struct {
    double used;
} IdleTest;

static Step measure_a_second(Script *script, TaskRef self, unsigned reasons)
{
    IdleTest *test = script->shared;

    switch (script->run) {
    case 0:
        return step_park(0, clock_ms() + 100); /* until the others have parked */
    case 1:
        test->used = cpu_seconds();
        return step_park(0, clock_ms() + 1000);
    default:
        test->used = cpu_seconds() - test->used;
        sched_quit(script->sched);
        return step_end();
    }
}

static Step park_for_minutes(Script *script, TaskRef self, unsigned reasons)
{
    g_assert_true(script->run < 2); /* nobody woke it without need */
    return step_park(EPOLLIN, clock_ms() + 300000);
}

static void an_idle_scheduler_costs_nothing(void **state)
{
    IdleTest test = {0};
    int pair[2];
    Sched *sched = new_sched(4);

    make_pair(pair);
    add_script(sched, pair[0], 0, park_for_minutes, NULL);
    for (int i = 0; i < 1000; i++)
        add_script(sched, -1, i, park_for_minutes, NULL);
    add_script(sched, -1, 0, measure_a_second, &test);
    sched_run(sched);
    assert_true(test.used < 0.1);
    close(pair[1]);
    sched_free(sched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_in_turn),
        cmocka_unit_test(an_empty_scheduler_returns),
        cmocka_unit_test(deadlines_come_in_order),
        cmocka_unit_test(the_last_deadline_counts),
        cmocka_unit_test(a_wake_while_running_is_kept),
        cmocka_unit_test(a_wake_from_another_thread_arrives),
        cmocka_unit_test(a_second_descriptor_wakes_its_task),
        cmocka_unit_test(a_second_descriptor_goes_from_task_to_task),
        cmocka_unit_test(a_wake_for_an_ended_task_is_dropped),
        cmocka_unit_test(ending_with_a_wake_pending_ends),
        cmocka_unit_test(all_can_be_woken),
        cmocka_unit_test(descriptors_wake_their_tasks),
        cmocka_unit_test(a_task_can_exchange_its_descriptor),
        cmocka_unit_test(a_descriptor_replaced_by_its_owner_is_watched),
        cmocka_unit_test(a_task_that_never_waits_keeps_nobody_out),
        cmocka_unit_test(what_cannot_be_watched_is_tried_again),
        cmocka_unit_test(a_gate_lets_in_as_many_as_it_has_places),
        cmocka_unit_test(a_gate_serves_in_order),
        cmocka_unit_test(polling_goes_on_while_a_thread_blocks),
        cmocka_unit_test(a_long_task_holds_up_nobody),
        cmocka_unit_test(who_waits_too_long_leaves_the_line),
        cmocka_unit_test(gates_follow_each_other),
        cmocka_unit_test(threads_are_bounded),
        cmocka_unit_test(who_comes_back_from_a_gate_goes_on),
        cmocka_unit_test(the_end_reaches_every_thread),
        cmocka_unit_test(quitting_frees_what_is_left),
        cmocka_unit_test(a_scheduler_that_never_ran_frees_its_tasks),
        cmocka_unit_test(an_idle_scheduler_costs_nothing),
    };
    signal(SIGPIPE, SIG_IGN); /* as in every service process */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
