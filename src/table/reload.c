/* reload.c - tables that are read anew when their files change, under the hands of many threads.
 *
 * Who looks up takes the instance of the moment and gives it back. Now and then one of them looks at the files; when
 * they are others than they were, it opens a new instance while the rest go on with the old one, which ends with its
 * last user. A file that is gone, or cannot be opened any more (as we are not root any longer), changes nothing: what
 * was read stays. */
#include "base/clock.h"
#include "base/log.h"
#include "table/backend.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define CHECK_EVERY_MS 200

struct TableReload {
    pthread_mutex_t lock; /* guards all below */
    Table *now;
    gint64 next_check; /* clock_ms() */
    bool busy;         /* somebody looks at the files; stamps are then his */
    GArray *stamps;    /* of Stamp: the files that now was made from */
};

typedef struct {
    bool exists;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
} Stamp;

static Stamp stamp_of(const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return (Stamp){0};
    return (Stamp){.exists = true,
                   .device = status.st_dev,
                   .inode = status.st_ino,
                   .size = status.st_size,
                   .modified = status.st_mtim};
}

static GArray *stamps_of(const Table *instance)
{
    GArray *stamps = g_array_new(FALSE, TRUE, sizeof(Stamp));

    for (guint i = 0; instance->watch && i < instance->watch->len; i++) {
        Stamp stamp = stamp_of(g_ptr_array_index(instance->watch, i));
        g_array_append_val(stamps, stamp);
    }
    return stamps;
}

static bool is_same(const Stamp *a, const Stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

static bool have_changed(const GArray *before, const GArray *after)
{
    bool changed = false;

    for (guint i = 0; i < after->len; i++) {
        const Stamp *old = &g_array_index(before, Stamp, i);
        const Stamp *new = &g_array_index(after, Stamp, i);
        if (old->exists && !new->exists)
            return false;
        changed |= new->exists && (!old->exists || !is_same(old, new));
    }
    return changed;
}

TableReload *reload_new(Table *instance)
{
    TableReload *reload = g_new0(TableReload, 1);

    pthread_mutex_init(&reload->lock, NULL);
    reload->now = instance;
    reload->stamps = stamps_of(instance);
    return reload;
}

void reload_free(TableReload *reload)
{
    if (!reload)
        return;
    instance_release(reload->now);
    g_array_unref(reload->stamps);
    pthread_mutex_destroy(&reload->lock);
    g_free(reload);
}

/* A new instance in place of old; NULL: there is none. Logs. */
static Table *read_anew(const Table *old)
{
    g_autoptr(GError) error = NULL;
    Table *fresh = instance_open(old->spec, &error);

    if (fresh && !fresh->unavailable) {
        log_info("table %s has changed -- reading it anew", old->spec);
        return fresh;
    }
    if (!old->unavailable)
        log_warning("table %s has changed and cannot be read: going on with what it was%s%s", old->spec,
                    error ? ": " : "", error ? error->message : "");
    if (fresh)
        instance_release(fresh);
    return NULL;
}

/* The caller is the one who is busy. instance: his own reference; returns that, or one to its successor. */
static Table *check(TableReload *reload, Table *instance)
{
    GArray *stamps = stamps_of(instance);
    bool changed = have_changed(reload->stamps, stamps);
    Table *fresh = changed ? read_anew(instance) : NULL;
    Table *old = NULL;

    if (fresh && (!fresh->watch || fresh->watch->len != stamps->len)) { /* a member of it was missing before */
        g_array_unref(stamps);
        stamps = stamps_of(fresh);
    }
    pthread_mutex_lock(&reload->lock);
    if (changed) { /* a failure is not repeated before the next change */
        GArray *former = reload->stamps;
        reload->stamps = stamps;
        stamps = former;
    }
    if (fresh) {
        old = reload->now;
        reload->now = fresh;
        atomic_fetch_add(&fresh->refs, 1);
    }
    reload->busy = false;
    pthread_mutex_unlock(&reload->lock);

    g_array_unref(stamps);
    if (!fresh)
        return instance;
    instance_release(old);
    instance_release(instance);
    return fresh;
}

Table *reload_take(TableReload *reload)
{
    pthread_mutex_lock(&reload->lock);
    Table *instance = reload->now;
    atomic_fetch_add(&instance->refs, 1);
    bool due = instance->watch && !reload->busy && clock_ms() >= reload->next_check;
    if (due) {
        reload->busy = true;
        reload->next_check = clock_ms() + CHECK_EVERY_MS;
    }
    pthread_mutex_unlock(&reload->lock);
    return due ? check(reload, instance) : instance;
}
