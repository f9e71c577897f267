/* db_servers.c - hosts and connections. */
#include "table/db_servers.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "config/config.h"
#include "table/connecting.h"
#include "table/network.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#define LOOKUP_MS 20000
#define CONNECT_MS 8000
#define QUERY_MS 10000
#define RETRY_ONE_MS 5000
#define HOSTS_MAX 64

typedef struct {
    DbHost parts;
    const DbServers *servers;
    gint64 dead_until; /* clock_ms(); 0: it is not */
} Host;

typedef struct {
    Host *host;
    void *handle;
    gint64 used;  /* clock_ms(), last */
    bool is_kept; /* it answered an earlier lookup */
} Connection;

struct DbServers {
    const DbDriver *driver;
    void *settings;
    const char *spec;
    DbRules *rules;
    DbTemplate *query;
    Host hosts[HOSTS_MAX];
    guint count;
    gint64 idle_ms, retry_ms;

    pthread_mutex_t lock; /* guards dead_until and all below */
    pthread_cond_t changed;
    GArray *idle; /* of Connection, the last used one at the end */
    guint open;   /* connections that are, or are being made */
};

/* ---- The list of hosts ---- */

static void split_port(DbHost *host, const char *text)
{
    const char *bracket = *text == '[' ? strchr(text, ']') : NULL;
    const char *colon = bracket ? strchr(bracket, ':') : strrchr(text, ':');
    bool is_ipv6 = !bracket && colon && strchr(text, ':') != colon;

    if (bracket)
        host->name = g_strndup(text + 1, (size_t)(bracket - text - 1));
    else
        host->name = colon && !is_ipv6 ? g_strndup(text, (size_t)(colon - text)) : g_strdup(text);
    if (colon && !is_ipv6 && colon[1])
        host->port = g_strdup(colon + 1);
}

/* "inet:host:port", "unix:/path", either without its prefix, or a URI. */
static bool parse_host(DbHost *host, const char *text, GError **error)
{
    host->text = g_strdup(text);
    host->is_uri = g_str_has_prefix(text, "postgresql://") || g_str_has_prefix(text, "postgres://");
    if (g_str_has_prefix(text, "unix:"))
        text += strlen("unix:");
    else if (g_str_has_prefix(text, "inet:"))
        text += strlen("inet:");
    host->is_path = *text == '/';
    if (host->is_uri || host->is_path)
        host->name = g_strdup(text);
    else
        split_port(host, text);
    host->is_numeric = network_parse_address(host->name, &(Network){0});
    return !host->is_path || root_check(host->name, error);
}

static bool parse_hosts(DbServers *servers, const DbParams *params, GError **error)
{
    const char *text = db_params_get(params, "hosts");
    g_autoptr(GPtrArray) words = config_split(text ? text : "");

    if (words->len == 0) {
        log_warning("%s: %s: no hostnames specified, defaulting to 'localhost'", servers->driver->type,
                    db_params_source(params));
        g_ptr_array_add(words, g_strdup("localhost"));
    }
    if (words->len > HOSTS_MAX)
        return fail(error, "%s: more than %d hosts", db_params_source(params), HOSTS_MAX);
    servers->count = words->len;
    for (guint i = 0; i < words->len; i++) {
        servers->hosts[i].servers = servers;
        if (!parse_host(&servers->hosts[i].parts, g_ptr_array_index(words, i), error))
            return false;
    }
    return true;
}

bool db_servers_are_uris(const DbServers *servers)
{
    for (guint i = 0; i < servers->count; i++)
        if (!servers->hosts[i].parts.is_uri)
            return false;
    return true;
}

/* ---- Making and ending ---- */

