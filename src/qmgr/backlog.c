/* backlog.c - messages that are known and not worked on.
 *
 * Entries in one of the three queues stay there until they are taken out; only an active entry can be freed. */
#include "qmgr/backlog.h"
#include "base/clock.h"

#include <string.h>

typedef enum { WAITING, SOON, DEFERRED, ACTIVE } State;

typedef struct {
    gint64 when; /* DEFERRED: wall clock, seconds; SOON: clock_ms() */
    guint8 state;
    guint8 flags; /* BACKLOG_ set */
    char id[];
} Entry;

struct Backlog {
    GHashTable *entries; /* id -> Entry */
    GQueue fresh, due;   /* WAITING: never looked at; deferred before */
    GQueue soon;
    guint waiting_max;
    guint active;
    bool due_next; /* whose turn it is */
};

Backlog *backlog_new(guint waiting_max)
{
    Backlog *backlog = g_new0(Backlog, 1);

    /* Ids are random numbers of our own making: nobody can choose them to collide. */
    backlog->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    backlog->waiting_max = waiting_max;
    return backlog;
}

void backlog_free(Backlog *backlog)
{
    if (!backlog)
        return;
    g_queue_clear(&backlog->fresh);
    g_queue_clear(&backlog->due);
    g_queue_clear(&backlog->soon);
    g_hash_table_unref(backlog->entries);
    g_free(backlog);
}

static Entry *add_entry(Backlog *backlog, const char *id, State state)
{
    gsize size = strlen(id) + 1;
    Entry *entry = g_malloc(sizeof(Entry) + size);

    *entry = (Entry){.state = (guint8)state};
    memcpy(entry->id, id, size);
    g_hash_table_insert(backlog->entries, entry->id, entry);
    return entry;
}

static Entry *find(const Backlog *backlog, const char *id)
{
    return g_hash_table_lookup(backlog->entries, id);
}

static Entry *find_active(const Backlog *backlog, const char *id)
{
    Entry *entry = find(backlog, id);

    g_assert(entry && entry->state == ACTIVE);
    return entry;
}

/* To the end of those that are looked at again; it is in no queue now. */
static void make_waiting(Backlog *backlog, Entry *entry)
{
    entry->state = WAITING;
    g_queue_push_tail(&backlog->due, entry);
}

bool backlog_add(Backlog *backlog, const char *id, BacklogSource source)
{
    Entry *entry = find(backlog, id);

    if (entry && entry->state == SOON && source == BACKLOG_TOLD) {
        g_queue_remove(&backlog->soon, entry);
        make_waiting(backlog, entry);
    }
    if (entry)
        return true;
    if (!backlog_has_room(backlog))
        return false;
    entry = add_entry(backlog, id, WAITING);
    entry->flags = source == BACKLOG_FOUND ? 0 : BACKLOG_UNTRIED;
    g_queue_push_tail(&backlog->fresh, entry);
    return true;
}

void backlog_add_deferred(Backlog *backlog, const char *id, gint64 wall_s)
{
    if (!find(backlog, id))
        add_entry(backlog, id, DEFERRED)->when = wall_s;
}

bool backlog_knows(const Backlog *backlog, const char *id)
{
    return find(backlog, id) != NULL;
}

bool backlog_has_room(const Backlog *backlog)
{
    return backlog->fresh.length < backlog->waiting_max;
}

bool backlog_has_next(const Backlog *backlog)
{
    return backlog->fresh.length > 0 || backlog->due.length > 0;
}

bool backlog_next(Backlog *backlog, const char **ret_id, unsigned *ret_flags)
{
    GQueue *first = backlog->due_next ? &backlog->due : &backlog->fresh;
    GQueue *second = backlog->due_next ? &backlog->fresh : &backlog->due;
    Entry *entry = g_queue_pop_head(first);

    backlog->due_next = !backlog->due_next;
    if (!entry)
        entry = g_queue_pop_head(second);
    if (!entry)
        return false;
    *ret_id = entry->id;
    *ret_flags = entry->flags;
    entry->flags = 0;
    entry->state = ACTIVE;
    backlog->active++;
    return true;
}

void backlog_defer(Backlog *backlog, const char *id, gint64 wall_s)
{
    Entry *entry = find_active(backlog, id);

    entry->state = DEFERRED;
    entry->when = wall_s;
    backlog->active--;
}

void backlog_look_again(Backlog *backlog, const char *id, gint64 at_ms)
{
    Entry *entry = find_active(backlog, id);

    entry->state = SOON;
    entry->when = at_ms;
    g_queue_push_tail(&backlog->soon, entry);
    backlog->active--;
}

void backlog_forget(Backlog *backlog, const char *id)
{
    find_active(backlog, id);
    g_hash_table_remove(backlog->entries, id);
    backlog->active--;
}

static void make_due(Backlog *backlog, Entry *entry, unsigned flags)
{
    if (entry->state != DEFERRED)
        return;
    entry->flags = (guint8)flags;
    make_waiting(backlog, entry);
}

static void make_all_due(Backlog *backlog, gint64 now_wall_s, unsigned flags)
{
    GHashTableIter at;
    gpointer entry;

    g_hash_table_iter_init(&at, backlog->entries);
    while (g_hash_table_iter_next(&at, NULL, &entry))
        if (((Entry *)entry)->when <= now_wall_s)
            make_due(backlog, entry, flags);
}

void backlog_run(Backlog *backlog, gint64 now_wall_s)
{
    make_all_due(backlog, now_wall_s, 0);
}

void backlog_flush(Backlog *backlog)
{
    make_all_due(backlog, G_MAXINT64, BACKLOG_FLUSHED);
}

void backlog_try(Backlog *backlog, const char *id)
{
    Entry *entry = find(backlog, id);

    if (entry)
        make_due(backlog, entry, BACKLOG_FLUSHED);
}

void backlog_tick(Backlog *backlog, gint64 now_ms)
{
    Entry *entry;

    while ((entry = g_queue_peek_head(&backlog->soon)) && entry->when <= now_ms) {
        g_queue_pop_head(&backlog->soon);
        make_waiting(backlog, entry);
    }
}

gint64 backlog_tick_time(const Backlog *backlog)
{
    const Entry *entry = g_queue_peek_head((GQueue *)&backlog->soon);

    return entry ? entry->when : CLOCK_NEVER;
}

guint backlog_active(const Backlog *backlog)
{
    return backlog->active;
}

char *backlog_list_active(const Backlog *backlog, gsize *ret_len)
{
    GString *out = g_string_new(NULL);
    GHashTableIter at;
    gpointer entry;

    g_hash_table_iter_init(&at, backlog->entries);
    while (g_hash_table_iter_next(&at, NULL, &entry))
        if (((Entry *)entry)->state == ACTIVE)
            g_string_append_printf(out, "%s\n", ((Entry *)entry)->id);
    *ret_len = out->len;
    return g_string_free(out, FALSE);
}
