/* tls.h - TLS of an SMTP server: what main.cf says of it, the tables of server names, STARTTLS. */
#pragma once
#include "config/config.h"
#include "net/tls.h"
#include "table/table.h"

typedef struct SniMaps SniMaps;

typedef struct {
    bool on;
    TlsContext *context; /* NULL: TLS is off, or there is no certificate: STARTTLS gets 454 */
    SniMaps *names;      /* tls_server_sni_maps */
    bool required;       /* smtpd_tls_security_level = encrypt */
    bool wrapper;        /* TLS comes before the greeting */
    bool asks;           /* for a certificate of the client */
    bool needs_trust;    /* smtpd_tls_req_ccert: and one that is none, or not trusted, ends the session */
    bool received_header;
    gint64 time_ms; /* for a handshake */
} TlsServer;

/* tickets: outlives it; NULL: sessions cannot be resumed. line: of master.cf, for sessions. like: what the same line
 * has for another `stress`, or NULL: its context is used again where nothing differs. False: error; tls is cleared. */
bool tls_server_read(const Config *config, TlsTickets *tickets, const char *line, const TlsServer *like, TlsServer *tls,
                     GError **error);
void tls_server_clear(TlsServer *tls);
