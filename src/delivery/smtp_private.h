/* smtp_private.h - the parts of the smtp agent: where a next hop is (smtp_peer.c), what is said to it (smtp_session.c),
 * in what order (smtp.c). */
#pragma once
#include "config/config.h"
#include "delivery/attempt.h"
#include "dns/resolver.h"
#include "smtp/client.h"

typedef struct {
    const Config *config;
    Resolver *resolver;
    guint16 port;         /* smtp_tcp_port */
    const char *families; /* "ipv4", "ipv6", "all" */
} Smtp;

/* ---- smtp_peer.c ---- */

typedef struct {
    Endpoint *endpoint; /* host, port, addresses */
    char *nexthop;
} SmtpRoute;

typedef enum { ROUTE_FOUND, ROUTE_BAD, ROUTE_NOT_FOUND, ROUTE_TEMPORARY } SmtpRouteResult;
/* "[host]:port", "[host]", "host:port", "host". Blocks. *ret_text: why not, for the log; the caller frees. */
SmtpRouteResult smtp_route(const Smtp *smtp, const char *nexthop, SmtpRoute *ret_route, char **ret_text);
void smtp_route_clear(SmtpRoute *route);

/* One address of a next hop. */
typedef struct {
    char *name;  /* "host[addr]" */
    char *relay; /* "host[addr]:port" */
    guint16 port;
} SmtpPeer;
void smtp_peer_clear(SmtpPeer *peer);
/* Connects. NULL: *ret_text is "connect to host[addr]:port: why". */
Client *smtp_connect(const Smtp *smtp, const SmtpRoute *route, guint index, SmtpPeer *ret_peer, char **ret_text);

/* ---- smtp_session.c ---- */

/* Why a session came to nothing before anything was decided about the recipients: another address may be tried. */
typedef struct {
    char dsn[12];
    char *text;
    char *relay; /* NULL: no connection */
    bool site;   /* it speaks against the destination */
    gint64 connected_us;
} SmtpFailure;
void smtp_failure_set(SmtpFailure *failure, const char *dsn, bool site, const char *relay, const char *text);
void smtp_failure_clear(SmtpFailure *failure);

/* Speaks the message to the peer; takes the client. last: no other address will be tried after this one. Recipients
 * whose end is known are finished. False: those that are not may be tried elsewhere; *failure says why they were not
 * delivered here. */
bool smtp_session(const Smtp *smtp, Attempt *attempt, const SmtpRoute *route, const SmtpPeer *peer, Client *client,
                  bool last, SmtpFailure *failure);
