/* sched_bench.c - what the scheduler costs by itself: pairs of sockets that pass an octet to and fro (turns per second,
 * processor time per turn), tasks that wake each other without descriptors (wakes per second), a gate, and memory per
 * parked task.
 *
 *     sched_bench [POLLERS [PAIRS [SECONDS]]]
 *
 * Not built by default: ninja -C build src/net/sched_bench. */
#include "base/clock.h"
#include "net/sched.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    Sched *sched;
    Gate *gate;
    gint64 end;
    atomic_ulong turns;
} Bench;

typedef struct {
    Bench *bench;
    int fd;
    bool begins;
    atomic_uint_fast64_t other; /* TaskRef */
} Player;

static double cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static bool is_over(Bench *bench)
{
    if (clock_ms() < bench->end)
        return false;
    sched_quit(bench->sched);
    return true;
}

static Step play_socket(void *data, TaskRef self, unsigned reasons)
{
    Player *player = data;
    char octet = 'x';

    if (is_over(player->bench))
        return step_end();
    if ((reasons & WAKE_START) ? player->begins : read(player->fd, &octet, 1) == 1) {
        atomic_fetch_add_explicit(&player->bench->turns, 1, memory_order_relaxed);
        if (write(player->fd, &octet, 1) < 0)
            return step_end();
    }
    return step_park(EPOLLIN, clock_ms() + 300000);
}

static Step play_wake(void *data, TaskRef self, unsigned reasons)
{
    Player *player = data;

    if (is_over(player->bench))
        return step_end();
    atomic_fetch_add_explicit(&player->bench->turns, 1, memory_order_relaxed);
    sched_wake(player->bench->sched, atomic_load_explicit(&player->other, memory_order_relaxed), WAKE_ANSWER);
    return step_park(0, clock_ms() + 300000);
}

static Step play_gate(void *data, TaskRef self, unsigned reasons)
{
    Player *player = data;

    if (is_over(player->bench))
        return step_end();
    atomic_fetch_add_explicit(&player->bench->turns, 1, memory_order_relaxed);
    return step_gate(player->bench->gate, CLOCK_NEVER);
}

static Step stay(void *data, TaskRef self, unsigned reasons)
{
    return step_park(0, clock_ms() + 300000);
}

static void close_player(void *data)
{
    Player *player = data;

    if (player->fd >= 0)
        close(player->fd);
}

static void measure(const char *name, TaskRun run, unsigned pollers, int pairs, int seconds)
{
    Bench bench = {.sched = sched_new(pollers, NULL), .end = clock_ms() + seconds * 1000};
    g_autofree Player *players = g_new0(Player, 2 * pairs);
    g_autofree TaskRef *refs = g_new0(TaskRef, 2 * pairs);
    double used = cpu_us();
    gint64 start = clock_ms();

    bench.gate = sched_gate_new(bench.sched, 4);
    for (int i = 0; i < pairs; i++) {
        int pair[2] = {-1, -1};
        if (run == play_socket && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0) {
            perror("socketpair");
            exit(1);
        }
        for (int side = 0; side < 2; side++) {
            players[2 * i + side] = (Player){.bench = &bench, .fd = pair[side], .begins = side == 0};
            refs[2 * i + side] = sched_add(bench.sched, pair[side], run, close_player, &players[2 * i + side]);
        }
        atomic_store(&players[2 * i].other, refs[2 * i + 1]);
        atomic_store(&players[2 * i + 1].other, refs[2 * i]);
    }
    sched_run(bench.sched);
    double turns = (double)atomic_load(&bench.turns);
    printf("%-8s %u pollers, %5d pairs: %9.0f turns/s, %5.2f us of processor time each\n", name, pollers, pairs,
           turns * 1000 / (double)(clock_ms() - start), (cpu_us() - used) / turns);
    sched_free(bench.sched);
}

static Step stop(void *data, TaskRef self, unsigned reasons)
{
    sched_quit(data);
    return step_end();
}

static void measure_memory(int tasks)
{
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    Sched *sched = sched_new(1, NULL);

    for (int i = 0; i < tasks; i++)
        sched_add(sched, -1, stay, NULL, NULL);
    sched_add(sched, -1, stop, NULL, sched);
    sched_run(sched);
    printf("memory   %d parked tasks: %.0f octets each\n", tasks,
           (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before) / tasks);
    sched_free(sched);
}

int main(int argc, char **argv)
{
    unsigned pollers = argc > 1 ? (unsigned)atoi(argv[1]) : 4;
    int pairs = argc > 2 ? atoi(argv[2]) : 50;
    int seconds = argc > 3 ? atoi(argv[3]) : 2;

    measure("socket", play_socket, pollers, 1, seconds);
    measure("socket", play_socket, pollers, pairs, seconds);
    measure("wake", play_wake, pollers, pairs, seconds);
    measure("gate", play_gate, pollers, pairs, seconds);
    measure_memory(100000);
    return 0;
}
