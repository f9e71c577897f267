/* cache_private.h - what the files of the cache of results share. Nobody else includes this.
 *
 *     cache_entry.c   one result
 *     cache_writer.c  the file, for the one process that writes it
 *     cache.c         where it is; reading it */
#pragma once
#include "table/lmdb_file.h"
#include "verify/cache.h"
#include <lmdb.h>
#include <pthread.h>

struct VerifyCache {
    char *name; /* as the log shows it */
    char *path, *state_path;
    bool writes;
    guint limit; /* entries */
    CacheTimes times;
    pthread_mutex_t lock; /* for what follows: a lookup takes microseconds */
    MDB_env *env;         /* NULL: not open */
    MDB_dbi dbi;
    bool is_marked; /* the file of the state says that this boot writes */
    dev_t device;   /* of the open file: it may be replaced */
    ino_t inode;
    LmdbFile *file; /* of a reader; NULL: not open */
    gint64 next_look_ms, complained_ms;
};

/* Domains have no case; a local part may have. Very long addresses end in a checksum. The caller frees. */
char *cache_key(const char *address);
void cache_complain(VerifyCache *cache, const char *what, const char *why); /* once a minute */

/* ---- cache_writer.c ---- */
/* Opens what is there; with forget, that is removed. Nothing is made before the first result. False: error. */
bool cache_writer_open(VerifyCache *cache, bool forget, GError **error);
void cache_writer_close(VerifyCache *cache); /* syncs */
bool cache_writer_get(VerifyCache *cache, const char *key, CacheEntry *ret_entry);
