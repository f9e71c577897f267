/* trace_files.h - log files with their rotated neighbours, read line by line, as often as one likes, in little memory.
 * A file may be compressed with gzip. Whatever is wrong with one file is a complaint, not an end: the others are read.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define TRACE_LINE_MAX 32768 /* octets of a line that are read; what is longer is cut */

typedef struct TraceFiles TraceFiles;
TraceFiles *trace_files_new(void);
void trace_files_free(TraceFiles *files);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TraceFiles, trace_files_free)

/* path, and what lies beside it under its name with a dot and anything behind, unless it was last written before
 * since_us. False: nothing of it can be opened. */
bool trace_files_add(TraceFiles *files, const char *path, gint64 since_us, GError **error);

/* One line: NUL-terminated, without its end, octets NUL replaced. written_us: when its file was written last. */
typedef void TraceLineFunc(void *user, const char *line, gint64 written_us);
/* All lines of all files, those of the file that was written first at first. */
void trace_files_read(TraceFiles *files, TraceLineFunc *func, void *user);

/* Of const char *: what could not be read, and why. Owned by files. */
const GPtrArray *trace_files_complaints(const TraceFiles *files);
