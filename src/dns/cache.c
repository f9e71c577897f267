/* cache.c - a table by type and name, and the order in which its entries came. */
#include "dns/cache.h"

#include <string.h>

struct DnsCache {
    GHashTable *entries; /* of Entry, by its key */
    GQueue order;        /* of Entry, the oldest first */
};

typedef struct {
    char *key;
    DnsAnswer *answer;
    gint64 until; /* clock_ms() */
    GList link;
} Entry;

static void entry_free(gpointer data)
{
    Entry *entry = data;

    g_free(entry->key);
    dns_answer_free(entry->answer);
    g_free(entry);
}

DnsCache *dns_cache_new(void)
{
    DnsCache *cache = g_new0(DnsCache, 1);

    cache->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
    g_queue_init(&cache->order);
    return cache;
}

void dns_cache_free(DnsCache *cache)
{
    if (!cache)
        return;
    g_hash_table_unref(cache->entries);
    g_free(cache);
}

static char *key_of(const char *name, DnsType type)
{
    g_autofree char *folded = g_ascii_strdown(name, -1);

    return g_strdup_printf("%d %s", (int)type, folded);
}

static void drop(DnsCache *cache, Entry *entry)
{
    g_queue_unlink(&cache->order, &entry->link);
    g_hash_table_remove(cache->entries, entry->key);
}

static bool is_large(const DnsAnswer *answer)
{
    size_t octets = 0;

    for (guint i = 0; i < answer->records->len; i++)
        octets += strlen(dns_answer_record(answer, i)->text) + sizeof(DnsRecord);
    return octets > DNS_CACHE_OCTETS_MAX;
}

void dns_cache_put(DnsCache *cache, const char *name, DnsType type, const DnsAnswer *answer, int seconds, gint64 now_ms)
{
    if (seconds <= 0 || answer->status == DNS_TEMPORARY || is_large(answer))
        return;
    Entry *entry = g_new0(Entry, 1);
    entry->key = key_of(name, type);
    entry->answer = dns_answer_copy(answer);
    entry->until = now_ms + (gint64)MIN(seconds, DNS_CACHE_SECONDS_MAX) * 1000;
    entry->link.data = entry;

    Entry *old = g_hash_table_lookup(cache->entries, entry->key);
    if (old)
        drop(cache, old);
    else if (cache->order.length >= DNS_CACHE_ENTRIES_MAX)
        drop(cache, g_queue_peek_head(&cache->order));
    g_hash_table_insert(cache->entries, entry->key, entry);
    g_queue_push_tail_link(&cache->order, &entry->link);
}

static const DnsAnswer *find(const DnsCache *cache, const char *name, DnsType type, gint64 now_ms)
{
    g_autofree char *key = key_of(name, type);
    const Entry *entry = g_hash_table_lookup(cache->entries, key);

    return entry && entry->until > now_ms ? entry->answer : NULL;
}

DnsAnswer *dns_cache_get(const DnsCache *cache, const char *name, DnsType type, gint64 now_ms)
{
    const DnsAnswer *answer = find(cache, name, type == DNS_ADDRESSES ? DNS_A : type, now_ms);
    const DnsAnswer *more = type == DNS_ADDRESSES ? find(cache, name, DNS_AAAA, now_ms) : NULL;

    if (!answer || (type == DNS_ADDRESSES && !more))
        return NULL;
    if (!more || more->status != DNS_OK)
        return dns_answer_copy(answer);
    if (answer->status != DNS_OK)
        return dns_answer_copy(more);
    DnsAnswer *both = dns_answer_copy(answer);
    for (guint i = 0; i < more->records->len; i++)
        dns_answer_add_text(both, 0, dns_answer_record(more, i)->text);
    return both;
}