DbServers *db_servers_new(const DbDriver *driver, void *settings, const DbParams *params, const char *spec,
                          GError **error)
{
    g_autoptr(DbServers) servers = g_new0(DbServers, 1);
    pthread_condattr_t monotonic;
    int idle, retry;

    sandbox_will_ask_library();
    servers->driver = driver;
    servers->settings = settings;
    servers->spec = spec;
    servers->idle = g_array_new(FALSE, FALSE, sizeof(Connection));
    pthread_mutex_init(&servers->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&servers->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);

    if (!parse_hosts(servers, params, error) || !db_params_seconds(params, "idle_interval", 60, 1, &idle, error) ||
        !db_params_seconds(params, "retry_interval", 60, 1, &retry, error) ||
        !(servers->query = db_template_new_sql(params, strcmp(driver->type, "pgsql") == 0, error)) ||
        !(servers->rules = db_rules_new(params, spec, "result_format", error)))
        return NULL;
    servers->idle_ms = idle * (gint64)1000;
    servers->retry_ms = servers->count > 1 ? retry * (gint64)1000 : MIN(retry * (gint64)1000, RETRY_ONE_MS);
    return g_steal_pointer(&servers);
}

void db_servers_free(DbServers *servers)
{
    if (!servers)
        return;
    for (guint i = 0; i < servers->idle->len; i++)
        servers->driver->close(g_array_index(servers->idle, Connection, i).handle);
    g_array_unref(servers->idle);
    for (guint i = 0; i < servers->count; i++) {
        DbHost *host = &servers->hosts[i].parts;
        g_free(host->text);
        g_free(host->name);
        g_free(host->port);
    }
    db_template_free(servers->query);
    db_rules_free(servers->rules);
    pthread_cond_destroy(&servers->changed);
    pthread_mutex_destroy(&servers->lock);
    g_free(servers);
}

/* ---- Connections. The functions up to the next heading want the lock held ---- */

/* What one lookup has been through. */
typedef struct {
    gint64 deadline;
    bool tried[HOSTS_MAX]; /* its answer, or lack of one, was of no use */
    GArray *ended;         /* of Connection: to be closed when the lock is free */
    bool is_logged;        /* the last failure; otherwise why is set when there was one */
    GError *why;
} Attempt;

static guint index_of(const DbServers *servers, const Host *host)
{
    return (guint)(host - servers->hosts);
}

static void end_connection(Attempt *attempt, const Connection *connection)
{
    g_array_append_vals(attempt->ended, connection, 1); /* until it is closed it counts as open */
}

/* Ends idle connections to host, or with NULL those that were idle for too long. */
static void end_idle(DbServers *servers, Attempt *attempt, const Host *host)
{
    gint64 oldest = clock_ms() - servers->idle_ms;

    for (guint i = servers->idle->len; i-- > 0;) {
        const Connection *connection = &g_array_index(servers->idle, Connection, i);
        if (host ? connection->host != host : connection->used >= oldest)
            continue;
        end_connection(attempt, connection);
        g_array_remove_index(servers->idle, i);
    }
}

static bool take_idle(DbServers *servers, const Attempt *attempt, Connection *ret)
{
    for (guint i = servers->idle->len; i-- > 0;) {
        *ret = g_array_index(servers->idle, Connection, i);
        if (attempt->tried[index_of(servers, ret->host)])
            continue;
        g_array_remove_index(servers->idle, i);
        ret->is_kept = true;
        return true;
    }
    return false;
}

static guint any_below(guint limit)
{
    guint32 number = 0;

    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return 0;
    return number % limit;
}

/* One of those that may be tried, at random. NULL: there is none. */
static Host *choose_host(DbServers *servers, const Attempt *attempt)
{
    Host *able[HOSTS_MAX];
    gint64 now = clock_ms();

    for (int wants_path = 1; wants_path >= 0; wants_path--) {
        guint count = 0;
        for (guint i = 0; i < servers->count; i++) {
            Host *host = &servers->hosts[i];
            if (host->parts.is_path == wants_path && !attempt->tried[i] && host->dead_until <= now)
                able[count++] = host;
        }
        if (count > 0)
            return able[any_below(count)];
    }
    return NULL;
}

