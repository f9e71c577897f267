/* runner_serve.c - the runner's process: one thread, one loop. */
#include "base/fd.h"
#include "base/runner_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STRINGS_MAX (4 * 1024 * 1024) /* octets of arguments and environment */
#define FIRST_FD 3

typedef struct {
    pid_t pid; /* leader of its session and group */
    int socket;
    int report; /* gets an errno if the program cannot be started, and ends with exec() */
    char *path; /* of its private directory; NULL: none */
    int directory;
    bool abandoned; /* who asked for it is gone */
} Run;

typedef struct {
    const RunnerPlan *plan;
    int socket, signals;
    GPtrArray *runs; /* of Run* */
} Server;

static void run_free(gpointer data)
{
    Run *run = data;

    if (run->path)
        runner_copy_remove(run->path, run->directory);
    fd_clear(&run->socket);
    fd_clear(&run->report);
    fd_clear(&run->directory);
    g_free(run->path);
    g_free(run);
}

static void tell(const Run *run, RunnerResult result, int file)
{
    fd_send(run->socket, &result, sizeof result, &file, file >= 0 ? 1 : 0);
}

/* --- starting --- */

/* The strings' array, NULL-terminated, into text. False: they are not what the packet says. */
static bool split(char *text, size_t len, guint32 count, char **array, char **ret_rest)
{
    char *at = text, *end = text + len;

    for (guint32 i = 0; i < count; i++) {
        char *stop = memchr(at, '\0', (size_t)(end - at));
        if (!stop)
            return false;
        array[i] = at;
        at = stop + 1;
    }
    array[count] = NULL;
    *ret_rest = at;
    return true;
}

/* The one argument with RUNNER_FILE gets the path in its place. */
static void put_path(char **argv, const char *path)
{
    for (; *argv; argv++) {
        char *place = strchr(*argv, *RUNNER_FILE);
        if (!place)
            continue;
        *place = '\0';
        *argv = g_strdup_printf("%s%s/%s%s", *argv, path, RUNNER_FILE_NAME, place + 1); /* until exec() or exit() */
    }
}

/* Does not wait for exec(), which may hang on a file system that does: end_run() looks at the report. */
static int spawn(const Server *server, Run *run, RunnerStart *start)
{
    int report[2];

    if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
        return errno;
    run->report = report[0];
    run->pid = fork();
    if (run->pid == 0) {
        start->report = report[1];
        if (run->path)
            put_path(start->argv, run->path);
        runner_become(server->plan, start);
    }
    int failure = run->pid < 0 ? errno : 0;
    close(report[1]);
    return failure;
}

static int start_run(const Server *server, Run *run, const RunnerPacket *packet, const int *fds)
{
    const RunnerPlan *plan = server->plan;
    struct stat status;
    guint32 strings = packet->arguments + packet->variables;

    if (fstat(fds[RUNNER_STRINGS], &status) < 0 || status.st_size > STRINGS_MAX || packet->arguments == 0 ||
        packet->arguments > STRINGS_MAX || packet->variables > STRINGS_MAX || strings > status.st_size)
        return E2BIG;
    size_t len = (size_t)status.st_size;
    g_autofree char *text = g_malloc(len);
    g_autofree char **argv = g_new(char *, packet->arguments + 1);
    g_autofree char **environment = g_new(char *, packet->variables + 1);
    char *rest;
    if (!fd_pread_all(fds[RUNNER_STRINGS], text, len, 0) || !split(text, len, packet->arguments, argv, &rest) ||
        !split(rest, len - (size_t)(rest - text), packet->variables, environment, &rest))
        return EINVAL;
    run->directory = packet->with_file ? runner_copy_make(plan, fds[RUNNER_INPUT], &run->path)
                                       : open(plan->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->directory < 0)
        return errno;
    RunnerStart start = {.argv = argv,
                         .environment = environment,
                         .input = fds[RUNNER_INPUT],
                         .output = fds[RUNNER_OUTPUT],
                         .errors = fds[RUNNER_ERRORS],
                         .directory = run->directory,
                         .runner = getpid()};
    return spawn(server, run, &start);
}

/* False: nobody will ask any more. */
static bool take_request(Server *server)
{
    RunnerPacket packet;
    int fds[RUNNER_FDS];
    size_t count = 0;
    ssize_t len = fd_receive(server->socket, &packet, sizeof packet, fds, RUNNER_FDS, &count);

    if (len <= 0)
        return len < 0 && errno == EINTR;
    if (len != sizeof packet || count != RUNNER_FDS)
        return false;
    Run *run = g_new0(Run, 1);
    run->socket = fds[RUNNER_RUN];
    run->report = run->directory = -1;
    int failure = start_run(server, run, &packet, fds);
    for (int i = RUNNER_STRINGS; i < RUNNER_FDS; i++)
        close(fds[i]);
    if (failure) {
        tell(run, (RunnerResult){.kind = RUN_FAILED, .value = failure}, -1);
        run_free(run);
    } else {
        g_ptr_array_add(server->runs, run);
    }
    return true;
}

