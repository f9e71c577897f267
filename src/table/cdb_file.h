/* cdb_file.h - constant databases as Postfix makes them: keys and values with or without a NUL at their end (postmap -N
 * and -n). They are never changed: who writes makes a new file and renames it. */
#pragma once
#include "table/table.h"

typedef struct CdbFile CdbFile;

/* For reading; any thread. NULL: error ("open database PATH: why"). */
CdbFile *cdb_file_open(const char *path, GError **error);
void cdb_file_free(CdbFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CdbFile, cdb_file_free)

/* Looks for key with the NUL and without it. The value ends before its NUL; the caller frees. */
TableResult cdb_file_get(const CdbFile *file, const char *key, char **ret_value, GError **error);

/* A new file that replaces PATH at once, or not at all. NULL: error. */
typedef struct CdbWriter CdbWriter;
CdbWriter *cdb_writer_new(const char *path, bool with_nul, GError **error);
/* FOUND: the key was there already; replace says whether its value is then replaced. ABSENT: it is new. */
TableResult cdb_writer_put(CdbWriter *writer, const char *key, const char *value, bool replace, GError **error);
bool cdb_writer_commit(CdbWriter *writer, const char *model_path, GError **error); /* see new_file_commit() */
void cdb_writer_free(CdbWriter *writer); /* without commit: nothing changed. NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CdbWriter, cdb_writer_free)
