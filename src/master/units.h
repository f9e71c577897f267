/* units.h - the services of one generation, with what the master holds for each. */
#pragma once
#include "master/child.h"

/* One service. */
typedef struct {
    const PlanService *service; /* the plan's */
    Listeners *listeners;       /* shared with the unit of the generation before */
    Child *child;               /* of this generation; NULL: none runs. Owned by the master's list of children */
    gint64 start_at;            /* clock_ms: not to be started before (throttled) */
    gint64 wake_at;             /* next wake-up; CLOCK_NEVER */
    int quick_deaths;           /* in a row, each soon after it had been ready */
} Unit;

/* The units of a plan, with all endpoints bound; those that `before` (NULL: none) has under the same identity are taken
 * over. NULL: error, and nothing new stays bound. */
GPtrArray *units_bind(const Plan *plan, const GPtrArray *before, const Owner *owner, int patience_ms, GError **error);

Unit *units_find(const GPtrArray *units, const char *identity);   /* NULL: none; units may be NULL */
Unit *units_of_child(const GPtrArray *units, const Child *child); /* the same */

/* The first unit whose process (without_qmgr: other than qmgr's) is not ready; NULL: all are. */
const Unit *units_find_unready(const GPtrArray *units, bool without_qmgr);
