/* control.c - the commands that talk to a running master: it is found by its lock and told by signals. */
#include "cli/control.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/view.h"
#include "master/lock.h"
#include "master/master.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <syslog.h>

#define STOP_MS 8000 /* the master gives its processes 5 s, then kills them */
#define POLL_US 20000

static void use_log(const Control *control)
{
    log_to_stderr();
    log_set_tag(control->syslog_name, "postfix-script");
    if (control->log_open)
        log_destination_use(&control->log, control->syslog_name, "postfix-script");
    log_also_stderr(!control->log.stdout_); /* twice on one terminal helps nobody */
}

/* Where things are. */
static bool read_places(Control *control, GError **error)
{
    const ConfigScope scope = {.process_name = "postfix-script", .stress = ""};
    g_autoptr(Config) view = view_new_unchecked(control->plan->main_cf, &scope, error);

    if (!view)
        return false;
    control->queue_directory = config_expand(view, "$queue_directory", error);
    control->pid_file = control->queue_directory
                            ? config_expand(view, "$queue_directory/$process_id_directory/master.pid", error)
                            : NULL;
    g_autofree char *syslog_name = control->pid_file ? config_expand(view, "$syslog_name", error) : NULL;
    if (!syslog_name)
        return false;
    g_free(control->syslog_name);
    control->syslog_name = g_steal_pointer(&syslog_name);
    return true;
}

Control *control_open(const char *config_dir, ControlLog how)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) log_error = NULL;
    g_autoptr(Control) control = g_new0(Control, 1);

    control->log = (LogDestination){.fd = -1, .facility = LOG_MAIL};
    control->syslog_name = g_strdup("postfix"); /* until we know better */
    use_log(control);
    control->plan = plan_new(config_dir, &error);
    if (!control->plan)
        control->log_open = log_destination_guess(config_dir, &control->log);
    else if (read_places(control, &error))
        control->log_open = log_destination_open_unchecked(control->plan->main_cf, &control->log, &log_error);
    use_log(control);
    if (!error && (control->log_open || how == CONTROL_LOG_TRIED))
        return g_steal_pointer(&control);
    log_fatal("%s", error ? error->message : log_error->message);
    return NULL;
}

bool control_read(Control *control, bool with_services)
{
    g_autoptr(GError) error = NULL;

    if (plan_read_config(control->plan, &error) && (!with_services || plan_read_services(control->plan, &error)))
        return true;
    use_log(control); /* reload turned it off */
    log_fatal("%s", error->message);
    return false;
}

void control_close(Control *control)
{
    if (!control)
        return;
    log_to_stderr();
    log_destination_clear(&control->log);
    plan_free(control->plan);
    g_free(control->queue_directory);
    g_free(control->pid_file);
    g_free(control->syslog_name);
    g_free(control);
}

/* Postfix's master holds the same locks, but other signals mean other things to it. */
static bool is_ours(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/comm", (int)pid);
    g_autofree char *name = fd_read_file(path, 64, NULL, NULL);

    return name && strcmp(name, MASTER_PROCESS_NAME "\n") == 0;
}

pid_t control_find_master(const Control *control, bool *ret_ours)
{
    g_autoptr(GError) error = NULL;
    pid_t pid;

    if (!lock_holder(control->pid_file, &pid, &error)) {
        log_fatal("%s", error->message);
        return -1;
    }
    *ret_ours = pid > 0 && is_ours(pid);
    return pid;
}

pid_t control_need_master(const Control *control)
{
    bool ours = false;
    pid_t pid = control_find_master(control, &ours);

    if (pid == 0)
        log_fatal("the Postfix mail system is not running");
    if (pid > 0 && !ours)
        log_fatal("process %d, which runs on %s, is not gatepost", (int)pid, control->queue_directory);
    return ours ? pid : 0;
}

static int send_signal(pid_t pid, int signal_number)
{
    if (kill(pid, signal_number) == 0)
        return 0;
    log_fatal("signal to process %d: %s", (int)pid, g_strerror(errno));
    return 1;
}

/* True when its lock is free: then all its processes have ended. */
static bool wait_for_end(const Control *control, pid_t pid, gint64 deadline)
{
    gint64 next_word = clock_ms() + 1000;
    pid_t holder;

    while (lock_holder(control->pid_file, &holder, NULL) && holder == pid) {
        if (clock_ms() >= deadline)
            return false;
        if (clock_ms() >= next_word) {
            log_info("waiting for the Postfix mail system to terminate");
            next_word += 1000;
        }
        g_usleep(POLL_US);
    }
    return true;
}

static int end_master(const char *config_dir, const char *word, int signal_number)
{
    g_autoptr(Control) control = control_open(config_dir, CONTROL_LOG_TRIED);
    pid_t pid = control ? control_need_master(control) : 0;

    if (pid == 0)
        return 1;
    log_info("%s the Postfix mail system", word);
    if (send_signal(pid, signal_number) != 0)
        return 1;
    if (wait_for_end(control, pid, clock_ms() + STOP_MS))
        return 0;
    log_warning("stopping the Postfix mail system with force"); /* its processes see that it is gone, and end */
    return send_signal(pid, SIGKILL);
}

static int stop_command(const char *config_dir)
{
    return end_master(config_dir, "stopping", SIGTERM);
}

static int abort_command(const char *config_dir)
{
    return end_master(config_dir, "aborting", SIGQUIT);
}

/* The configuration is looked at before the running master is: it would refuse a bad one too, but not on this terminal.
 */
static int reload_command(const char *config_dir)
{
    g_autoptr(Control) control = control_open(config_dir, CONTROL_LOG_TRIED);
    pid_t pid = control ? control_need_master(control) : 0;

    if (pid == 0)
        return 1;
    if (!control->log.stdout_)
        log_to_stderr(); /* the log gets the warnings from the master */
    if (!control_read(control, true))
        return 1;
    use_log(control);
    log_info("refreshing the Postfix mail system");
    return send_signal(pid, SIGHUP);
}

static int flush_command(const char *config_dir)
{
    g_autoptr(Control) control = control_open(config_dir, CONTROL_LOG_TRIED);
    pid_t pid = control ? control_need_master(control) : 0;

    return pid > 0 ? send_signal(pid, SIGUSR1) : 1;
}

static int status_command(const char *config_dir)
{
    g_autoptr(Control) control = control_open(config_dir, CONTROL_LOG_TRIED);
    bool ours;
    pid_t pid = control ? control_find_master(control, &ours) : -1;

    if (pid > 0)
        log_info("the Postfix mail system is running: PID: %d", (int)pid);
    else if (pid == 0)
        log_info("the Postfix mail system is not running");
    return pid > 0 ? 0 : 1;
}

ControlCommand *control_find(const char *name)
{
    static const struct {
        const char *name;
        ControlCommand *command;
    } commands[] = {
        {"start", start_command},   {"start-fg", start_fg_command},   {"stop", stop_command},
        {"abort", abort_command},   {"reload", reload_command},       {"flush", flush_command},
        {"status", status_command}, {"logrotate", logrotate_command}, {"check", check_command},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].command;
    return NULL;
}
