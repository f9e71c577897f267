/* spawn.h - the spawn service (spawn(8)): for each connection a program of its own, whose standard input, output and
 * errors are the connection. The service's process has threads and gives up root; programs are started by a runner
 * (base/runner.h), as the user that master.cf names, and nothing of them is left when they end or their time limit
 * (SERVICE_time_limit, else command_time_limit) comes. */
#pragma once
#include "base/service.h"
#include "config/config.h"

int spawn_main(ServiceProcess *process, const Config *config);

/* What spawn_main() would find wrong with its line's arguments ("user=...", "argv=..."). Nothing is changed. */
bool spawn_check(const Config *config, const GPtrArray *arguments, GError **error);
