/* keeper.h - retention in a process that serves: quarantine_expire() at once and then every hour, behind a gate of its
 * own. Every process that has the quarantine open may do it. */
#pragma once
#include "net/sched.h"
#include "quarantine/quarantine.h"

/* Before sched_run(). quarantine outlives sched. The task never ends (sched_quit() does); it logs what it removed
 * ("quarantine-expire: by_age=1 by_size=0 garbage=0"), and failures. */
void quarantine_keeper_add(Sched *sched, Quarantine *quarantine, const QuarantineLimits *limits);
