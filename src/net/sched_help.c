/* sched_help.c - when one active thread is not enough.
 *
 * Waking a thread costs more than most tasks take, so who is active goes on alone: it takes events, runs their tasks,
 * and waits again. Another one becomes active when this one goes behind a gate, when many tasks are queued, or when a
 * task takes long. For the last an overseer looks every SCHED_LOOK_MS while anything runs. */
#include "base/log.h"
#include "base/signals.h"
#include "net/sched_private.h"

#include <unistd.h>

#define STACK_SIZE (1024 * 1024)

/* 0, or an errno. */
static int start(Sched *sched, void *(*run)(void *), pthread_t *ret_thread)
{
    pthread_attr_t attr;
    sigset_t old;

    signals_block(&old);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int failure = pthread_create(ret_thread, &attr, run, sched);
    pthread_attr_destroy(&attr);
    signals_restore(&old);
    return failure;
}

static void warn_of_failed_start(int failure)
{
    log_warning("cannot start a thread: %s; going on with fewer", g_strerror(failure));
}

static void *run_active(void *data)
{
    sched_work(data, true);
    return NULL;
}

/* Makes one more active thread; its part is already counted. Without the lock. */
static void start_active(Sched *sched)
{
    pthread_t thread;
    int failure = start(sched, run_active, &thread);

    pthread_mutex_lock(&sched->lock);
    bool warn = failure && !sched->warned_thread;
    if (failure) {
        sched->active--; /* tried again with the next task that runs */
        sched->warned_thread = true;
    } else {
        g_array_append_val(sched->threads, thread);
    }
    pthread_mutex_unlock(&sched->lock);
    if (warn)
        warn_of_failed_start(failure);
}

void sched_notify(Sched *sched)
{
    guint64 one = 1;

    if (write(sched->event_fd, &one, sizeof one) < 0)
        return; /* only a full counter can do that, and then the set has been told before */
}

/* Whoever waits for events is told of the queue, else one more becomes active. Unlocks. */
static void call_and_unlock(Sched *sched)
{
    bool tell = sched->waiting > 0 && sched->queue.first && !sched->notified;
    bool more = sched->waiting == 0 && sched->active < sched->pollers;
    bool sleeper = more && sched->spares > sched->promoted;

    sched->notified |= tell;
    sched->active += more;
    sched->promoted += sleeper;
    if (sleeper)
        pthread_cond_signal(&sched->spare_cond);
    pthread_mutex_unlock(&sched->lock);
    if (tell)
        sched_notify(sched);
    if (more && !sleeper)
        start_active(sched);
}

void sched_get_help_and_unlock(Sched *sched)
{
    bool none_else = sched->active == sched->waiting; /* the caller goes behind a gate */

    if (sched->overseer_rests) {
        sched->overseer_rests = false;
        pthread_cond_signal(&sched->overseer_cond);
    }
    if (none_else || sched->queue.len >= SCHED_CROWD)
        call_and_unlock(sched);
    else
        pthread_mutex_unlock(&sched->lock);
}

static void *oversee(void *data)
{
    Sched *sched = data;
    guint64 ended = 0;
    unsigned calm = 0; /* looks in a row at which nothing ran */

    pthread_mutex_lock(&sched->lock);
    while (!sched->quit) {
        sched->overseer_rests = calm >= SCHED_CALM_LOOKS;
        while (sched->overseer_rests && !sched->quit)
            pthread_cond_wait(&sched->overseer_cond, &sched->lock);
        pthread_mutex_unlock(&sched->lock);
        usleep(SCHED_LOOK_MS * 1000);
        pthread_mutex_lock(&sched->lock);
        bool runs = sched->active > sched->waiting, stands = sched->ended == ended;
        calm = runs || !stands ? 0 : calm + 1;
        ended = sched->ended;
        if (runs && stands && !sched->quit) {
            call_and_unlock(sched);
            pthread_mutex_lock(&sched->lock);
        }
    }
    pthread_mutex_unlock(&sched->lock);
    return NULL;
}

bool sched_start_overseer(Sched *sched, pthread_t *ret_thread)
{
    int failure = start(sched, oversee, ret_thread);

    if (failure)
        warn_of_failed_start(failure);
    return failure == 0;
}
