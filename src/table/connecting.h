/* connecting.h - making connections to servers that are known by name. The system's resolver takes as long as it likes
 * (resolv.conf(5), nsswitch.conf(5)), and libraries that are given a name ask it themselves. So they do it on a thread
 * of its own; who waits leaves at the deadline, and what comes of it later is closed. */
#pragma once
#include <glib.h>

#define CONNECTING_LEFT_MAX 16 /* attempts of a process that nobody waits for; with so many no other is made */

typedef struct {
    /* Ends by the deadline (clock_ms()) but for the resolver. owner is what g_atomic_rc_box_new() made. NULL: error. */
    void *(*connect)(void *owner, const void *host, gint64 deadline, GError **error);
    void (*close)(void *connection);
    GDestroyNotify clear; /* of owner, when nobody has it any more */
} Connecting;

/* host lives as long as owner does. Any thread. NULL: error. */
void *connect_by(const Connecting *how, void *owner, const void *host, gint64 deadline, GError **error);
