/* sched_private.h - what the scheduler's own files share. Nobody else includes this.
 *
 *     sched.c         adding, waking, running, ending: what callers see
 *     sched_worker.c  threads: polling, running a task, what follows from its Step
 *     sched_help.c    how many of them are at it
 *     sched_task.c    slots, run queue, states; lines at gates
 *     sched_timer.c   the heap of deadlines
 *
 * States of a task, each change under the lock:
 *
 *     free -> queued -> running -> queued (again, or a wake came meanwhile)
 *                               -> parked -> queued (event, wake, deadline)
 *                               -> at gate -> queued (with a place, or without one at the deadline)
 *                               -> free
 *
 * A running task's fd and watched belong to the thread that runs it; everything else belongs to the lock. */
#pragma once
#include "net/sched.h"
#include <pthread.h>

#define SCHED_CHUNK 1024 /* slots made at once; they never move and are never given back */
#define SCHED_EVENTS 32  /* events taken by one epoll_wait */
#define SCHED_POLL_EVERY                                                                                               \
    32 /* tasks run between two looks at the descriptors when no thread has time to wait for them */
#define SCHED_EXPIRE_MAX 256 /* tasks queued by one look at the timers: the lock is not held for longer */
#define SCHED_EVENT_REF 0    /* epoll data of event_fd and timer_fd: no TaskRef is that small */
#define SCHED_TIMER_REF 1
#define SCHED_SECOND_FD (1u << 31) /* in a TaskRef's slot number: the event is that of sched_watch() */
#define SCHED_CROWD 64             /* tasks queued that are too many for who is active */
#define SCHED_LOOK_MS 5            /* a task that takes longer than two of them no longer holds up the others */
#define SCHED_CALM_LOOKS 4         /* then nobody looks until a task runs */
#define SCHED_RETRY_MS 100         /* until a descriptor is tried again that the kernel had no memory to watch */

typedef enum { TASK_FREE, TASK_QUEUED, TASK_RUNNING, TASK_PARKED, TASK_AT_GATE } TaskState;

typedef struct Task Task;
struct Task {
    TaskRun run;
    TaskFree free;
    void *data;
    gint64 deadline; /* parked, at gate */
    Task *next;      /* in the run queue, a gate's line, or the list of free slots */
    Task *prev;
    Gate *gate; /* at gate: the one it stands at. Queued: the one where it has a place, or NULL */
    guint32 index;
    guint32 generation; /* never 0 */
    guint32 timer;      /* place in the heap, from 1; 0: in none */
    guint32 reasons;    /* wakes that it has not seen */
    int fd;
    guint8 state; /* TaskState */
    bool watched; /* fd is in the epoll set */
    bool unarmed; /* parked: the descriptor could not be armed; deadline is the time to try again */
};

typedef struct {
    Task *first, *last;
    unsigned len;
} TaskList;

typedef struct {
    gint64 at; /* not after the task's own deadline, maybe before */
    Task *task;
} TimerEntry;

typedef struct {
    TimerEntry *entries; /* a heap with four children to a parent */
    guint32 len, size;
} TimerHeap;

struct Gate {
    unsigned places, taken;
    TaskList line;
};

struct Sched {
    pthread_mutex_t lock;
    pthread_cond_t spare_cond; /* threads that are not needed now */
    pthread_cond_t overseer_cond;
    int epoll_fd, event_fd, timer_fd;

    GPtrArray *chunks; /* of Task[SCHED_CHUNK] */
    Task *free_tasks;
    guint32 slots;
    unsigned tasks;
    TaskList queue;
    TimerHeap timers;
    gint64 timer_armed; /* what timer_fd is set to */
    GPtrArray *gates;

    unsigned pollers;
    unsigned active;   /* threads that run tasks or wait for events; at most pollers. Not those behind a gate */
    unsigned waiting;  /* of those: in epoll_wait; one at most */
    unsigned spares;   /* threads asleep on spare_cond */
    unsigned promoted; /* of those: become active as soon as they wake */
    unsigned ran;      /* tasks run since the last look at the descriptors */
    bool notified;     /* event_fd was written to and no thread has seen it yet */
    guint64 ended;     /* runs of tasks */
    bool overseer_rests;
    bool running, quit;
    bool warned_watch, warned_thread;
    GArray *threads; /* pthread_t that nobody has joined yet */
};

/* A thread in sched_run(). */
typedef struct {
    Sched *sched;
    Task *task; /* runs now */
    Gate *gate; /* the place that it has */
    bool away;  /* not active: behind a gate, or not needed */
} Worker;
extern _Thread_local Worker *sched_worker; /* the calling thread's, or NULL */

/* sched_task.c; the lock is held */
Task *task_at(Sched *sched, guint32 index); /* the slot, free or not; index < slots */
Task *task_new(Sched *sched);
void task_release(Sched *sched, Task *task);
Task *task_find(Sched *sched, TaskRef ref); /* NULL: has ended */
TaskRef task_ref(const Task *task);
void task_queue(Sched *sched, Task *task);
Task *task_dequeue(Sched *sched);
bool task_wake(Sched *sched, Task *task, unsigned reasons); /* true: it became queued by this */
void task_park(Sched *sched, Task *task, gint64 deadline);
void gate_enter(Sched *sched, Gate *gate, Task *task,
                gint64 deadline);          /* a running task: queued with a place, or in line */
void gate_leave(Sched *sched, Gate *gate); /* gives a place to the next in line */

/* sched_timer.c; the lock is held. Changing a deadline to a later one costs nothing: the entry is put right when it
 * comes up. */
void timers_set(TimerHeap *heap, Task *task, gint64 deadline);
void timers_remove(TimerHeap *heap, Task *task);
Task *timers_take_due(TimerHeap *heap, gint64 now); /* a waiting task whose deadline has come, or NULL */
gint64 timers_next(const TimerHeap *heap);          /* no deadline is before this; CLOCK_NEVER: none */
void timers_arm(Sched *sched);                      /* sets timer_fd if it would come too late */
void timers_run(Sched *sched);                      /* timer_fd has come: queues what is due */

/* sched_worker.c */
void sched_work(Sched *sched, bool active);
void sched_unlock_and_notify(Sched *sched); /* after queueing something from outside */
void sched_release_all(Sched *sched);       /* frees the tasks that are left; no thread runs */

/* sched_help.c */
void sched_notify(Sched *sched);              /* wakes one thread in epoll_wait, this one or the next to come */
void sched_get_help_and_unlock(Sched *sched); /* before a task runs, its thread's state set accordingly */
/* Until quit is set and overseer_cond signalled. False: goes on without, which is logged. */
bool sched_start_overseer(Sched *sched, pthread_t *ret_thread);
