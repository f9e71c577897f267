/* events.c - what the master waits for and hears: messages of its processes, signals, time. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/master_private.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define AGAIN_MS 1000 /* a second signal to stop that comes so late is impatience, not an echo of the first */

void master_use_log(Master *master, LogDestination *log)
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
            master_reap(master);
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
            master_stop_at_once(master, now);
            break;
        default: /* SIGTERM, SIGINT */
            log_info("terminating on signal %u", info.ssi_signo);
            if (master->phase == MASTER_STARTING)
                master->status = 1;
            if (master->phase != MASTER_STOPPING)
                master_stop(master, now);
            else if (now >= master->stopping_since + AGAIN_MS)
                master_stop_at_once(master, now);
        }
    }
}

void master_wake_units(Master *master, gint64 now)
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
    if (master->phase == MASTER_RUNNING || master->phase == MASTER_RELOADING)
        next = MIN(next, MIN(master->sweep_at, master->statistics_at));
    for (guint i = 0; i < master->children->len; i++) {
        const Child *child = g_ptr_array_index(master->children, i);
        if (!child->killed)
            next = MIN(next, child->kill_at);
    }
    return next;
}

void master_wait(Master *master)
{
    g_autofree struct pollfd *polled = g_new0(struct pollfd, 2 * master->children->len + 1);
    guint count = master->children->len;

    for (guint i = 0; i < count; i++) {
        const Child *child = g_ptr_array_index(master->children, i);
        polled[2 * i] = (struct pollfd){.fd = child->control, .events = POLLIN};
        polled[2 * i + 1] = (struct pollfd){.fd = source_server_descriptor(child->source), .events = POLLIN};
    }
    polled[2 * count] = (struct pollfd){.fd = master->signals, .events = POLLIN};
    if (poll(polled, 2 * count + 1, clock_poll_timeout(next_deadline(master, clock_ms()))) < 0)
        return;
    for (guint i = 0; i < count; i++) {
        Child *child = g_ptr_array_index(master->children, i);
        if (polled[2 * i].revents)
            child_hear(child);
        if (polled[2 * i + 1].revents)
            source_server_serve(child->source);
    }
    if (polled[2 * count].revents)
        take_signals(master);
}
