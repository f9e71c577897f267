/* service.c - the contract between master and service processes: arguments, descriptors, orders. */
#include "base/service.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/root.h"
#include "base/source.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MESSAGE_READY 'R'
#define MESSAGE_LOG 'L'
static const char order_letters[] = {
    [SERVICE_ORDER_DRAIN] = 'D',  [SERVICE_ORDER_OLDEST] = 'O', [SERVICE_ORDER_STOP] = 'S',
    [SERVICE_ORDER_WAKEUP] = 'W', [SERVICE_ORDER_FLUSH] = 'F',
};

/* Every field that travels is a row of one of these tables, "key=value" in argv: what one side writes the other reads.
 */
static const struct {
    const char *key;
    size_t offset;
} text_fields[] = {
    {"config", offsetof(ServiceProcess, config_dir)},
    {"command", offsetof(ServiceProcess, command)},
    {"name", offsetof(ServiceProcess, name)},
    {"type", offsetof(ServiceProcess, type)},
    {"identity", offsetof(ServiceProcess, identity)},
    {"host", offsetof(ServiceProcess, log_host)},
    {"syslog_name", offsetof(ServiceProcess, syslog_name)},
};
static const struct {
    const char *key;
    size_t offset;
    int max;
} number_fields[] = {
    {"maxproc", offsetof(ServiceProcess, maxproc), G_MAXINT},
    {"wakeup", offsetof(ServiceProcess, wakeup), G_MAXINT},
    {"generation", offsetof(ServiceProcess, generation), G_MAXINT},
    {"row", offsetof(ServiceProcess, row_number), PAGE_ROWS - 1},
    {"facility", offsetof(ServiceProcess, log_facility), G_MAXINT},
    {"verbose", offsetof(ServiceProcess, verbose), G_MAXINT},
};
static const struct {
    const char *key;
    size_t offset;
} flag_fields[] = {
    {"stress", offsetof(ServiceProcess, may_stress)},
    {"unprivileged", offsetof(ServiceProcess, unprivileged)},
    {"chroot", offsetof(ServiceProcess, chroot)},
    {"terminal", offsetof(ServiceProcess, terminal)},
};

G_STATIC_ASSERT(sizeof(guint32) == sizeof(int)); /* generation is read as a number like the others */

GPtrArray *service_process_argv(const ServiceProcess *process)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    const char *base = (const char *)process;

    g_ptr_array_add(argv, g_strdup(process->command));
    g_ptr_array_add(argv, g_strdup("--service"));
    for (size_t i = 0; i < G_N_ELEMENTS(text_fields); i++) {
        const char *text = *(char *const *)(base + text_fields[i].offset);
        if (text)
            g_ptr_array_add(argv, g_strdup_printf("%s=%s", text_fields[i].key, text));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(number_fields); i++)
        g_ptr_array_add(argv,
                        g_strdup_printf("%s=%d", number_fields[i].key, *(const int *)(base + number_fields[i].offset)));
    for (size_t i = 0; i < G_N_ELEMENTS(flag_fields); i++)
        if (*(const bool *)(base + flag_fields[i].offset))
            g_ptr_array_add(argv, g_strdup_printf("%s=1", flag_fields[i].key));
    g_ptr_array_add(argv, g_strdup_printf("listeners=%u", process->listeners ? process->listeners->len : 0));
    for (guint i = 0; process->overrides && i < process->overrides->len; i++)
        g_ptr_array_add(argv, g_strdup_printf("override=%s", (char *)g_ptr_array_index(process->overrides, i)));
    for (guint i = 0; process->arguments && i < process->arguments->len; i++)
        g_ptr_array_add(argv, g_strdup_printf("argument=%s", (char *)g_ptr_array_index(process->arguments, i)));
    g_ptr_array_add(argv, NULL);
    return argv;
}

static bool parse_number(const char *text, int max, int *ret_number)
{
    gint64 number;

    if (!g_ascii_string_to_signed(text, 10, 0, max, &number, NULL))
        return false;
    *ret_number = (int)number;
    return true;
}

