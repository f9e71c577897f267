/* connecting.c - an attempt belongs to two threads: the last one frees it. */
#include "table/connecting.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/signals.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define GRACE_MS 200 /* who connects knows best why it took too long */

typedef struct {
    Connecting how;
    void *owner;
    const void *host;
    gint64 deadline;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool has_ended, is_left;
    void *connection;
    GError *error;
} Attempt;

static atomic_int left_attempts;

static Attempt *attempt_new(const Connecting *how, void *owner, const void *host, gint64 deadline)
{
    Attempt *attempt = g_new0(Attempt, 1);
    pthread_condattr_t monotonic;

    *attempt = (Attempt){.how = *how, .owner = owner, .host = host, .deadline = deadline};
    pthread_mutex_init(&attempt->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&attempt->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return attempt;
}

static void attempt_free(Attempt *attempt)
{
    pthread_cond_destroy(&attempt->changed);
    pthread_mutex_destroy(&attempt->lock);
    g_free(attempt);
}

static void *run_attempt(void *data)
{
    Attempt *attempt = data;
    GError *error = NULL;
    void *connection = attempt->how.connect(attempt->owner, attempt->host, attempt->deadline, &error);

    pthread_mutex_lock(&attempt->lock);
    attempt->connection = connection;
    attempt->error = error;
    attempt->has_ended = true;
    bool is_left = attempt->is_left;
    pthread_cond_signal(&attempt->changed);
    pthread_mutex_unlock(&attempt->lock); /* unless it was left, it is not ours from here on */
    if (!is_left)
        return NULL;
    if (connection)
        attempt->how.close(connection);
    g_clear_error(&error);
    g_atomic_rc_box_release_full(attempt->owner, attempt->how.clear);
    attempt_free(attempt);
    atomic_fetch_sub(&left_attempts, 1);
    return NULL;
}

/* False: errno. */
static bool start_thread(Attempt *attempt)
{
    sigset_t old;
    pthread_attr_t detached;
    pthread_t thread;

    signals_block(&old);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    int failure = pthread_create(&thread, &detached, run_attempt, attempt);
    pthread_attr_destroy(&detached);
    signals_restore(&old);
    errno = failure;
    return failure == 0;
}

/* True: it is ours alone. */
static bool wait_for(Attempt *attempt)
{
    gint64 end = attempt->deadline + GRACE_MS;
    const struct timespec until = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};
    int failure = 0;

    pthread_mutex_lock(&attempt->lock);
    while (!attempt->has_ended && failure == 0)
        failure = pthread_cond_timedwait(&attempt->changed, &attempt->lock, &until);
    bool has_ended = attempt->has_ended;
    if (!has_ended) {
        attempt->is_left = true;
        g_atomic_rc_box_acquire(attempt->owner);
        atomic_fetch_add(&left_attempts, 1);
    }
    pthread_mutex_unlock(&attempt->lock);
    return has_ended;
}

void *connect_by(const Connecting *how, void *owner, const void *host, gint64 deadline, GError **error)
{
    if (atomic_load(&left_attempts) >= CONNECTING_LEFT_MAX) {
        fail(error, "looking up the names of servers takes too long");
        return NULL;
    }
    Attempt *attempt = attempt_new(how, owner, host, deadline);
    if (!start_thread(attempt)) {
        fail_errno(error, "cannot make a thread");
        attempt_free(attempt);
        return NULL;
    }
    if (!wait_for(attempt)) {
        fail(error, "looking up its name takes too long");
        return NULL;
    }
    void *connection = attempt->connection;
    if (!connection)
        g_propagate_error(error, attempt->error);
    attempt_free(attempt);
    return connection;
}
