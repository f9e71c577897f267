/* db_servers.h - asking database servers: the list of hosts, connections that are kept, and what happens when some of
 * them do not answer. pgsql.c and mysql.c say how one connection works.
 *
 * A table has a few connections, each used by one lookup at a time. Who finds none that is idle makes one, to a host
 * taken at random, those with a path before the others. A host that cannot be reached or breaks off is left alone for
 * retry_interval, while others are asked; if there is only one, for RETRY_ONE_MS at most, as it is then most likely a
 * name for many. A kept connection may have ended while it was idle, so its failure is not the host's. A lookup takes
 * no longer than LOOKUP_MS, whatever the servers do, or the system's resolver, which libraries ask for names of hosts
 * (connecting.h). */
#pragma once
#include "table/db_common.h"

#define DB_CONNECTIONS_MAX 8
#define DB_RECEIVE_MAX (4 * 1024 * 1024) /* octets of one answer */

typedef struct {
    char *text; /* as configured, for log lines */
    char *name; /* host name, address without brackets, path, or for pgsql a URI */
    char *port; /* NULL: the database's */
    bool is_path, is_uri;
    bool is_numeric; /* an address, so that connecting needs no resolver */
} DbHost;

/* What came of a query. */
typedef enum {
    DB_DONE,
    DB_REFUSED, /* the server said no, and the connection is as good as before */
    DB_FAILED,  /* the answer is of no use, nor would any other server's be; what is left of it is in the way */
    DB_BROKEN,  /* the connection is, or the time is over */
} DbOutcome;

typedef struct {
    const char *type; /* "pgsql" */
    /* NULL: error. settings: the table's, of g_atomic_rc_box_new(), which has the DbServers in it. Not necessarily on
     * the thread that asks. */
    void *(*connect)(const void *settings, const DbHost *host, gint64 deadline, GError **error);
    /* Quotes, sends, and adds the values to answer. All but DONE: error. */
    DbOutcome (*ask)(void *connection, const DbTemplate *query, gint64 deadline, DbAnswer *answer, GError **error);
    void (*close)(void *connection);
    GDestroyNotify clear; /* of settings, when nobody has them any more */
} DbDriver;

typedef struct DbServers DbServers;

/* Reads hosts, idle_interval, retry_interval, query and the parameters of DbRules. driver, settings, params and spec
 * live longer. NULL: error. */
DbServers *db_servers_new(const DbDriver *driver, void *settings, const DbParams *params, const char *spec,
                          GError **error);
void db_servers_free(DbServers *servers); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DbServers, db_servers_free)
bool db_servers_are_uris(const DbServers *servers); /* all of them */

/* Any thread. utf8: as for db_rules_admit(). */
TableResult db_servers_lookup(DbServers *servers, bool utf8, const char *key, char **ret_value, GError **error);

/* Waits for the socket of a connection. False: the deadline has passed. */
bool db_wait(int fd, short events, gint64 deadline);
