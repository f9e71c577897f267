/* rates.c - events of clients in each time unit. */
#include "base/rates.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>
#include <time.h>

#define PEAK_TRIES 100 /* for a place that another thread holds for nanoseconds, unless it was stopped there */

/* --- peaks --- */

static void note_peak(RatePeak *peak, guint32 value, guint32 row, const char *service, const char *client)
{
    if (value <= atomic_load_explicit(&peak->value, memory_order_relaxed))
        return;
    for (int tries = 0; tries < PEAK_TRIES; tries++) {
        guint32 nobody = 0;
        if (!atomic_compare_exchange_weak(&peak->writer, &nobody, row + 1))
            continue;
        if (value > peak->value) {
            peak->when = clock_wall_us() / G_USEC_PER_SEC;
            g_snprintf(peak->who, sizeof peak->who, "%s:%s", service, client);
            peak->value = value;
        }
        peak->writer = 0;
        return;
    }
}

void rates_note_sessions(RateTable *table, const RateSource *source, guint32 sessions)
{
    note_peak(&table->sessions, sessions, source->row, source->service, source->client);
}

void rates_forget_row(RateTable *table, guint32 row)
{
    RatePeak *all[RATE_KINDS + 2] = {&table->sessions, &table->size};

    for (int i = 0; i < RATE_KINDS; i++)
        all[i + 2] = &table->peaks[i];
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        guint32 dead = row + 1;
        atomic_compare_exchange_strong(&all[i]->writer, &dead, 0);
    }
}

/* --- one client's counts --- */

/* What a count must carry to be this client's in this window: one that is left of another client, or of an earlier
 * window, is none. */
static guint64 mark_of(guint64 key, guint64 window)
{
    guint64 mix = (key ^ (window * 0x9e3779b97f4a7c15u)) * 0xbf58476d1ce4e5b9u;

    return mix >> 32 << 32;
}

static guint32 count_in(const RateClient *client, RateKind kind, guint64 mark)
{
    guint64 value = atomic_load(&client->counts[kind]);

    return value >> 32 << 32 == mark ? (guint32)value : 0;
}

static guint32 add_one(RateClient *client, RateKind kind, guint64 mark)
{
    guint64 value = atomic_load(&client->counts[kind]), next;

    do {
        guint32 count = value >> 32 << 32 == mark ? (guint32)value : 0;
        next = mark | (count < G_MAXINT32 ? count + 1 : count);
    } while (!atomic_compare_exchange_weak(&client->counts[kind], &value, next));
    return (guint32)next;
}

static bool is_over(guint64 window, gint64 now, gint64 unit)
{
    return (gint64)window + unit < now;
}

/* The client's window at this time. */
static guint64 window_at(RateClient *client, gint64 now, gint64 unit)
{
    guint64 window = atomic_load(&client->window);

    if (is_over(window, now, unit) && atomic_compare_exchange_strong(&client->window, &window, (guint64)now))
        return (guint64)now;
    return window;
}

/* --- a place in the table --- */

static size_t bucket_number(guint64 key)
{
    return (key >> 32) % RATE_BUCKETS;
}

static RateClient *find(RateClient *bucket, guint64 key)
{
    for (int i = 0; i < RATE_BUCKET; i++)
        if (atomic_load_explicit(&bucket[i].key, memory_order_relaxed) == key)
            return &bucket[i];
    return NULL;
}

static guint32 most_events(const RateClient *client, guint64 key, guint64 window)
{
    guint64 mark = mark_of(key, window);
    guint32 most = 0;

    for (int kind = 0; kind < RATE_KINDS; kind++)
        most = MAX(most, count_in(client, kind, mark));
    return most;
}

/* Who is missed least. ret_key: its key, which may be 0. */
static RateClient *find_victim(RateClient *bucket, gint64 now, gint64 unit, guint64 *ret_key)
{
    RateClient *victim = NULL;
    guint32 least = 0;
    guint64 oldest = 0;

    for (int i = 0; i < RATE_BUCKET; i++) {
        guint64 key = atomic_load(&bucket[i].key), window = atomic_load(&bucket[i].window);
        guint32 events = key == 0 || is_over(window, now, unit) ? 0 : most_events(&bucket[i], key, window);
        if (victim && (events > least || (events == least && window >= oldest)))
            continue;
        victim = &bucket[i];
        least = events;
        oldest = window;
        *ret_key = key;
        if (key == 0)
            break;
    }
    return victim;
}

