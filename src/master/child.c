/* child.c - one service process, seen from the master. */
#include "master/child.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_HIGH 256 /* descriptors are copied up here first, so that none is overwritten before it was moved */

/* In the new process, between fork() and exec: nothing here may fail silently, or allocate for long. */
G_GNUC_NORETURN static void become_service(const int *fds, int count, char **argv)
{
    int high[SERVICE_FD_LISTENERS + SERVICE_LISTENERS_MAX];
    sigset_t none;

    for (int i = 0; i < count; i++)
        if ((high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_HIGH)) < 0)
            _exit(126);
    for (int i = 0; i < count; i++)
        if (dup2(high[i], SERVICE_FD_CONTROL + i) < 0)
            _exit(126);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        _exit(126);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    execv("/proc/self/exe", argv);
    _exit(127);
}

static const char *type_name(ServiceType type)
{
    static const char *const names[] = {[SERVICE_INET] = "inet",
                                        [SERVICE_UNIX] = "unix",
                                        [SERVICE_UNIX_DGRAM] = "unix-dgram",
                                        [SERVICE_FIFO] = "fifo",
                                        [SERVICE_PASS] = "pass"};
    return names[type];
}

static GPtrArray *make_argv(const ChildContext *context, const PlanService *service, const Listeners *listeners,
                            guint32 generation, int row)
{
    const Service *line = service->line;
    g_autoptr(GPtrArray) overrides = plan_overrides(context->plan, line);
    const ServiceProcess process = {
        .config_dir = context->plan->config_dir,
        .command = (char *)(service->program->runs ? service->program->runs : service->program->command),
        .name = line->name,
        .type = (char *)type_name(line->type),
        .identity = line->identity,
        .overrides = overrides,
        .arguments = line->arguments,
        .maxproc = line->maxproc,
        .wakeup = line->wakeup,
        .may_stress = service->program->kind == PROGRAM_SERVER && !listeners->confined && line->maxproc > 1,
        .unprivileged = line->unprivileged,
        .chroot = line->chroot,
        .generation = generation,
        .listeners = listeners->fds,
        .syslog_name = service->syslog_name,
        .log_host = context->log->host,
        .log_facility = context->log->facility,
        .verbose = line->verbose,
        .terminal = context->terminal,
        .row_number = row,
    };
    return service_process_argv(&process);
}

Child *child_start(const ChildContext *context, const PlanService *service, const Listeners *listeners,
                   guint32 generation, GError **error)
{
    int ends[2], source_ends[2], fds[SERVICE_FD_LISTENERS + SERVICE_LISTENERS_MAX], count = 0;
    int row = page_take_row(context->page, page_service_id(service->line->identity), generation);

    if (row < 0) {
        fail(error, "more than %d processes", PAGE_ROWS);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        fail_errno(error, "socketpair");
        page_clear_row(context->page, row);
        return NULL;
    }
    auto_fd control = ends[0], theirs = ends[1];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, source_ends) < 0) {
        fail_errno(error, "socketpair");
        page_clear_row(context->page, row);
        return NULL;
    }
    auto_fd source = source_ends[0], their_source = source_ends[1];
    auto_fd null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    g_autoptr(GPtrArray) argv = make_argv(context, service, listeners, generation, row);
    fd_set_nonblock(control, true);
    fds[count++] = theirs;
    fds[count++] = context->page_fd;
    fds[count++] = context->log->fd >= 0 ? context->log->fd : null;
    fds[count++] = their_source;
    fds[count++] = strcmp(service->program->command, "smtpd") == 0 ? context->tickets_fd : null;
    for (guint i = 0; i < listeners->fds->len; i++)
        fds[count++] = g_array_index(listeners->fds, int, i);
    pid_t pid = fork();
    if (pid < 0) {
        fail_errno(error, "fork");
        page_clear_row(context->page, row);
        return NULL;
    }
    if (pid == 0)
        become_service(fds, count, (char **)argv->pdata);

    Child *child = g_new0(Child, 1);
    child->pid = pid;
    child->control = fd_steal(&control);
    child->source = source_server_new(fd_steal(&source), service->line->name);
    child->row = row;
    child->generation = generation;
    child->identity = g_strdup(service->line->identity);
    child->path =
        g_build_filename(config_string(context->plan->config, "daemon_directory"), service->line->command, NULL);
    child->program = service->program;
    child->kill_at = CLOCK_NEVER;
    context->page->rows[row].pid = pid;
    return child;
}

void child_bury(Child *child, Page *page)
{
    page_clear_row(page, child->row);
    fd_clear(&child->control);
    source_server_free(child->source);
    g_free(child->identity);
    g_free(child->path);
    g_free(child);
}

void child_hear(Child *child)
{
    char message;
    size_t count;

    if (child->control < 0)
        return;
    ssize_t len = fd_receive(child->control, &message, 1, NULL, 0, &count);
    if (len < 0 && errno == EAGAIN)
        return;
    if (len <= 0) { /* SIGCHLD tells the rest */
        fd_clear(&child->control);
        return;
    }
    if (!child->ready)
        child->ready_at = clock_ms();
    child->ready = true; /* there is no other message */
}

void child_tell(Child *child, ServiceOrder order, gint64 now)
{
    g_assert(order == SERVICE_ORDER_DRAIN || order == SERVICE_ORDER_OLDEST || order == SERVICE_ORDER_STOP);
    if (child->told >= order) /* they stand in the order of their strength */
        return;
    child->told = order;
    if (order == SERVICE_ORDER_STOP)
        child->kill_at = now + CHILD_STOP_MS;
    if (child->control >= 0 && !service_send_order(child->control, order) && errno == EAGAIN)
        child->kill_at = now; /* a socket that is full of orders: nobody is listening there */
}

void child_kill(Child *child)
{
    if (!child->killed)
        kill(child->pid, SIGKILL);
    child->killed = true;
}
