/* keeper.c - retention, once an hour. */
#include "quarantine/keeper.h"
#include "base/clock.h"
#include "base/log.h"

#define PERIOD_MS (3600 * 1000)

typedef struct {
    Quarantine *quarantine;
    QuarantineLimits limits;
    Gate *gate;
    gint64 next; /* clock_ms() */
} Keeper;

static void expire(const Keeper *keeper)
{
    g_autoptr(GError) error = NULL;
    QuarantineExpired expired;

    log_set_number(0);
    if (!quarantine_expire(keeper->quarantine, &keeper->limits, &expired, &error))
        log_warning("quarantine-expire: %s", error->message);
    if (expired.by_age + expired.by_size + expired.garbage > 0)
        log_info("quarantine-expire: by_age=%" G_GUINT64_FORMAT " by_size=%" G_GUINT64_FORMAT
                 " garbage=%" G_GUINT64_FORMAT,
                 expired.by_age, expired.by_size, expired.garbage);
}

static Step run(void *data, TaskRef self, unsigned reasons)
{
    Keeper *keeper = data;

    if (clock_ms() < keeper->next)
        return step_park(0, keeper->next);
    if (!(reasons & WAKE_GATE))
        return step_gate(keeper->gate, CLOCK_NEVER);
    expire(keeper);
    keeper->next = clock_ms() + PERIOD_MS;
    return step_park(0, keeper->next);
}

void quarantine_keeper_add(Sched *sched, Quarantine *quarantine, const QuarantineLimits *limits)
{
    Keeper *keeper = g_new0(Keeper, 1);

    keeper->quarantine = quarantine;
    keeper->limits = *limits;
    keeper->gate = sched_gate_new(sched, 1);
    sched_add(sched, -1, run, g_free, keeper);
}
