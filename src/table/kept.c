/* kept.c - idle connections. */
#include "table/kept.h"
#include "base/clock.h"

void kept_init(Kept *kept, gint64 keep_ms, void (*close)(void *connection))
{
    *kept = (Kept){.keep_ms = keep_ms, .close = close};
    pthread_mutex_init(&kept->lock, NULL);
}

void kept_clear(Kept *kept)
{
    while (kept->count > 0)
        kept->close(kept->places[--kept->count].connection);
    pthread_mutex_destroy(&kept->lock);
}

bool kept_take(Kept *kept, void **ret_connection)
{
    void *old[KEPT_MAX];
    guint old_count = 0;
    bool found = false;

    pthread_mutex_lock(&kept->lock);
    while (kept->count > 0 && !found) { /* what is below one that is too old is older */
        kept->count--;
        found = kept->places[kept->count].since + kept->keep_ms > clock_ms();
        if (found)
            *ret_connection = kept->places[kept->count].connection;
        else
            old[old_count++] = kept->places[kept->count].connection;
    }
    pthread_mutex_unlock(&kept->lock);
    while (old_count > 0)
        kept->close(old[--old_count]);
    return found;
}

void kept_give(Kept *kept, void *connection)
{
    pthread_mutex_lock(&kept->lock);
    bool has_place = kept->count < KEPT_MAX;
    if (has_place) {
        kept->places[kept->count].connection = connection;
        kept->places[kept->count++].since = clock_ms();
    }
    pthread_mutex_unlock(&kept->lock);
    if (!has_place)
        kept->close(connection);
}
