/* sched_worker.c - the scheduler's threads.
 *
 * An active thread takes the first task of the run queue, or waits in epoll_wait when there is none. One waits there at
 * most; who finds it taken sleeps until it is called (sched_help.c). Two descriptors in the set stand for what is not a
 * task: event_fd for tasks queued from outside, timer_fd for the earliest deadline. Both are edge-triggered: one write
 * or expiry wakes one thread, and they need no read.
 *
 * A thread whose task has a place at a gate may block, so it is not active while it runs that task. Back from there it
 * goes on with what it has queued itself, if not too many are active. */
#include "base/clock.h"
#include "base/log.h"
#include "net/sched_private.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

_Thread_local Worker *sched_worker;

void sched_unlock_and_notify(Sched *sched)
{
    /* An active thread looks at the queue itself when its task returns, and gets help then. */
    bool busy_here = sched_worker && sched_worker->sched == sched && !sched_worker->away;
    bool tell = !busy_here && sched->waiting > 0 && !sched->notified;

    sched->notified |= tell;
    pthread_mutex_unlock(&sched->lock);
    if (tell)
        sched_notify(sched);
}

/* Level-triggered, once. False: the kernel refused, errno tells why. */
static bool arm(Sched *sched, Task *task, unsigned events)
{
    struct epoll_event event = {.events = events | EPOLLONESHOT, .data.u64 = task_ref(task)};
    int operation = task->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    if (epoll_ctl(sched->epoll_fd, operation, task->fd, &event) == 0) {
        task->watched = true;
        return true;
    }
    if (errno == ENOENT && operation == EPOLL_CTL_MOD) /* closed and opened again by its owner */
        return epoll_ctl(sched->epoll_fd, EPOLL_CTL_ADD, task->fd, &event) == 0;
    return false;
}

static void unwatch(Sched *sched, Task *task)
{
    if (task->watched)
        epoll_ctl(sched->epoll_fd, EPOLL_CTL_DEL, task->fd, NULL);
    task->watched = false;
}

void sched_change_fd(Sched *sched, TaskRef self, int fd)
{
    g_assert(sched_worker && sched_worker->sched == sched && sched_worker->task);
    Task *task = sched_worker->task;

    g_assert(task_ref(task) == self);
    unwatch(sched, task);
    task->fd = fd;
}

bool sched_watch(Sched *sched, TaskRef self, int fd, bool output)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (output ? EPOLLOUT : 0),
                                .data.u64 = self | SCHED_SECOND_FD};

    return epoll_ctl(sched->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ||
           (errno == EEXIST && epoll_ctl(sched->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0);
}

static unsigned reasons_of(unsigned events)
{
    unsigned reasons = 0;

    if (events & (EPOLLIN | EPOLLPRI))
        reasons |= WAKE_INPUT;
    if (events & EPOLLOUT)
        reasons |= WAKE_OUTPUT;
    if (events & EPOLLRDHUP)
        reasons |= WAKE_HANGUP;
    if (events & (EPOLLHUP | EPOLLERR)) /* whatever the task waits for, it will not come: it has to try */
        reasons |= WAKE_HANGUP | WAKE_INPUT | WAKE_OUTPUT;
    return reasons;
}

/* Takes events, waiting for them if wait is true. The lock is held, but not while waiting. */
static void take_events(Sched *sched, bool wait)
{
    struct epoll_event events[SCHED_EVENTS];

    sched->waiting += wait;
    pthread_mutex_unlock(&sched->lock);
    int count = epoll_wait(sched->epoll_fd, events, SCHED_EVENTS, wait ? -1 : 0);
    pthread_mutex_lock(&sched->lock);
    sched->waiting -= wait;
    sched->ran = 0;

    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == SCHED_EVENT_REF) {
            sched->notified = false;
        } else if (events[i].data.u64 == SCHED_TIMER_REF) {
            timers_run(sched);
        } else {
            bool second = events[i].data.u64 & SCHED_SECOND_FD;
            Task *task = task_find(sched, events[i].data.u64 & ~(guint64)SCHED_SECOND_FD);
            if (task)
                task_wake(sched, task, second ? WAKE_ANSWER : reasons_of(events[i].events));
        }
    }
}

static void end_task(Sched *sched, Task *task)
{
    unwatch(sched, task);
    if (task->free)
        task->free(task->data);
}

