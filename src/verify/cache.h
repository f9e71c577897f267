/* cache.h - what probes have found out about addresses (verify(8), address_verify_map): a file of the Lightning
 * database, one entry for each address, in Postfix's form "STATUS:PROBED:UPDATED:TEXT".
 *
 * The queue manager, of which there is one, writes; everybody else reads. The file is bounded by a number of entries:
 * when it is full, the oldest bad results go first, so that a dictionary of addresses neither fills the disk nor drives
 * out what is known to be good. Results are not synced one by one: what a crash of the machine may have torn is thrown
 * away (PATH.state says in which boot it was written), since every entry can be found out again. */
#pragma once
#include "access/prober.h"
#include "config/config.h"

typedef struct {
    AddressStatus status; /* its number is that in the file */
    gint64 probed;        /* seconds since 1970; 0: not told */
    gint64 updated;       /* when the result came */
    char *text;           /* why, as in the log */
} CacheEntry;
void cache_entry_clear(CacheEntry *entry);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CacheEntry, cache_entry_clear)

#define CACHE_TEXT_MAX 500                                           /* octets of text that are kept */
char *cache_entry_to_text(const CacheEntry *entry);                  /* caller frees */
bool cache_entry_from_text(const char *text, CacheEntry *ret_entry); /* false: not one. The caller clears it */

/* For how long results count: address_verify_*_time, seconds. */
typedef struct {
    gint64 good_expire, good_refresh, bad_expire, bad_refresh;
} CacheTimes;
CacheTimes cache_times(const Config *config);
bool cache_entry_is_expired(const CacheEntry *entry, const CacheTimes *times, gint64 now);
bool cache_entry_is_stale(const CacheEntry *entry, const CacheTimes *times, gint64 now); /* a new probe is due */

typedef struct VerifyCache VerifyCache; /* any thread */

typedef enum { CACHE_READ, CACHE_WRITE } CacheAccess;

/* WRITE: the file is made with the first result; what is there and cannot be opened is replaced, with a warning. With
 * an empty address_verify_map, or one of a type that is not supported (a warning), what an earlier process wrote is
 * forgotten. READ: the file may come later. As the user that the processes run as (mail_owner). NULL: error.
 *
 * Readers need no right to the file: it is one of base/source.h, which verify_cache_will_read() names before root is
 * given up. They see another file in its place within a moment. */
void verify_cache_will_read(const Config *config);
VerifyCache *verify_cache_open(const Config *config, CacheAccess access, GError **error);
/* Where its writer needs a directory of its own: its file, and others beside it. The caller frees. */
char *verify_cache_directory(const Config *config);
/* Syncs what was written. NULL is fine. */
void verify_cache_close(VerifyCache *cache);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VerifyCache, verify_cache_close)

/* address: internal form. False: there is none, or the file cannot be read (a warning, once a minute). */
bool verify_cache_get(VerifyCache *cache, const char *address, CacheEntry *ret_entry);

/* ---- For the writer ---- */

/* A bad result does not take the place of a good one that has not expired. False: logged, once a minute. */
bool verify_cache_put(VerifyCache *cache, const char *address, const CacheEntry *entry);
/* Forgets what has expired, and logs how much that was. */
void verify_cache_clean(VerifyCache *cache);
