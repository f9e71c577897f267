/* client_private.h - what the files of the SMTP client share: client.c (the connection), client_io.c (octets),
 * client_reply.c (commands and replies), client_content.c. All is written as steps that can be tried again; the
 * blocking functions try, and client_block() between. */
#pragma once
#include "smtp/client.h"
#include "smtp/encoder.h"

typedef enum { CONTENT_OPEN, REFUSED_EARLY, DOT_QUEUED } ContentEnd;

struct Client {
    int fd;
    Tls *tls; /* NULL: none */
    bool tls_established;
    EndpointDial dial; /* dial.fd: while connecting */
    guint told_of;     /* dial.next when client_new_fd() gave the descriptor: each address has its own */
    char *peer;
    gint64 timeout_ms;
    bool dot_sent;   /* of the last content */
    gint64 deadline; /* of all that is said; CLOCK_NEVER: none */
    gint64 idle_since;
    GString *in; /* received; not consumed from in_at on */
    size_t in_at;
    GString *out;  /* queued commands, or content in wire form */
    size_t out_at; /* of out: sent */
    Encoder encoder;
    size_t out_complete; /* of out: up to the end of the last complete line of content */
    bool in_content;
    bool line_begun; /* of content: the open line has gone out in part */
    bool failed;     /* for good */

    /* The step under way. */
    gint64 limit;      /* for the present write or reply as a whole; 0: not begun */
    gint64 wait_until; /* for the next octet; 0: not waiting */
    short wait_events;
    short read_events, write_events; /* what reading and writing wait for: with TLS, either may be the other */
    bool asked;                      /* client_try_command() has queued its line */
    ContentEnd end;
    Reply *reply; /* being read; NULL: none is */
    GString *line;
    bool line_is_long;
    size_t reply_octets;
    unsigned reply_warnings;
    bool heard_garbage;
};

/* All functions that give a ClientStatus: as in client.h. */
ClientStatus client_fail(Client *client, GError **error, ClientError code); /* FAILED, for good */
/* Nothing can be done before events: until the timeout of one read or write has passed, or the limit of the whole. */
ClientStatus client_wait_for(Client *client, short events, GError **error);
void client_block(Client *client); /* until the step can be tried again; that sees a timeout or what else is wrong */
gint64 client_time_from_now(gint64 ms);
gint64 client_patience_from_now(const Client *client); /* for a reply, or a write, as a whole */

typedef enum { READ_SOME, READ_NOTHING_NOW, READ_END } ReadResult;
ReadResult client_read_some(Client *client); /* into in */
/* Octets that were sent; 0: not now; -1: the connection is lost. */
ssize_t client_write_some(Client *client, const char *data, size_t len);
short client_events_of(TlsStatus status); /* WANT_READ or WANT_WRITE */
/* Writes all that is queued. Replies that come meanwhile are taken in, so that a peer that answers before it reads on
 * is not blocked by us. */
ClientStatus client_try_flush(Client *client, GError **error);
bool client_flush(Client *client, GError **error); /* blocks */
ClientStatus client_try_reply(Client *client, Reply **ret_reply, GError **error);
