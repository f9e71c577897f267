/* master.c - the master process: start, watch, stop. Reloading is in reload.c. */
#include "master/master.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/dirs.h"
#include "master/lock.h"
#include "master/master_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 60000        /* until every service must be ready at start: tables may be large */
#define BIND_PATIENCE_MS 2000 /* processes of a master that was killed let go of their ports within this */
#define AGAIN_MS 1000         /* a second signal to stop that comes so late is impatience, not an echo of the first */
#define QUICK_MS 1000         /* who dies so soon after it was ready did not live */
#define QUICK_DEATHS_MAX 10   /* in a row: then it is throttled all the same */

char *master_pid_file(const Config *config)
{
    return g_build_filename(config_string(config, "queue_directory"), config_string(config, "process_id_directory"),
                            "master.pid", NULL);
}

char *master_lock_file(const Config *config)
{
    return g_build_filename(config_string(config, "data_directory"), "master.lock", NULL);
}

void master_stop(Master *master, gint64 now)
{
    if (master->phase != MASTER_STOPPING)
        master->stopping_since = now;
    master->phase = MASTER_STOPPING;
    for (guint i = 0; i < master->children->len; i++)
        child_tell(g_ptr_array_index(master->children, i), SERVICE_ORDER_STOP, now);
    g_ptr_array_set_size(master->units, 0); /* closes the listeners */
    g_clear_pointer(&master->next_units, g_ptr_array_unref);
}

static void stop_at_once(Master *master, gint64 now)
{
    master_stop(master, now);
    for (guint i = 0; i < master->children->len; i++)
        child_kill(g_ptr_array_index(master->children, i));
}

G_GNUC_PRINTF(2, 3) static void fail_start(Master *master, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    log_fatal("%s", text);
    master->status = 1;
    master_stop(master, clock_ms());
}

/* ---- Starting processes ---- */

static gint64 throttle_ms(const Master *master)
{
    return config_seconds(master->plan->config, "service_throttle_time") * 1000;
}

static bool qmgr_lives(const Master *master)
{
    for (guint i = 0; i < master->children->len; i++)
        if (((Child *)g_ptr_array_index(master->children, i))->program->kind == PROGRAM_QMGR)
            return true;
    return false;
}

void master_start_units(Master *master, const Plan *plan, const LogDestination *log, GPtrArray *units,
                        guint32 generation, bool without_qmgr)
{
    const ChildContext context = {
        .page = master->page, .page_fd = master->page_fd, .plan = plan, .log = log, .terminal = master->terminal};
    gint64 now = clock_ms();

    for (guint i = 0; i < units->len; i++) {
        Unit *unit = g_ptr_array_index(units, i);
        bool qmgr = unit->service->program->kind == PROGRAM_QMGR;
        g_autoptr(GError) error = NULL;

        if (unit->child || unit->start_at > now || (qmgr && (without_qmgr || qmgr_lives(master))))
            continue;
        unit->child = child_start(&context, unit->service, unit->listeners, generation, &error);
        if (unit->child) {
            g_ptr_array_add(master->children, unit->child);
            continue;
        }
        log_warning("service %s: cannot start a process: %s", unit->service->line->name, error->message);
        unit->start_at = now + throttle_ms(master);
    }
}

/* ---- The end of processes ---- */

static void log_death(const Master *master, const Child *child, int status)
{
    if (child->killed || (master->phase == MASTER_STOPPING && WIFSIGNALED(status)))
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        log_warning("process %s pid %d exit status %d", child->path, (int)child->pid, WEXITSTATUS(status));
    if (WIFSIGNALED(status))
        log_warning("process %s pid %d killed by signal %d", child->path, (int)child->pid, WTERMSIG(status));
}

static void throttle(Master *master, Unit *unit, const Child *child, const char *why, gint64 now)
{
    log_warning("%s: %s -- throttling", child->path, why);
    unit->start_at = now + throttle_ms(master);
    unit->quick_deaths = 0;
}

/* A unit of the running generation lost its process. */
static void plan_restart(Master *master, Unit *unit, const Child *child, gint64 now)
{
    unit->child = NULL;
    if (!child->ready) {
        throttle(master, unit, child, "bad command startup", now);
        return;
    }
    unit->quick_deaths = now - child->ready_at < QUICK_MS ? unit->quick_deaths + 1 : 0;
    if (unit->quick_deaths >= QUICK_DEATHS_MAX)
        throttle(master, unit, child, "it keeps dying", now);
}

static void bury(Master *master, Child *child, int status)
{
    Unit *unit = units_of_child(master->units, child);
    Unit *next = units_of_child(master->next_units, child);
    g_autofree char *path = g_strdup(child->path);
    gint64 now = clock_ms();

    log_death(master, child, status);
    if (unit && master->phase != MASTER_STARTING)
        plan_restart(master, unit, child, now);
    if (next)
        next->child = NULL;
    g_ptr_array_remove(master->children, child);
    child_bury(child, master->page);
    if (unit && master->phase == MASTER_STARTING) {
        unit->child = NULL;
        fail_start(master, "service %s (%s) did not start", unit->service->line->name, unit->service->line->command);
    }
    if (next && master->phase == MASTER_RELOADING) {
        g_autofree char *why = g_strdup_printf("the new %s ended before it was ready", path);
        reload_abort(master, why, now);
    }
}

static void reap(Master *master)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) /* process 1 of a container gets strangers' children as well */
        for (guint i = 0; i < master->children->len; i++) {
            Child *child = g_ptr_array_index(master->children, i);
            if (child->pid != pid)
                continue;
            bury(master, child, status);
            break;
        }
}

