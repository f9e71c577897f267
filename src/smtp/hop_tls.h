/* hop_tls.h - TLS on the way to a peer that the configuration names: a filter, or what is behind ours. A parameter has
 * the level, and attributes as in smtp_tls_policy_maps; certificates and all else come from smtp_tls_... (postconf(5)),
 * of the same view of main.cf. From encrypt on nothing is said in plaintext but EHLO and STARTTLS. With may, a peer
 * that does not offer TLS, or refuses STARTTLS, is spoken to without; a handshake that fails is a failure at any level.
 *
 * Errors are CLIENT_ERROR_TLS, with a text for the log, besides the client's own. */
#pragma once
#include "smtp/client.h"
#include "smtp/tls_policy.h"

typedef struct HopTls HopTls;

/* Once in a process, before root is given up: reads keys. *ret_tls NULL: none. False: error. */
bool hop_tls_open(const Config *config, const char *parameter, HopTls **ret_tls, GError **error);
/* The same where no parameter has the level. what: where it stands. */
bool hop_tls_open_text(const Config *config, const char *what, const char *text, HopTls **ret_tls, GError **error);
void hop_tls_free(HopTls *tls); /* connections may outlive it; NULL is fine */
/* For all functions that take one, tls NULL is none. */
TlsLevel hop_tls_level(const HopTls *tls);
bool hop_tls_equal(const HopTls *one, const HopTls *other); /* the same is asked of a peer */

typedef enum { HOP_PLAIN, HOP_SECURE, HOP_FAILED } HopStep;
/* After the reply to the first EHLO; offers: of offers_in(). SECURE: STARTTLS is to be said. */
HopStep hop_tls_after_hello(const HopTls *tls, unsigned offers, GError **error);
/* After the reply to that. SECURE: the handshake comes. */
HopStep hop_tls_after_starttls(const HopTls *tls, const Reply *reply, GError **error);
/* For client_start_tls(). NULL: error. */
Tls *hop_tls_connection(const HopTls *tls, const Client *client, const Endpoint *endpoint, GError **error);
/* After the handshake: logs it. False: not the one that we want to speak to. */
bool hop_tls_secured(const HopTls *tls, const Client *client, GError **error);

/* For who may block: all of that, and hello once more. *reply: to the first hello; replaced by the last reply. */
bool hop_tls_upgrade(const HopTls *tls, Client *client, const Endpoint *endpoint, const char *hello, Reply **reply,
                     GError **error);

/* --- what any client inside TLS needs, whose policy is by next hop --- */

/* The context of smtp_tls_.... NULL: error. */
TlsContext *hop_tls_context(const Config *config, GError **error);
/* Before the handshake: whom the policy wants to see. domain: of the next hop; host: the server's name; peer: for the
 * log. False: error, and the handshake must not begin. */
bool hop_tls_expect(Tls *connection, const TlsPolicy *policy, const char *domain, const char *host, const char *peer,
                    GError **error);
bool hop_tls_is_good_enough(Tls *connection, TlsLevel level); /* after it */
