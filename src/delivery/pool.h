/* pool.h - blocking threads for deliveries, one each, made as they are needed up to a limit. */
#pragma once
#include "base/page.h"
#include "delivery/attempt.h"

typedef struct Pool Pool;

/* What one delivery begins with. */
typedef struct {
    int connection;           /* to the queue manager */
    int message_fd;           /* -1: request and message are still to be read from the connection */
    DeliveryRequest *request; /* NULL as well, then */
    char *mailbox;            /* virtual's children: where to; else NULL */
} Work;
void work_free(Work *work); /* closes; NULL is fine */

typedef struct {
    int threads_max;                       /* 1 or more */
    void (*serve)(void *data, Work *work); /* on a thread of the pool; the work is its to free */
    void *data;
    Page *page; /* each thread's log lines have a number from there; NULL: the process id */
} PoolOptions;

Pool *pool_new(const PoolOptions *options, GError **error);
int pool_event_fd(const Pool *pool); /* readable when it may have room again, and when it has nothing left to do */
void pool_clear_event(Pool *pool);
bool pool_has_room(Pool *pool);        /* whether another work would be served at once */
void pool_add(Pool *pool, Work *work); /* when it has room */
unsigned pool_busy(Pool *pool);        /* works under way */
