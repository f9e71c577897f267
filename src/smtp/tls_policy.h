/* tls_policy.h - what the SMTP client asks of TLS on the way to one next hop: smtp_tls_security_level and
 * smtp_tls_policy_maps (TLS_README, "Client TLS security levels").
 *
 * tls_policy_find() is the one place where a next hop's policy is made: other sources of policy (DANE, MTA-STS) belong
 * there. Until then the levels dane and dane-only are mistakes of the configuration, never something weaker. */
#pragma once
#include "config/config.h"
#include "net/tls_options.h"

typedef enum {
    TLS_LEVEL_NONE,
    TLS_LEVEL_MAY,
    TLS_LEVEL_ENCRYPT, /* from here on nothing goes out in plaintext */
    TLS_LEVEL_FINGERPRINT,
    TLS_LEVEL_VERIFY, /* a trusted certificate with one of these names: */
    TLS_LEVEL_SECURE,
} TlsLevel;

typedef struct {
    TlsLevel level;
    TlsProtocols protocols;
    char *ciphers;        /* as tls_limit() wants them */
    char **match;         /* fingerprints, or patterns of names; at levels without them empty */
    char **trust_anchors; /* files; empty: the authorities of main.cf */
    char *server_name;    /* "": none is sent; "hostname", "nexthop", or a name */
} TlsPolicy;
void tls_policy_clear(TlsPolicy *policy);
const char *tls_level_name(TlsLevel level);
#define TLS_POLICY_BLANKS " \t\r\n," /* between the words of a policy */

/* What main.cf says where a policy does not. Texts as they stand there. */
typedef struct {
    TlsGrades grades;
    const char *protocols, *mandatory_protocols;
    const char *ciphers, *mandatory_ciphers;
    const char *exclude, *mandatory_exclude;
    const char *verify_match, *secure_match, *fingerprint_match;
    const char *trust_anchors, *server_name;
} TlsPolicyDefaults;

/* A level and, behind it, attributes, separated by blanks or commas. what: where it stands, for the log, which hears of
 * what is ignored. False: error says what is wrong, in Postfix's words; *ret_policy is cleared. */
bool tls_policy_parse(const char *text, const TlsPolicyDefaults *defaults, const char *what, TlsPolicy *ret_policy,
                      GError **error);

/* Names for tls_expect_names(): strategies (nexthop, dot-nexthop, hostname) become names. domain: of the next hop,
 * without brackets and port; host: the server's name. */
char **tls_policy_names(const TlsPolicy *policy, const char *domain, const char *host); /* freed with g_strfreev() */
/* The name for tls_set_server_name(). NULL: none. Caller frees. */
char *tls_policy_server_name(const TlsPolicy *policy, const char *domain, const char *host);

/* Of a peer that the configuration names: text is a level (""="none") and attributes as they stand in
 * smtp_tls_policy_maps; smtp_tls_... say the rest. what: where it stands. False: error. */
bool tls_policy_of_peer(const Config *config, const char *what, const char *text, TlsPolicy *ret_policy,
                        GError **error);

typedef struct TlsPolicies TlsPolicies;
/* Opens tables and checks what main.cf says. Constant afterwards; config must outlive it. */
TlsPolicies *tls_policies_new(const Config *config, GError **error);
void tls_policies_free(TlsPolicies *policies);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TlsPolicies, tls_policies_free)
/* Files with trust anchors that policies name, as far as tables can be listed: of char *. */
const GPtrArray *tls_policies_anchors(const TlsPolicies *policies);
bool tls_policies_are_none(const TlsPolicies *policies); /* nothing asks for TLS, whatever the next hop */
/* nexthop: verbatim. Blocks where a table does. False: the policy cannot be told (logged): mail must wait. */
bool tls_policy_find(const TlsPolicies *policies, const char *nexthop, TlsPolicy *ret_policy);
/* For one message of which more is asked: a policy that promises less than the level becomes main.cf's of that level.
 * One that knows the server by its fingerprint promises as much as SECURE; VERIFY does not, where the name of the
 * server comes from DNS. False: as above. */
bool tls_policy_raise(const TlsPolicies *policies, TlsLevel least, TlsPolicy *policy);
