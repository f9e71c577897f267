/* relay.h - one session of the filter: what the before-filter server says goes to the next hop as it is, and the next
 * hop's replies go back (SMTPD_PROXY_README, "How Postfix talks to the before-queue content filter").
 *
 * Without inspectors content passes on as it comes. With inspectors it is held back, with the next hop waiting behind
 * MAIL and RCPT; at its end they judge it within filter_deadline, and what is accepted goes on with their changes. On
 * any other verdict the connection to the next hop is closed with the message not begun. */
#pragma once
#include "config/config.h"
#include "dns/resolver.h"
#include "filter/inspector.h"
#include "net/endpoint.h"
#include "quarantine/quarantine.h"
#include "smtp/client_wait.h"
#include "smtp/dial.h"
#include "smtp/hop_tls.h"
#include "smtp/server.h"
#include "smtp/session.h"
#include "table/match.h"

/* One process, constant. */
typedef struct {
    ServiceProcess *process;
    Server *server;
    Config *config;
    Resolver *resolver;
    Gate *gate; /* dialogues with the next hop, and inspections */
    Endpoint *nexthop;
    HopTls *nexthop_tls; /* NULL: none */
    const char *inet_protocols;
    gint64 timeout_ms;
    guint64 size_max;      /* octets of a message that is held back (message_size_limit) */
    gint64 deadline_ms;    /* filter_deadline */
    MatchList *authorized; /* filter_authorized_hosts */
    SessionLimits limits;
    Inspectors *inspectors;
    char *content_directory;
    const char *quarantine_directory;
    Quarantine *quarantine;  /* NULL: there are no inspectors, or it could not be opened at start */
    Account content_account; /* of content in memory */
    ContentPlace place;
} RelayService;

/* The service's part of a session. */
typedef struct {
    const RelayService *service;
    Connection connection;
    char *peer;      /* "unknown[addr]", for log lines */
    Client *nexthop; /* NULL: not connected */
    ClientWatch watch;
    bool pipelining; /* the next hop offers that */
    GQueue ahead;    /* of char*: lines that the next hop was sent and that it has not answered yet */
    char *hello;     /* our client's EHLO or HELO line */
    Message message;
    bool stranger;   /* an XFORWARD is lost: a new next hop would not know whose this message is */
    bool lost;       /* the next hop failed inside content */
    gint64 ended_at; /* clock_ms() when the end of the content was seen; 0: not yet */
} Relay;

extern const ServerClass relay_class;
Relay *relay_new(const RelayService *service, const Connection *connection);

/* The reply of whatever is our own affair: the server in front hands replies on to strangers, so they say no more than
 * it would itself; the log says all. */
#define RELAY_FAILED "451 4.3.0 Error: queue file write error"

/* --- relay_nexthop.c: the connection behind us. What gives a Reply blocks, and a Reply is never NULL: a failure is
 * logged, closes the connection and is a RELAY_FAILED. --- */

/* Connects, reads the greeting and says hello, which is kept for the next time. */
Reply *relay_hello(Relay *relay, const char *line);
/* One line there, its reply back. */
Reply *relay_exchange(Relay *relay, const char *line);
/* The same in steps, for the running command's line. What our client has pipelined behind it goes to the next hop
 * together with it, if that takes it so. DONE: *ret_reply. At the beginning of a message a connection that is not there
 * is made, behind the service's gate. */
Outcome relay_pass(Session *session, const char *line, Reply **ret_reply);
/* In steps: room for a piece of content, its end. relay->lost: in vain, which is logged. */
Outcome relay_room(Session *session, size_t len);
Outcome relay_end_content(Session *session, Reply **ret_reply);
/* Closes without a word: a message under way is never completed. */
void relay_drop_nexthop(Relay *relay);
void relay_log_failure(const Relay *relay, const GError *error);

/* --- relay_verdict.c --- */

/* The end of a message that was held back: inspects, acts. The reply for our client, who is at the other end of stream.
 * Blocks. */
Reply *relay_judge(Relay *relay, const Stream *stream);
/* Stores the message in the quarantine. 250 with the id there, or a 451 when it cannot. Blocks. */
Reply *relay_quarantine(Relay *relay, const Verdict *verdict, const GPtrArray *records);
/* The log line of a message's end. verdict: "accept", ...; details: appended, or NULL. */
void relay_log_verdict(const Relay *relay, const char *verdict, const Reply *reply, const char *details);
