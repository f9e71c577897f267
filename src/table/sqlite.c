/* sqlite.c - sqlite: tables (sqlite_table(5)).
 *
 * There is one connection, opened for reading when the table is. Lookups take turns, each of which ends within seconds
 * whatever the query does. A file that was replaced is opened anew; where that fails, or there is none any more, the
 * old one goes on. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/source.h"
#include "table/backend.h"
#include "table/db_common.h"
#include "table/sqlite_files.h"

#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#define TURN_MS 20000       /* for the wait and the lookup together */
#define BUSY_MS 5000        /* another process is writing */
#define QUERY_MS 10000      /* longer ones are broken off */
#define PROGRESS_STEPS 1000 /* instructions between looks at the clock */
#define VALUE_MAX (16 * 1024 * 1024)

typedef struct {
    DbParams *params;
    DbRules *rules;
    DbTemplate *query;
    const char *path;

    pthread_mutex_t lock; /* guards busy */
    pthread_cond_t free;
    bool busy; /* somebody has the turn, and all below */
    sqlite3 *db;
    dev_t device;
    ino_t inode;
    struct stat bad;  /* a file in its place that could not be used, as was logged */
    gint64 deadline;  /* of the query that runs */
    gint64 next_look; /* whether it is another file */
} Sqlite;

static int check_deadline(void *data)
{
    const Sqlite *sqlite = data;

    return clock_ms() > sqlite->deadline;
}

