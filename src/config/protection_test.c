/* Every role tries, in each mode, what it must not be able to do, and what it must. Each attempt is a process of its
 * own, which ends with the errno of what it tried: 0 when that was possible. */
#include "config/protection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const Role *const roles[] = {&role_smtpd, &role_filter,  &role_spawn, &role_qmgr,
                                    &role_smtp,  &role_virtual, &role_error};
static const char *const modes[] = {"off", "deny-list", "allow-list"};

static char directory[] = "/tmp/protection_test.XXXXXX";
static const char *owner = "nobody";
static guint16 strange_port, known_port;
static _Atomic gint32 *refused; /* shared with the children */

static int listen_somewhere(guint16 *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1000), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void make_directory(const char *name, mode_t mode)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    const struct passwd *user = getpwnam(owner);

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, mode), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(path, user->pw_uid, user->pw_gid), 0);
}

static int set_up(void **state)
{
    static const char *const names[] = {"queue", "queue/gatepost", "data", "data/quarantine", "mail"};

    assert_non_null(mkdtemp(directory));
    assert_int_equal(chmod(directory, 0755), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        make_directory(names[i], 0755);
    make_directory("outside", 0777);
    listen_somewhere(&strange_port);
    listen_somewhere(&known_port);
    refused = mmap(NULL, sizeof *refused, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return refused == MAP_FAILED ? -1 : 0;
}

static int tear_down(void **state)
{
    g_autofree char *command = g_strdup_printf("rm -rf %s", directory);

    return system(command);
}

static Config *view(const char *mode)
{
    g_autofree char *path = g_build_filename(directory, "main.cf", NULL);
    g_autofree char *text = g_strdup_printf("compatibility_level = 3.6\nqueue_directory = %s/queue\n"
                                            "data_directory = %s/data\nvirtual_mailbox_base = %s/mail\n"
                                            "mail_owner = %s\nservice_sandbox = %s\n",
                                            directory, directory, directory, owner, mode);
    const ConfigScope scope = {.process_name = "smtpd", .stress = ""};
    g_autoptr(GError) error = NULL;

    assert_true(g_file_set_contents(path, text, -1, NULL));
    g_autoptr(MainCf) main_cf = main_cf_read(directory, &error);
    Config *config = main_cf ? config_new(main_cf, &scope, &error) : NULL;
    if (!config)
        fail_msg("%s", error->message);
    return config;
}

/* ---- What is tried ---- */

static int errno_unless(bool done)
{
    return done ? 0 : errno;
}

static int try_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return errno;
}

static int try_fork(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return errno_unless(pid > 0);
}

static int try_trace(void)
{
    return errno_unless(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
}

static int try_personality(void)
{
    return errno_unless(personality(0xffffffff) >= 0);
}

static int try_connect(guint16 port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    return errno_unless(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0);
}

static int try_strange_port(void)
{
    return try_connect(strange_port);
}

static int try_known_port(void)
{
    return try_connect(known_port);
}

static int try_reading(void)
{
    return errno_unless(open("/etc/passwd", O_RDONLY) >= 0);
}

static int try_creating(const char *below)
{
    g_autofree char *path = g_build_filename(directory, below, "fresh", NULL);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    int result = errno_unless(fd >= 0);

    unlink(path);
    return result;
}

static int try_writing(void)
{
    return try_creating("outside");
}

static int try_listing(void)
{
    return errno_unless(open("/", O_RDONLY | O_DIRECTORY) >= 0);
}

static int try_null(void)
{
    return errno_unless(open("/dev/null", O_RDWR) >= 0);
}

static void *nothing(void *data)
{
    return data;
}

static int try_thread(void)
{
    pthread_t thread;
    int failure = pthread_create(&thread, NULL, nothing, NULL);

    return failure ? failure : pthread_join(thread, NULL);
}

/* Whatever the mode. */
static int try_privileges(void)
{
    struct rlimit core = {1, 1};
    bool none = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && prctl(PR_GET_DUMPABLE) == 0 &&
                getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 && getuid() != 0 && geteuid() != 0;

    for (int capability = 0; none && prctl(PR_CAPBSET_READ, capability) >= 0 && capability < 64; capability++)
        none = prctl(PR_CAPBSET_READ, capability) == 0;
    return none ? 0 : EPERM;
}

/* ---- */

typedef int Attempt(void);

/* The errno, or a signal's number and 1000. */
static int outcome(const Config *config, const Role *role, Attempt *attempt)
{
    int status;

    *refused = 0;
    pid_t pid = fork();
    if (pid == 0) {
        ServiceProcess process = {.row = g_new0(PageRow, 1)};
        g_autoptr(GError) error = NULL;

        sandbox_will_connect(known_port);
        if (!protect(&process, config, role, &error)) {
            g_printerr("%s\n", error->message);
            _exit(255);
        }
        _exit(attempt());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool is_root(void)
{
    return geteuid() == 0;
}

static void expect(const Role *role, const char *mode, const char *what, int got, int wanted)
{
    if (got != wanted)
        fail_msg("%s, %s: %s: %d (%s), not %d", role->name, mode, what, got, got < 1000 ? g_strerror(got) : "signal",
                 wanted);
}

/* What must be impossible but without a sandbox. */
static void forbidden(const char *what, Attempt *attempt, int denied, int killed, const Role *exempt)
{
    for (size_t m = 0; m < G_N_ELEMENTS(modes); m++) {
        g_autoptr(Config) config = view(modes[m]);
        const int wanted[] = {0, denied, killed};
        for (size_t r = 0; r < G_N_ELEMENTS(roles); r++)
            expect(roles[r], modes[m], what, outcome(config, roles[r], attempt), roles[r] == exempt ? 0 : wanted[m]);
    }
}

static void possible(const char *what, Attempt *attempt)
{
    for (size_t m = 0; m < G_N_ELEMENTS(modes); m++) {
        g_autoptr(Config) config = view(modes[m]);
        for (size_t r = 0; r < G_N_ELEMENTS(roles); r++)
            expect(roles[r], modes[m], what, outcome(config, roles[r], attempt), 0);
    }
}

/* Who looks at its process from outside is not fenced in: base/sandbox.h. */
static void need_fence(void)
{
#ifdef SANITIZED
    skip();
#endif
}

static void need_landlock(int version)
{
    need_fence();
    if (sandbox_landlock_version() >= version)
        return;
    print_message("this kernel's Landlock is %d: %d is needed\n", sandbox_landlock_version(), version);
    skip();
}

static void nobody_starts_programs(void **state)
{
    need_fence();
    forbidden("exec", try_exec, EPERM, 1000 + SIGSYS, NULL);
}

static void nobody_makes_processes(void **state)
{
    need_fence();
    forbidden("fork", try_fork, EPERM, 1000 + SIGSYS, NULL);
}

static void nobody_looks_into_others(void **state)
{
    need_fence();
    forbidden("ptrace", try_trace, EPERM, 1000 + SIGSYS, NULL);
    forbidden("personality", try_personality, EPERM, 1000 + SIGSYS, NULL);
}

static void nobody_connects_elsewhere(void **state)
{
    need_landlock(4);
    forbidden("connect to a strange port", try_strange_port, EACCES, EACCES, &role_smtp);
    possible("connect to a known port", try_known_port);
}

static void nobody_reads_elsewhere(void **state)
{
    need_landlock(2);
    forbidden("read /etc/passwd", try_reading, EACCES, EACCES, NULL);
    forbidden("list /", try_listing, EACCES, EACCES, NULL);
}

static void nobody_writes_elsewhere(void **state)
{
    need_landlock(2);
    for (size_t m = 0; m < G_N_ELEMENTS(modes); m++) {
        g_autoptr(Config) config = view(modes[m]);
        for (size_t r = 0; r < G_N_ELEMENTS(roles); r++) {
            int got = outcome(config, roles[r], try_writing);
            int wanted = m == 0 ? 0 : EACCES;
            if (m == 2 && got == 1000 + SIGSYS && !(roles[r]->calls & SANDBOX_FILES))
                continue; /* the attempt also cleans up, which such a role does not */
            expect(roles[r], modes[m], "make a file elsewhere", got, wanted);
        }
    }
}

static int try_own_file(void)
{
    return try_creating("queue/gatepost");
}

static int try_mailbox(void)
{
    return try_creating("mail");
}

static int try_quarantine(void)
{
    return try_creating("data/quarantine");
}

static void own_directories_can_be_written_to(void **state)
{
    static const struct {
        const Role *role;
        Attempt *attempt;
    } cases[] = {{&role_smtpd, try_own_file},
                 {&role_filter, try_own_file},
                 {&role_filter, try_quarantine},
                 {&role_qmgr, try_own_file},
                 {&role_virtual, try_mailbox}};

    for (size_t m = 0; m < G_N_ELEMENTS(modes); m++) {
        g_autoptr(Config) config = view(modes[m]);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
            expect(cases[i].role, modes[m], "make a file", outcome(config, cases[i].role, cases[i].attempt), 0);
    }
}

static void nobody_reaches_another_roles_files(void **state)
{
    need_landlock(2);
    g_autoptr(Config) config = view("deny-list");
    expect(&role_virtual, "deny-list", "the queue", outcome(config, &role_virtual, try_own_file), EACCES);
    expect(&role_smtpd, "deny-list", "mailboxes", outcome(config, &role_smtpd, try_mailbox), EACCES);
    expect(&role_smtpd, "deny-list", "the quarantine", outcome(config, &role_smtpd, try_quarantine), EACCES);
    expect(&role_qmgr, "deny-list", "mailboxes", outcome(config, &role_qmgr, try_mailbox), EACCES);
}

static void threads_and_null_are_for_everybody(void **state)
{
    possible("a thread", try_thread);
    possible("/dev/null", try_null);
}

static void privileges_are_gone(void **state)
{
    need_fence();
    if (!is_root())
        skip();
    possible("no privileges", try_privileges);
}

static void the_call_that_ended_a_process_is_told(void **state)
{
    int status;

    need_fence();
    pid_t pid = fork();
    *refused = 0;
    if (pid == 0) {
        if (!sandbox_enter(SANDBOX_ALLOW_LIST, 0, refused, NULL))
            _exit(255);
        _exit(try_personality());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
    g_autofree char *name = sandbox_call_name(*refused - 1);
    assert_string_equal(name, "personality");
    g_autofree char *unknown = sandbox_call_name(99999);
    assert_string_equal(unknown, "99999");
}

/* A part that stays root makes children that are other users; programs it does not start. */
static void a_root_part_becomes_others(void **state)
{
    int status;

    need_fence();
    if (!is_root())
        skip();
    g_autoptr(Config) config = view("allow-list");
    pid_t pid = fork();
    if (pid == 0) {
        const struct passwd *user = getpwnam(owner);
        if (!protect_root_part(config, NULL) || unshare(CLONE_NEWNS) == 0 || try_exec() != EPERM || try_fork() != 0 ||
            setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0 || !protect_child(config, &role_virtual, NULL))
            _exit(1);
        _exit(try_mailbox());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- older kernels ---- */

static int landlock; /* the version that the kernel shall have; below 0: the errno of its calls; 0: what it has */

/* What a kernel of that version knows of the rules, as in linux/landlock.h of the time. */
static bool is_known(const void *attributes, size_t size)
{
    static const uint64_t files[] = {0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff};
    const uint64_t *words = attributes;
    size_t words_known = landlock < 4 ? 1 : landlock < 6 ? 2 : 3;

    return size == words_known * sizeof *words && !(words[0] & ~files[MIN(landlock, 5)]);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long words[6];
    va_list args;

    va_start(args, number);
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        words[i] = va_arg(args, long);
    va_end(args);
    bool creates = number == 444; /* landlock_create_ruleset, landlock_add_rule, landlock_restrict_self */
    bool asks = creates && words[2] == 1;
    if (landlock > 0 && asks)
        return landlock;
    bool is_landlock = number >= 444 && number <= 446;
    bool is_wrong = creates && landlock > 0 && !is_known((const void *)words[0], (size_t)words[1]);
    if (is_landlock && (landlock < 0 || is_wrong)) {
        errno = landlock < 0 ? -landlock : EINVAL;
        return -1;
    }
    return __real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

static void what_a_kernel_knows_is_used(void **state)
{
    static const struct {
        int landlock;
        bool files, ports;
        const char *lacks, *told;
    } cases[] = {
        {-ENOSYS, false, false, "this kernel has no Landlock *", "*, no Landlock"},
        {-EOPNOTSUPP, false, false, "this kernel has no Landlock *", "*, no Landlock"},
        {1, false, false, "this kernel has no Landlock *", "*, no Landlock"},
        {2, true, false, "*(2) cannot forbid: truncating files, TCP ports, signals *", "*, Landlock 2 (files)"},
        {3, true, false, "*(3) cannot forbid: TCP ports, signals *", "*, Landlock 3 (files)"},
        {4, true, true, "*(4) cannot forbid: signals *", "*, Landlock 4 (files, TCP ports)"},
        {5, true, true, "*(5) cannot forbid: signals *", "*, Landlock 5 (files, TCP ports)"},
        {6, true, true, NULL, "*, Landlock 6 (files, TCP ports, signals)"},
        {7, true, true, NULL, "*, Landlock 7 (files, TCP ports, signals)"},
        {99, true, true, NULL, "*, Landlock 99 (files, TCP ports, signals)"},
    };

    need_landlock(6);
    g_autoptr(Config) config = view("deny-list");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        landlock = cases[i].landlock;
        g_autofree char *lacks = sandbox_lacks(), *told = protection_text(config);
        g_autofree char *what = g_strdup_printf("Landlock %d", landlock);
        if (!cases[i].lacks != !lacks || (lacks && !g_pattern_match_simple(cases[i].lacks, lacks)) ||
            !g_pattern_match_simple(cases[i].told, told))
            fail_msg("%s: %s; %s", what, lacks, told);
        expect(&role_smtpd, what, "read", outcome(config, &role_smtpd, try_reading), cases[i].files ? EACCES : 0);
        expect(&role_smtpd, what, "connect", outcome(config, &role_smtpd, try_strange_port),
               cases[i].ports ? EACCES : 0);
        expect(&role_smtpd, what, "make a file", outcome(config, &role_smtpd, try_own_file), 0);
        expect(&role_smtpd, what, "exec", outcome(config, &role_smtpd, try_exec), EPERM);
        landlock = 0;
    }
}

static void what_protects_is_told(void **state)
{
    g_autoptr(Config) off = view("off");
    g_autoptr(Config) on = view("allow-list");
    g_autofree char *none = protection_text(off);
    g_autofree char *some = protection_text(on);

    assert_non_null(strstr(none, "no seccomp"));
    assert_non_null(strstr(some, "seccomp allow-list"));
    assert_non_null(strstr(some, sandbox_landlock_version() > 0 ? ", Landlock " : "no Landlock"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_starts_programs),
        cmocka_unit_test(nobody_makes_processes),
        cmocka_unit_test(nobody_looks_into_others),
        cmocka_unit_test(nobody_connects_elsewhere),
        cmocka_unit_test(nobody_reads_elsewhere),
        cmocka_unit_test(nobody_writes_elsewhere),
        cmocka_unit_test(nobody_reaches_another_roles_files),
        cmocka_unit_test(the_call_that_ended_a_process_is_told),
        cmocka_unit_test(a_root_part_becomes_others),
        cmocka_unit_test(privileges_are_gone),
        cmocka_unit_test(own_directories_can_be_written_to),
        cmocka_unit_test(threads_and_null_are_for_everybody),
        cmocka_unit_test(what_protects_is_told),
        cmocka_unit_test(what_a_kernel_knows_is_used),
    };

    signal(SIGCHLD, SIG_DFL);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
