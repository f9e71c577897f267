/* runner_child.c - from the runner's process to the program. */
#include "base/runner_private.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static bool limit(int resource, guint64 value)
{
    struct rlimit limits = {.rlim_cur = value, .rlim_max = value};

    return setrlimit(resource, &limits) == 0;
}

static bool set_limits(const RunnerPlan *plan)
{
    return limit(RLIMIT_CORE, 0) && (plan->memory_limit == 0 || limit(RLIMIT_AS, plan->memory_limit)) &&
           (plan->cpu_limit == 0 || limit(RLIMIT_CPU, plan->cpu_limit));
}

static bool change_user(const RunnerPlan *plan)
{
    if (!plan->change_user)
        return true;
    return setgroups((size_t)plan->group_count, plan->groups) == 0 && setresgid(plan->gid, plan->gid, plan->gid) == 0 &&
           setresuid(plan->uid, plan->uid, plan->uid) == 0;
}

/* Our copies are above the standard ones, so no dup2() takes another's place. */
static bool set_descriptors(const RunnerStart *start)
{
    return dup2(start->input, STDIN_FILENO) >= 0 && dup2(start->output, STDOUT_FILENO) >= 0 &&
           dup2(start->errors, STDERR_FILENO) >= 0;
}

/* A runner that is killed kills nobody any more: the kernel does it. Reset by any change of user before. */
static bool end_with(pid_t runner)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == runner;
}

static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void runner_become(const RunnerPlan *plan, const RunnerStart *start)
{
    reset_signals();
    umask(077);
    /* The directory is entered as the user: no run looks into what is not its own. */
    if (setsid() >= 0 && set_descriptors(start) && set_limits(plan) && change_user(plan) &&
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && end_with(start->runner) && fchdir(start->directory) == 0)
        execve(plan->program, start->argv, start->environment);
    int failure = errno;
    if (write(start->report, &failure, sizeof failure) < 0)
        _exit(126);
    _exit(127);
}
