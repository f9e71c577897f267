/* verify.c - asking for addresses. One probe is enough however many ask: it is remembered here until its result stands
 * in the cache. Other processes do not see that, but the queue manager drops a probe for what it probes already. */
#include "verify/verify.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "spool/spool_message.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define PROBE_TTL_MS 1000000 /* a probe without a result is given up, and another one may be sent */
#define COMPLAIN_MS 60000

struct Verify {
    VerifyOptions options;
    VerifyCache *cache;
    CacheTimes times;
    Probe kind;
    gint64 ttl_ms;
    guint limit;
    pthread_mutex_t lock;
    GHashTable *pending; /* address -> gint64: clock_ms() of its probe. Its keys are bounded in number */
    GHashTable *asked;   /* guint64: number of a question -> its address */
    guint64 last_number;
    gint64 swept_ms, complained_ms;
};

Verify *verify_new(const VerifyOptions *options, GError **error)
{
    const Config *config = options->config;
    Verify *verify = g_new0(Verify, 1);
    bool remembers = config_bool(config, "address_verify_negative_cache");
    gint64 polls_ms =
        config_int(config, "address_verify_poll_count") * config_seconds(config, "address_verify_poll_delay") * 1000;

    pthread_mutex_init(&verify->lock, NULL);
    verify->options = *options;
    verify->times = cache_times(config);
    verify->kind = remembers ? PROBE_ANY : PROBE_GOOD;
    verify->ttl_ms = remembers ? PROBE_TTL_MS : MIN(polls_ms, PROBE_TTL_MS); /* a bad result never comes */
    verify->limit = (guint)config_int(config, "address_verify_pending_request_limit");
    verify->pending = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    verify->asked = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    verify->cache = verify_cache_open(config, CACHE_READ, error);
    if (verify->cache)
        return verify;
    verify_free(verify);
    return NULL;
}

void verify_free(Verify *verify)
{
    if (!verify)
        return;
    verify_cache_close(verify->cache);
    g_hash_table_unref(verify->pending);
    g_hash_table_unref(verify->asked);
    pthread_mutex_destroy(&verify->lock);
    g_free(verify);
}

/* Under the lock, as the next two. */
static bool is_pending(const Verify *verify, const char *address)
{
    const gint64 *since_ms = g_hash_table_lookup(verify->pending, address);

    return since_ms && clock_ms() - *since_ms < verify->ttl_ms;
}

static gboolean is_over(gpointer address, gpointer since_ms, gpointer verify)
{
    return clock_ms() - *(const gint64 *)since_ms >= ((const Verify *)verify)->ttl_ms;
}

/* False: there are too many, or it is pending. */
static bool add_pending(Verify *verify, const char *address)
{
    gint64 now = clock_ms();

    if (is_pending(verify, address))
        return false;
    if (g_hash_table_size(verify->pending) >= verify->limit && now - verify->swept_ms >= 1000) {
        verify->swept_ms = now;
        g_hash_table_foreach_remove(verify->pending, is_over, verify);
    }
    if (g_hash_table_size(verify->pending) >= verify->limit) {
        if (verify->complained_ms == 0 || now - verify->complained_ms >= COMPLAIN_MS)
            log_warning("address_verify_pending_request_limit: %u probes are under way", verify->limit);
        verify->complained_ms = now;
        return false;
    }
    gint64 *since_ms = g_new(gint64, 1);
    *since_ms = now;
    g_hash_table_insert(verify->pending, g_strdup(address), since_ms);
    return true;
}

/* A result that came after the probe went out, to the second: the probe is over. */
static void end_pending(Verify *verify, const char *address, const CacheEntry *entry)
{
    const gint64 *since_ms = g_hash_table_lookup(verify->pending, address);

    if (!since_ms)
        return;
    gint64 age_ms = clock_ms() - *since_ms;
    if (entry->updated >= (clock_wall_us() / 1000 - age_ms) / 1000)
        g_hash_table_remove(verify->pending, address);
}