static bool parse_argument(ServiceProcess *process, const char *key, const char *value, int *ret_listeners)
{
    char *base = (char *)process;

    for (size_t i = 0; i < G_N_ELEMENTS(text_fields); i++) {
        if (strcmp(key, text_fields[i].key) != 0)
            continue;
        char **text = (char **)(base + text_fields[i].offset);
        g_free(*text);
        *text = g_strdup(value);
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(number_fields); i++)
        if (strcmp(key, number_fields[i].key) == 0)
            return parse_number(value, number_fields[i].max, (int *)(base + number_fields[i].offset));
    for (size_t i = 0; i < G_N_ELEMENTS(flag_fields); i++)
        if (strcmp(key, flag_fields[i].key) == 0)
            return *(bool *)(base + flag_fields[i].offset) = true;
    if (strcmp(key, "listeners") == 0)
        return parse_number(value, SERVICE_LISTENERS_MAX, ret_listeners);
    if (strcmp(key, "override") == 0)
        g_ptr_array_add(process->overrides, g_strdup(value));
    else if (strcmp(key, "argument") == 0)
        g_ptr_array_add(process->arguments, g_strdup(value));
    else
        return false;
    return true;
}

static bool parse_argv(ServiceProcess *process, int argc, char **argv, int *ret_listeners, GError **error)
{
    for (int i = 2; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        g_autofree char *key = value ? g_strndup(argv[i], (gsize)(value - argv[i])) : NULL;

        if (!key || !parse_argument(process, key, value + 1, ret_listeners))
            return fail(error, "--service is for the master process alone: %s", argv[i]);
    }
    if (!process->config_dir || !process->command || !process->name || !process->type || !process->identity ||
        !process->syslog_name)
        return fail(error, "--service is for the master process alone");
    return true;
}

static bool take_descriptors(ServiceProcess *process, int listeners, GError **error)
{
    process->control = SERVICE_FD_CONTROL;
    process->tickets = SERVICE_FD_TICKETS;
    for (int fd = SERVICE_FD_CONTROL; fd < SERVICE_FD_LISTENERS + listeners; fd++)
        if (!fd_set_cloexec(fd, true))
            return fail_errno(error, "descriptor %d from the master", fd);
    if (!fd_set_nonblock(process->control, true))
        return fail_errno(error, "control socket");
    for (int i = 0; i < listeners; i++) {
        int fd = SERVICE_FD_LISTENERS + i;
        g_array_append_val(process->listeners, fd);
    }
    process->page = page_map(SERVICE_FD_PAGE);
    if (!process->page)
        return fail_errno(error, "map the page of counters");
    close(SERVICE_FD_PAGE);
    process->row = &process->page->rows[process->row_number];
    process->row->pid = getpid();
    process->service_id = page_service_id(process->identity);
    source_connect(SERVICE_FD_SOURCE);
    return true;
}

static void open_log(const ServiceProcess *process)
{
    log_set_tag(process->syslog_name, process->command);
    log_set_verbose(process->verbose);
    if (process->log_host)
        log_to_file(SERVICE_FD_LOG, process->log_host);
    else
        log_to_syslog(process->log_facility);
    log_also_stderr(process->terminal);
}

ServiceProcess *service_process_new(int argc, char **argv, GError **error)
{
    g_autoptr(ServiceProcess) process = g_new0(ServiceProcess, 1);
    int listeners = 0;

    process->control = process->tickets = -1;
    process->overrides = g_ptr_array_new_with_free_func(g_free);
    process->arguments = g_ptr_array_new_with_free_func(g_free);
    process->listeners = g_array_new(FALSE, FALSE, sizeof(int));
    if (!parse_argv(process, argc, argv, &listeners, error) || !take_descriptors(process, listeners, error))
        return NULL;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    umask(077);
    prctl(PR_SET_NAME, process->command); /* what ps and top show, else the program's name */
    open_log(process);
    return g_steal_pointer(&process);
}

void service_process_free(ServiceProcess *process)
{
    if (!process)
        return;
    for (guint i = 0; process->listeners && i < process->listeners->len; i++)
        close(g_array_index(process->listeners, int, i));
    fd_clear(&process->control);
    fd_clear(&process->tickets);
    g_clear_pointer(&process->listeners, g_array_unref);
    g_clear_pointer(&process->overrides, g_ptr_array_unref);
    g_clear_pointer(&process->arguments, g_ptr_array_unref);
    for (size_t i = 0; i < G_N_ELEMENTS(text_fields); i++)
        g_free(*(char **)((char *)process + text_fields[i].offset));
    g_free(process);
}

