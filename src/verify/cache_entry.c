/* cache_entry.c - one result: as text, how old, and its key. */
#include "mail/address.h"
#include "verify/cache_private.h"

#include <string.h>

#define KEY_MAX 500       /* octets; the database takes 511 */
#define KEY_BEGINNING 400 /* of a longer address; the rest of its key is a checksum */

void cache_entry_clear(CacheEntry *entry)
{
    g_clear_pointer(&entry->text, g_free);
}

char *cache_entry_to_text(const CacheEntry *entry)
{
    g_autofree char *text =
        g_strdup_printf("%d:%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT ":", entry->status, entry->probed, entry->updated);
    g_autofree char *why = g_strndup(entry->text ? entry->text : "", CACHE_TEXT_MAX);

    for (char *c = why; *c; c++)
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    return g_strconcat(text, why, NULL);
}

bool cache_entry_from_text(const char *text, CacheEntry *ret_entry)
{
    g_auto(GStrv) fields = g_strsplit(text, ":", 4);
    gint64 status, probed, updated;

    if (g_strv_length(fields) != 4 ||
        !g_ascii_string_to_signed(fields[0], 10, ADDRESS_OK, ADDRESS_UNKNOWN, &status, NULL) ||
        !g_ascii_string_to_signed(fields[1], 10, 0, G_MAXINT64, &probed, NULL) ||
        !g_ascii_string_to_signed(fields[2], 10, 0, G_MAXINT64, &updated, NULL))
        return false;
    *ret_entry = (CacheEntry){(AddressStatus)status, probed, updated, g_strdup(fields[3])};
    return true;
}

CacheTimes cache_times(const Config *config)
{
    return (CacheTimes){.good_expire = config_seconds(config, "address_verify_positive_expire_time"),
                        .good_refresh = config_seconds(config, "address_verify_positive_refresh_time"),
                        .bad_expire = config_seconds(config, "address_verify_negative_expire_time"),
                        .bad_refresh = config_seconds(config, "address_verify_negative_refresh_time")};
}

/* A time in the future: the clock was set back since. */
static bool is_older(const CacheEntry *entry, gint64 now, gint64 seconds)
{
    return now - entry->updated > seconds || entry->updated - now > seconds;
}

bool cache_entry_is_expired(const CacheEntry *entry, const CacheTimes *times, gint64 now)
{
    return is_older(entry, now, entry->status == ADDRESS_OK ? times->good_expire : times->bad_expire);
}

bool cache_entry_is_stale(const CacheEntry *entry, const CacheTimes *times, gint64 now)
{
    return is_older(entry, now, entry->status == ADDRESS_OK ? times->good_refresh : times->bad_refresh);
}

char *cache_key(const char *address)
{
    const char *domain = address_domain(address);
    g_autofree char *folded = domain ? g_ascii_strdown(domain, -1) : NULL;
    g_autofree char *key =
        domain ? g_strdup_printf("%.*s%s", (int)(domain - address), address, folded) : g_strdup(address);

    if (strlen(key) <= KEY_MAX)
        return g_steal_pointer(&key);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, key, -1);
    return g_strdup_printf("%.*s#%s", KEY_BEGINNING, key, sum);
}
