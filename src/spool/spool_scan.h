/* spool_scan.h - lists the messages of a place, a directory at a time, so that a process with other work can go on in
 * between. */
#pragma once
#include "spool/spool_message.h"

typedef struct SpoolScan SpoolScan;

SpoolScan *spool_scan_new(const Spool *spool, SpoolPlace place); /* spool must outlive it */
void spool_scan_free(SpoolScan *scan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SpoolScan, spool_scan_free)

/* The next directory's names that are queue ids: whether what they name is whole is for who opens it. In no order; what
 * comes or goes meanwhile may be missed or listed. ret_ids: array of char *, the caller's; possibly empty. False: no
 * directory is left (error unset), or one could not be read (error set; the scan may go on). */
bool spool_scan_next(SpoolScan *scan, GPtrArray **ret_ids, GError **error);

/* Time of the next attempt of a message, without opening it. False: it is gone. */
bool spool_next_attempt(const Spool *spool, SpoolPlace place, const char *id, gint64 *ret_wall_seconds);