/* ---- One lookup ---- */

static void close_ended(DbServers *servers, Attempt *attempt)
{
    if (attempt->ended->len == 0)
        return;
    for (guint i = 0; i < attempt->ended->len; i++)
        servers->driver->close(g_array_index(attempt->ended, Connection, i).handle);
    pthread_mutex_lock(&servers->lock);
    servers->open -= attempt->ended->len;
    pthread_cond_broadcast(&servers->changed);
    pthread_mutex_unlock(&servers->lock);
    g_array_set_size(attempt->ended, 0);
}

typedef enum { TAKE_IDLE, TAKE_NEW, TAKE_NONE } Take;

/* IDLE: ret is ready. NEW: its host is to be connected to, and counted as open. NONE: the lookup fails. */
static Take take(DbServers *servers, Attempt *attempt, Connection *ret)
{
    const struct timespec until = {.tv_sec = attempt->deadline / 1000, .tv_nsec = attempt->deadline % 1000 * 1000000};
    Take result = TAKE_NONE;

    pthread_mutex_lock(&servers->lock);
    end_idle(servers, attempt, NULL);
    for (;;) {
        if (attempt->ended->len > 0) {
            pthread_mutex_unlock(&servers->lock);
            close_ended(servers, attempt);
            pthread_mutex_lock(&servers->lock);
        }
        *ret = (Connection){0};
        if (take_idle(servers, attempt, ret)) {
            result = TAKE_IDLE;
            break;
        }
        ret->host = choose_host(servers, attempt);
        if (!ret->host) {
            if (!attempt->is_logged)
                fail(&attempt->why, "%s: no server can be asked: %s was tried a moment ago", servers->spec,
                     servers->count > 1 ? "each" : servers->hosts[0].parts.text);
            break;
        }
        if (servers->open < DB_CONNECTIONS_MAX) {
            servers->open++;
            result = TAKE_NEW;
            break;
        }
        if (servers->idle->len > 0) { /* to hosts that were tried: one of them has to make room */
            end_connection(attempt, &g_array_index(servers->idle, Connection, 0));
            g_array_remove_index(servers->idle, 0);
            continue;
        }
        if (pthread_cond_timedwait(&servers->changed, &servers->lock, &until) == ETIMEDOUT) {
            fail(&attempt->why, "%s: all connections are busy", servers->spec);
            break;
        }
    }
    pthread_mutex_unlock(&servers->lock);
    return result;
}

/* Frees why. */
static void note_failure(DbServers *servers, Attempt *attempt, Host *host, bool is_connect, GError *why)
{
    if (is_connect)
        log_warning("connect to %s server %s: %s", servers->driver->type, host->parts.text, why->message);
    else
        log_warning("%s: query failed: host %s: %s", servers->spec, host->parts.text, why->message);
    g_error_free(why);
    attempt->is_logged = true;
    attempt->tried[index_of(servers, host)] = true;
}

static void mark_dead(DbServers *servers, Attempt *attempt, Host *host)
{
    host->dead_until = clock_ms() + servers->retry_ms;
    end_idle(servers, attempt, host);
    pthread_cond_broadcast(&servers->changed); /* who waits for it need not */
}

static void *connect_to(void *settings, const void *data, gint64 deadline, GError **error)
{
    const Host *host = data;

    return host->servers->driver->connect(settings, &host->parts, deadline, error);
}

static bool make_connection(DbServers *servers, Attempt *attempt, Connection *connection)
{
    gint64 deadline = MIN(attempt->deadline, clock_ms() + CONNECT_MS);
    GError *error = NULL;

    const Host *host = connection->host;
    const Connecting how = {connect_to, servers->driver->close, servers->driver->clear};
    connection->handle = host->parts.is_path || host->parts.is_numeric
                             ? connect_to(servers->settings, host, deadline, &error)
                             : connect_by(&how, servers->settings, host, deadline, &error);
    if (connection->handle)
        return true;
    note_failure(servers, attempt, connection->host, true, error);
    pthread_mutex_lock(&servers->lock);
    servers->open--;
    mark_dead(servers, attempt, connection->host);
    pthread_mutex_unlock(&servers->lock);
    close_ended(servers, attempt);
    return false;
}