bool service_forbid_leaks(GError **error)
{
    for (unsigned long capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
        ;
    return setrlimit(RLIMIT_CORE, &(struct rlimit){0}) == 0 || fail_errno(error, "RLIMIT_CORE");
}

/* The kernel has cleared the others with the change of user. */
static bool drop_inheritable(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    return syscall(SYS_capset, &header, none) == 0;
}

static bool become_user(const char *user, GError **error)
{
    errno = 0;
    const struct passwd *entry = getpwnam(user);

    if (!entry)
        return fail(error, "mail_owner: unknown user: %s", user);
    if (entry->pw_uid == 0)
        return fail(error, "mail_owner: user %s must not be root", user);
    uid_t uid = entry->pw_uid;
    gid_t gid = entry->pw_gid;
    if (initgroups(user, gid) < 0)
        return fail_errno(error, "groups of user %s", user);
    if (!root_change(error))
        return false;
    if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return fail_errno(error, "become user %s", user);
    if (setresuid(0, 0, 0) == 0) /* cannot be, and would be the worst of all failures */
        return fail(error, "root came back after becoming user %s", user);
    return true;
}

bool service_drop_privileges(const char *user, GError **error)
{
    if (!service_forbid_leaks(error) || (geteuid() == 0 && !become_user(user, error)))
        return false;
    if (!drop_inheritable())
        return fail_errno(error, "drop capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail_errno(error, "PR_SET_NO_NEW_PRIVS");
#ifndef SANITIZED /* LeakSanitizer looks at its own process from outside */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return fail_errno(error, "PR_SET_DUMPABLE");
#endif
    source_seal();
    return true;
}

static bool same_file(int one, int other)
{
    struct stat a, b;

    return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

void service_ready(ServiceProcess *process)
{
    const char message = MESSAGE_READY;

    if (process->terminal) { /* `start` returns now: whoever reads its output must see the end of it */
        log_also_stderr(false);
        dup2(process->log_host ? SERVICE_FD_LOG : STDIN_FILENO,
             STDERR_FILENO); /* /dev/null is there, and may be nowhere else */
        dup2(STDIN_FILENO, STDOUT_FILENO);
        process->terminal = false;
    }
    fd_send(process->control, &message, 1, NULL, 0);
}

/* Puts a descriptor that never becomes readable in the place of control, so that whoever polls it sees the end once. */
static ServiceOrder lose_master(ServiceProcess *process)
{
    auto_fd quiet = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (quiet >= 0)
        dup3(quiet, process->control, O_CLOEXEC);
    return SERVICE_ORDER_STOP;
}

ServiceOrder service_next_order(ServiceProcess *process)
{
    for (;;) {
        auto_fd log_fd = -1;
        char message;
        size_t count;
        ssize_t len = fd_receive(process->control, &message, 1, &log_fd, 1, &count);

        if (len < 0 && (errno == EAGAIN || errno == ENOTSOCK))
            return SERVICE_ORDER_NONE;
        if (len <= 0)
            return lose_master(process);
        for (size_t order = 1; order < sizeof order_letters; order++)
            if (order_letters[order] == message)
                return (ServiceOrder)order;
        if (message != MESSAGE_LOG || count != 1)
            continue;
        if (same_file(STDERR_FILENO, SERVICE_FD_LOG))
            dup2(log_fd, STDERR_FILENO);
        dup3(log_fd, SERVICE_FD_LOG, O_CLOEXEC); /* in one step: other threads may be writing to it */
    }
}

bool service_send_order(int control, ServiceOrder order)
{
    g_assert(order != SERVICE_ORDER_NONE);
    return fd_send(control, &order_letters[order], 1, NULL, 0);
}

bool service_send_log(int control, int log_fd)
{
    const char message = MESSAGE_LOG;

    return fd_send(control, &message, 1, &log_fd, 1);
}
