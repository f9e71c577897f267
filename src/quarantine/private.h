/* private.h - the parts of the quarantine: the database (database.c), a message's way in (store.c) and out (remove.c,
 * release.c), and looking at it (query.c). */
#pragma once
#include "quarantine/quarantine.h"

#include <pthread.h>
#include <sqlite3.h>

#define ID_LENGTH 8

struct Quarantine {
    char *directory;
    char *content_directory;
    sqlite3 *db;
    pthread_mutex_t lock; /* of db */
};

char *quarantine_id_new(void);
char *quarantine_id_parse(const char *typed, GError **error); /* NULL: NOT_FOUND, what it is not */
char *quarantine_content_path(const Quarantine *quarantine, const char *id);
/* Opens and locks a message's content. -1: error, BUSY or (no such file) NOT_FOUND. */
int quarantine_lock_content(const Quarantine *quarantine, const char *id, GError **error);

/* ---- database.c ---- */

/* The thread's turn at the database. db_leave() also rolls back what is not committed. */
bool db_enter(Quarantine *quarantine, GError **error);
void db_leave(Quarantine *quarantine);

/* A statement with its parameters; types: 't' const char * (NULL is NULL), 'i' gint64, 'b' const char *, size_t. What
 * is passed stays where it is until the statement is done. NULL: error. */
sqlite3_stmt *db_prepare(Quarantine *quarantine, GError **error, const char *sql, const char *types, ...);
/* true: there is a row. false: no (more) row, or error is set. */
bool db_next(Quarantine *quarantine, sqlite3_stmt *statement, GError **error);
char *db_text(sqlite3_stmt *statement, int column); /* NULL as ""; caller frees */
/* A statement that gives no rows. */
bool db_run(Quarantine *quarantine, GError **error, const char *sql, const char *types, ...);
bool db_begin(Quarantine *quarantine, GError **error); /* as a writer */
/* ret_unsure (may be NULL): it failed in a way that a power cut might undo. */
bool db_commit(Quarantine *quarantine, bool *ret_unsure, GError **error);

static inline void db_finalize(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}
#define auto_statement __attribute__((cleanup(db_finalize))) sqlite3_stmt
