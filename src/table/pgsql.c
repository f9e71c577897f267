/* pgsql.c - pgsql: tables (pgsql_table(5)). */
#include "base/clock.h"
#include "base/fail.h"
#include "base/root.h"
#include "table/backend.h"
#include "table/db_servers.h"

#include <libpq-fe.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

typedef struct {
    DbParams *params;
    DbServers *servers;
    const char *user, *password, *dbname; /* NULL: the library's default */
    const char *encoding;
    bool utf8;
} Pgsql;

/* ---- One connection ---- */

/* The library's messages have several lines. */
static bool fail_pgsql(const char *message, GError **error)
{
    g_autofree char *text = g_strstrip(g_strdelimit(g_strdup(message), "\r\n\t", ' '));

    return fail(error, "%s", *text ? text : "no reason given");
}

static void ignore_notice(void *context, const PGresult *result)
{
}

static PGconn *start_connection(const Pgsql *pgsql, const DbHost *host)
{
    const char *names[8] = {"user", "password", "client_encoding", "fallback_application_name"};
    const char *values[8] = {pgsql->user, pgsql->password, pgsql->encoding, "gatepost"};
    int count = 4;

    if (!host->is_uri) {
        names[count] = "host";
        values[count++] = root_path(host->name);
        names[count] = "port";
        values[count++] = host->port;
    }
    names[count] = "dbname"; /* what a URI says comes after the above, so that it counts */
    values[count] = host->is_uri ? host->name : pgsql->dbname;
    return PQconnectStartParams(names, values, host->is_uri);
}