/* --- ending --- */

/* Its leader may not have made the group yet. */
static void kill_run(const Run *run)
{
    kill(run->pid, SIGKILL);
    kill(-run->pid, SIGKILL);
}

/* info: of its leader, which is not reaped yet, so that its group's number can be nobody else's. */
static void end_run(Server *server, Run *run, const siginfo_t *info)
{
    RunnerResult result = {.kind = info->si_code == CLD_EXITED ? RUN_EXITED : RUN_KILLED, .value = info->si_status};
    int failure;

    kill(-run->pid, SIGKILL); /* what it left in its group */
    if (read(run->report, &failure, sizeof failure) == sizeof failure)
        result = (RunnerResult){.kind = RUN_FAILED, .value = failure};
    auto_fd file = run->path ? runner_copy_open(run->directory) : -1;
    tell(run, result, file);
    g_ptr_array_remove_fast(server->runs, run);
}

static Run *find_run(const Server *server, pid_t pid)
{
    for (guint i = 0; i < server->runs->len; i++)
        if (((Run *)server->runs->pdata[i])->pid == pid)
            return server->runs->pdata[i];
    return NULL;
}

/* Processes whose parents are gone are ours; those in the session of a run that goes on may stay with it. */
static void kill_strays(const Server *server)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%d/children", (int)getpid());
    g_autofree char *children = NULL;

    if (!g_file_get_contents(path, &children, NULL, NULL))
        return;
    for (char *at = children;;) {
        char *end;
        pid_t pid = (pid_t)strtol(at, &end, 10);
        if (end == at)
            return;
        if (!find_run(server, pid) && !find_run(server, getsid(pid)))
            kill(pid, SIGKILL);
        at = end;
    }
}

static void reap(Server *server)
{
    struct signalfd_siginfo ignored;
    siginfo_t info = {0};

    while (read(server->signals, &ignored, sizeof ignored) > 0)
        ;
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
        Run *run = find_run(server, info.si_pid);
        if (run)
            end_run(server, run, &info);
        waitpid(info.si_pid, NULL, 0);
        info.si_pid = 0;
    }
    kill_strays(server);
}

static void kill_abandoned(Server *server, const struct pollfd *polls)
{
    for (guint i = 0; i < server->runs->len; i++) {
        Run *run = server->runs->pdata[i];
        if (polls[i].fd != run->socket || !polls[i].revents || run->abandoned)
            continue;
        run->abandoned = true; /* it is reaped like any other */
        kill_run(run);
    }
}

/* --- the loop --- */

/* No run goes on, so each is a stray: also what is in its session, but left its group. */
static void stop(Server *server)
{
    g_autoptr(GPtrArray) runs = g_steal_pointer(&server->runs);

    server->runs = g_ptr_array_new();
    for (guint i = 0; i < runs->len; i++)
        kill_run(runs->pdata[i]);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        kill_strays(server);
    g_ptr_array_set_size(runs, 0);
    _exit(0);
}

static void prepare(Server *server)
{
    sigset_t set;

    prctl(PR_SET_NAME, "runner");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigfillset(&set);
    sigdelset(&set, SIGKILL);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    server->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    server->runs = g_ptr_array_new_with_free_func(run_free);
    if (server->signals < 0)
        _exit(1);
}

/* The process that started us serves clients, holds locks, speaks with the master, and somebody may wait for the end of
 * its output: none of that is ours to keep open. */
static int close_all_but(int socket)
{
    if (socket != FIRST_FD && dup3(socket, FIRST_FD, O_CLOEXEC) < 0)
        _exit(1);
    close_range(FIRST_FD + 1, ~0U, 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < FIRST_FD; fd++)
        if (null < 0 || dup2(null, fd) < 0)
            _exit(1);
    close(null);
    return FIRST_FD;
}

void runner_serve(const RunnerPlan *plan, int socket)
{
    Server server = {.plan = plan, .socket = close_all_but(socket)};

    prepare(&server);
    runner_copy_sweep(plan);
    for (;;) {
        guint count = server.runs->len;
        g_autofree struct pollfd *polls = g_new0(struct pollfd, count + 2);
        for (guint i = 0; i < count; i++) {
            const Run *run = server.runs->pdata[i];
            polls[i] = (struct pollfd){.fd = run->abandoned ? -1 : run->socket, .events = POLLIN};
        }
        polls[count] = (struct pollfd){.fd = server.socket, .events = POLLIN};
        polls[count + 1] = (struct pollfd){.fd = server.signals, .events = POLLIN};
        if (poll(polls, count + 2, -1) < 0)
            continue;
        kill_abandoned(&server, polls);
        if (polls[count].revents && !take_request(&server))
            stop(&server);
        if (polls[count + 1].revents)
            reap(&server);
    }
}