/* ---- Messages, signals, time ---- */

static void hear(Master *master, Child *child)
{
    char message;
    size_t count;
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

bool master_use_log(Master *master, LogDestination *log)
{
    LogDestination old = master->log;

    master->log = *log;
    *log = (LogDestination){.fd = -1};
    log_destination_use(&master->log, config_string(master->plan->config, "syslog_name"), "master");
    if (master->options.detached && master->log.fd >= 0)
        dup2(master->log.fd, STDERR_FILENO);
    for (guint i = 0; i < master->children->len; i++) {
        Child *child = g_ptr_array_index(master->children, i);
        if (master->log.fd >= 0 && child->control >= 0)
            service_send_log(child->control, master->log.fd);
    }
    log_destination_clear(&old);
    return true;
}

static void reopen_log(Master *master)
{
    g_autoptr(GError) error = NULL;
    LogDestination log;

    if (log_destination_open(master->plan->config, &log, &error))
        master_use_log(master, &log);
    else
        log_error("log file not opened again: %s", error->message);
}

static void flush(Master *master)
{
    for (guint i = 0; i < master->units->len; i++) {
        const Unit *unit = g_ptr_array_index(master->units, i);
        if (unit->service->program->kind == PROGRAM_QMGR && unit->child && unit->child->control >= 0)
            service_send_order(unit->child->control, SERVICE_ORDER_FLUSH);
    }
}

static void take_signals(Master *master)
{
    struct signalfd_siginfo info;

    while (read(master->signals, &info, sizeof info) == sizeof info) {
        gint64 now = clock_ms();

        switch (info.ssi_signo) {
        case SIGCHLD:
            reap(master);
            break;
        case SIGHUP:
            reload_begin(master);
            break;
        case SIGUSR1:
            flush(master);
            break;
        case SIGUSR2:
            reopen_log(master);
            break;
        case SIGQUIT:
            log_info("terminating at once on signal %u", info.ssi_signo);
            stop_at_once(master, now);
            break;
        default: /* SIGTERM, SIGINT */
            log_info("terminating on signal %u", info.ssi_signo);
            if (master->phase == MASTER_STARTING)
                master->status = 1;
            if (master->phase != MASTER_STOPPING)
                master_stop(master, now);
            else if (now >= master->stopping_since + AGAIN_MS)
                stop_at_once(master, now);
        }
    }
}

static void kill_overdue(Master *master, gint64 now)
{
    for (guint i = 0; i < master->children->len; i++) {
        Child *child = g_ptr_array_index(master->children, i);
        if (child->kill_at > now || child->killed)
            continue;
        log_warning("process %s pid %d does not end: killing it", child->path, (int)child->pid);
        child_kill(child);
    }
}

static void wake_units(Master *master, gint64 now)
{
    for (guint i = 0; i < master->units->len; i++) {
        Unit *unit = g_ptr_array_index(master->units, i);
        if (unit->wake_at > now)
            continue;
        unit->wake_at = now + unit->service->line->wakeup * G_GINT64_CONSTANT(1000);
        if (unit->child && unit->child->control >= 0)
            service_send_order(unit->child->control, SERVICE_ORDER_WAKEUP);
    }
}

/* When something is due that no descriptor tells of. */
static gint64 next_deadline(const Master *master, gint64 now)
{
    gint64 next =
        master->phase == MASTER_STARTING || master->phase == MASTER_RELOADING ? master->deadline : CLOCK_NEVER;

    for (guint i = 0; i < master->units->len; i++) {
        const Unit *unit = g_ptr_array_index(master->units, i);
        next = MIN(next, unit->wake_at);
        if (!unit->child && unit->start_at > now) /* what is due already waits for the end of another qmgr */
            next = MIN(next, unit->start_at);
    }
    for (guint i = 0; i < master->children->len; i++) {
        const Child *child = g_ptr_array_index(master->children, i);
        if (!child->killed)
            next = MIN(next, child->kill_at);
    }
    return next;
}

static void wait_and_hear(Master *master)
{
    g_autofree struct pollfd *polled = g_new0(struct pollfd, master->children->len + 1);
    guint count = master->children->len;

    for (guint i = 0; i < count; i++) {
        const Child *child = g_ptr_array_index(master->children, i);
        polled[i] = (struct pollfd){.fd = child->control, .events = POLLIN};
    }
    polled[count] = (struct pollfd){.fd = master->signals, .events = POLLIN};
    if (poll(polled, count + 1, clock_poll_timeout(next_deadline(master, clock_ms()))) < 0)
        return;
    for (guint i = 0; i < count; i++) /* messages before deaths: who said ready and died was ready */
        if (polled[i].revents)
            hear(master, g_ptr_array_index(master->children, i));
    if (polled[count].revents)
        take_signals(master);
}

/* ---- From start to ready ---- */

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
        fail_start(master, "service %s (%s) was not ready within %d seconds", unready->service->line->name,
                   unready->service->line->command, START_MS / 1000);
    }
}

static void run(Master *master)
{
    master_start_units(master, master->plan, &master->log, master->units, master->generation, false);
    while (master->phase != MASTER_STOPPING || master->children->len > 0) {
        wait_and_hear(master);
        gint64 now = clock_ms();
        look_at_start(master, now);
        reload_look(master, now);
        kill_overdue(master, now);
        if (master->phase != MASTER_RUNNING && master->phase != MASTER_RELOADING)
            continue;
        wake_units(master, now);
        master_start_units(master, master->plan, &master->log, master->units, master->generation, false);
    }
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