static bool finish_connection(PGconn *conn, gint64 deadline, GError **error)
{
    PostgresPollingStatusType wanted = PGRES_POLLING_WRITING;

    while (wanted != PGRES_POLLING_OK) {
        if (wanted == PGRES_POLLING_FAILED)
            return fail_pgsql(PQerrorMessage(conn), error);
        if (!db_wait(PQsocket(conn), wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
            return fail(error, "Connection timed out");
        wanted = PQconnectPoll(conn);
    }
    return true;
}

static void *pgsql_connect(const void *settings, const DbHost *host, gint64 deadline, GError **error)
{
    PGconn *conn = start_connection(settings, host);

    if (!conn) {
        fail(error, "out of memory");
        return NULL;
    }
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    bool is_good = PQstatus(conn) != CONNECTION_BAD ? finish_connection(conn, deadline, error)
                                                    : fail_pgsql(PQerrorMessage(conn), error);
    if (is_good && PQsetnonblocking(conn, 1) == 0)
        return conn;
    if (is_good)
        fail_pgsql(PQerrorMessage(conn), error);
    PQfinish(conn);
    return NULL;
}

static void pgsql_close(void *connection)
{
    PQfinish(connection);
}

static char *quote(void *context, const char *text, GError **error)
{
    PGconn *conn = context;
    size_t len = strlen(text);
    g_autofree char *quoted = g_malloc(2 * len + 1);
    int failed = 0;

    PQescapeStringConn(conn, quoted, text, len, &failed);
    if (!failed)
        return g_steal_pointer(&quoted);
    fail_pgsql(PQerrorMessage(conn), error);
    return NULL;
}

/* A query on its way. */
typedef struct {
    PGconn *conn;
    gint64 deadline;
    size_t received; /* about: what was waiting whenever we read */
    DbAnswer *answer;
    bool has_ended; /* a set of rows: another one replaces it */
    DbOutcome outcome;
    GError **error;
} Query;

static bool fail_query(Query *query, DbOutcome outcome, const char *message)
{
    if (query->outcome == DB_DONE) { /* the first reason counts */
        query->outcome = outcome;
        fail_pgsql(message, query->error);
    }
    return false;
}

static bool send_query(Query *query, const char *text)
{
    int left;

    if (!PQsendQuery(query->conn, text) || !PQsetSingleRowMode(query->conn))
        return fail_query(query, DB_BROKEN, PQerrorMessage(query->conn));
    while ((left = PQflush(query->conn)) > 0)
        if (!db_wait(PQsocket(query->conn), POLLOUT, query->deadline))
            return fail_query(query, DB_BROKEN, "the server does not read");
    return left == 0 || fail_query(query, DB_BROKEN, PQerrorMessage(query->conn));
}

/* Waits until PQgetResult() does not. Limits hold between two reads of the library, which reads for as long as there is
 * something and the message has not ended: a server that is both hostile and faster than we are can make it take in one
 * whole message, a gigabyte at most, and only then is told off. */
static bool receive(Query *query)
{
    while (PQisBusy(query->conn)) {
        int waiting = 0;
        if (!db_wait(PQsocket(query->conn), POLLIN, query->deadline))
            return fail_query(query, DB_BROKEN, "the server does not answer in time");
        if (ioctl(PQsocket(query->conn), FIONREAD, &waiting) == 0)
            query->received += (size_t)waiting;
        if (query->received > DB_RECEIVE_MAX)
            return fail_query(query, DB_BROKEN, "the answer is too large");
        if (!PQconsumeInput(query->conn))
            return fail_query(query, DB_BROKEN, PQerrorMessage(query->conn));
    }
    return clock_ms() < query->deadline || fail_query(query, DB_BROKEN, "the answer takes too long");
}

/* Of several statements in a query the last one's rows count. */
static bool add_row(Query *query, const PGresult *row)
{
    if (query->has_ended) {
        const DbAnswer former = *query->answer;
        db_answer_clear(query->answer);
        db_answer_init(query->answer, former.rules, former.key);
    }
    query->has_ended = false;
    for (int i = 0; i < PQnfields(row); i++) {
        if (query->outcome == DB_DONE && !PQgetisnull(row, 0, i) &&
            !db_answer_add(query->answer, PQgetvalue(row, 0, i), query->error)) {
            query->outcome = DB_FAILED;
            return false;
        }
    }
    return true;
}

/* An error is one of this query, unless the server ends the connection with it, which libpq may not know yet. */
static bool ends_connection(const Query *query, const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

    return PQstatus(query->conn) != CONNECTION_OK || (severity && strcmp(severity, "ERROR") != 0);
}

static bool take_result(Query *query, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE:
        return add_row(query, result);
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        query->has_ended = true;
        return true;
    case PGRES_FATAL_ERROR:
    case PGRES_EMPTY_QUERY:
        fail_query(query, ends_connection(query, result) ? DB_BROKEN : DB_REFUSED, PQresultErrorMessage(result));
        return query->outcome == DB_REFUSED; /* the end of the answer is still to come */
    default:
        return fail_query(query, DB_BROKEN, "not an answer to a query");
    }
}

static DbOutcome pgsql_ask(void *connection, const DbTemplate *template, gint64 deadline, DbAnswer *answer,
                           GError **error)
{
    Query query = {.conn = connection, .deadline = deadline, .answer = answer, .outcome = DB_DONE, .error = error};
    g_autofree char *text = db_template_expand(template, answer->key, quote, connection, error);

    if (!text)
        return DB_REFUSED;
    if (!send_query(&query, text))
        return query.outcome;
    while (receive(&query)) {
        PGresult *result = PQgetResult(query.conn);
        if (!result)
            break;
        bool goes_on = take_result(&query, result);
        PQclear(result);
        if (!goes_on)
            break;
    }
    return query.outcome;
}

static const DbDriver driver = {"pgsql", pgsql_connect, pgsql_ask, pgsql_close};

/* ---- The table ---- */

static void pgsql_free(void *data)
{
    Pgsql *pgsql = data;

    db_servers_free(pgsql->servers);
    db_params_free(pgsql->params);
    g_free(pgsql);
}

static bool read_params(Pgsql *pgsql, Table *table, const char *name, GError **error)
{
    if (!(pgsql->params = db_params_read(table, name, error)) ||
        !(pgsql->encoding = db_params_need(pgsql->params, "encoding", "UTF8", error)) ||
        !(pgsql->servers = db_servers_new(&driver, pgsql, pgsql->params, table->spec, error)))
        return false;
    pgsql->utf8 = g_ascii_strcasecmp(pgsql->encoding, "UTF8") == 0 || g_ascii_strcasecmp(pgsql->encoding, "UTF-8") == 0;
    pgsql->user = db_params_get(pgsql->params, "user");
    pgsql->password = db_params_get(pgsql->params, "password");
    pgsql->dbname = db_params_get(pgsql->params, "dbname");
    return db_servers_are_uris(pgsql->servers) || db_params_need(pgsql->params, "dbname", NULL, error);
}

static bool pgsql_open(Table *table, const char *name, GError **error)
{
    Pgsql *pgsql = g_new0(Pgsql, 1);

    if (read_params(pgsql, table, name, error)) {
        table->data = pgsql;
        return true;
    }
    pgsql_free(pgsql);
    return false;
}

static TableResult pgsql_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const Pgsql *pgsql = table->data;

    return db_servers_lookup(pgsql->servers, pgsql->utf8, key, ret_value, error);
}

const TableBackend table_pgsql = {
    "pgsql", .folds = true, .open = pgsql_open, .lookup = pgsql_lookup, .free = pgsql_free, .blocks = true};
