/* child.c - a process that is one mailbox user. */
#include "delivery/child.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/protection.h"
#include "delivery/frame.h"
#include "delivery/privileged_packet.h"
#include "delivery/virtual_private.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#define SOURCE_FD SERVICE_FD_LISTENERS /* the socket to the root part, in the child */

typedef struct {
    const VirtualOptions *options;
    AttemptOptions attempt;
} ChildState;

static void serve(void *data, Work *work)
{
    const ChildState *state = data;
    Attempt *attempt = attempt_new(&state->attempt, fd_steal(&work->connection), fd_steal(&work->message_fd),
                                   g_steal_pointer(&work->request));

    for (guint i = 0; attempt && i < attempt_count(attempt); i++) {
        if (work->mailbox[0] == '/')
            virtual_deliver_to(state->options, attempt, i, work->mailbox);
        else
            virtual_finish_without(attempt, i, work->mailbox[0] == '?' ? MAILBOX_UNKNOWN : MAILBOX_BAD_CONFIG);
    }
    attempt_free(attempt);
    work_free(work);
}

/* False: the root part is gone, or wants this process to end. */
static bool take_work(Pool *pool, char *buffer)
{
    int fds[2];
    size_t count;
    MailboxResult result;
    g_autofree char *path = NULL;
    ssize_t len = fd_receive(SOURCE_FD, buffer, PRIVILEGED_PACKET_MAX, fds, 2, &count);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (len <= 0)
        return false;
    Work *work = g_new0(Work, 1);
    *work = (Work){.connection = count > 0 ? fds[0] : -1, .message_fd = count > 1 ? fds[1] : -1};
    if (count == 2)
        work->request = privileged_packet_read(buffer, (size_t)len, &result, &path);
    if (!work->request) {
        log_warning("bad packet from the root part");
        work_free(work);
        return true;
    }
    work->mailbox = result == MAILBOX_FOUND ? g_steal_pointer(&path) : g_strdup(result == MAILBOX_UNKNOWN ? "?" : "!");
    pool_add(pool, work);
    return true;
}

static void run(Pool *pool)
{
    g_autofree char *buffer = g_malloc(PRIVILEGED_PACKET_MAX);
    bool more = true;

    while (more || pool_busy(pool) > 0) {
        struct pollfd set[2] = {{.fd = pool_event_fd(pool), .events = POLLIN},
                                {.fd = more && pool_has_room(pool) ? SOURCE_FD : -1, .events = POLLIN}};
        if (poll(set, 2, -1) < 0)
            continue;
        if (set[0].revents)
            pool_clear_event(pool);
        if (set[1].revents)
            more = take_work(pool, buffer);
    }
}

static bool become(uid_t uid, gid_t gid)
{
    return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0 &&
           geteuid() == uid && getegid() == gid && setuid(0) < 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* Of the parent's descriptors only standard ones, the log and the socket survive. */
static void close_others(const ServiceProcess *process, int source)
{
    closelog();
    if (source != SOURCE_FD)
        dup3(source, SOURCE_FD, O_CLOEXEC);
    close(SERVICE_FD_CONTROL);
    close(SERVICE_FD_PAGE);
    close(SERVICE_FD_SOURCE);
    close(SERVICE_FD_TICKETS);
    close_range(SOURCE_FD + 1, ~0U, 0);
    if (!process->log_host && process->log_facility)
        log_to_syslog(process->log_facility); /* its socket was one of those closed */
}

static int child_main(ServiceProcess *process, const ChildState *state, int source, uid_t uid, gid_t gid)
{
    g_autoptr(GError) error = NULL;
    PoolOptions options = {
        .threads_max = frame_threads(process), .serve = serve, .data = (void *)state, .page = process->page};

    close_others(process, source);
    if (!become(uid, gid)) {
        log_fatal("become user %u, group %u: %s", uid, gid, g_strerror(errno));
        return 1;
    }
#ifndef SANITIZED
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
    Pool *pool = protect_child(state->options->config, &role_virtual, &error) ? pool_new(&options, &error) : NULL;
    if (!pool) {
        log_fatal("%s", error->message);
        return 1;
    }
    run(pool);
    return 0;
}

VirtualChild *virtual_child_start(ServiceProcess *process, const VirtualOptions *options, int resolution, uid_t uid,
                                  gid_t gid, GError **error)
{
    const ChildState state = {options, {.program = "virtual", .resolution = resolution}};
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        fail_errno(error, "socketpair");
        return NULL;
    }
    pid_t pid = fork();
    if (pid == 0)
        _exit(child_main(process, &state, pair[1], uid, gid));
    close(pair[1]);
    if (pid < 0) {
        fail_errno(error, "fork");
        close(pair[0]);
        return NULL;
    }
    VirtualChild *child = g_new0(VirtualChild, 1);
    *child = (VirtualChild){.uid = uid, .gid = gid, .socket = pair[0], .pid = pid, .used_ms = clock_ms()};
    return child;
}

void virtual_child_dismiss(VirtualChild *child)
{
    fd_clear(&child->socket);
}

void virtual_child_free(VirtualChild *child)
{
    if (!child)
        return;
    virtual_child_dismiss(child);
    g_free(child);
}
