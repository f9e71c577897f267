/* sched.h - runs many sessions on few threads. One epoll set, EPOLLONESHOT, a pool of threads, one lock.
 *
 * A task is a session, a listener or another descriptor with a state machine. It is run by one thread at a time: its run
 * function does what can be done without waiting and says in a Step what to wait for. A parked task costs its memory and
 * a timer, no thread.
 *
 * A wait holds a thread only behind a gate: a task that must block (dialogue with the filter, fsync, a blocking library)
 * returns step_gate(); it is run again with WAKE_GATE once it has a place, may then block, and gives the place back by
 * returning. While it blocks, another thread takes its part of the polling. Threads are at most
 * 1 + pollers + the sum of all gates' places, made as they are needed.
 *
 * Tasks are named by TaskRef (slot and generation), never by pointer: a wake for a task that has ended is dropped.
 * The lock is a leaf: no I/O but epoll_ctl and eventfd under it, and no other lock. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct Sched Sched;
typedef struct Gate Gate;
typedef guint64 TaskRef; /* 0: none */

/* Why a task runs, as a set; empty after step_again() if nothing else came. A wake may be spurious: a task looks at its state, not at the
 * reason alone. */
enum {
    WAKE_START = 1 << 0,  /* the first run */
    WAKE_INPUT = 1 << 1,  /* readable, or end of input or error: read() will tell */
    WAKE_OUTPUT = 1 << 2, /* writable */
    WAKE_HANGUP = 1 << 3, /* the peer closed its side or is gone (EPOLLRDHUP, EPOLLHUP, EPOLLERR) */
    WAKE_TIMER = 1 << 4,  /* the deadline of the step has come */
    WAKE_ANSWER = 1 << 5, /* sched_wake(): what somebody else had to find out is there */
    WAKE_GATE = 1 << 6,   /* the run holds a place at the gate that the last step named */
    WAKE_STOP = 1 << 7,   /* sched_wake_all(): the process wants to end or to drain */
};

typedef enum { STEP_AGAIN, STEP_PARK, STEP_GATE, STEP_END } StepKind;

typedef struct {
    StepKind kind;
    unsigned events; /* STEP_PARK: EPOLLIN, EPOLLOUT, EPOLLRDHUP, or 0 for none */
    gint64 deadline; /* STEP_PARK, STEP_GATE: clock_ms(), or CLOCK_NEVER. At a gate: leaves the line, runs with WAKE_TIMER */
    Gate *gate;
} Step;

static inline Step step_again(void) /* to the end of the run queue */
{
    return (Step){.kind = STEP_AGAIN};
}
static inline Step step_park(unsigned events, gint64 deadline)
{
    return (Step){.kind = STEP_PARK, .events = events, .deadline = deadline};
}
static inline Step step_gate(Gate *gate, gint64 deadline)
{
    return (Step){.kind = STEP_GATE, .gate = gate, .deadline = deadline};
}
static inline Step step_end(void) /* the task is taken out of the set, then its free function runs */
{
    return (Step){.kind = STEP_END};
}

/* A wake that came while the task ran is not lost: parking then runs it again at once. In a line at a gate wakes are kept until its turn;
 * only the deadline ends the waiting. Parking with other events, or none, than the last time may still bring one wake for the old ones. A
 * descriptor that cannot be watched (a file, no memory) runs its task with WAKE_INPUT and WAKE_OUTPUT every 100 ms. */
typedef Step (*TaskRun)(void *data, TaskRef self, unsigned reasons);
typedef void (*TaskFree)(void *data); /* closes the descriptor too; runs without the lock, on any thread */

/* pollers: threads that run tasks at once, 1 or more (two per processor are enough). NULL: errno is in error. */
Sched *sched_new(unsigned pollers, GError **error);
/* Before sched_run() only. places: 1 or more. The gate lives as long as sched. */
Gate *sched_gate_new(Sched *sched, unsigned places);

/* Adds a task; it runs soon with WAKE_START. fd: non-blocking, or -1; registered on its first park. The task's data are sched's
 * until free. Callable from tasks and before sched_run(). */
TaskRef sched_add(Sched *sched, int fd, TaskRun run, TaskFree free, void *data);
/* From the running task itself, when it exchanges its descriptor (the old one is taken out of the set first, not closed). */
void sched_change_fd(Sched *sched, TaskRef self, int fd);

/* A second descriptor of the running task, until it is closed: every change of it (readable, writable, hung up) is a WAKE_ANSWER. Told once per
 * change, so the task reads or writes until there is nothing to do before it waits. output: also when it becomes writable, which it most
 * likely is at once. Called again, or by another task, it takes the place of what was before. False: the kernel has no memory for it;
 * errno tells. */
bool sched_watch(Sched *sched, TaskRef self, int fd, bool output);

/* From any thread, also one that sched does not know. Unknown or ended tasks: nothing happens. */
void sched_wake(Sched *sched, TaskRef task, unsigned reasons);
void sched_wake_all(Sched *sched, unsigned reasons);

/* Runs tasks until sched_quit() or until no task is left; then joins its threads (those behind gates finish first). Tasks still there
 * are freed. The calling thread is one of the pollers; the others have all signals blocked. Once per scheduler. */
void sched_run(Sched *sched);
void sched_quit(Sched *sched);
void sched_free(Sched *sched);

unsigned sched_tasks(Sched *sched); /* how many there are, for tests and status */