/* *ret_usable: false: the file is no database, which the next query will say, too. */
static sqlite3 *open_file(Sqlite *sqlite, bool *ret_usable, GError **error)
{
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2(sqlite->path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);

    if (code != SQLITE_OK) {
        fail(error, "sqlite:%s: Can't open database: %s", db_params_source(sqlite->params),
             db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, VALUE_MAX);
    sqlite3_progress_handler(db, PROGRESS_STEPS, check_deadline, sqlite);
    /* The first query reads the file; what SQLite opens beside it is open then. */
    sqlite->deadline = clock_ms() + QUERY_MS;
    code = sqlite3_exec(db, "PRAGMA temp_store = MEMORY; PRAGMA schema_version", NULL, NULL, NULL) & 0xff;
    *ret_usable = code != SQLITE_NOTADB && code != SQLITE_CORRUPT && code != SQLITE_CANTOPEN;
    return db;
}

static void sqlite_free(void *data)
{
    Sqlite *sqlite = data;

    sqlite3_close(sqlite->db);
    db_template_free(sqlite->query);
    db_rules_free(sqlite->rules);
    db_params_free(sqlite->params);
    pthread_cond_destroy(&sqlite->free);
    pthread_mutex_destroy(&sqlite->lock);
    g_free(sqlite);
}

static Sqlite *sqlite_new(void)
{
    Sqlite *sqlite = g_new0(Sqlite, 1);
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&sqlite->lock, NULL);
    pthread_cond_init(&sqlite->free, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return sqlite;
}

static bool open_parts(Sqlite *sqlite, Table *table, const char *name, GError **error)
{
    struct stat status;
    bool usable;

    if (!(sqlite->params = db_params_read(table, name, error)) ||
        !(sqlite->path = db_params_need(sqlite->params, "dbpath", NULL, error)) ||
        !(sqlite->query = db_template_new_sql(sqlite->params, false, error)) ||
        !(sqlite->rules = db_rules_new(sqlite->params, table->spec, "result_format", error)))
        return false;
    sqlite_files_use();
    sqlite_files_name(sqlite->path);
    if (source_stat(sqlite->path, &status)) {
        sqlite->device = status.st_dev;
        sqlite->inode = status.st_ino;
    }
    sqlite->db = open_file(sqlite, &usable, error);
    if (!sqlite->db)
        table_watch(table, sqlite->path); /* it may come */
    return sqlite->db != NULL;
}

static bool sqlite_open(Table *table, const char *name, GError **error)
{
    Sqlite *sqlite = sqlite_new();

    if (open_parts(sqlite, table, name, error)) {
        table->data = sqlite;
        return true;
    }
    sqlite_free(sqlite);
    return false;
}

/* False: error. */
static bool take_turn(Sqlite *sqlite, gint64 deadline, GError **error)
{
    const struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    int failure = 0;

    pthread_mutex_lock(&sqlite->lock);
    while (sqlite->busy && failure == 0)
        failure = pthread_cond_timedwait(&sqlite->free, &sqlite->lock, &until);
    bool has_turn = !sqlite->busy;
    sqlite->busy = true;
    pthread_mutex_unlock(&sqlite->lock);
    return has_turn || fail(error, "sqlite:%s: too many lookups are waiting", db_params_source(sqlite->params));
}

static void end_turn(Sqlite *sqlite)
{
    pthread_mutex_lock(&sqlite->lock);
    sqlite->busy = false;
    pthread_cond_signal(&sqlite->free);
    pthread_mutex_unlock(&sqlite->lock);
}

static bool is_bad(const Sqlite *sqlite, const struct stat *status)
{
    const struct stat *bad = &sqlite->bad;

    return bad->st_dev == status->st_dev && bad->st_ino == status->st_ino && bad->st_size == status->st_size &&
           bad->st_mtim.tv_sec == status->st_mtim.tv_sec && bad->st_mtim.tv_nsec == status->st_mtim.tv_nsec;
}

static void look_for_another_file(Sqlite *sqlite)
{
    g_autoptr(GError) error = NULL;
    struct stat status;
    bool usable = true;

    if (!source_stat(sqlite->path, &status) || (status.st_dev == sqlite->device && status.st_ino == sqlite->inode) ||
        is_bad(sqlite, &status))
        return;
    sqlite3 *db = open_file(sqlite, &usable, &error);
    if (!db || !usable) {
        log_warning("%s was replaced: going on with what it was: %s", sqlite->path,
                    db ? sqlite3_errmsg(db) : error->message);
        sqlite->bad = status;
        sqlite3_close(db);
        return;
    }
    sqlite3_close(sqlite->db);
    sqlite->db = db;
    sqlite->device = status.st_dev;
    sqlite->inode = status.st_ino;
}

static char *quote(void *context, const char *text, GError **error)
{
    char *quoted = sqlite3_mprintf("%q", text);
    char *copy = g_strdup(quoted);

    sqlite3_free(quoted);
    if (!copy)
        fail(error, "out of memory");
    return copy;
}

static bool fail_sqlite(const Sqlite *sqlite, const char *what, GError **error)
{
    return fail(error, "sqlite:%s: %s: %s", db_params_source(sqlite->params), what, sqlite3_errmsg(sqlite->db));
}

/* The first column of every row. */
static bool read_rows(Sqlite *sqlite, sqlite3_stmt *statement, DbAnswer *answer, GError **error)
{
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        if (!db_answer_add(answer, (const char *)sqlite3_column_text(statement, 0), error))
            return false;
    return code == SQLITE_DONE || fail_sqlite(sqlite, "SQL step failed", error);
}

static TableResult ask(Sqlite *sqlite, const char *key, char **ret_value, GError **error)
{
    g_autofree char *query = db_template_expand(sqlite->query, key, quote, NULL, error);
    g_auto(DbAnswer) answer;
    sqlite3_stmt *statement = NULL;
    const char *rest = NULL;

    db_answer_init(&answer, sqlite->rules, key);
    if (!query)
        return TABLE_FAILED;
    if (sqlite3_prepare_v2(sqlite->db, query, -1, &statement, &rest) != SQLITE_OK) {
        fail_sqlite(sqlite, "SQL prepare failed", error);
        return TABLE_FAILED;
    }
    if (rest && rest[strspn(rest, " \t\r\n")])
        log_warning("sqlite:%s: Ignoring text at end of query: %.100s", db_params_source(sqlite->params), rest);
    bool is_good = read_rows(sqlite, statement, &answer, error);
    sqlite3_finalize(statement);
    return is_good ? db_answer_end(&answer, ret_value) : TABLE_FAILED;
}

static TableResult sqlite_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    Sqlite *sqlite = table->data;
    gint64 deadline = clock_ms() + TURN_MS;
    TableResult result = db_rules_admit(sqlite->rules, sqlite->query, true, key, error);

    if (result != TABLE_FOUND)
        return result;
    if (!take_turn(sqlite, deadline, error))
        return TABLE_FAILED;
    if (clock_ms() >= sqlite->next_look && source_begin_look()) {
        look_for_another_file(sqlite);
        source_end_look();
        sqlite->next_look = clock_ms() + SQLITE_FILES_LOOK_MS;
    }
    sqlite->deadline = MIN(deadline, clock_ms() + QUERY_MS);
    result = ask(sqlite, key, ret_value, error);
    end_turn(sqlite);
    return result;
}

const TableBackend table_sqlite = {
    "sqlite", .folds = true, .open = sqlite_open, .lookup = sqlite_lookup, .free = sqlite_free, .blocks = true};
