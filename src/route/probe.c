/* probe.c - the sender of probes (address_verify_sender, address_verify_sender_ttl). */
#include "base/clock.h"
#include "mail/address.h"
#include "route/private.h"

#include <string.h>

#define DIGITS "0123456789BCDFGHJKLMNPQRSTVWXYZ" /* no vowels: no words */

static char *number_text(guint64 number)
{
    char text[16], *at = text + sizeof text - 1;

    *at = '\0';
    do
        *--at = DIGITS[number % strlen(DIGITS)];
    while ((number /= strlen(DIGITS)) > 0);
    return g_strdup(at);
}

/* In the period-th of the sender's times. */
static char *sender_in(const Route *route, gint64 period)
{
    g_autofree char *complete = route_complete(route, route->probe_sender);
    g_autofree char *local_part = address_local_part(complete);
    const char *domain = address_domain(complete);

    if (route->probe_sender_ttl == 0 || !*complete || !domain)
        return g_steal_pointer(&complete);
    g_autofree char *number = number_text((guint64)MAX(period, 0));
    return g_strdup_printf("%s%s@%s", local_part, number, domain);
}

static gint64 this_period(const Route *route)
{
    return route->probe_sender_ttl == 0 ? 0 : clock_wall_us() / G_USEC_PER_SEC / route->probe_sender_ttl;
}

char *route_probe_sender(const Route *route)
{
    return sender_in(route, this_period(route));
}

bool route_is_probe_sender(const Route *route, const char *address)
{
    gint64 now = this_period(route);

    if (!*route->probe_sender || !strchr(address, '@'))
        return false;
    for (gint64 period = now - 1; period <= now + 1; period++) { /* clocks differ, and mail takes its time */
        g_autofree char *sender = sender_in(route, period);
        if (address_equal(sender, address))
            return true;
    }
    return false;
}
