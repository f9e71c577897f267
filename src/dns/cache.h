/* cache.h - answers that are still true. libunbound has a cache, too, but on a thread of its own: to ask it costs
 * several changes of context, which is most of what it costs to refuse a client that stands on a list. Bounded, oldest
 * first out; who uses it locks it. */
#pragma once
#include "dns/answer.h"

typedef struct DnsCache DnsCache;

#define DNS_CACHE_ENTRIES_MAX 10000
#define DNS_CACHE_OCTETS_MAX                                                                                           \
    1000 /* of an answer: larger ones are asked for anew, or strangers' zones would fill memory */
#define DNS_CACHE_SECONDS_MAX 3600 /* however long a record says that it lives */

DnsCache *dns_cache_new(void);
void dns_cache_free(DnsCache *cache); /* NULL is fine */

/* Takes a copy. seconds: how long it may be kept. Nothing happens when that is 0 or less, or the answer is TEMPORARY or
 * too large. */
void dns_cache_put(DnsCache *cache, const char *name, DnsType type, const DnsAnswer *answer, int seconds,
                   gint64 now_ms);
/* A copy, for the caller to free; NULL: nothing is known. DNS_ADDRESSES: what A and AAAA say, if both are known. */
DnsAnswer *dns_cache_get(const DnsCache *cache, const char *name, DnsType type, gint64 now_ms);
