/* client.h - the client's side of one SMTP connection, blocking with a time limit per read and write, for use behind a
 * gate or in a delivery thread, or in steps. Knows no policy: what a reply means is the caller's. Logs only what is odd
 * about the form of a reply; failures are told, not logged.
 *
 * Bounds: a reply is REPLY_LINE_MAX octets a line, 256 kB in all, and must be complete within ten times the timeout,
 * however steadily its lines come; so must each write. Past them it is a TIMEOUT (time) or LOST (octets). */
#pragma once
#include "net/endpoint.h"
#include "net/tls.h"
#include "smtp/reply.h"

typedef struct Client Client;

typedef enum {
    CLIENT_ERROR_CONNECT, /* text: errno's text alone */
    CLIENT_ERROR_LOST,    /* end of input, reset, broken pipe */
    CLIENT_ERROR_TIMEOUT,
    CLIENT_ERROR_TLS, /* no handshake; why is logged. The text is for the log */
} ClientError;
#define CLIENT_ERROR (client_error_quark())
GQuark client_error_quark(void);

/* peer: for log lines about the peer's replies: "proxy 127.0.0.1:10025" gives "received garbage from proxy
 * 127.0.0.1:10025: ..." and, by its last word, "127.0.0.1:10025: response longer than 2048: ...". Does not read the
 * greeting. timeout in ms, for connecting and for each single read or write; client_set_timeout() changes it. */
Client *client_connect(const Endpoint *endpoint, const char *peer, gint64 timeout_ms, GError **error);
Client *client_new(int fd, const char *peer, gint64 timeout_ms); /* fd becomes the client's */
void client_free(Client *client);                                /* closes at once; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Client, client_free)
void client_set_timeout(Client *client, gint64 timeout_ms);
/* clock_ms() at which whatever is under way fails with TIMEOUT, besides the timeout; CLOCK_NEVER: none. It ends with
 * the final dot of a content: the reply to that is waited for as long as the timeout says. */
void client_set_deadline(Client *client, gint64 deadline);
gint64 client_idle_since(const Client *client); /* clock_ms() of the last octet read or written */

/* Each command is one write; its reply is read to its last line. *ret_reply is replaced (the old one freed), NULL on
 * failure. After a failure every later call fails with LOST. */
bool client_read_reply(Client *client, Reply **ret_reply, GError **error);
bool client_command(Client *client, Reply **ret_reply, GError **error, const char *format, ...) G_GNUC_PRINTF(4, 5);
/* For lines that are a stranger's octets: line is sent with CRLF and nothing else. One line stays one: a CR or LF
 * inside goes out as a space. */
bool client_command_line(Client *client, Reply **ret_reply, GError **error, const char *line);
/* From here on all goes through TLS: before the greeting, or behind a 220 reply to STARTTLS. tls: of client_fd(), with
 * all that the certificate is to be checked against; it becomes the client's. The handshake as a whole must be done
 * within the timeout. Plaintext that came ahead of it is thrown away. What the certificate is worth is for the caller
 * to see: tls_facts(client_tls()). */
bool client_start_tls(Client *client, Tls *tls, GError **error);
Tls *client_tls(const Client *client); /* stays the client's; NULL: no handshake is done */

/* Octets have come that no command asked for: what is read next would be no answer to the next command. Only without
 * pipelining. */
bool client_heard_too_much(const Client *client);
/* Some reply had a form that no server of a sound mind gives it: which answers what can be doubted. */
bool client_heard_garbage(const Client *client);
/* Nothing has come since the last reply, neither octets nor the end of input. Looks; never blocks. */
bool client_is_quiet(Client *client);

/* The same in steps, for who cannot wait (a session on the scheduler): after CLIENT_WAIT the same call is made again
 * when something has happened to the descriptor, or at client_wait_until() (clock_ms) at the latest. endpoint: has
 * addresses, and outlives connecting. client_new_fd(): a descriptor to watch that was not told before, or -1; asked
 * after each step that connects. */
typedef enum { CLIENT_DONE, CLIENT_WAIT, CLIENT_FAILED } ClientStatus;
Client *client_begin(const Endpoint *endpoint, const char *peer, gint64 timeout_ms);
ClientStatus client_try_connect(Client *client, GError **error);
int client_new_fd(Client *client);
gint64 client_wait_until(const Client *client);
int client_fd(const Client *client);
bool client_waits_for_output(
    const Client *client); /* the step that has to wait does so until it can write or is connected */
ClientStatus client_try_start_tls(Client *client, Tls *tls, GError **error); /* tls NULL: goes on */
/* line NULL: only reads a reply (the greeting). */
ClientStatus client_try_command(Client *client, const char *line, Reply **ret_reply, GError **error);
/* Room for the next piece of len octets, which client_add_content() then takes without writing. */
ClientStatus client_try_room(Client *client, size_t len, GError **error);
void client_add_content(Client *client, const char *data, size_t len, bool ends_line);
ClientStatus client_try_end_content(Client *client, Reply **ret_reply, GError **error);

/* Pipelining: queue lines, then read replies one by one; the first read flushes. */
void client_queue_line(Client *client, const char *line);

/* Content, canonical pieces, gathered to 64 kB before a write. Begins with the first client_content() or
 * client_begin_content() (needed only for a message that may have no line at all, and so that a client_quit() before
 * the first line knows where it stands). False once, when a write fails; later pieces are dropped and client_content()
 * returns true: client_content_failed() tells, and client_end_content() fails with LOST.
 *
 * client_end_content() writes the final dot (after the open line's end) and reads the reply. A reply that has come
 * before the dot was written is no answer to it: a 4xx or 5xx is returned, without sending the dot, and the connection
 * is of no more use; any other one is a failure (LOST), and so is one whose rest does not come within a second
 * (TIMEOUT). */
void client_begin_content(Client *client);
bool client_content(Client *client, const char *data, size_t len, bool ends_line, GError **error);
bool client_content_failed(const Client *client);
bool client_dot_sent(
    const Client *client); /* of the last content: the peer may have taken it, whatever became of its reply */
bool client_content_would_write(const Client *client,
                                size_t len); /* the next piece of len octets reaches the network (may block) */
bool client_end_content(Client *client, Reply **ret_reply, GError **error);
/* Flushes what was gathered, writes QUIT inside content or outside, does not wait for the reply, closes. Inside
 * content: complete lines, then "QUIT" as if it were one, never a dot. Never blocks: what the socket does not take at
 * once is dropped. Frees the client. NULL is fine. */
void client_quit(Client *client);
