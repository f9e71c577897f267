/* envelope.h - what SMTP says about a message beside its content (RFC 5321 section 2.3.1), with what is logged about its origin. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum { BODY_UNSPECIFIED, BODY_7BIT, BODY_8BITMIME } BodyType;
typedef enum { DSN_RET_NONE, DSN_RET_FULL, DSN_RET_HDRS } DsnRet;
/* What stands for REQUIRETLS on hops that do not know it (REQUIRETLS_README), with the value "yes". */
#define REQUIRETLS_HEADER "Require-TLS-ESMTP"
/* A probe only finds out whether mail for its recipients would be delivered (ADDRESS_VERIFICATION_README): it has no content, and
 * nothing is ever delivered, returned or tried twice for it. */
typedef enum {
    PROBE_NONE, /* mail */
    PROBE_ANY,  /* whatever comes out is remembered */
    PROBE_GOOD  /* only that mail would be delivered (address_verify_negative_cache=no) */
} Probe;
enum { DSN_NOTIFY_NEVER = 1, DSN_NOTIFY_SUCCESS = 2, DSN_NOTIFY_FAILURE = 4, DSN_NOTIFY_DELAY = 8 }; /* a set; 0: not given */

/* Addresses are in internal form (unquoted local part, no brackets): `"a b"@x` is `a b@x`. address.h converts. */
typedef struct {
    char *address;    /* where it goes */
    char *original;   /* as the client gave it, before aliases ("" : same as address); orig_to= and X-Original-To */
    char *dsn_orcpt;  /* RFC 3461 "type;xtext" as received, or NULL */
    unsigned notify;  /* DSN_NOTIFY_ set */
} Recipient;

/* Where the message came from, as log lines and policy show it: XFORWARD's values when there were any, else the connection's. */
typedef struct {
    char *name;     /* client name, "unknown" */
    char *addr;     /* numeric, "unknown" */
    char *port;     /* "unknown" */
    char *helo;     /* NULL: none */
    char *protocol; /* SMTP, ESMTP */
    char *sasl_method, *sasl_username, *sasl_sender; /* NULL: none */
    bool is_local;  /* XFORWARD SOURCE=LOCAL, or local_header_rewrite_clients: headers may be completed */
} Origin;

typedef struct {
    char *sender; /* internal form; "" is the null sender */
    GPtrArray *recipients; /* of Recipient*, numbered from 0 in this order for good */
    Origin origin;
    gint64 arrival_us;  /* clock_wall_us() when the transaction began */
    gint64 size;        /* octets of content with CRLF line ends, as log lines and SIZE= say it; 0 before the end of content */
    BodyType body;
    DsnRet ret;
    char *envid; /* xtext as received, or NULL */
    bool smtputf8;
    bool requiretls; /* only to servers that promise to do the same, inside TLS (RFC 8689) */
    char *content_filter; /* "transport:nexthop" or NULL */
    Probe probe;
} Envelope;

Envelope *envelope_new(void);
void envelope_free(Envelope *envelope);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Envelope, envelope_free)
Recipient *envelope_add(Envelope *envelope, const char *address); /* owned by envelope */
void recipient_free(Recipient *recipient);
void origin_clear(Origin *origin);
void origin_copy(Origin *to, const Origin *from);
