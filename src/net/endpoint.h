/* endpoint.h - where a peer listens, as main.cf names it: "host:port", ":port", "port", "[v6]:port", "inet:...", "unix:path".
 * A missing host is localhost; a relative unix path is relative to base_dir ($queue_directory). Ports: number or services(5).
 * (postconf(5): smtpd_proxy_filter) */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/socket.h>

typedef struct {
    char *name; /* as configured, for log lines: "127.0.0.1:10025" */
    char *path; /* absolute, for unix; else NULL */
    char *host; /* NULL for unix; no brackets */
    guint16 port;
    GArray *addresses; /* struct sockaddr_storage, in the order to try. Filled by parsing when host is numeric or stands in
                          /etc/hosts; otherwise empty until somebody resolves host (dns/) and adds to it */
} Endpoint;

/* NULL: error says what is wrong and what would be right. default_port 0: a port is required, and a single word is the port; otherwise a
 * single word is the host. localhost is 127.0.0.1, then ::1, whatever /etc/hosts says. */
Endpoint *endpoint_parse(const char *text, const char *base_dir, guint16 default_port, GError **error);
/* For sandbox_will_connect(): to be connected to later. NULL is fine. */
void endpoint_announce(const Endpoint *endpoint);
void endpoint_free(Endpoint *endpoint);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Endpoint, endpoint_free)
/* Adds at the end, unless it is there already or is no numeric address. Not for endpoints that threads share. */
void endpoint_add_address(Endpoint *endpoint, const char *numeric);

/* Blocks (behind a gate), until deadline (clock_ms). Tries the addresses in turn, each with its share of the time that is left. Returns a non-blocking, close-on-exec descriptor
 * with TCP_NODELAY, or -1: error's text is the last errno's text alone ("Connection refused"), for "connect to F: <text>", its code that errno; without
 * addresses EADDRNOTAVAIL's, as inet_connect() of Postfix, and 0. */
int endpoint_connect(const Endpoint *endpoint, gint64 deadline, GError **error);

/* The same in steps, for who cannot wait: endpoint_dial_step() with wait false, and after DIAL_WAIT again when fd has become writable, or at
 * until (clock_ms). Each step may have another fd. CONNECTED: fd is the caller's; else it is closed by whoever gives up (fd_clear()). An endpoint
 * with a path (unix) blocks all the same while the peer's backlog is full. */
typedef enum { DIAL_CONNECTED, DIAL_WAIT, DIAL_FAILED } DialStatus;
typedef struct {
    const Endpoint *endpoint;
    gint64 deadline, until;
    guint next; /* address to try */
    int failure;
    int fd; /* -1: none */
} EndpointDial;
EndpointDial endpoint_dial(const Endpoint *endpoint, gint64 deadline);
DialStatus endpoint_dial_step(EndpointDial *dial, bool wait, GError **error);
