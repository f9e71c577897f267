/* mysql.c - mysql: tables (mysql_table(5)), for MySQL and MariaDB.
 *
 * The library blocks, but asks us to wait for its socket: its waits end at the deadline of the lookup that this thread
 * is about, however slowly a server sends, and however fast (db_pipe.h). */
#include "base/clock.h"
#include "base/fail.h"
#include "base/root.h"
#include "table/backend.h"
#include "table/db_pipe.h"
#include "table/db_servers.h"

#include <errmsg.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define MYSQL_INTERACTION_TIMEOUT 4031 /* MySQL alone has it */
#define TIMEOUT_S 10                   /* of a single read or write; without one the library would not ask us */

typedef struct {
    DbParams *params;
    DbServers *servers;
    const char *user, *password, *dbname;
    const char *charset;
    const char *option_file, *option_group;
    const char *key_file, *cert_file, *ca_file, *ca_path, *ciphers;
    bool verifies;
    bool needs_result_set;
} Mysql;

typedef struct {
    const Mysql *settings;
    MYSQL *mysql;
    DbPipe pipe;
} Connection;

/* ---- One connection ---- */

static _Thread_local gint64 thread_deadline;
static _Thread_local DbPipe
    *thread_pipe; /* NULL: while connecting, when one packet of a bounded size follows another */

static int wait_for_socket(my_socket fd, my_bool is_read, int timeout)
{
    short events = is_read ? POLLIN : POLLOUT;

    return thread_pipe ? db_pipe_wait(thread_pipe, fd, events, thread_deadline) : db_wait(fd, events, thread_deadline);
}

static bool fail_mysql(MYSQL *mysql, GError **error)
{
    if (thread_pipe && db_pipe_is_flooded(thread_pipe))
        return fail(error, "the answer is too large");
    return clock_ms() >= thread_deadline ? fail(error, "the server does not answer in time")
                                         : fail(error, "%s", mysql_error(mysql));
}

static void mysql_disconnect(void *data)
{
    Connection *connection = data;

    thread_deadline = 0; /* what cannot be sent at once is not */
    thread_pipe = &connection->pipe;
    mysql_close(connection->mysql);
    db_pipe_end(&connection->pipe);
    thread_pipe = NULL;
    g_free(connection);
}

static bool set_options(MYSQL *mysql, const Mysql *settings)
{
    unsigned timeout = TIMEOUT_S, no = 0;
    unsigned long packet = DB_RECEIVE_MAX;
    my_bool verifies = settings->verifies;
    union {
        int (*function)(my_socket, my_bool, int);
        void *pointer;
    } wait = {.function = wait_for_socket};
    const char *group = settings->option_group;
    bool is_good = mysql_options(mysql, MARIADB_OPT_IO_WAIT, wait.pointer) == 0 &&
                   mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &timeout) == 0 &&
                   mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &timeout) == 0 &&
                   mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &timeout) == 0 &&
                   mysql_options(mysql, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet) == 0;

    if (settings->option_file)
        is_good &= mysql_options(mysql, MYSQL_READ_DEFAULT_FILE, settings->option_file) == 0;
    if (group && *group)
        is_good &= mysql_options(mysql, MYSQL_READ_DEFAULT_GROUP, group) == 0;
    is_good &= mysql_options(mysql, MYSQL_SET_CHARSET_NAME, settings->charset) == 0;
    if (settings->key_file || settings->cert_file || settings->ca_file || settings->ca_path || settings->ciphers)
        mysql_ssl_set(mysql, settings->key_file, settings->cert_file, settings->ca_file, settings->ca_path,
                      settings->ciphers);
    if (settings->verifies)
        is_good &= mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verifies) == 0;
    /* A server may ask for files of ours. */
    return is_good && mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &no) == 0;
}

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_failed;

static void begin_library(void)
{
    library_failed = mysql_library_init(0, NULL, NULL);
}

