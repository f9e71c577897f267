/* spool_place.h - where messages lie: directories, shards, names. For the modules of this folder. */
#pragma once
#include "spool/spool.h"

#define SPOOL_SHARDS 256

typedef enum { SPOOL_QUEUE, SPOOL_HOLD, SPOOL_CORRUPT } SpoolPlace;

struct Spool {
    int root; /* the directory */
    bool long_ids;
};

/* The directory that a message of this id lies in, relative to root: "spool/7f", "hold". */
typedef struct {
    char path[16];
} SpoolDirectory;
SpoolDirectory spool_shard(guint shard);
SpoolDirectory spool_directory(SpoolPlace place, const char *id);
/* Opens it. -1: errno. */
int spool_open_directory(const Spool *spool, const SpoolDirectory *directory);
