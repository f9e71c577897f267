/* start.c - start and start-fg. */
#include "base/fd.h"
#include "base/log.h"
#include "cli/control.h"
#include "master/master.h"
#include "master/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* All that can be found out before anything is changed. NULL: said why. */
static Control *prepare(const char *config_dir)
{
    g_autoptr(Control) control = control_open(config_dir, CONTROL_LOG_NEEDED);
    g_autoptr(GError) error = NULL;
    Owner owner;
    bool ours;

    if (!control)
        return NULL;
    pid_t pid = control_find_master(control, &ours);
    if (pid > 0)
        log_fatal("the Postfix mail system is already running");
    if (pid != 0)
        return NULL;
    if (!control_read(control, true))
        return NULL;
    if (!owner_find(control->plan->config, &owner, &error)) {
        log_fatal("%s", error->message);
        return NULL;
    }
    check_warn(control->plan);
    log_info("starting the Postfix mail system");
    return g_steal_pointer(&control);
}

static int run_master(Control *control, const MasterOptions *options)
{
    return master_run(g_steal_pointer(&control->plan), &control->log, options);
}

int start_fg_command(const char *config_dir)
{
    const MasterOptions options = {.notify_fd = -1};
    g_autoptr(Control) control = prepare(config_dir);

    return control ? run_master(control, &options) : 1;
}

/* The master is the new process; this one waits to hear that it is ready. */
static int wait_until_ready(pid_t pid, int notified)
{
    char ready;
    ssize_t count;
    int status;

    do
        count = read(notified, &ready, 1);
    while (count < 0 && errno == EINTR);
    if (count == 1)
        return 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    log_fatal("mail system startup failed");
    return 1;
}

int start_command(const char *config_dir)
{
    g_autoptr(Control) control = prepare(config_dir);
    int ends[2];

    if (!control)
        return 1;
    if (control->log.stdout_) {
        log_to_stderr();
        log_fatal("maillog_file = /dev/stdout is for start-fg: a mail system in the background has none");
        return 1;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        log_fatal("pipe: %s", g_strerror(errno));
        return 1;
    }
    auto_fd notified = ends[0], notify = ends[1];
    pid_t pid = fork();
    if (pid < 0) {
        log_fatal("fork: %s", g_strerror(errno));
        return 1;
    }
    if (pid == 0) {
        const MasterOptions options = {.detached = true, .notify_fd = fd_steal(&notify)};

        fd_clear(&notified);
        setsid();
        return run_master(control, &options);
    }
    fd_clear(&notify);
    return wait_until_ready(pid, notified);
}
