/* lmdb_file.h - files of the Lightning database as Postfix makes them: one file, one unnamed database, keys and values
 * with or without a NUL at their end (postmap -N and -n). There is no lock file beside them: who writes makes a new
 * file and renames it, or changes the file in place in one transaction. */
#pragma once
#include "table/table.h"
#include <lmdb.h>

#define LMDB_KEY_MAX 510 /* octets of a key, without NUL: longer ones are in no file */

typedef struct LmdbFile LmdbFile;

/* For reading; any thread. NULL: error ("open database PATH: why"). */
LmdbFile *lmdb_file_open(const char *path, GError **error);
void lmdb_file_free(LmdbFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LmdbFile, lmdb_file_free)

/* Looks for key with the NUL and without it. The value's NUL is left out; the caller frees. */
TableResult lmdb_file_get(const LmdbFile *file, const char *key, char **ret_value, GError **error);

/* Calls each with all pairs, in the order of their keys, until it returns false. Strings are each's for the call. */
bool lmdb_file_walk(const LmdbFile *file, TableEach *each, void *context, GError **error);

/* A new file that replaces PATH at once, or not at all. NULL: error. */
typedef struct LmdbWriter LmdbWriter;
LmdbWriter *lmdb_writer_new(const char *path, bool with_nul, GError **error);
bool lmdb_writer_copy(LmdbWriter *writer, const LmdbFile *from, GError **error); /* before anything is put */
/* FOUND: the key was there already; replace says whether its value is then replaced. ABSENT: it is new. */
TableResult lmdb_writer_put(LmdbWriter *writer, const char *key, const char *value, bool replace, GError **error);
TableResult lmdb_writer_delete(LmdbWriter *writer, const char *key, GError **error); /* FOUND: deleted */
/* See new_file_commit(). */
bool lmdb_writer_commit(LmdbWriter *writer, const char *model_path, GError **error);
void lmdb_writer_free(LmdbWriter *writer); /* without commit: nothing changed. NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LmdbWriter, lmdb_writer_free)
