/* client_wait.c - a session that waits for a peer of its own. */
#include "smtp/client_wait.h"
#include "base/clock.h"

#define UNWATCHED_POLL_MS 100 /* between two looks at a connection that the scheduler cannot watch */

Outcome client_wait(Client *client, Session *session, ClientWatch *watch)
{
    gint64 until = client_wait_until(client);
    bool output = client_waits_for_output(client);
    bool is_new = client_new_fd(client) >= 0 || watch->moved;

    if (is_new || (output && !watch->output)) {
        watch->unwatched = !sched_watch(session->sched, session->self, client_fd(client), output);
        watch->output = output;
        watch->moved = false;
    }
    if (watch->unwatched)
        until = MIN(until, clock_ms() + UNWATCHED_POLL_MS);
    return outcome_wait(until, false);
}
