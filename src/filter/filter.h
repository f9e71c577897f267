/* filter.h - our own before-queue filter: an SMTP server and client in one, between the before-filter and the
 * after-filter server. */
#pragma once
#include "base/service.h"
#include "config/config.h"

/* Returns the exit status when the master's orders end it. Errors at start are logged (fatal) and give 1. */
int filter_main(ServiceProcess *process, const MainCf *main_cf);

/* What filter_main() would find wrong with its line's configuration. Nothing is changed. */
bool filter_check(const MainCf *main_cf, const ConfigScope *scope, GError **error);
