/* source_private.h - what goes over the line between a service process and the master. Both are the same program. */
#pragma once
#include "base/source.h"

#include <limits.h>

#define SOURCE_PATHS_MAX 4096 /* of one process */

typedef enum { SOURCE_ADD = 1, SOURCE_SEAL, SOURCE_STAT, SOURCE_OPEN } SourceWhat;

typedef struct {
    guint32 what;        /* SourceWhat */
    guint32 serial;      /* STAT, OPEN: comes back with the answer */
    guint32 number;      /* STAT, OPEN: which path */
    char path[PATH_MAX]; /* ADD: NUL-terminated. The other messages end before it */
} SourceRequest;

typedef struct {
    guint32 serial;
    gint32 failure; /* errno; 0: the status is there, and for OPEN a descriptor comes along */
    struct stat status;
} SourceReply;

/* source_open.c. A regular file that path leads to, for reading; of what users other than root had a hand in, only files
 * that are theirs to give. -1: errno. */
int source_open_for_others(const char *path, struct stat *ret_status);
/* As stat(2), of what would be opened. False: errno. */
bool source_stat_for_others(const char *path, struct stat *ret_status);