/* What has to be done for a step before the lock is taken. Returns the deadline to park with. */
static gint64 prepare_park(Sched *sched, Task *task, Step step)
{
    if (task->fd < 0 || step.events == 0 || arm(sched, task, step.events))
        return step.deadline;
    int why = errno;
    gint64 again = clock_ms() + SCHED_RETRY_MS;

    pthread_mutex_lock(&sched->lock);
    bool warn = !sched->warned_watch;
    sched->warned_watch = true;
    task->unarmed = again < step.deadline;
    pthread_mutex_unlock(&sched->lock);
    if (warn)
        log_warning("cannot watch a descriptor: %s; trying again every %d ms", g_strerror(why), SCHED_RETRY_MS);
    return MIN(again, step.deadline);
}

/* The lock is held, but not while the task runs. */
static void run_task(Worker *worker, Task *task)
{
    Sched *sched = worker->sched;
    unsigned reasons = task->reasons;
    TaskRef ref = task_ref(task);

    task->reasons = 0;
    task->state = TASK_RUNNING;
    worker->gate = task->gate;
    task->gate = NULL;
    if (worker->gate && !worker->away) {
        worker->away = true;
        sched->active--;
    }
    sched->ran++;
    sched_get_help_and_unlock(sched);

    worker->task = task;
    Step step = task->run(task->data, ref, reasons);
    if (step.kind == STEP_PARK)
        step.deadline = prepare_park(sched, task, step);
    else if (step.kind == STEP_END)
        end_task(sched, task);
    worker->task = NULL;

    pthread_mutex_lock(&sched->lock);
    sched->ended++;
    switch (step.kind) {
    case STEP_AGAIN:
        task_queue(sched, task);
        break;
    case STEP_PARK:
        task_park(sched, task, step.deadline);
        break;
    case STEP_GATE:
        gate_enter(sched, step.gate, task, step.deadline);
        break;
    case STEP_END:
        task_release(sched, task);
        sched->quit |= sched->tasks == 0;
        break;
    }
    if (worker->gate)
        gate_leave(sched, g_steal_pointer(&worker->gate));
}

/* Afterwards the thread is active, or the scheduler ends. The lock is held, but not while it sleeps. */
static void become_active(Worker *worker)
{
    Sched *sched = worker->sched;

    /* None is active when no thread could be made in this one's place. */
    if (sched->active == 0 || (sched->queue.first && sched->active < sched->pollers)) {
        sched->active++;
    } else {
        /* What it has queued itself is for who waits for events: nobody else tells it. */
        if (sched->queue.first && sched->waiting > 0 && !sched->notified) {
            sched->notified = true;
            sched_notify(sched);
        }
        sched->spares++;
        while (sched->promoted == 0 && !sched->quit)
            pthread_cond_wait(&sched->spare_cond, &sched->lock);
        sched->spares--;
        if (sched->promoted == 0)
            return;
        sched->promoted--;
    }
    worker->away = false;
}

static void rest(Worker *worker)
{
    worker->away = true;
    worker->sched->active--;
}

void sched_work(Sched *sched, bool active)
{
    Worker worker = {.sched = sched};

    sched_worker = &worker;
    pthread_mutex_lock(&sched->lock);
    sched->active += !active;
    /* Each step may let go of the lock, so only one is taken before quit is looked at again: who has taken the event
     * that told of it must not wait for another. */
    while (!sched->quit) {
        const Task *first = sched->queue.first;
        if (first && sched->waiting == 0 && sched->ran >= SCHED_POLL_EVERY)
            take_events(sched, false);
        else if (worker.away && !(first && first->gate)) /* the next at the gate runs on an inactive thread as well */
            become_active(&worker);
        else if (first)
            run_task(&worker, task_dequeue(sched));
        else if (sched->waiting > 0)
            rest(&worker);
        else
            take_events(sched, true);
    }
    sched->active -= !worker.away;
    pthread_cond_broadcast(&sched->spare_cond);
    pthread_mutex_unlock(&sched->lock);
    sched_notify(sched); /* the next thread in epoll_wait, which does the same */
    sched_worker = NULL;
}

void sched_release_all(Sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    while (sched->tasks > 0) { /* again when a free function has added one */
        for (guint32 i = 0; i < sched->slots; i++) {
            Task *task = task_at(sched, i);
            if (task->state == TASK_FREE)
                continue;
            pthread_mutex_unlock(&sched->lock);
            end_task(sched, task);
            pthread_mutex_lock(&sched->lock);
            task_release(sched, task);
        }
    }
    pthread_mutex_unlock(&sched->lock);
}