static RateClient *claim(RateTable *table, const RateSource *source, gint64 now, gint64 unit)
{
    size_t number = bucket_number(source->key);
    RateClient *bucket = table->clients[number], *mine;
    guint64 key;

    table->touched[number] = true;
    do {
        mine = find(bucket, source->key);
        if (mine)
            return mine;
        mine = find_victim(bucket, now, unit, &key);
    } while (!atomic_compare_exchange_strong(&mine->key, &key, source->key));
    atomic_store(&mine->window, (guint64)now);
    if (key == 0) {
        guint32 used = atomic_fetch_add(&table->used, 1) + 1;
        note_peak(&table->size, used, source->row, source->service, source->client);
    }
    RateClient *first = find(bucket, source->key);
    if (!first || first == mine)
        return mine;
    key = source->key; /* somebody else found it a place as well: all of us take the first */
    if (atomic_compare_exchange_strong(&mine->key, &key, 0))
        atomic_fetch_sub(&table->used, 1);
    return first;
}

guint32 rates_count(RateTable *table, const RateSource *source, RateKind kind, gint64 now, gint64 unit)
{
    RateClient *client = find(table->clients[bucket_number(source->key)], source->key);

    if (!client)
        client = claim(table, source, now, unit);
    guint32 count = add_one(client, kind, mark_of(source->key, window_at(client, now, unit)));
    note_peak(&table->peaks[kind], count, source->row, source->service, source->client);
    return count;
}

guint32 rates_look(RateTable *table, const RateSource *source, RateKind kind, gint64 now, gint64 unit)
{
    RateClient *client = find(table->clients[bucket_number(source->key)], source->key);

    return client ? count_in(client, kind, mark_of(source->key, window_at(client, now, unit))) : 0;
}

/* --- the master's --- */

static void sweep_bucket(RateTable *table, RateClient *bucket, gint64 now, gint64 unit)
{
    for (int i = 0; i < RATE_BUCKET; i++) {
        guint64 key = atomic_load(&bucket[i].key);
        if (key != 0 && is_over(atomic_load(&bucket[i].window), now, unit) &&
            atomic_compare_exchange_strong(&bucket[i].key, &key, 0))
            atomic_fetch_sub(&table->used, 1);
    }
}

void rates_sweep(RateTable *table, gint64 now, gint64 unit)
{
    for (int i = 0; i < RATE_BUCKETS; i++)
        if (table->touched[i])
            sweep_bucket(table, table->clients[i], now, unit);
}

/* The peak as it was, which begins anew. False: nothing happened, or a writer is at it just now. */
static bool take_peak(RatePeak *peak, RatePeak *ret)
{
    guint32 nobody = 0;

    if (peak->value == 0 || !atomic_compare_exchange_strong(&peak->writer, &nobody, G_MAXUINT32))
        return false;
    ret->value = peak->value;
    ret->when = peak->when;
    memcpy(ret->who, peak->who, sizeof ret->who);
    ret->who[sizeof ret->who - 1] = '\0';
    peak->value = 0;
    peak->writer = 0;
    return true;
}

static void log_peak(RatePeak *peak, const char *what, const char *per, bool names_client)
{
    RatePeak taken;
    struct tm broken_down;
    char when[32];

    if (!take_peak(peak, &taken))
        return;
    g_autofree char *client = names_client ? g_strdup_printf(" for (%s)", taken.who) : g_strdup("");
    localtime_r(&(time_t){taken.when}, &broken_down);
    strftime(when, sizeof when, "%b %e %H:%M:%S", &broken_down);
    log_info_as("anvil", "statistics: max %s %u%s%s at %s", what, taken.value, per, client, when);
}

void rates_log_statistics(RateTable *table, gint64 unit)
{
    g_autofree char *per = g_strdup_printf("/%" G_GINT64_FORMAT "s", unit / 1000);

    log_peak(&table->peaks[RATE_CONNECTION], "connection rate", per, true);
    log_peak(&table->sessions, "connection count", "", true);
    log_peak(&table->peaks[RATE_MESSAGE], "message rate", per, true);
    log_peak(&table->peaks[RATE_RECIPIENT], "recipient rate", per, true);
    log_peak(&table->peaks[RATE_NEW_TLS], "newtls rate", per, true);
    log_peak(&table->peaks[RATE_AUTH], "auth rate", per, true);
    log_peak(&table->size, "cache size", "", false);
}
