/* dial.h - connects to an endpoint whose host may have a name that only DNS knows: it is looked up at each use, so that
 * a server that moves, or DNS that was down when we started, mends itself. */
#pragma once
#include "dns/resolver.h"
#include "smtp/client.h"

/* As client_connect(); families: $inet_protocols. A name that is not found is logged ("host or service X not found:
 * why") and then a CLIENT_ERROR_CONNECT as any other. */
Client *dial(Resolver *resolver, const Endpoint *endpoint, const char *families, const char *peer, gint64 timeout_ms,
             GError **error);
/* Blocks: the endpoint with the addresses that its name has now; none where it is not found, which is logged. */
Endpoint *dial_look_up(Resolver *resolver, const Endpoint *endpoint, const char *families, gint64 deadline);
