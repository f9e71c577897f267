/* statistics.c - what anvil(8) does from time to time: forgets clients that are quiet, and logs the highest counts. */
#include "base/clock.h"
#include "master/master_private.h"

static gint64 unit_ms(const Master *master)
{
    return config_seconds(master->plan->config, "anvil_rate_time_unit") * 1000;
}

void master_log_statistics(Master *master)
{
    rates_log_statistics(&master->page->rates, unit_ms(master));
}

void master_tend_statistics(Master *master, gint64 now)
{
    gint64 status_ms = config_seconds(master->plan->config, "anvil_status_update_time") * 1000;

    if (now >= master->sweep_at) {
        master->sweep_at = now + unit_ms(master);
        rates_sweep(&master->page->rates, now, unit_ms(master));
    }
    if (!master->statistics_at)
        master->statistics_at = now + status_ms;
    master->statistics_at = MIN(master->statistics_at, now + status_ms); /* a reload may have made it shorter */
    if (now >= master->statistics_at) {
        master->statistics_at = now + status_ms;
        master_log_statistics(master);
    }
}
