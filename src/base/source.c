/* source.c - the asking side. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/source_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#define ANSWER_MS 2000
#define PAUSE_MS 10000 /* after an answer that did not come */

static pthread_mutex_t looking = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below, and the socket */
static int line = -1;
static atomic_bool sealed;  /* written once, before there are threads */
static GHashTable *numbers; /* path -> its number + 1 */
static guint32 serial;
static gint64 not_before; /* clock_ms() */

bool source_begin_look(void)
{
    return pthread_mutex_trylock(&looking) == 0;
}

void source_end_look(void)
{
    pthread_mutex_unlock(&looking);
}

bool source_is_sealed(void)
{
    return atomic_load_explicit(&sealed, memory_order_relaxed);
}

void source_connect(int socket)
{
    line = socket;
    numbers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

/* The master is there: it waits for us to be ready. Should it not take the message, the path is not in the list. */
static bool send_request(const SourceRequest *request)
{
    size_t len = offsetof(SourceRequest, path) + (request->what == SOURCE_ADD ? strlen(request->path) + 1 : 0);

    return fd_send(line, request, len, NULL, 0);
}

static void tell(const char *path)
{
    g_autofree SourceRequest *request = g_new0(SourceRequest, 1);
    guint count;

    pthread_mutex_lock(&lock);
    if (line >= 0 && !g_hash_table_contains(numbers, path) &&
        g_strlcpy(request->path, path, sizeof request->path) < sizeof request->path &&
        (count = g_hash_table_size(numbers)) < SOURCE_PATHS_MAX) {
        request->what = SOURCE_ADD;
        if (send_request(request))
            g_hash_table_insert(numbers, g_strdup(path), GUINT_TO_POINTER(count + 1));
    }
    pthread_mutex_unlock(&lock);
}

void source_seal(void)
{
    const SourceRequest request = {.what = SOURCE_SEAL};

    if (line < 0 || source_is_sealed())
        return;
    send_request(&request);
    atomic_store(&sealed, true);
}

/* The answer to the question with that serial number; late ones to others are thrown away. False: errno. */
static bool receive(SourceReply *reply, int *ret_fd)
{
    gint64 deadline = clock_ms() + ANSWER_MS;

    for (;;) {
        struct pollfd input = {.fd = line, .events = POLLIN};
        auto_fd fd = -1;
        size_t count;
        int ready = poll(&input, 1, clock_poll_timeout(deadline));

        if (ready < 0 && errno == EINTR)
            continue;
        errno = ETIMEDOUT;
        if (ready <= 0)
            return false;
        ssize_t len = fd_receive(line, reply, sizeof *reply, &fd, 1, &count);
        if (len == 0)
            errno = EPIPE;
        if (len <= 0)
            return false;
        if ((size_t)len != sizeof *reply || reply->serial != serial)
            continue;
        *ret_fd = count == 1 ? fd_steal(&fd) : -1;
        return true;
    }
}

/* The lock is held. False: errno. */
static bool exchange(SourceWhat what, const char *path, SourceReply *reply, int *ret_fd)
{
    guint number = GPOINTER_TO_UINT(g_hash_table_lookup(numbers, path));
    const SourceRequest request = {.what = what, .serial = ++serial, .number = number - 1};

    errno = EPERM;
    if (number == 0)
        return false;
    errno = ETIMEDOUT;
    if (line < 0 || clock_ms() < not_before)
        return false;
    if (send_request(&request) && receive(reply, ret_fd))
        return true;
    int failure = errno;
    if (failure == ETIMEDOUT) {
        not_before = clock_ms() + PAUSE_MS;
    } else {
        log_warning("the master does not answer any more: tables that change are not read anew: %s",
                    g_strerror(failure));
        fd_clear(&line);
    }
    errno = failure;
    return false;
}

static bool ask(SourceWhat what, const char *path, struct stat *ret_status, int *ret_fd)
{
    SourceReply reply;

    pthread_mutex_lock(&lock);
    bool answered = exchange(what, path, &reply, ret_fd);
    pthread_mutex_unlock(&lock);
    if (!answered)
        return false;
    *ret_status = reply.status;
    errno = reply.failure;
    return reply.failure == 0;
}

bool source_stat(const char *path, struct stat *ret_status)
{
    auto_fd none = -1;

    if (source_is_sealed())
        return ask(SOURCE_STAT, path, ret_status, &none);
    tell(path);
    return stat(path, ret_status) == 0;
}

int source_open(const char *path)
{
    struct stat status;
    int fd = -1;

    if (source_is_sealed())
        return ask(SOURCE_OPEN, path, &status, &fd) ? fd : -1;
    tell(path);
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}
