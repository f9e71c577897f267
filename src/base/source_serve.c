/* source_serve.c - the answering side: a few lines between a process that strangers may have taken over and files that
 * only root may read. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/source_private.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define AT_ONCE 64 /* requests, before others have their turn */

/* How many a process may ask in a second: it looks at each of its tables a few times, and reads some of them. */
#define PER_SECOND 200
#define PER_SECOND_AND_PATH 20

struct SourceServer {
    int socket;
    char *name;
    GPtrArray *paths;
    GHashTable *told; /* numbers of paths that lead where they may not, which the log knows */
    bool sealed;
    gint64 second; /* clock_ms() at its begin */
    guint asked;   /* in it */
};

SourceServer *source_server_new(int socket, const char *name)
{
    SourceServer *server = g_new0(SourceServer, 1);

    fd_set_nonblock(socket, true);
    server->socket = socket;
    server->name = g_strdup(name);
    server->paths = g_ptr_array_new_with_free_func(g_free);
    server->told = g_hash_table_new(NULL, NULL);
    return server;
}

void source_server_free(SourceServer *server)
{
    if (!server)
        return;
    fd_clear(&server->socket);
    g_ptr_array_unref(server->paths);
    g_hash_table_unref(server->told);
    g_free(server->name);
    g_free(server);
}

int source_server_descriptor(const SourceServer *server)
{
    return server->socket;
}

static void give_up(SourceServer *server, const char *why)
{
    log_warning("%s: %s: it is not given its tables anew any more", server->name, why);
    fd_clear(&server->socket);
}

static bool asks_too_often(SourceServer *server)
{
    gint64 now = clock_ms();

    if (now >= server->second + 1000) {
        server->second = now;
        server->asked = 0;
    }
    return ++server->asked > PER_SECOND + PER_SECOND_AND_PATH * server->paths->len;
}

/* To the process it looks as if it were gone. */
static void tell_refused(SourceServer *server, guint number, const char *path)
{
    if ((errno == ELOOP || errno == EACCES) && g_hash_table_add(server->told, GUINT_TO_POINTER(number)))
        log_warning(
            "%s: %s: changes are not seen: others than root may put names on the way to it, and it is a link, or "
            "a file that not everybody may read",
            server->name, path);
}

static void answer(SourceServer *server, const SourceRequest *request)
{
    const char *path = g_ptr_array_index(server->paths, request->number);
    auto_fd fd = -1;
    SourceReply reply;

    memset(&reply, 0, sizeof reply); /* with what is between its members: nothing of ours goes out */
    reply.serial = request->serial;
    if (request->what == SOURCE_STAT) {
        reply.failure = source_stat_for_others(path, &reply.status) ? 0 : errno;
        if (reply.failure != 0)
            tell_refused(server, request->number, path);
    } else if ((fd = source_open_for_others(path, &reply.status)) < 0) {
        reply.failure = errno;
    }
    if (!fd_send(server->socket, &reply, sizeof reply, &fd, fd >= 0 ? 1 : 0))
        give_up(server, "it takes no answers");
}

/* False: against the rules. */
static bool take(SourceServer *server, const SourceRequest *request, size_t len)
{
    size_t head = offsetof(SourceRequest, path);

    if (len < head)
        return false;
    switch (request->what) {
    case SOURCE_ADD:
        if (server->sealed || len == head ||
            memchr(request->path, '\0', len - head) != (const char *)request + len - 1 ||
            server->paths->len >= SOURCE_PATHS_MAX)
            return false;
        g_ptr_array_add(server->paths, g_strdup(request->path));
        return true;
    case SOURCE_SEAL:
        server->sealed = true;
        return len == head;
    case SOURCE_STAT:
    case SOURCE_OPEN:
        if (!server->sealed || len != head || request->number >= server->paths->len)
            return false;
        answer(server, request);
        return true;
    default:
        return false;
    }
}

void source_server_serve(SourceServer *server)
{
    g_autofree SourceRequest *request = g_new(SourceRequest, 1);

    for (int i = 0; i < AT_ONCE && server->socket >= 0; i++) {
        size_t count;
        ssize_t len = fd_receive(server->socket, request, sizeof *request, NULL, 0, &count);

        if (len < 0 && errno == EAGAIN)
            return;
        if (len == 0 || (len < 0 && errno == ECONNRESET)) { /* its process ended */
            fd_clear(&server->socket);
            return;
        }
        if (len < 0 || !take(server, request, (size_t)len))
            give_up(server, "it asks for what is not its own");
        else if (server->socket >= 0 && server->sealed && asks_too_often(server))
            give_up(server, "it asks for its tables too often");
    }
}
