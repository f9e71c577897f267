/* settings.h - what main.cf says to an SMTP server, read once. A line has two: with stress empty and with stress yes.
 */
#pragma once
#include "access/access.h"
#include "base/rates.h"
#include "config/config.h"
#include "net/endpoint.h"
#include "route/route.h"
#include "sasl/cyrus.h"
#include "smtp/command.h"
#include "smtp/decoder.h"
#include "smtp/hop_tls.h"
#include "smtp/session.h"
#include "smtpd/tls.h"
#include "table/match.h"
#include "table/table.h"

/* EHLO keywords that smtpd_discard_ehlo_keywords can take away, as bits. */
enum {
    EHLO_PIPELINING = 1 << 0,
    EHLO_SIZE = 1 << 1,
    EHLO_VRFY = 1 << 2,
    EHLO_ETRN = 1 << 3,
    EHLO_STARTTLS = 1 << 4,
    EHLO_AUTH = 1 << 5,
    EHLO_XVERP = 1 << 6,
    EHLO_XCLIENT = 1 << 7,
    EHLO_XFORWARD = 1 << 8,
    EHLO_ENHANCEDSTATUSCODES = 1 << 9,
    EHLO_8BITMIME = 1 << 10,
    EHLO_DSN = 1 << 11,
    EHLO_SMTPUTF8 = 1 << 12,
    EHLO_CHUNKING = 1 << 13,
    EHLO_SILENT_DISCARD = 1 << 14,
    EHLO_UNKNOWN = 1 << 15, /* the table that knows cannot be asked */
    EHLO_REQUIRETLS = 1 << 16,
    EHLO_LIMITS = 1 << 17,
};

typedef struct {
    Config *config; /* owns the strings below */
    SessionLimits limits;
    Route *route;
    Access *access;
    bool lookups_block; /* of what is looked up for a client or a command */

    const char *hostname, *banner, *mail_name, *inet_protocols;
    const char *reject_footer, *expansion_filter;
    Tables *footer_maps;
    bool soft_bounce;
    bool helo_required, disable_vrfy, delay_reject, delay_open, peername_lookup, port_logging, hide_client_session;
    bool ipv4, ipv6;
    bool requiretls, requiretls_header; /* requiretls_enable; requiretls_esmtp_header */
    bool sasl_enabled;
    struct {
        Endpoint *endpoint; /* of the authentication server; NULL: it is Cyrus SASL, or sasl_enabled is false */
        char *cyrus_path;   /* where that has its configuration */
        SaslPolicy plain, tls;
        MatchList *filter, *exceptions;
        const char *service;
        bool needs_tls, old_keyword, in_received;
        size_t response_limit;
    } sasl;
    CommandRules rules; /* without what depends on the client's discarded keywords */
    unsigned discard;   /* EHLO_ bits */
    Tables *discard_maps;
    MatchList *noop_commands, *forbidden_commands;
    Tables *command_filter;
    gint64 message_size_limit, queue_minfree;
    int recipient_limit, recipient_overshoot;
    bool announce_limits;

    BareNewline bare_newline;
    MatchList *bare_newline_exclusions;
    int bare_newline_code;
    bool forbid_unauth_pipelining;

    int connection_count_limit;
    int rate_limits[RATE_KINDS]; /* 0: none */
    gint64 rate_unit_ms;
    unsigned ipv4_prefix, ipv6_prefix; /* clients of one such network count as one */
    gint64 upstream_timeout_ms;        /* for the PROXY header; 0: no smtpd_upstream_proxy_protocol */
    bool upstream_is_anybody;          /* smtpd_upstream_proxy_hosts is empty */
    MatchList *upstream_hosts;
    MatchList *event_exceptions, *xforward_hosts, *xclient_hosts;
    bool rewrite_for_inet_interfaces; /* local_header_rewrite_clients */
    MatchList *rewrite_networks;

    TlsServer tls;

    Endpoint *proxy;   /* NULL: no smtpd_proxy_filter */
    HopTls *proxy_tls; /* NULL: none */
    const char *proxy_ehlo;
    gint64 proxy_timeout_ms, proxy_wait_ms;
    bool speed_adjust, proxy_trace;
    int proxy_slots, proxy_wait_limit;
    bool proxy_reuse, proxy_pipelining;
    int proxy_reuse_limit; /* messages on one connection; 0: no limit */
    gint64 proxy_idle_ms;

    bool address_mappings, body_checks, unknown_recipient_checks; /* receive_override_options */
    const char *content_filter;
} Settings;

/* stress: "" or "yes". maxproc: of the line, for smtpd_proxy_concurrency_limit's default. tickets: see smtpd/tls.h.
 * like: the settings of the same line for the other stress, whose TLS context is shared if it can be; or NULL. NULL:
 * the first thing that is wrong. */
Settings *settings_new(const MainCf *main_cf, const ConfigScope *scope, int maxproc, TlsTickets *tickets,
                       const Settings *like, GError **error);
void settings_free(Settings *settings);

unsigned settings_parse_discard(const char *keywords);
