/* pool.c - threads for deliveries. A thread that has nothing to do waits for more; only the end of the process ends it.
 */
#include "delivery/pool.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_SIZE (512 * 1024)

struct Pool {
    PoolOptions options;
    int event;
    pthread_mutex_t lock;
    pthread_cond_t more;
    GQueue waiting; /* of Work; shorter than the number of idle threads but for the moment in which a new one starts */
    int threads, busy;
};

void work_free(Work *work)
{
    if (!work)
        return;
    fd_clear(&work->connection);
    fd_clear(&work->message_fd);
    delivery_request_free(work->request);
    g_free(work->mailbox);
    g_free(work);
}

static void *run_thread(void *data)
{
    Pool *pool = data;

    if (pool->options.page)
        log_set_number(page_next_number(pool->options.page));
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        Work *work = g_queue_pop_head(&pool->waiting);
        if (!work) {
            pthread_cond_wait(&pool->more, &pool->lock);
            continue;
        }
        pthread_mutex_unlock(&pool->lock);
        pool->options.serve(pool->options.data, work);
        pthread_mutex_lock(&pool->lock);
        /* Who started it waits only for room, and for the last one. */
        bool awaited = pool->busy == pool->options.threads_max || pool->busy == 1;
        pool->busy--;
        guint64 one = 1;
        if (awaited)
            (void)!write(pool->event, &one, sizeof one);
    }
    return NULL;
}

Pool *pool_new(const PoolOptions *options, GError **error)
{
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (event < 0) {
        fail_errno(error, "eventfd");
        return NULL;
    }
    Pool *pool = g_new0(Pool, 1);
    pool->options = *options;
    pool->event = event;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->more, NULL);
    return pool;
}

int pool_event_fd(const Pool *pool)
{
    return pool->event;
}

void pool_clear_event(Pool *pool)
{
    guint64 count;

    (void)!read(pool->event, &count, sizeof count);
}

/* With the lock. False: no thread could be made, but there are others, which will come to it. */
static bool start_thread(Pool *pool)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attributes, run_thread, pool);
    pthread_attr_destroy(&attributes);
    if (failed)
        log_warning("cannot make a thread for deliveries: %s", g_strerror(failed));
    else
        pool->threads++;
    return !failed;
}

bool pool_has_room(Pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool room = pool->busy < pool->options.threads_max;
    pthread_mutex_unlock(&pool->lock);
    return room;
}

void pool_add(Pool *pool, Work *work)
{
    pthread_mutex_lock(&pool->lock);
    pool->busy++;
    if (pool->busy > pool->threads && !start_thread(pool) && pool->threads == 0) {
        pool->busy--; /* nobody could ever serve it; the queue manager will try again */
        pthread_mutex_unlock(&pool->lock);
        work_free(work);
        return;
    }
    g_queue_push_tail(&pool->waiting, work);
    pthread_cond_signal(&pool->more);
    pthread_mutex_unlock(&pool->lock);
}

unsigned pool_busy(Pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    unsigned busy = (unsigned)pool->busy;
    pthread_mutex_unlock(&pool->lock);
    return busy;
}
