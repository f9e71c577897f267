/* client_wait.h - a session that speaks to a peer of its own in steps (client.h), and waits for it parked. */
#pragma once
#include "smtp/client.h"
#include "smtp/session.h"

/* What the scheduler has been told of the connection. Zeroed with each new one; moved: it was another session's before.
 */
typedef struct {
    bool moved;
    bool output;    /* told when the peer takes more */
    bool unwatched; /* it cannot be told */
} ClientWatch;

/* After CLIENT_WAIT: until the peer has done something, or the step's time is over. */
Outcome client_wait(Client *client, Session *session, ClientWatch *watch);
