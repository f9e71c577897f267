/* units.c - the services of one generation. */
#include "master/units.h"
#include "base/clock.h"
#include "base/fail.h"

#include <string.h>

static void unit_free(void *data)
{
    Unit *unit = data;

    listeners_unref(unit->listeners);
    g_free(unit);
}

GPtrArray *units_bind(const Plan *plan, const GPtrArray *before, const Owner *owner, int patience_ms, GError **error)
{
    g_autoptr(GPtrArray) units = g_ptr_array_new_with_free_func(unit_free);

    for (guint i = 0; i < plan->services->len; i++) {
        const PlanService *service = g_ptr_array_index(plan->services, i);
        const Unit *old = units_find(before, service->line->identity);

        if (old && old->service->program->kind != service->program->kind) {
            /* another kind of socket under the same name, which running processes still serve */
            fail(error, "service %s: from %s to %s needs stop and start", service->line->name,
                 old->service->line->command, service->line->command);
            return NULL;
        }
        Unit *unit = g_new0(Unit, 1);
        g_ptr_array_add(units, unit);
        unit->service = service;
        unit->wake_at =
            service->line->wakeup > 0 ? clock_ms() + service->line->wakeup * G_GINT64_CONSTANT(1000) : CLOCK_NEVER;
        unit->listeners =
            old ? listeners_ref(old->listeners)
                : listeners_open(service->line, service->program, plan->config, owner, patience_ms, error);
        if (!unit->listeners)
            return NULL;
    }
    return g_steal_pointer(&units);
}

Unit *units_find(const GPtrArray *units, const char *identity)
{
    for (guint i = 0; units && i < units->len; i++) {
        Unit *unit = g_ptr_array_index(units, i);
        if (strcmp(unit->service->line->identity, identity) == 0)
            return unit;
    }
    return NULL;
}

Unit *units_of_child(const GPtrArray *units, const Child *child)
{
    for (guint i = 0; units && i < units->len; i++) {
        Unit *unit = g_ptr_array_index(units, i);
        if (unit->child == child)
            return unit;
    }
    return NULL;
}

const Unit *units_find_unready(const GPtrArray *units, bool without_qmgr)
{
    for (guint i = 0; i < units->len; i++) {
        const Unit *unit = g_ptr_array_index(units, i);
        if (without_qmgr && unit->service->program->kind == PROGRAM_QMGR)
            continue;
        if (!unit->child || !unit->child->ready)
            return unit;
    }
    return NULL;
}
