/* smtp_tls.h - the smtp agent's TLS: one context for all (keys are read before root is given up), a policy for each
 * next hop, sessions to be resumed. */
#pragma once
#include "smtp/client.h"
#include "smtp/tls_policy.h"

typedef struct SmtpTls SmtpTls;

/* *ret_tls NULL: no next hop is spoken to with TLS. False: error. Before threads; config outlives it. */
bool smtp_tls_open(const Config *config, SmtpTls **ret_tls, GError **error);
void smtp_tls_free(SmtpTls *tls); /* NULL is fine */
/* least: what is asked for this message in any case (tls_policy_raise()). tls NULL: none. False: the policy cannot be
 * told, and that was logged, or there is no TLS for what is asked. */
bool smtp_tls_policy(const SmtpTls *tls, const char *nexthop, TlsLevel least, TlsPolicy *ret_policy);

typedef struct {
    const TlsPolicy *policy;
    const char *domain; /* of the next hop, without brackets and port */
    const char *host;   /* the server's name */
    const char *relay;  /* "host[addr]:port" */
} SmtpTlsPeer;
/* The handshake, by client_start_tls(), with its log lines. False: none came about, or the certificate is not what the
 * policy wants: *ret_why is the text for the delivery's record, with 4.7.5; the client is of no more use then, but that
 * its handshake may be done. */
bool smtp_tls_start(SmtpTls *tls, const SmtpTlsPeer *peer, Client *client, const char **ret_why);
/* When the dialogue is over: its session is kept for the next one. */
void smtp_tls_end(SmtpTls *tls, const SmtpTlsPeer *peer, const Client *client);
