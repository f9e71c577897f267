/* findings.h - what is doubtful in main.cf and the overrides of master.cf although each value is valid: parameters that nothing
 * uses, that are not supported, and those without which mail would pass unprotected. `start` and `check` call it. */
#pragma once
#include "config/main_cf.h"
#include "config/master_cf.h"

/* Logs the warnings, each once:
 *
 *     FILE: unused parameter: NAME=VALUE      no program uses it and no `$` refers to it
 *     FILE: parameter NAME is not supported and is ignored
 *     FILE: parameter NAME has no effect here
 *
 * services  of master_cf_read(), whose overrides count as set in its file; NULL: main.cf alone
 *
 * False: a parameter that protects is set to what would need it. error names the first; the others are logged as errors. */
bool findings_report(const MainCf *main_cf, const GPtrArray *services, GError **error);

/* The set of names that are used: known ones, those of transports and restriction classes, and what their values refer to; in the
 * views of main.cf and of all services. Keys are owned by the set. */
GHashTable *findings_used(const MainCf *main_cf, const GPtrArray *services);

/* "FILE: unused parameter: NAME=VALUE" only, for `gatepost config`. */
void findings_report_unused(const MainCf *main_cf, const GPtrArray *services);
