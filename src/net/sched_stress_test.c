/* The scheduler under load: thousands of descriptors, and some seconds of everything at once at random. Meant above all
 * for ThreadSanitizer and AddressSanitizer. SCHED_STRESS_S: seconds of the random part, 5 by default. */
#include "base/clock.h"
#include "net/sched.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_S 180

static unsigned count_pairs(unsigned wanted)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur < 2 * wanted + 50 ? (unsigned)(limit.rlim_cur - 50) / 2 : wanted;
}

/* --- echo: each pair passes a number to and fro, one more each time -------------------------------------------- */

#define ROUNDS 20

typedef struct {
    int fd;
    bool begins;
    atomic_int *turns;
    atomic_int running; /* a task is run by one thread at a time */
} Player;

static void free_player(void *data)
{
    Player *player = data;

    close(player->fd);
    g_free(player);
}

static Step play(void *data, TaskRef self, unsigned reasons)
{
    Player *player = data;
    guint32 number = 0;
    Step step = step_park(EPOLLIN | EPOLLRDHUP, clock_ms() + 100000);

    g_assert_cmpint(atomic_fetch_add(&player->running, 1), ==, 0);
    if (reasons & WAKE_START) {
        if (player->begins)
            g_assert_cmpint(write(player->fd, &number, sizeof number), ==, sizeof number);
    } else {
        g_assert_false(reasons & WAKE_TIMER);
        ssize_t count = read(player->fd, &number, sizeof number);
        if (count == 0) {
            step = step_end();
        } else if (count > 0) {
            g_assert_cmpint(count, ==, sizeof number);
            atomic_fetch_add(player->turns, 1);
            number++;
            if (number >= ROUNDS)
                step = step_end();
            else
                g_assert_cmpint(write(player->fd, &number, sizeof number), ==, sizeof number);
        }
    }
    g_assert_cmpint(atomic_fetch_sub(&player->running, 1), ==, 1);
    return step;
}

static void add_player(Sched *sched, int fd, bool begins, atomic_int *turns)
{
    Player *player = g_new0(Player, 1);

    player->fd = fd;
    player->begins = begins;
    player->turns = turns;
    sched_add(sched, fd, play, free_player, player);
}

static void thousands_of_pairs_echo(void **state)
{
    for (unsigned pollers = 1; pollers <= 4; pollers += 3) {
        unsigned pairs = count_pairs(4000);
        atomic_int turns = 0;
        Sched *sched = sched_new(pollers, NULL);

        alarm(WATCHDOG_S);
        assert_non_null(sched);
        for (unsigned i = 0; i < pairs; i++) {
            int pair[2];
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
            add_player(sched, pair[0], true, &turns);
            add_player(sched, pair[1], false, &turns);
        }
        sched_run(sched);
        assert_int_equal(atomic_load(&turns), pairs * ROUNDS);
        sched_free(sched);
    }
}

/* --- everything at random -------------------------------------------------------------------------------------- */

#define REFS 256

typedef struct {
    Sched *sched;
    Gate *gates[3];
    atomic_int inside[3];
    atomic_uint_fast64_t refs[REFS]; /* of tasks, many of them ended */
    atomic_int alive;
    atomic_uint runs, timers, gated, woken, ended, inputs;
    gint64 end;
    atomic_bool over;
} Chaos;

static const int chaos_places[3] = {1, 2, 5};

typedef struct {
    Chaos *chaos;
    int fd, peer; /* of a socket pair, or -1 */
    int at_gate;  /* the gate it went to, or -1 */
    gint64 deadline;
    unsigned seed;
    atomic_int running;
} Rioter;

static Step riot(void *data, TaskRef self, unsigned reasons);

static void free_rioter(void *data)
{
    Rioter *rioter = data;

    if (rioter->fd >= 0)
        close(rioter->fd);
    if (rioter->peer >= 0)
        close(rioter->peer);
    atomic_fetch_sub(&rioter->chaos->alive, 1);
    atomic_fetch_add(&rioter->chaos->ended, 1);
    g_free(rioter);
}

static void add_rioter(Chaos *chaos, unsigned seed)
{
    Rioter *rioter = g_new0(Rioter, 1);
    int pair[2] = {-1, -1};

    if (seed % 3 != 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        pair[0] = pair[1] = -1;
    *rioter = (Rioter){.chaos = chaos, .fd = pair[0], .peer = pair[1], .at_gate = -1, .seed = seed};
    atomic_fetch_add(&chaos->alive, 1);
    TaskRef ref = sched_add(chaos->sched, rioter->fd, riot, free_rioter, rioter);
    atomic_store(&chaos->refs[seed % REFS], ref);
}

static void check_arrival(Rioter *rioter, unsigned reasons)
{
    Chaos *chaos = rioter->chaos;

    if (reasons & WAKE_TIMER) {
        atomic_fetch_add(&chaos->timers, 1);
        g_assert_true(clock_ms() >= rioter->deadline);
    }
    if (rioter->at_gate >= 0)
        g_assert_true(reasons & (WAKE_GATE | WAKE_TIMER));
    else
        g_assert_false(reasons & WAKE_GATE);
    if (reasons & WAKE_GATE) {
        int gate = rioter->at_gate;
        atomic_fetch_add(&chaos->gated, 1);
        g_assert_true(atomic_fetch_add(&chaos->inside[gate], 1) < chaos_places[gate]);
        if (rand_r(&rioter->seed) % 4 == 0)
            usleep((useconds_t)(rand_r(&rioter->seed) % 500));
        atomic_fetch_sub(&chaos->inside[gate], 1);
    }
    if (reasons & WAKE_INPUT) {
        char octets[8];
        atomic_fetch_add(&chaos->inputs, 1);
        if (rioter->fd >= 0 && read(rioter->fd, octets, sizeof octets) < 0)
            g_assert_cmpint(errno, ==, EAGAIN);
    }
    rioter->at_gate = -1;
}

static void exchange_pair(Rioter *rioter, TaskRef self)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return;
    int old = rioter->fd;
    sched_change_fd(rioter->chaos->sched, self, pair[0]);
    if (old >= 0) {
        close(old);
        close(rioter->peer);
    }
    rioter->fd = pair[0];
    rioter->peer = pair[1];
}