static void give_back(DbServers *servers, Connection *connection)
{
    connection->used = clock_ms();
    pthread_mutex_lock(&servers->lock);
    connection->host->dead_until = 0;
    g_array_append_vals(servers->idle, connection, 1);
    pthread_cond_signal(&servers->changed);
    pthread_mutex_unlock(&servers->lock);
}

/* The host is blamed for it unless the connection had been idle. */
static void drop_broken(DbServers *servers, Attempt *attempt, Connection *connection, bool is_blamed)
{
    pthread_mutex_lock(&servers->lock);
    end_connection(attempt, connection);
    end_idle(servers, attempt, connection->host);
    if (is_blamed)
        mark_dead(servers, attempt, connection->host);
    pthread_mutex_unlock(&servers->lock);
    close_ended(servers, attempt);
}

/* False: another server is to be asked, or this one again. */
static bool ask(DbServers *servers, Attempt *attempt, Connection *connection, DbAnswer *answer, TableResult *ret_result)
{
    gint64 deadline = MIN(attempt->deadline, clock_ms() + QUERY_MS);
    GError *error = NULL;
    DbOutcome outcome = servers->driver->ask(connection->handle, servers->query, deadline, answer, &error);

    switch (outcome) {
    case DB_DONE:
        give_back(servers, connection);
        *ret_result = TABLE_FOUND;
        return true;
    case DB_FAILED:
        drop_broken(servers, attempt, connection, false); /* the rest of the answer may be on its way */
        attempt->why = error;
        *ret_result = TABLE_FAILED;
        return true;
    case DB_REFUSED:
        give_back(servers, connection);
        note_failure(servers, attempt, connection->host, false, error);
        return false;
    case DB_BROKEN:
        break;
    }
    bool is_blamed = !connection->is_kept || clock_ms() >= deadline;
    drop_broken(servers, attempt, connection, is_blamed);
    if (is_blamed)
        note_failure(servers, attempt, connection->host, false, error);
    else
        g_error_free(error);
    return false;
}

static TableResult look_up(DbServers *servers, Attempt *attempt, const char *key, char **ret_value)
{
    for (;;) {
        g_auto(DbAnswer) answer;
        Connection connection;
        TableResult result;

        db_answer_init(&answer, servers->rules, key);
        Take taken = take(servers, attempt, &connection);
        if (taken == TAKE_NONE)
            return TABLE_FAILED;
        if (taken == TAKE_NEW && !make_connection(servers, attempt, &connection))
            continue;
        if (ask(servers, attempt, &connection, &answer, &result))
            return result == TABLE_FOUND ? db_answer_end(&answer, ret_value) : result;
    }
}

TableResult db_servers_lookup(DbServers *servers, bool utf8, const char *key, char **ret_value, GError **error)
{
    TableResult result = db_rules_admit(servers->rules, servers->query, utf8, key, error);
    Attempt attempt = {.deadline = clock_ms() + LOOKUP_MS};

    if (result != TABLE_FOUND)
        return result;
    attempt.ended = g_array_new(FALSE, FALSE, sizeof(Connection));
    result = look_up(servers, &attempt, key, ret_value);
    g_array_unref(attempt.ended);
    if (attempt.why)
        g_propagate_error(error, attempt.why);
    return result;
}

bool db_wait(int fd, short events, gint64 deadline)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};

    for (;;) {
        int left = clock_poll_timeout(deadline);
        int count = poll(&poll_fd, 1, left);
        if (count > 0)
            return true;
        if (count == 0 ? clock_ms() >= deadline : errno != EINTR)
            return false;
    }
}
