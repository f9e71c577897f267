/* smtp_private.h - the parts of the smtp agent: where a next hop is (smtp_route.c, smtp_host.c, smtp_peer.c), what is
 * said to it (smtp_session.c), in what order (smtp.c). */
#pragma once
#include "config/config.h"
#include "delivery/attempt.h"
#include "delivery/smtp_tls.h"
#include "dns/resolver.h"
#include "smtp/client.h"

typedef struct {
    const Config *config;
    Resolver *resolver;
    guint16 port;               /* smtp_tcp_port */
    const char *families;       /* "ipv4", "ipv6", "all" */
    bool asks_mx;               /* smtp_dns_support_level, disable_dns_lookups */
    bool asks_dns, asks_system; /* for the addresses of hosts: smtp_host_lookup */
    GHashTable *own;            /* set of char *: addresses of this system */
    SmtpTls *tls;               /* NULL: none, whoever it is */
    TlsLevel requiretls_level;  /* asked for a message with REQUIRETLS; SECURE: and of the server to promise the same */
} Smtp;

/* ---- smtp_route.c ---- */

typedef struct {
    char *host; /* as its MX record names it, or the next hop */
    struct sockaddr_storage address;
    unsigned preference;
    guint32 order; /* within the preference */
} SmtpTarget;

typedef struct {
    GArray *targets; /* of SmtpTarget, in the order to try: one or more where a route was FOUND */
    guint16 port;
    char *nexthop;
    char *domain;    /* of the next hop, without brackets and port */
    const char *dsn; /* why there is none; valid until cleared, as is text */
    char *text;
} SmtpRoute;

typedef enum {
    ROUTE_FOUND,
    ROUTE_BAD,       /* not a next hop: the configuration is wrong */
    ROUTE_NOT_FOUND, /* for good: no such name, no mail there, or it is we */
    ROUTE_TEMPORARY
} SmtpRouteResult;

/* ---- smtp_host.c ---- */

typedef struct {
    SmtpRouteResult result; /* FOUND, NOT_FOUND, TEMPORARY */
    GPtrArray *addresses;   /* of char *, numeric, IPv4 first; may hold such as nobody wants */
    const char *dsn;        /* why there is none */
    char *text;
} SmtpHost;
/* Blocks. The caller clears *ret_host. */
void smtp_host_look_up(const Smtp *smtp, const char *name, gint64 deadline, SmtpHost *ret_host);
void smtp_host_clear(SmtpHost *host);

/* ---- smtp_route.c, again ---- */

/* "host" and "host:port" by the host's MX records (RFC 5321 section 5.1), or its addresses where it has none; "[host]"
 * and
 * "[host]:port" by its addresses. Blocks. The caller clears *ret_route, whatever the result. */
SmtpRouteResult smtp_route(const Smtp *smtp, const char *nexthop, SmtpRoute *ret_route);
void smtp_route_clear(SmtpRoute *route);

/* ---- smtp_peer.c ---- */

/* One address of a next hop. */
typedef struct {
    char *host;
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
    char *relay;      /* NULL: no connection */
    bool site;        /* it speaks against the destination */
    bool retry_plain; /* the same address is to be tried without TLS */
    gint64 connected_us;
} SmtpFailure;
void smtp_failure_set(SmtpFailure *failure, const char *dsn, bool site, const char *relay, const char *text);
void smtp_failure_clear(SmtpFailure *failure);

/* Speaks the message to the peer; takes the client. policy: of TLS. last: no other address will be tried after this
 * one. Recipients whose end is known are finished. False: those that are not may be tried elsewhere; *failure says why
 * they were not delivered here. */
bool smtp_session(const Smtp *smtp, Attempt *attempt, const SmtpRoute *route, const SmtpPeer *peer,
                  const TlsPolicy *policy, Client *client, bool last, SmtpFailure *failure);