AddressStatus verify_look(Verify *verify, const char *address, char **ret_text, bool *ret_wants_probe)
{
    g_auto(CacheEntry) entry = {.status = ADDRESS_UNKNOWN};
    gint64 now = clock_wall_us() / G_USEC_PER_SEC;
    bool found = verify_cache_get(verify->cache, address, &entry) && entry.status != ADDRESS_UNKNOWN &&
                 !cache_entry_is_expired(&entry, &verify->times, now);
    bool is_fresh = found && !cache_entry_is_stale(&entry, &verify->times, now);

    pthread_mutex_lock(&verify->lock);
    if (found)
        end_pending(verify, address, &entry);
    *ret_wants_probe = !is_fresh && !is_pending(verify, address);
    pthread_mutex_unlock(&verify->lock);
    *ret_text = found ? g_steal_pointer(&entry.text) : NULL;
    return found ? entry.status : ADDRESS_UNKNOWN;
}

/* Without a queue manager probes would only fill the disk: false, errno of the notification. One that is too busy to be
 * told finds them by itself. */
static bool tell(const Verify *verify, const char *id)
{
    return queue_notify_send(verify->options.notify, QUEUE_NOTIFY_NEW, id) ||
           (errno != ENOENT && errno != ECONNREFUSED);
}

static bool send_probe(Verify *verify, const char *address, GError **error)
{
    g_autofree char *sender = route_probe_sender(verify->options.route);
    g_autofree char *id = cleanup_probe(verify->options.cleanup, sender, address, verify->kind, error);

    if (!id)
        return false;
    if (tell(verify, id))
        return true;
    fail_errno(error, "%s: removed: nobody listens at public/qmgr", id);
    spool_remove(verify->options.spool, SPOOL_QUEUE, id, NULL);
    return false;
}

void verify_probe(Verify *verify, const char *address)
{
    g_autoptr(GError) error = NULL;

    pthread_mutex_lock(&verify->lock);
    bool is_ours = add_pending(verify, address);
    pthread_mutex_unlock(&verify->lock);
    if (!is_ours || send_probe(verify, address, &error))
        return;
    log_warning("probe of an address: %s", error->message);
    pthread_mutex_lock(&verify->lock);
    g_hash_table_remove(verify->pending, address);
    pthread_mutex_unlock(&verify->lock);
}

/* ---- As a source of answers ---- */

static AddressAnswer *answer_new(AddressStatus status, char *text)
{
    AddressAnswer *answer = g_new0(AddressAnswer, 1);

    *answer = (AddressAnswer){status, text};
    return answer;
}

static void answer_free(void *data)
{
    AddressAnswer *answer = data;

    g_free(answer->text);
    g_free(answer);
}

static guint64 ask(void *source, const void *question, TaskRef task, void **ret_answer)
{
    Verify *verify = source;
    bool wants_probe;
    char *text;
    AddressStatus status = verify_look(verify, question, &text, &wants_probe);

    if (wants_probe)
        verify_probe(verify, question);
    if (status != ADDRESS_UNKNOWN) {
        *ret_answer = answer_new(status, text);
        return 0;
    }
    guint64 *key = g_new(guint64, 1);
    pthread_mutex_lock(&verify->lock);
    guint64 number = *key = ++verify->last_number;
    g_hash_table_insert(verify->asked, key, g_strdup(question));
    pthread_mutex_unlock(&verify->lock);
    return number;
}

static void cancel(void *source, guint64 number)
{
    Verify *verify = source;

    pthread_mutex_lock(&verify->lock);
    g_hash_table_remove(verify->asked, &number);
    pthread_mutex_unlock(&verify->lock);
}

static void *take(void *source, guint64 number)
{
    Verify *verify = source;
    bool wants_probe;
    char *text;

    pthread_mutex_lock(&verify->lock);
    g_autofree char *address = g_strdup(g_hash_table_lookup(verify->asked, &number));
    pthread_mutex_unlock(&verify->lock);
    if (!address)
        return NULL;
    AddressStatus status = verify_look(verify, address, &text, &wants_probe);
    if (status == ADDRESS_UNKNOWN)
        return NULL;
    cancel(source, number);
    return answer_new(status, text);
}

const InquiryKind verify_inquiry = {.ask = ask, .take = take, .cancel = cancel, .free = answer_free};
