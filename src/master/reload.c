/* reload.c - a new generation of all services takes the place of the running one, or does not.
 *
 * Everything is read and bound, and one process for each service (but qmgr) started beside the running ones, before
 * anything running is touched. When all have said ready, the old ones are told to drain: they stop accepting and finish
 * their sessions. When one of them ends, or the time is over, the new ones are stopped and nothing has changed. There
 * is one qmgr at a time: the old one is told to stop only then, and the new one is started when it has ended. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "master/master_private.h"

#include <string.h>

#ifdef SANITIZED /* such builds take their time to start, and may share the machine with many others */
#define READY_MS 60000
#else
#define READY_MS 10000
#endif
#define GENERATIONS 3 /* at once: the new one, the one it replaces, and one that is about to end */

/* What lies open, or belongs to processes that go on running, cannot change under them. */
static bool check_constant(const Master *master, const Plan *next, GError **error)
{
    static const char *const names[] = {"queue_directory", "data_directory", "mail_owner", "inet_protocols"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *before = config_string(master->plan->config, names[i]);
        const char *after = config_string(next->config, names[i]);
        if (strcmp(before, after) != 0)
            return fail(error, "%s changed from \"%s\" to \"%s\": that needs stop and start", names[i], before, after);
    }
    return true;
}

static void warn_of_interfaces(const Master *master, const Plan *next)
{
    if (strcmp(config_string(master->plan->config, "inet_interfaces"),
               config_string(next->config, "inet_interfaces")) == 0)
        return;
    for (guint i = 0; i < next->services->len; i++) {
        const PlanService *service = g_ptr_array_index(next->services, i);
        if (service->line->type == SERVICE_INET && !service->line->host &&
            units_find(master->units, service->line->identity))
            log_warning("service %s: ignoring inet_interfaces change", service->line->name);
    }
}

static bool prepare(Master *master, GError **error)
{
    g_autoptr(Plan) next = plan_new(master->plan->config_dir, error);
    LogDestination log;

    if (!next || !plan_read_config(next, error) || !plan_read_services(next, error) ||
        !check_constant(master, next, error) || !log_destination_open(next->config, &log, error))
        return false;
    warn_of_interfaces(master, next);
    master->next_units = units_bind(next, master->units, &master->owner, 0, error);
    if (!master->next_units) {
        log_destination_clear(&log);
        return false;
    }
    master->next_log = log;
    master->next_plan = g_steal_pointer(&next);
    return true;
}

void reload_begin(Master *master)
{
    g_autoptr(GError) error = NULL;

    if (master->phase != MASTER_RUNNING) {
        master->reload_again = master->phase != MASTER_STOPPING;
        return;
    }
    master->reload_again = false;
    if (!prepare(master, &error)) {
        log_error("reload: %s -- the running configuration stays", error->message);
        return;
    }
    log_info("reload -- version %s, configuration %s", config_string(master->next_plan->config, "mail_version"),
             master->plan->config_dir);
    master->phase = MASTER_RELOADING;
    master->deadline = clock_ms() + READY_MS;
    master_start_units(master, master->next_plan, &master->next_log, master->next_units, ++master->last_generation,
                       true);
}

/* Old processes finish what they do; the oldest are hurried, so that reload after reload cannot pile them up. */
static void retire_generations(Master *master, gint64 now)
{
    for (guint i = 0; i < master->children->len; i++) {
        Child *child = g_ptr_array_index(master->children, i);
        guint32 age = master->generation - child->generation;

        if (age == 0)
            continue;
        if (child->program->kind == PROGRAM_QMGR || age >= GENERATIONS)
            child_tell(child, SERVICE_ORDER_STOP, now);
        else
            child_tell(child, age == GENERATIONS - 1 ? SERVICE_ORDER_OLDEST : SERVICE_ORDER_DRAIN, now);
    }
}

static void commit(Master *master, gint64 now)
{
    GPtrArray *old_units = master->units;
    Plan *old_plan = master->plan;

    master->generation = master->last_generation;
    master->plan = g_steal_pointer(&master->next_plan);
    master->units = g_steal_pointer(&master->next_units);
    master_use_log(master, &master->next_log);
    master->phase = MASTER_RUNNING;
    retire_generations(master, now);
    log_info("reload-complete: generation=%u", master->generation);
    g_ptr_array_unref(old_units);
    plan_free(old_plan);
}

void reload_abort(Master *master, const char *why, gint64 now)
{
    log_error("reload: %s -- the running configuration stays", why);
    for (guint i = 0; i < master->children->len; i++) {
        Child *child = g_ptr_array_index(master->children, i);
        if (child->generation == master->last_generation) /* who is ready may have clients already */
            child_tell(child, child->ready ? SERVICE_ORDER_DRAIN : SERVICE_ORDER_STOP, now);
    }
    g_clear_pointer(&master->next_units, g_ptr_array_unref);
    g_clear_pointer(&master->next_plan, plan_free);
    log_destination_clear(&master->next_log);
    master->phase = MASTER_RUNNING;
}

void reload_look(Master *master, gint64 now)
{
    if (master->phase == MASTER_RELOADING) {
        const Unit *unready = units_find_unready(master->next_units, true);

        if (!unready) {
            commit(master, now);
        } else if (now >= master->deadline) {
            g_autofree char *why =
                g_strdup_printf("service %s (%s) was not ready within %d seconds", unready->service->line->name,
                                unready->service->line->command, READY_MS / 1000);
            reload_abort(master, why, now);
        }
    }
    if (master->phase == MASTER_RUNNING && master->reload_again)
        reload_begin(master);
}
