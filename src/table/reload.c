/* reload.c - what is made from files. */
#include "table/reload.h"
#include "base/clock.h"
#include "base/source.h"

#include <pthread.h>
#include <sys/stat.h>

#define CHECK_EVERY_MS 200

struct Reload {
    const ReloadKind *kind;
    void *context;
    pthread_mutex_t lock; /* guards all below */
    State *now;
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
    struct timespec changed; /* with its status; no mark of the file, but of how it came to be */
} Stamp;

typedef struct {
    char *path;
    Stamp stamp; /* before it was read */
} Watch;

static Stamp stamp_of(const char *path)
{
    struct stat status;

    if (!source_stat(path, &status))
        return (Stamp){0};
    return (Stamp){.exists = true,
                   .device = status.st_dev,
                   .inode = status.st_ino,
                   .size = status.st_size,
                   .modified = status.st_mtim,
                   .changed = status.st_ctim};
}

static void clear_watch(void *data)
{
    Watch *watch = data;

    g_free(watch->path);
}

static void add_watch(State *state, const char *path, Stamp stamp)
{
    Watch watch = {.path = g_strdup(path), .stamp = stamp};

    if (!state->watch) {
        state->watch = g_array_new(FALSE, FALSE, sizeof(Watch));
        g_array_set_clear_func(state->watch, clear_watch);
    }
    g_array_append_val(state->watch, watch);
}

void state_watch(State *state, const char *path)
{
    add_watch(state, path, stamp_of(path));
}

void state_watch_as(State *state, const State *part)
{
    for (guint i = 0; part->watch && i < part->watch->len; i++) {
        const Watch *watch = &g_array_index(part->watch, Watch, i);
        add_watch(state, watch->path, watch->stamp);
    }
}

void state_clear(State *state)
{
    if (state->watch)
        g_array_unref(g_steal_pointer(&state->watch));
}

/* Of its files, as they were before they were read, or as they are. */
static GArray *stamps_of(const State *state, bool as_read)
{
    GArray *stamps = g_array_new(FALSE, TRUE, sizeof(Stamp));

    for (guint i = 0; state->watch && i < state->watch->len; i++) {
        const Watch *watch = &g_array_index(state->watch, Watch, i);
        Stamp stamp = as_read ? watch->stamp : stamp_of(watch->path);
        g_array_append_val(stamps, stamp);
    }
    return stamps;
}

static bool is_same(const Stamp *a, const Stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

static bool is_whole(const Stamp *stamp)
{
    gint64 modified = stamp->modified.tv_sec * (gint64)1000 + stamp->modified.tv_nsec / 1000000;
    gint64 age = clock_wall_us() / 1000 - modified;

    return stamp->modified.tv_sec != stamp->changed.tv_sec || stamp->modified.tv_nsec != stamp->changed.tv_nsec ||
           age >= RELOAD_REST_MS;
}

typedef enum { FILES_SAME, FILES_CHANGED, FILES_NOT_YET } Files;

static Files compare(const GArray *before, const GArray *after)
{
    Files result = FILES_SAME;

    for (guint i = 0; i < after->len; i++) {
        const Stamp *old = &g_array_index(before, Stamp, i);
        const Stamp *new = &g_array_index(after, Stamp, i);
        if (old->exists && !new->exists)
            return FILES_SAME;
        if (!new->exists || (old->exists && is_same(old, new)))
            continue;
        if (!is_whole(new))
            return FILES_NOT_YET;
        result = FILES_CHANGED;
    }
    return result;
}

static void release(const ReloadKind *kind, State *state)
{
    if (atomic_fetch_sub(&state->refs, 1) != 1)
        return;
    kind->free(state);
}

Reload *reload_new(const ReloadKind *kind, void *context, State *state)
{
    Reload *reload = g_new0(Reload, 1);

    pthread_mutex_init(&reload->lock, NULL);
    reload->kind = kind;
    reload->context = context;
    reload->now = state;
    reload->stamps = stamps_of(state, true);
    return reload;
}

void reload_free(Reload *reload)
{
    if (!reload)
        return;
    release(reload->kind, reload->now);
    g_array_unref(reload->stamps);
    pthread_mutex_destroy(&reload->lock);
    g_free(reload);
}

/* A new state for files that have changed. NULL: there is none; *ret_again says whether they are to be looked at
 * again. */
static State *renew(Reload *reload, const State *old, const GArray *stamps, bool *ret_again)
{
    State *fresh = reload->kind->renew(old, reload->context);
    g_autoptr(GArray) stamps_after = stamps_of(old, false);

    for (guint i = 0; i < stamps->len; i++) {
        const Stamp *stamp_before = &g_array_index(stamps, Stamp, i);
        const Stamp *stamp_after = &g_array_index(stamps_after, Stamp, i);
        if (stamp_before->exists == stamp_after->exists && is_same(stamp_before, stamp_after))
            continue;
        *ret_again = true;
        if (fresh)
            release(reload->kind, fresh);
        return NULL;
    }
    return fresh;
}

/* The caller is the one who is busy. state: his own reference; returns that, or one to its successor. */
static State *check(Reload *reload, State *state)
{
    GArray *stamps = stamps_of(state, false);
    bool changed = compare(reload->stamps, stamps) == FILES_CHANGED, again = false;
    State *fresh = changed ? renew(reload, state, stamps, &again) : NULL;
    State *old = NULL;

    if (fresh) { /* it may be made from other files than before */
        g_array_unref(stamps);
        stamps = stamps_of(fresh, true);
    }
    pthread_mutex_lock(&reload->lock);
    if (changed && !again) { /* a failure is not repeated before the next change */
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
        return state;
    release(reload->kind, old);
    release(reload->kind, state);
    return fresh;
}

State *reload_take(Reload *reload)
{
    pthread_mutex_lock(&reload->lock);
    State *state = reload->now;
    atomic_fetch_add(&state->refs, 1);
    bool due = state->watch && !reload->busy && clock_ms() >= reload->next_check && source_begin_look();
    if (due) {
        reload->busy = true;
        reload->next_check = clock_ms() + CHECK_EVERY_MS;
    }
    pthread_mutex_unlock(&reload->lock);
    if (!due)
        return state;
    state = check(reload, state);
    source_end_look();
    return state;
}

void reload_give(Reload *reload, State *state)
{
    release(reload->kind, state);
}
