/* clock.c - the two clocks. */
#include "base/clock.h"

#include <time.h>

static gint64 read_ns(clockid_t which)
{
    struct timespec now;

    clock_gettime(which, &now);
    return (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
}

gint64 clock_ms(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000000 + 1;
}

gint64 clock_wall_us(void)
{
    return read_ns(CLOCK_REALTIME) / 1000;
}

gint64 clock_wall_ns(void)
{
    return read_ns(CLOCK_REALTIME);
}

int clock_poll_timeout(gint64 deadline)
{
    if (deadline == CLOCK_NEVER)
        return -1;
    return (int)CLAMP(deadline - clock_ms(), 0, G_MAXINT);
}