static void *mysql_connect_to(const void *settings, const DbHost *host, gint64 deadline, GError **error)
{
    const Mysql *table = settings;

    pthread_once(&library_once, begin_library);
    MYSQL *mysql = library_failed ? NULL : mysql_init(NULL);
    if (!mysql || !set_options(mysql, table)) {
        fail(error, "cannot set up the client library");
        if (mysql)
            mysql_close(mysql);
        return NULL;
    }
    unsigned port = host->port ? (unsigned)g_ascii_strtoull(host->port, NULL, 10) : 0;
    thread_deadline = deadline;
    thread_pipe = NULL;
    if (!mysql_real_connect(mysql, host->is_path ? NULL : host->name, table->user, table->password, table->dbname, port,
                            host->is_path ? root_path(host->name) : NULL, CLIENT_MULTI_RESULTS)) {
        fail_mysql(mysql, error);
        thread_deadline = 0;
        mysql_close(mysql);
        return NULL;
    }
    Connection *connection = g_new(Connection, 1);
    *connection = (Connection){.settings = table, .mysql = mysql, .pipe = DB_PIPE_NONE};
    if (db_pipe_insert(&connection->pipe, mysql_get_socket(mysql)))
        return connection;
    fail_errno(error, "socketpair");
    mysql_disconnect(connection);
    return NULL;
}

static char *quote(void *context, const char *text, GError **error)
{
    size_t len = strlen(text);
    g_autofree char *quoted = g_malloc(2 * len + 1);

    if (mysql_real_escape_string(context, quoted, text, len) != (unsigned long)-1)
        return g_steal_pointer(&quoted);
    fail(error, "%s", mysql_error(context));
    return NULL;
}

/* Rows are read one by one. What is left of them is in the way of another query: only DONE is all of them. */
static DbOutcome read_rows(MYSQL *mysql, MYSQL_RES *rows, DbAnswer *answer, GError **error)
{
    unsigned columns = mysql_num_fields(rows);
    size_t octets = 0;
    MYSQL_ROW row;

    while ((row = mysql_fetch_row(rows)) != NULL) {
        const unsigned long *lengths = mysql_fetch_lengths(rows);
        for (unsigned i = 0; i < columns; i++) {
            octets += lengths[i];
            if (!db_answer_add(answer, row[i], error))
                return DB_FAILED;
        }
        if (octets > DB_RECEIVE_MAX || clock_ms() >= thread_deadline) {
            fail(error, "the answer is too large");
            return DB_BROKEN;
        }
    }
    if (mysql_errno(mysql) == 0)
        return DB_DONE;
    fail_mysql(mysql, error);
    return DB_BROKEN;
}

/* Frees rows. To free them the library reads what is left, which may be endless. */
static void free_rows(MYSQL *mysql, MYSQL_RES *rows, DbOutcome outcome)
{
    if (outcome != DB_DONE)
        shutdown(mysql_get_socket(mysql), SHUT_RDWR);
    mysql_free_result(rows);
}

/* The result of one statement. ret_sets counts those that have rows, or could have. */
static DbOutcome read_result(const Connection *connection, DbAnswer *answer, int *ret_sets, GError **error)
{
    MYSQL *mysql = connection->mysql;
    MYSQL_RES *rows = mysql_use_result(mysql);
    DbOutcome outcome;

    if (!rows && mysql_errno(mysql) != 0) {
        fail_mysql(mysql, error);
        return DB_BROKEN;
    }
    if (!rows)
        return DB_DONE;
    if (++*ret_sets > 1) {
        fail(error, "mysql:%s: query failed: multiple result sets returning data are not supported",
             db_params_source(connection->settings->params));
        outcome = DB_FAILED;
    } else {
        outcome = read_rows(mysql, rows, answer, error);
    }
    free_rows(mysql, rows, outcome);
    return outcome;
}

