/* kept.h - connections that nobody uses at the moment, for the next one who asks. There are few: as many as ask at once
 * are open, however. */
#pragma once
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>

#define KEPT_MAX 8

typedef struct {
    gint64 keep_ms;
    void (*close)(void *connection);
    pthread_mutex_t lock; /* guards all below */
    struct {
        void *connection;
        gint64 since;   /* clock_ms() */
    } places[KEPT_MAX]; /* the last one was used last */
    guint count;
} Kept;

/* keep_ms: what was idle for longer is closed instead of used. */
void kept_init(Kept *kept, gint64 keep_ms, void (*close)(void *connection));
void kept_clear(Kept *kept); /* closes them all */

/* Any thread. The one that was used last; false: there is none. */
bool kept_take(Kept *kept, void **ret_connection);
/* Takes the connection over; where there are enough, closes it. */
void kept_give(Kept *kept, void *connection);
