/* clock.h - the two clocks. Deadlines are points on the monotonic one, in milliseconds. */
#pragma once
#include <glib.h>

#define CLOCK_NEVER G_MAXINT64 /* a deadline that does not come */

gint64 clock_ms(void);      /* monotonic, milliseconds; never 0 */
gint64 clock_wall_us(void); /* since 1970, microseconds */
gint64 clock_wall_ns(void); /* since 1970, nanoseconds */

/* Milliseconds from now to deadline for poll(): 0 when it has passed, -1 for CLOCK_NEVER. */
int clock_poll_timeout(gint64 deadline);