static Step choose_step(Rioter *rioter, TaskRef self)
{
    Chaos *chaos = rioter->chaos;
    int choice = rand_r(&rioter->seed) % 100;

    rioter->deadline = clock_ms() + rand_r(&rioter->seed) % 30;
    if (choice < 10)
        return step_again();
    if (choice < 30) {
        rioter->at_gate = rand_r(&rioter->seed) % 3;
        return step_gate(chaos->gates[rioter->at_gate], choice < 20 ? CLOCK_NEVER : rioter->deadline);
    }
    if (choice < 40) {
        if (choice < 35 && atomic_load(&chaos->alive) < 2000)
            add_rioter(chaos, (unsigned)rand_r(&rioter->seed));
        if (atomic_load(&chaos->alive) < 2000)
            add_rioter(chaos, (unsigned)rand_r(&rioter->seed));
        return step_end();
    }
    if (choice < 45)
        exchange_pair(rioter, self);
    else if (choice < 70)
        sched_wake(chaos->sched, atomic_load(&chaos->refs[rand_r(&rioter->seed) % REFS]), WAKE_ANSWER);
    else if (choice < 90 && rioter->peer >= 0 && write(rioter->peer, "x", 1) < 0)
        g_assert_cmpint(errno, ==, EAGAIN);
    return step_park(choice % 2 ? EPOLLIN | EPOLLRDHUP : 0, rioter->deadline);
}

static Step riot(void *data, TaskRef self, unsigned reasons)
{
    Rioter *rioter = data;
    Step step;

    g_assert_cmpint(atomic_fetch_add(&rioter->running, 1), ==, 0);
    atomic_fetch_add(&rioter->chaos->runs, 1);
    check_arrival(rioter, reasons);
    step = clock_ms() >= rioter->chaos->end ? step_end() : choose_step(rioter, self);
    g_assert_cmpint(atomic_fetch_sub(&rioter->running, 1), ==, 1);
    return step;
}

static void *wake_at_random(void *data)
{
    Chaos *chaos = data;
    unsigned seed = 4711;

    while (!atomic_load(&chaos->over)) {
        int number = rand_r(&seed) % 1000;
        if (number == 0)
            sched_wake_all(chaos->sched, WAKE_STOP);
        else
            sched_wake(chaos->sched, atomic_load(&chaos->refs[number % REFS]), WAKE_ANSWER);
        atomic_fetch_add(&chaos->woken, 1);
        if (number % 8 == 0)
            usleep(100);
    }
    return NULL;
}

static void all_at_random(void **state)
{
    const char *seconds = getenv("SCHED_STRESS_S");
    Chaos chaos = {.sched = sched_new(3, NULL)};
    pthread_t threads[2];

    alarm(WATCHDOG_S);
    count_pairs(4000);
    assert_non_null(chaos.sched);
    for (int i = 0; i < 3; i++)
        chaos.gates[i] = sched_gate_new(chaos.sched, (unsigned)chaos_places[i]);
    chaos.end = clock_ms() + (seconds ? atoi(seconds) : 5) * 1000;
    for (unsigned i = 0; i < 500; i++)
        add_rioter(&chaos, i * 2654435761u);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wake_at_random, &chaos), 0);
    sched_run(
        chaos.sched); /* returns only if no task was forgotten: each has a deadline of 30 ms or a place in a line */
    atomic_store(&chaos.over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&chaos.alive), 0);
    print_message("runs %u, timers %u, gates %u, inputs %u, wakes %u, tasks %u\n", atomic_load(&chaos.runs),
                  atomic_load(&chaos.timers), atomic_load(&chaos.gated), atomic_load(&chaos.inputs),
                  atomic_load(&chaos.woken), atomic_load(&chaos.ended));
    assert_true(atomic_load(&chaos.timers) > 100 && atomic_load(&chaos.gated) > 100 &&
                atomic_load(&chaos.inputs) > 100 && atomic_load(&chaos.ended) > 500);
    sched_free(chaos.sched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thousands_of_pairs_echo),
        cmocka_unit_test(all_at_random),
    };
    signal(SIGPIPE, SIG_IGN); /* as in every service process */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
