/* server.h - a service process that serves sessions: listeners, how many at once, orders of the master. What a session
 * is, is the service's. */
#pragma once
#include "base/account.h"
#include "base/service.h"
#include "net/sched.h"
#include <sys/socket.h>

typedef struct Server Server;

/* A connection that was accepted. Numeric texts; for a unix socket addr is "" and port NULL. */
typedef struct {
    int fd; /* non-blocking, TCP_NODELAY; becomes the session's */
    char addr[64], port[8];
    char local_addr[64], local_port[8];
    guint64 number; /* for the session's log lines */
    bool stress;    /* the line is at its limit, or has been within the last 1000 s, or others wait for a resource */
} Connection;

/* Starts a session for connection; must call server_session_ended() once when it is over. */
typedef void (*ServerAccept)(void *user, const Connection *connection);

/* Before the first thread. process stays the caller's. */
Server *server_new(ServiceProcess *process, GError **error);
void server_free(Server *server);
Sched *server_sched(Server *server);
Account *server_account(Server *server);
_Atomic int *server_closing(Server *server); /* 1: sessions shall say 421 between transactions */
void server_set_stress_hint(
    Server *server, bool (*is_stressed)(void *user)); /* besides the line's own limit; called with accept's user */

/* Says ready, accepts and serves until an order ends it: drained, or stopped (5 s at most). */
void server_run(Server *server, ServerAccept accept, void *user);
void server_session_ended(Server *server);
/* Any thread: ends the process as when it is told to stop, in 5 s at most. The master starts the next one at once. */
void server_retire(Server *server);

/* Sessions and events per client address, over all generations of the line. Thread-safe. count_enter returns the number
 * with the new one. */
unsigned server_count_enter(Server *server, const char *addr);
void server_count_leave(Server *server, const char *addr);
/* One more event of that client: the number with it in its time unit (milliseconds). */
unsigned server_count_event(Server *server, RateKind kind, const char *addr, gint64 unit);
unsigned server_event_count(Server *server, RateKind kind, const char *addr, gint64 unit); /* so far */
