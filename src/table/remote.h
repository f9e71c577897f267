/* remote.h - the server of a table that is asked over a socket, one request and one reply at a time: its connections,
 * which are kept a while and shared by all threads that look up. Nothing here knows what is said. */
#pragma once
#include "net/endpoint.h"

typedef struct Remote Remote;

/* endpoint becomes the remote's; connections are made when they are needed. A host that has a name for DNS alone is
 * looked up each time. timeout_ms: for one remote_ask(), whatever is done in it. reply_max: octets. */
Remote *remote_new(Endpoint *endpoint, gint64 timeout_ms, size_t reply_max);
void remote_free(Remote *remote); /* when nobody asks any more. NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Remote, remote_free)

/* The end of the reply in what has come so far: its length, 0 when it goes on, or -1 when it is no reply (error). */
typedef gssize RemoteFrame(const char *data, size_t len, GError **error);

/* Blocks, no longer than the timeout. Any thread. Returns the reply,
 * which the caller frees; NULL: error. A connection that the server closed while nobody used it is replaced silently.
 */
GString *remote_ask(Remote *remote, const char *request, size_t len, RemoteFrame *frame, GError **error);
