/* processes.c - the master's processes: starting, throttling, ending, burying them. */
#include "base/clock.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "master/master_private.h"

#include <signal.h>
#include <sys/wait.h>

#define QUICK_MS 1000       /* who dies so soon after it was ready did not live */
#define QUICK_DEATHS_MAX 10 /* in a row: then it is throttled all the same */

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

void master_stop_at_once(Master *master, gint64 now)
{
    master_stop(master, now);
    for (guint i = 0; i < master->children->len; i++)
        child_kill(g_ptr_array_index(master->children, i));
}

void master_fail_start(Master *master, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    log_fatal("%s", text);
    master->status = 1;
    master_stop(master, clock_ms());
}

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
    const ChildContext context = {.page = master->page,
                                  .page_fd = master->page_fd,
                                  .tickets_fd = master->tickets_fd,
                                  .plan = plan,
                                  .log = log,
                                  .terminal = master->terminal};
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

static void log_refused_call(const Master *master, const Child *child)
{
    int call = master->page->rows[child->row].refused_call;
    g_autofree char *name = call > 0 ? sandbox_call_name(call - 1) : g_strdup("unknown");

    log_warning("process %s pid %d killed by signal %d: system call not allowed: %s (service_sandbox)", child->path,
                (int)child->pid, SIGSYS, name);
}

static void log_death(const Master *master, const Child *child, int status)
{
    if (child->killed || (master->phase == MASTER_STOPPING && WIFSIGNALED(status)))
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        log_warning("process %s pid %d exit status %d", child->path, (int)child->pid, WEXITSTATUS(status));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        log_refused_call(master, child);
    else if (WIFSIGNALED(status))
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
        master_fail_start(master, "service %s (%s) did not start", unit->service->line->name,
                          unit->service->line->command);
    }
    if (next && master->phase == MASTER_RELOADING) {
        g_autofree char *why = g_strdup_printf("the new %s ended before it was ready", path);
        reload_abort(master, why, now);
    }
}

void master_reap(Master *master)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) /* process 1 of a container gets strangers' children as well */
        for (guint i = 0; i < master->children->len; i++) {
            Child *child = g_ptr_array_index(master->children, i);
            if (child->pid != pid)
                continue;
            child_hear(child); /* who said ready and died was ready */
            bury(master, child, status);
            break;
        }
}

void master_kill_overdue(Master *master, gint64 now)
{
    for (guint i = 0; i < master->children->len; i++) {
        Child *child = g_ptr_array_index(master->children, i);
        if (child->kill_at > now || child->killed)
            continue;
        log_warning("process %s pid %d does not end: killing it", child->path, (int)child->pid);
        child_kill(child);
    }
}
