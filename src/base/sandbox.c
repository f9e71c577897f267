/* sandbox.c - seccomp, by libseccomp. Landlock's half is in sandbox_files.c. */
#include "base/sandbox.h"
#include "base/fail.h"
#include "base/sandbox_calls.h"
#include "base/sandbox_files.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_SECCOMP /* si_code of such a signal; glibc's headers have it not yet */
#define SYS_SECCOMP 1
#endif
#define NAMESPACES                                                                                                     \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* Families of sockets: ours, and that by which the system's resolver sees which addresses the machine has. */
static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

static _Atomic gint32 *report;

/* The call was not made. Whoever looks after us reads its number; then the signal ends the process after all. */
static void refused(int number, siginfo_t *info, void *context)
{
    if (report && info->si_code == SYS_SECCOMP)
        *report = info->si_syscall + 1;
    signal(number, SIG_DFL); /* only now: another thread may be as far */
    raise(number);
}

static bool catch_refusals(_Atomic gint32 *where, GError **error)
{
    const struct sigaction action = {.sa_sigaction = refused, .sa_flags = SA_SIGINFO | SA_NODEFER};

    report = where;
    return sigaction(SIGSYS, &action, NULL) == 0 || fail_errno(error, "sigaction");
}

static bool add(scmp_filter_ctx filter, uint32_t action, const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    int code = number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, action, number, 0);

    return code == 0 || code == -EDOM; /* another machine's */
}

static bool add_all(scmp_filter_ctx filter, uint32_t action, const char *const *names)
{
    bool done = true;

    for (; *names; names++)
        done &= add(filter, action, *names);
    return done;
}

/* glibc falls back on clone(), whose flags can be looked at. */
static bool hide_clone3(scmp_filter_ctx filter)
{
    int number = seccomp_syscall_resolve_name("clone3");

    return number == __NR_SCMP_ERROR || seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0) == 0;
}

static bool may_fork(SandboxCalls calls)
{
#ifdef SANITIZED /* LeakSanitizer forks itself to look */
    return true;
#else
    return calls & SANDBOX_FORKS;
#endif
}

static bool deny_clone(scmp_filter_ctx filter, uint32_t action, SandboxCalls calls)
{
    int number = SCMP_SYS(clone);
    bool done = hide_clone3(filter);

    for (unsigned bit = 0; bit < 32; bit++)
        if (NAMESPACES & (1U << bit))
            done &= seccomp_rule_add(filter, action, number, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, 1U << bit, 1U << bit)) == 0;
    if (!may_fork(calls)) {
        done &= add_all(filter, action, sandbox_denied_forks);
        done &= seccomp_rule_add(filter, action, number, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)) == 0;
    }
    return done;
}

static bool is_family(int family)
{
    for (size_t i = 0; i < G_N_ELEMENTS(families); i++)
        if (families[i] == family)
            return true;
    return false;
}

static bool deny_families(scmp_filter_ctx filter, uint32_t action)
{
    const int highest = AF_NETLINK;
    bool done = seccomp_rule_add(filter, action, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GT, (scmp_datum_t)highest)) == 0;

    for (int family = 0; family <= highest; family++)
        if (!is_family(family))
            done &=
                seccomp_rule_add(filter, action, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family)) == 0;
    return done;
}

static bool add_deny_list(scmp_filter_ctx filter, SandboxCalls calls)
{
    uint32_t action = SCMP_ACT_ERRNO(EPERM);
    bool done = true;

    for (const char *const *name = sandbox_denied; *name; name++) {
#ifdef SANITIZED /* LeakSanitizer */
        if (strcmp(*name, "ptrace") == 0)
            continue;
#endif
        done &= add(filter, action, *name);
    }
    if (!(calls & SANDBOX_BECOMES))
        done &= add_all(filter, action, sandbox_denied_users);
    return done && deny_clone(filter, action, calls) && deny_families(filter, action);
}

static bool add_allow_list(scmp_filter_ctx filter, SandboxCalls calls)
{
    bool done = add_all(filter, SCMP_ACT_ALLOW, sandbox_allowed_common) && hide_clone3(filter);

    for (size_t i = 0; i < sandbox_group_count; i++)
        if (calls & sandbox_groups[i].calls)
            done &= add_all(filter, SCMP_ACT_ALLOW, sandbox_groups[i].names);
    for (size_t i = 0; i < G_N_ELEMENTS(families); i++)
        done &= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i])) == 0;
    return done && seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                    SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | NAMESPACES, CLONE_THREAD)) == 0;
}

static bool load(SandboxMode mode, SandboxCalls calls, GError **error)
{
#ifdef SANITIZED /* nobody knows what they call */
    bool allows = false;
#else
    bool allows = mode == SANDBOX_ALLOW_LIST;
#endif
    scmp_filter_ctx filter = seccomp_init(allows ? SCMP_ACT_TRAP : SCMP_ACT_ALLOW);
    bool built = filter && (allows ? add_allow_list(filter, calls) : add_deny_list(filter, calls));

    if (!built) {
        seccomp_release(filter);
        return fail(error, "seccomp: cannot make the list of system calls");
    }
    /* In a tree, not in a row: a call costs a handful of comparisons, however many are listed. */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    int code = seccomp_load(filter);
    seccomp_release(filter);
    errno = -code;
    return code == 0 || fail_errno(error, "seccomp (service_sandbox = off does without)");
}

bool sandbox_enter(SandboxMode mode, SandboxCalls calls, _Atomic gint32 *where, GError **error)
{
    tzset(); /* reads a file */
    if (mode == SANDBOX_OFF) {
        sandbox_forget();
        return true;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail_errno(error, "PR_SET_NO_NEW_PRIVS");
    return sandbox_files_enter(error) && catch_refusals(where, error) && load(mode, calls, error);
}

bool sandbox_enter_as_root(SandboxMode mode, SandboxCalls calls, GError **error)
{
    if (mode == SANDBOX_OFF)
        return true;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail_errno(error, "PR_SET_NO_NEW_PRIVS");
    return load(SANDBOX_DENY_LIST, calls, error);
}

bool sandbox_mode_from_text(const char *text, SandboxMode *ret_mode)
{
    static const char *const names[] = {
        [SANDBOX_OFF] = "off", [SANDBOX_DENY_LIST] = "deny-list", [SANDBOX_ALLOW_LIST] = "allow-list"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(names[i], text) == 0) {
            *ret_mode = (SandboxMode)i;
            return true;
        }
    return false;
}

char *sandbox_call_name(int number)
{
    char *found = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    char *name = found ? g_strdup(found) : g_strdup_printf("%d", number);

    free(found);
    return name;
}
