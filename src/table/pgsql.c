/* pgsql.c - pgsql: tables (pgsql_table(5)). */
#include "base/clock.h"
#include "base/fail.h"
#include "base/root.h"
#include "table/backend.h"
#include "table/db_pipe.h"
#include "table/db_servers.h"

#include <libpq-fe.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>

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

typedef struct {
    PGconn *conn;
    DbPipe pipe;
} Connection;

static void pgsql_close(void *data)
{
    Connection *connection = data;

    PQfinish(connection->conn);
    db_pipe_end(&connection->pipe);
    g_free(connection);
}

/* From the first octet that is said. Each address that libpq tries has a descriptor of its own. */
static bool finish_connection(Connection *connection, gint64 deadline, GError **error)
{
    PGconn *conn = connection->conn;
    PostgresPollingStatusType wanted = PGRES_POLLING_WRITING;

    db_pipe_allow(&connection->pipe, DB_RECEIVE_MAX);
    while (wanted != PGRES_POLLING_OK) {
        short events = wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        bool has_begun = PQstatus(conn) != CONNECTION_STARTED;
        if (wanted == PGRES_POLLING_FAILED)
            return fail_pgsql(PQerrorMessage(conn), error);
        if (has_begun && !db_pipe_insert(&connection->pipe, PQsocket(conn)))
            return fail_errno(error, "socketpair");
        if (!(has_begun ? db_pipe_wait(&connection->pipe, PQsocket(conn), events, deadline)
                        : db_wait(PQsocket(conn), events, deadline)))
            return fail(error,
                        db_pipe_is_flooded(&connection->pipe) ? "the server says too much" : "Connection timed out");
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
    Connection *connection = g_new(Connection, 1);
    *connection = (Connection){.conn = conn, .pipe = DB_PIPE_NONE};
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    bool is_good = PQstatus(conn) != CONNECTION_BAD ? finish_connection(connection, deadline, error)
                                                    : fail_pgsql(PQerrorMessage(conn), error);
    if (is_good && PQsetnonblocking(conn, 1) == 0)
        return connection;
    if (is_good)
        fail_pgsql(PQerrorMessage(conn), error);
    pgsql_close(connection);
    return NULL;
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
    DbPipe *pipe;
    gint64 deadline;
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
        if (!db_pipe_wait(query->pipe, PQsocket(query->conn), POLLOUT, query->deadline))
            return fail_query(query, DB_BROKEN, "the server does not read");
    return left == 0 || fail_query(query, DB_BROKEN, PQerrorMessage(query->conn));
}

/* Of a TLS record the library may have left a part to OpenSSL, which no wait for the socket would see. */
static bool has_pending(PGconn *conn)
{
    SSL *ssl = PQsslStruct(conn, "OpenSSL");

    return ssl && SSL_pending(ssl) > 0;
}

/* Waits until PQgetResult() does not. */
static bool receive(Query *query)
{
    while (PQisBusy(query->conn)) {
        if (!has_pending(query->conn) && !db_pipe_wait(query->pipe, PQsocket(query->conn), POLLIN, query->deadline))
            return fail_query(query, DB_BROKEN,
                              db_pipe_is_flooded(query->pipe) ? "the answer is too large"
                                                              : "the server does not answer in time");
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
    Connection *own = connection;
    Query query = {.conn = own->conn,
                   .pipe = &own->pipe,
                   .deadline = deadline,
                   .answer = answer,
                   .outcome = DB_DONE,
                   .error = error};
    g_autofree char *text = db_template_expand(template, answer->key, quote, own->conn, error);

    if (!text)
        return DB_REFUSED;
    db_pipe_allow(query.pipe, DB_RECEIVE_MAX);
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

/* ---- The table ---- */

static void pgsql_clear(void *data)
{
    Pgsql *pgsql = data;

    db_servers_free(pgsql->servers);
    db_params_free(pgsql->params);
}

static void pgsql_free(void *data)
{
    g_atomic_rc_box_release_full(data, pgsql_clear);
}

static const DbDriver driver = {"pgsql", pgsql_connect, pgsql_ask, pgsql_close, pgsql_clear};

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
    Pgsql *pgsql = g_atomic_rc_box_new0(Pgsql);

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
