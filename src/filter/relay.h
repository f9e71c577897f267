/* relay.h - one session of the filter: what the before-filter server says goes to the next hop as it is, and the next
 * hop's replies go back (SMTPD_PROXY_README, "How Postfix talks to the before-queue content filter").
 *
 * Content passes as canonical lines between relay_content() and relay_end(): there a verdict other than "accept" cuts
 * in, and the connection to the next hop is closed before its final dot. */
#pragma once
#include "config/config.h"
#include "dns/resolver.h"
#include "net/endpoint.h"
#include "smtp/dial.h"
#include "smtp/server.h"
#include "smtp/session.h"
#include "smtp/xforward.h"
#include "table/match.h"

/* One process, constant. */
typedef struct {
    ServiceProcess *process;
    Server *server;
    Config *config;
    Resolver *resolver;
    Gate *gate; /* dialogues with the next hop */
    Endpoint *nexthop;
    const char *inet_protocols;
    gint64 timeout_ms;
    MatchList *authorized; /* filter_authorized_hosts */
    SessionLimits limits;
} RelayService;

/* The service's part of a session. */
typedef struct {
    const RelayService *service;
    Connection connection;
    char *peer;      /* "unknown[addr]", for log lines */
    Client *nexthop;     /* NULL: not connected */
    char *hello;         /* our client's EHLO or HELO line */
    XfAttrs client;  /* XFORWARD, for log lines */
    char *sender;    /* MAIL's and the first RCPT's argument as sent; NULL: none */
    char *recipient;
    unsigned recipients; /* accepted by the next hop */
    bool lost;           /* the next hop failed inside content */
} Relay;

extern const ServerClass relay_class;
Relay *relay_new(const RelayService *service, const Connection *connection);
