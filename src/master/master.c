/* master.c - the master process: from its start until all services are ready, and its main loop. */
#include "master/master.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/dirs.h"
#include "master/lock.h"
#include "master/master_private.h"
#include "net/tls_tickets.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define START_MS 60000        /* until every service must be ready at start: tables may be large */
#define BIND_PATIENCE_MS 2000 /* processes of a master that was killed let go of their ports within this */

char *master_pid_file(const Config *config)
{
    return g_build_filename(config_string(config, "queue_directory"), config_string(config, "process_id_directory"),
                            "master.pid", NULL);
}

char *master_lock_file(const Config *config)
{
    return g_build_filename(config_string(config, "data_directory"), "master.lock", NULL);
}

/* The terminal is the caller's again, and `start` returns. */
static void detach(Master *master)
{
    auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);

    master->terminal = false;
    log_also_stderr(false);
    if (master->options.detached && null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(master->log.fd >= 0 ? master->log.fd : null, STDERR_FILENO);
    }
    if (master->options.notify_fd >= 0)
        fd_write_all(master->options.notify_fd, "", 1);
    fd_clear(&master->options.notify_fd);
}

static void look_at_start(Master *master, gint64 now)
{
    if (master->phase != MASTER_STARTING)
        return;
    const Unit *unready = units_find_unready(master->units, false);
    if (!unready) {
        master->phase = MASTER_RUNNING;
        detach(master);
        log_info("daemon started -- version %s, configuration %s", config_string(master->plan->config, "mail_version"),
                 master->plan->config_dir);
    } else if (now >= master->deadline) {
        master_fail_start(master, "service %s (%s) was not ready within %d seconds", unready->service->line->name,
                          unready->service->line->command, START_MS / 1000);
    }
}

static void run(Master *master)
{
    master_start_units(master, master->plan, &master->log, master->units, master->generation, false);
    while (master->phase != MASTER_STOPPING || master->children->len > 0) {
        master_wait(master);
        gint64 now = clock_ms();
        look_at_start(master, now);
        reload_look(master, now);
        master_kill_overdue(master, now);
        if (master->phase != MASTER_RUNNING && master->phase != MASTER_RELOADING)
            continue;
        master_wake_units(master, now);
        master_tend_statistics(master, now);
        master_start_units(master, master->plan, &master->log, master->units, master->generation, false);
    }
    master_log_statistics(master);
}

static bool open_signals(Master *master, GError **error)
{
    static const int handled[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < G_N_ELEMENTS(handled); i++)
        sigaddset(&set, handled[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* a caller may have left it ignored, and then nobody could be waited for */
    master->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return master->signals >= 0 || fail_errno(error, "signalfd");
}

/* Sessions need descriptors, and the soft limit is there for programs that use select(). */
static void raise_limits(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static bool take_locks(Master *master, GError **error)
{
    const Config *config = master->plan->config;
    g_autofree char *pid_file = master_pid_file(config);
    g_autofree char *lock_file = master_lock_file(config);

    if (!lock_take(pid_file, &master->pid_lock, error))
        return false;
    owner_enter(&master->owner);
    bool taken = lock_take(lock_file, &master->data_lock, error);
    owner_leave(&master->owner);
    return taken;
}

static void warn_of_postfix_mail(const char *queue_directory)
{
    guint64 count = dirs_count_postfix_mail(queue_directory);

    if (count > 0)
        log_warning("%s holds %" G_GUINT64_FORMAT " message%s of Postfix, which only Postfix delivers", queue_directory,
                    count, count == 1 ? "" : "s");
}

static bool prepare(Master *master, GError **error)
{
    const Config *config = master->plan->config;
    const char *queue = config_string(config, "queue_directory");

    if (!owner_find(config, &master->owner, error) || !dirs_make(config, &master->owner, error))
        return false;
    if (chdir(queue) < 0)
        return fail_errno(error, "chdir %s", queue);
    if (!take_locks(master, error) || !open_signals(master, error))
        return false;
    if (master->plan->owner_override)
        log_info("owner: %s, as that user has %s", master->plan->owner_override, queue);
    warn_of_postfix_mail(queue);
    raise_limits();
    master->page = page_create(&master->page_fd);
    if (!master->page)
        return fail_errno(error, "make the page of counters");
    if (!tls_tickets_create(&master->tickets_fd))
        return fail_errno(error, "make the memory for TLS tickets");
    master->units = units_bind(master->plan, NULL, &master->owner, BIND_PATIENCE_MS, error);
    return master->units != NULL;
}

/* The locks are left to the end of the process: who waits for it looks at them. */
static void clear(Master *master)
{
    g_clear_pointer(&master->units, g_ptr_array_unref);
    g_ptr_array_unref(master->children);
    plan_free(master->next_plan);
    plan_free(master->plan);
    log_to_stderr();
    log_destination_clear(&master->next_log);
    log_destination_clear(&master->log);
    fd_clear(&master->options.notify_fd);
    fd_clear(&master->signals);
    fd_clear(&master->page_fd);
    fd_clear(&master->tickets_fd);
}

int master_run(Plan *plan, LogDestination *log, const MasterOptions *options)
{
    g_autoptr(GError) error = NULL;
    Master master = {.options = *options,
                     .phase = MASTER_STARTING,
                     .deadline = clock_ms() + START_MS,
                     .terminal = !log->stdout_,
                     .plan = plan,
                     .log = *log,
                     .next_log = {.fd = -1},
                     .generation = 1,
                     .last_generation = 1,
                     .children = g_ptr_array_new(),
                     .page_fd = -1,
                     .tickets_fd = -1,
                     .pid_lock = -1,
                     .data_lock = -1,
                     .signals = -1};

    *log = (LogDestination){.fd = -1};
    prctl(PR_SET_NAME, MASTER_PROCESS_NAME);
    log_destination_use(&master.log, config_string(plan->config, "syslog_name"), "master");
    log_also_stderr(master.terminal);
    if (prepare(&master, &error)) {
        run(&master);
    } else {
        log_fatal("%s", error->message);
        master.status = 1;
    }
    clear(&master);
    return master.status;
}