/* The numbers that the library uses are about the connection; others come from a server that is well, or ends. */
static DbOutcome fail_with_server(MYSQL *mysql, GError **error)
{
    static const unsigned ending[] = {ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED, MYSQL_INTERACTION_TIMEOUT};
    unsigned code = mysql_errno(mysql);
    bool is_broken =
        code == 0 || (code >= CR_MIN_ERROR && code <= CR_MAX_ERROR) || (code >= CER_MIN_ERROR && code <= CER_MAX_ERROR);

    for (size_t i = 0; i < G_N_ELEMENTS(ending); i++)
        is_broken |= code == ending[i];
    fail_mysql(mysql, error);
    return is_broken ? DB_BROKEN : DB_REFUSED;
}

static DbOutcome mysql_ask(void *data, const DbTemplate *template, gint64 deadline, DbAnswer *answer, GError **error)
{
    Connection *connection = data;
    MYSQL *mysql = connection->mysql;
    g_autofree char *text = db_template_expand(template, answer->key, quote, mysql, error);
    DbOutcome outcome = DB_DONE;
    int sets = 0, more = 0;

    if (!text)
        return DB_REFUSED;
    thread_deadline = deadline;
    thread_pipe = &connection->pipe;
    db_pipe_allow(thread_pipe, DB_RECEIVE_MAX);
    if (mysql_real_query(mysql, text, strlen(text)) != 0)
        return fail_with_server(mysql, error);
    while (more == 0 && outcome == DB_DONE) {
        outcome = read_result(connection, answer, &sets, error);
        if (outcome == DB_DONE && (more = mysql_next_result(mysql)) > 0)
            return fail_with_server(mysql, error);
    }
    if (outcome == DB_DONE && sets == 0 && connection->settings->needs_result_set) {
        fail(error, "query returned no result set(require_result_set = yes)");
        return DB_REFUSED;
    }
    return outcome;
}

/* ---- The table ---- */

static void mysql_table_clear(void *data)
{
    Mysql *mysql = data;

    db_servers_free(mysql->servers);
    db_params_free(mysql->params);
}

static void mysql_table_free(void *data)
{
    g_atomic_rc_box_release_full(data, mysql_table_clear);
}

static const DbDriver driver = {"mysql", mysql_connect_to, mysql_ask, mysql_disconnect, mysql_table_clear};

static bool read_params(Mysql *mysql, Table *table, const char *name, GError **error)
{
    if (!(mysql->params = db_params_read(table, name, error)) ||
        !(mysql->dbname = db_params_need(mysql->params, "dbname", NULL, error)) ||
        !(mysql->charset = db_params_need(mysql->params, "charset", "utf8mb4", error)) ||
        !db_params_bool(mysql->params, "tls_verify_cert", false, &mysql->verifies, error) ||
        !db_params_bool(mysql->params, "require_result_set", true, &mysql->needs_result_set, error) ||
        !(mysql->servers = db_servers_new(&driver, mysql, mysql->params, table->spec, error)))
        return false;
    const DbParams *params = mysql->params;
    mysql->user = db_params_get(params, "user");
    mysql->password = db_params_get(params, "password");
    mysql->option_file = db_params_get(params, "option_file");
    mysql->option_group = db_params_get(params, "option_group");
    if (!mysql->option_group)
        mysql->option_group = "client";
    mysql->key_file = db_params_get(params, "tls_key_file");
    mysql->cert_file = db_params_get(params, "tls_cert_file");
    mysql->ca_file = db_params_get(params, "tls_CAfile");
    mysql->ca_path = db_params_get(params, "tls_CApath");
    mysql->ciphers = db_params_get(params, "tls_ciphers");
    return true;
}

static bool mysql_table_open(Table *table, const char *name, GError **error)
{
    Mysql *mysql = g_atomic_rc_box_new0(Mysql);

    if (read_params(mysql, table, name, error)) {
        table->data = mysql;
        return true;
    }
    mysql_table_free(mysql);
    return false;
}

static TableResult mysql_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const Mysql *mysql = table->data;

    return db_servers_lookup(mysql->servers, g_ascii_strncasecmp(mysql->charset, "utf8", 4) == 0, key, ret_value,
                             error);
}

const TableBackend table_mysql = {
    "mysql", .folds = true, .open = mysql_table_open, .lookup = mysql_lookup, .free = mysql_table_free, .blocks = true};
