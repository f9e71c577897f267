/* tls_tickets.h - the keys of TLS session tickets: what a server gives its clients to resume a session with is
 * encrypted with them, and nothing is stored. They are in memory that processes share and a restarted one finds again,
 * never in a file. A key issues tickets for half the time that sessions may last, and opens them for as long again;
 * then it is forgotten, and with it what it could open (FORWARD_SECRECY_README). All functions are thread-safe. */
#pragma once
#include <stdbool.h>

typedef struct TlsTickets TlsTickets;

/* Memory behind a new descriptor that children may inherit. False: errno tells why. */
bool tls_tickets_create(int *ret_fd);
/* The memory behind fd, which may be closed then. NULL: errno tells why. It is left out of core dumps. */
TlsTickets *tls_tickets_map(int fd);
void tls_tickets_unmap(TlsTickets *tickets);
