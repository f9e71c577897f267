/* sched.c - adding tasks, waking them, running them all, ending. How it works inside is told in sched_private.h. */
#include "base/clock.h"
#include "base/fail.h"
#include "net/sched_private.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

static bool watch_own(Sched *sched, int fd, guint64 ref)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = ref};

    return fd >= 0 && epoll_ctl(sched->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

Sched *sched_new(unsigned pollers, GError **error)
{
    Sched *sched = g_new0(Sched, 1);

    g_assert(pollers > 0);
    pthread_mutex_init(&sched->lock, NULL);
    pthread_cond_init(&sched->spare_cond, NULL);
    pthread_cond_init(&sched->overseer_cond, NULL);
    sched->chunks = g_ptr_array_new_with_free_func(g_free);
    sched->gates = g_ptr_array_new_with_free_func(g_free);
    sched->threads = g_array_new(FALSE, FALSE, sizeof(pthread_t));
    sched->timer_armed = CLOCK_NEVER;
    sched->pollers = pollers;
    sched->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    sched->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sched->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (sched->epoll_fd < 0 || !watch_own(sched, sched->event_fd, SCHED_EVENT_REF) ||
        !watch_own(sched, sched->timer_fd, SCHED_TIMER_REF)) {
        fail_errno(error, "make an epoll set");
        sched_free(sched);
        return NULL;
    }
    return sched;
}

Gate *sched_gate_new(Sched *sched, unsigned places)
{
    Gate *gate = g_new0(Gate, 1);

    g_assert(places > 0 && !sched->running);
    gate->places = places;
    g_ptr_array_add(sched->gates, gate);
    return gate;
}

TaskRef sched_add(Sched *sched, int fd, TaskRun run, TaskFree free, void *data)
{
    pthread_mutex_lock(&sched->lock);
    Task *task = task_new(sched);
    TaskRef ref = task_ref(task);

    task->fd = fd;
    task->run = run;
    task->free = free;
    task->data = data;
    task->watched = task->unarmed = false;
    task->gate = NULL;
    task->reasons = WAKE_START;
    task_queue(sched, task);
    sched_unlock_and_notify(sched);
    return ref;
}

void sched_wake(Sched *sched, TaskRef ref, unsigned reasons)
{
    pthread_mutex_lock(&sched->lock);
    Task *task = task_find(sched, ref);

    if (task && task_wake(sched, task, reasons))
        sched_unlock_and_notify(sched);
    else
        pthread_mutex_unlock(&sched->lock);
}

void sched_wake_all(Sched *sched, unsigned reasons)
{
    pthread_mutex_lock(&sched->lock);
    for (guint32 i = 0; i < sched->slots; i++) {
        Task *task = task_at(sched, i);
        if (task->state != TASK_FREE)
            task_wake(sched, task, reasons);
    }
    sched_unlock_and_notify(sched);
}

void sched_run(Sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    g_assert(!sched->running);
    sched->running = true;
    sched->quit |= sched->tasks == 0;
    pthread_mutex_unlock(&sched->lock);

    pthread_t overseer;
    bool overseen = sched->pollers > 1 && sched_start_overseer(sched, &overseer);

    sched_work(sched, false);

    if (overseen) { /* first, as it too makes threads */
        pthread_mutex_lock(&sched->lock);
        pthread_cond_signal(&sched->overseer_cond);
        pthread_mutex_unlock(&sched->lock);
        pthread_join(overseer, NULL);
    }
    /* A thread stores the ones it made before it ends, so the array is empty only when all have ended. */
    pthread_mutex_lock(&sched->lock);
    while (sched->threads->len > 0) {
        pthread_t thread = g_array_index(sched->threads, pthread_t, sched->threads->len - 1);
        g_array_set_size(sched->threads, sched->threads->len - 1);
        pthread_mutex_unlock(&sched->lock);
        pthread_join(thread, NULL);
        pthread_mutex_lock(&sched->lock);
    }
    sched->running = false;
    pthread_mutex_unlock(&sched->lock);
    sched_release_all(sched);
}

void sched_quit(Sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    sched->quit = true;
    pthread_cond_broadcast(&sched->spare_cond);
    pthread_mutex_unlock(&sched->lock);
    sched_notify(sched);
}

void sched_free(Sched *sched)
{
    if (!sched)
        return;
    sched_release_all(sched);
    g_ptr_array_unref(sched->chunks);
    g_ptr_array_unref(sched->gates);
    g_array_unref(sched->threads);
    g_free(sched->timers.entries);
    if (sched->epoll_fd >= 0)
        close(sched->epoll_fd);
    if (sched->event_fd >= 0)
        close(sched->event_fd);
    if (sched->timer_fd >= 0)
        close(sched->timer_fd);
    pthread_cond_destroy(&sched->spare_cond);
    pthread_cond_destroy(&sched->overseer_cond);
    pthread_mutex_destroy(&sched->lock);
    g_free(sched);
}

unsigned sched_tasks(Sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    unsigned tasks = sched->tasks;
    pthread_mutex_unlock(&sched->lock);
    return tasks;
}
