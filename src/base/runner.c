/* runner.c - the side that asks. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/runner_private.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUPS_MAX 64

struct Runner {
    int socket;
    pid_t pid;
};

static void plan_clear(RunnerPlan *plan)
{
    g_free(plan->program);
    g_free(plan->directory);
    g_free(plan->groups);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RunnerPlan, plan_clear)

static bool plan_user(RunnerPlan *plan, const char *name, const char *group_name, GError **error)
{
    const struct passwd *user = getpwnam(name);

    if (!user)
        return fail(error, "unknown user \"%s\"", name);
    if (user->pw_uid == geteuid())
        return true;
    if (geteuid() != 0)
        return fail(error, "user \"%s\": only root can start a program as another user", name);
    plan->change_user = true;
    plan->uid = user->pw_uid;
    plan->gid = user->pw_gid;
    plan->groups = g_new(gid_t, GROUPS_MAX);
    if (group_name) {
        const struct group *group = getgrnam(group_name);
        if (!group)
            return fail(error, "unknown group \"%s\"", group_name);
        plan->gid = plan->groups[0] = group->gr_gid;
        plan->group_count = 1;
        return true;
    }
    plan->group_count = GROUPS_MAX;
    if (getgrouplist(name, user->pw_gid, plan->groups, &plan->group_count) < 0)
        return fail(error, "user \"%s\" is in more than %d groups", name, GROUPS_MAX);
    return true;
}

static bool plan_new(RunnerPlan *plan, const RunnerProgram *program, GError **error)
{
    plan->program = g_strdup(program->program);
    plan->directory = g_strdup(program->directory);
    plan->memory_limit = program->memory_limit;
    plan->cpu_limit = program->cpu_limit;
    if (program->program[0] != '/')
        return fail(error, "\"%s\" is no absolute path of a program", program->program);
    if (access(program->program, X_OK) < 0)
        return fail_errno(error, "program %s", program->program);
    return !program->user || plan_user(plan, program->user, program->group, error);
}

Runner *runner_start(const RunnerProgram *program, GError **error)
{
    g_auto(RunnerPlan) plan = {0};
    int ends[2];

    if (!plan_new(&plan, program, error))
        return NULL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        fail_errno(error, "socketpair");
        return NULL;
    }
    pid_t pid = fork();
    if (pid < 0) {
        fail_errno(error, "fork");
        close(ends[0]);
        close(ends[1]);
        return NULL;
    }
    if (pid == 0)
        runner_serve(&plan, ends[1]);
    close(ends[1]);
    fd_set_nonblock(ends[0], true);
    Runner *runner = g_new0(Runner, 1);
    runner->socket = ends[0];
    runner->pid = pid;
    return runner;
}

void runner_stop(Runner *runner)
{
    if (!runner)
        return;
    close(runner->socket);
    waitpid(runner->pid, NULL, 0);
    g_free(runner);
}

int runner_descriptor(const Runner *runner)
{
    return runner->socket;
}

/* --- asking --- */

static bool add_strings(int file, char **strings)
{
    for (; *strings; strings++)
        if (!fd_write_all(file, *strings, strlen(*strings) + 1))
            return false;
    return true;
}

static bool ask(const Runner *runner, const RunnerPacket *packet, const int *fds, gint64 deadline)
{
    struct pollfd room = {.fd = runner->socket, .events = POLLOUT};

    while (!fd_send(runner->socket, packet, sizeof *packet, fds, RUNNER_FDS)) {
        if (errno != EAGAIN)
            return false;
        int timeout = clock_poll_timeout(deadline);
        if (timeout == 0 || (poll(&room, 1, timeout) < 0 && errno != EINTR)) {
            errno = ETIMEDOUT;
            return false;
        }
    }
    return true;
}

int runner_begin(Runner *runner, const RunnerRequest *request, gint64 deadline, GError **error)
{
    RunnerPacket packet = {.arguments = g_strv_length(request->argv),
                           .variables = g_strv_length(request->environment),
                           .with_file = request->with_file};
    auto_fd strings = memfd_create("run", MFD_CLOEXEC);
    int ends[2];

    if (strings < 0 || !add_strings(strings, request->argv) || !add_strings(strings, request->environment) ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        fail_errno(error, "arguments of a program");
        return -1;
    }
    auto_fd ours = ends[0], theirs = ends[1];
    int fds[RUNNER_FDS] = {[RUNNER_RUN] = theirs,
                           [RUNNER_STRINGS] = strings,
                           [RUNNER_INPUT] = request->input,
                           [RUNNER_OUTPUT] = request->output,
                           [RUNNER_ERRORS] = request->errors};
    if (!ask(runner, &packet, fds, deadline)) {
        fail_errno(error, "runner");
        return -1;
    }
    return fd_steal(&ours);
}

bool runner_finish(int run, RunnerResult *ret, int *ret_file, GError **error)
{
    size_t count = 0;
    int file = -1;
    ssize_t len = fd_receive(run, ret, sizeof *ret, &file, 1, &count);

    close(run);
    if (ret_file)
        *ret_file = count > 0 ? file : -1;
    else if (count > 0)
        close(file);
    return len == sizeof *ret || fail(error, "the runner is gone");
}
