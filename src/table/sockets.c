/* sockets.c - socketmap: and tcp:, tables behind a socket. Lookups are of whole keys, in which case counts. */
#include "base/fail.h"
#include "base/sandbox.h"
#include "table/answers.h"
#include "table/backend.h"
#include "table/remote.h"

#include <string.h>

#define TIMEOUT_MS 100000 /* of one lookup: what Postfix gives each of its steps */

typedef struct {
    Remote *remote;
    char *map; /* of socketmap: which of the server's */
} Server;

static void free_server(void *data)
{
    Server *server = data;

    remote_free(server->remote);
    g_free(server->map);
    g_free(server);
}

static bool open_server(Table *table, const char *where, const char *map, size_t reply_max, GError **error)
{
    g_autofree char *directory = g_get_current_dir(); /* a service's is $queue_directory */
    Endpoint *endpoint = endpoint_parse(where, directory, 0, error);

    if (!endpoint)
        return false;
    endpoint_announce(endpoint);
    if (!endpoint->path && endpoint->addresses->len == 0)
        sandbox_will_ask_library(); /* the system's resolver */
    Server *server = g_new0(Server, 1);
    server->remote = remote_new(endpoint, TIMEOUT_MS, reply_max);
    server->map = g_strdup(map);
    table->data = server;
    return true;
}

/* "inet:host:port:map" or "unix:path:map" */
static bool open_socketmap(Table *table, const char *name, GError **error)
{
    const char *colon = strrchr(name, ':');

    if (!colon)
        return fail(error, "%s requires server:socketmap argument", table->backend->type);
    g_autofree char *where = g_strndup(name, (size_t)(colon - name));
    if (!g_str_has_prefix(where, "inet:") && !g_str_has_prefix(where, "unix:"))
        return fail(error, "%s: \"inet:host:port\" or \"unix:path\" is right instead of \"%s\"", table->spec, where);
    return open_server(table, where, colon + 1, SOCKETMAP_MAX, error);
}

static GString *ask(const Table *table, GString *request, RemoteFrame *frame, GError **error)
{
    const Server *server = table->data;
    g_autoptr(GString) sent = request;
    g_autoptr(GError) why = NULL;
    GString *reply = remote_ask(server->remote, sent->str, sent->len, frame, &why);

    if (!reply)
        fail(error, "table %s lookup error: %s", table->spec, why->message);
    return reply;
}

static TableResult look_up_socketmap(const Table *table, const char *key, char **ret_value, GError **error)
{
    const Server *server = table->data;
    g_autoptr(GString) reply = ask(table, socketmap_request(server->map, key), socketmap_frame, error);
    TableResult result = reply ? socketmap_answer(reply->str, reply->len, ret_value, error) : TABLE_FAILED;

    if (reply && result == TABLE_FAILED)
        g_prefix_error(error, "%s ", table->spec);
    return result;
}

static bool open_tcp(Table *table, const char *name, GError **error)
{
    g_autofree char *where = g_strconcat("inet:", name, NULL);

    return open_server(table, where, NULL, TCP_REPLY_MAX, error);
}

static TableResult look_up_tcp(const Table *table, const char *key, char **ret_value, GError **error)
{
    g_autoptr(GString) reply = ask(table, tcp_request(key), tcp_frame, error);
    TableResult result = reply ? tcp_answer(reply->str, reply->len, ret_value, error) : TABLE_FAILED;

    if (reply && result == TABLE_FAILED)
        g_prefix_error(error, "table %s: ", table->spec);
    return result;
}

const TableBackend table_socketmap = {"socketmap",       false,       true,          open_socketmap,
                                      look_up_socketmap, free_server, .blocks = true};
const TableBackend table_tcp = {"tcp", false, true, open_tcp, look_up_tcp, free_server, .blocks = true};
