/* tls.h - TLS on connections that do not block, with OpenSSL 3; for servers and clients.
 *
 * A TlsContext holds what main.cf says: certificates with their keys, authorities, protocols, ciphers. It is made once,
 * before root is given up (keys are read), is constant then, counted by references, and shared by all threads. A Tls is
 * one connection; one thread at a time works on it. A connection keeps its context alive, so that a session under way
 * keeps the certificates it began with.
 *
 * Never used: SSLv2, compression, renegotiation (refused with an alert), early data. Who sends nothing but messages of
 * the protocol's own (renegotiation, key updates) loses the connection. The library is OpenSSL and only src/net/tls*.c
 * knows it. */
#pragma once
#include "net/tls_options.h"
#include "net/tls_tickets.h"
#include <stddef.h>

typedef struct TlsContext TlsContext;
typedef struct Tls Tls;

typedef enum { TLS_SERVER, TLS_CLIENT } TlsRole;

typedef enum {
    TLS_VERIFY_NONE, /* a server asks for no certificate; a client takes any, and notes what it is */
    TLS_VERIFY_ASK,  /* a server asks for one, and notes what came: whether it is enough is the caller's business */
    TLS_VERIFY_NEED, /* the same, and the log says what is wrong with one */
} TlsVerify;

/* Besides these lists all texts are those of main.cf; NULL or "" is none. All is copied. */
typedef struct {
    TlsRole role;
    const char *chain_files; /* PEM files, each with keys, and behind each key its certificates */
    struct {
        const char *cert_file, *key_file; /* of any key type; old form, used where chain_files is empty */
    } pairs[3];
    const char *ca_file;
    const char *ca_path; /* whom the peer's certificate may come from; those in a directory are named by their hash */
    bool default_ca;     /* tls_append_default_CA */
    TlsVerify verify;
    int verify_depth;
    TlsProtocols protocols;
    const char *ciphers; /* from tls_cipher_list() */
    const char *curves;  /* groups in order, unknown ones are left out with a warning; "": the library's */
    const char *dh_file; /* "", "auto": a standard group of 2048 bits; "none": no such key exchange */
    uint64_t ssl_options, no_workarounds; /* from tls_..._parse() */
    bool prefer_server_ciphers;           /* tls_preempt_cipherlist */
    const char *digest;                   /* of fingerprints */
    bool old_key_fingerprints;            /* tls_legacy_public_key_fingerprints */
    bool wildcard_matches_multiple_labels;
    int log_level; /* 0 to 4, of smtpd_tls_loglevel */
    /* Of a server: */
    int session_time;        /* seconds that a session can be resumed; 0: never */
    TlsTickets *tickets;     /* keys that outlive the process; outlives the context; NULL: sessions cannot be resumed */
    const char *session_for; /* sessions are resumed only by contexts that name the same */
    /* Key and certificates for the name that a client asks for: as in a chain file (PEM text; see tls_chain_check()),
     * caller frees. NULL: the default ones; *ret_failed: the connection is refused. Called in the handshake, by any
     * thread; name is lower case and a host name. */
    char *(*find_chain)(const void *user, const char *name, bool *ret_failed);
    const void *find_user; /* outlives the context */
} TlsOptions;

/* tls_config_file and tls_config_name, once in a process, before the first context; "default", "none" or a file.
 * Without this call OpenSSL reads its default file. */
bool tls_library_init(const char *config_file, const char *config_name, GError **error);

/* like: a context of the process, or NULL; if it was made of the same options it is what is returned, once more. What
 * files say is checked: key and certificate belong together, the chain is in order. Warns of what has expired or is not
 * valid yet. NULL: error names the file and what is wrong. */
TlsContext *tls_context_new(const TlsOptions *options, TlsContext *like, GError **error);
/* The same for the text of a chain file that will be used later. file: where it comes from. */
bool tls_chain_check(const char *chain, const char *file, GError **error);
TlsContext *tls_context_ref(TlsContext *context);
void tls_context_unref(TlsContext *context); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TlsContext, tls_context_unref)
int tls_context_log_level(const TlsContext *context);
/* Reads a file for tls_trust_only(), while it can be read. Before there are threads. */
bool tls_context_keep_anchors(TlsContext *context, const char *file, GError **error);

/* --- connections --- */

/* Of memory that a connection takes, about: in its handshake, and idle afterwards. */
#define TLS_HANDSHAKE_OCTETS 49152
#define TLS_CONNECTION_OCTETS 16384

typedef enum {
    TLS_DONE,
    TLS_WANT_READ,  /* call again when the descriptor is readable */
    TLS_WANT_WRITE, /* or writable; also while reading */
    TLS_END,        /* the peer has ended the connection */
    TLS_LOST,       /* reset, broken pipe; errno tells */
    TLS_ERROR,      /* what came is no TLS, or not what we speak */
} TlsStatus;

/* fd: connected, non-blocking, stays the caller's, and is not closed before tls_free(). peer: "name[addr]" for log
 * lines, copied. */
Tls *tls_new(TlsContext *context, int fd, const char *peer);
/* Before anything else: octets of the peer's that were read from fd already. */
void tls_feed(Tls *tls, const char *data, size_t len);
void tls_free(Tls *tls); /* says nothing to the peer; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tls, tls_free)

/* Of a client, before the handshake. Without any of these the peer is anybody. */
bool tls_set_server_name(Tls *tls, const char *name); /* SNI; false: it is no name that can be sent */
/* The certificate must have one of the names; ".example.com" stands for all names below it. NULL ends. */
void tls_expect_names(Tls *tls, const char *const *names);
/* TlsFacts.peer is VERIFIED if the certificate or its key has one of these fingerprints ("AA:BB:..", any case), whoever
 * signed it. */
void tls_expect_fingerprints(Tls *tls, const char *const *fingerprints);
/* Of this connection alone, instead of what the context says. ciphers: from tls_cipher_list(). */
bool tls_limit(Tls *tls, const TlsProtocols *protocols, const char *ciphers, GError **error);
/* Only who is signed by a certificate in one of these PEM files is trusted, whatever authorities the context has. The
 * certificates need not be authorities' own. Files that the context does not keep are read now. */
bool tls_trust_only(Tls *tls, const char *const *files, GError **error);
/* A session of an earlier connection to the same peer. What tls_take_session() gave; NULL is fine. Stays the caller's.
 */
typedef struct TlsSession TlsSession;
void tls_offer_session(Tls *tls, const TlsSession *session);
/* The session as it can be resumed; of a client, best asked when the connection ends (TLSv1.3 servers send it with what
 * they say first). NULL: it cannot. Freed with tls_session_free(). May be given to any thread, and to connections of
 * contexts with the same options. */
TlsSession *tls_take_session(Tls *tls);
void tls_session_free(TlsSession *session);

/* Until DONE. END, LOST and ERROR are final; what was wrong is logged by tls_log_failure(). */
TlsStatus tls_handshake(Tls *tls);
/* DONE: 1 to size octets came (*ret_len). size is not 0. */
TlsStatus tls_read(Tls *tls, char *data, size_t size, size_t *ret_len);
TlsStatus tls_peek(Tls *tls);         /* DONE: there is something to read */
bool tls_has_pending(const Tls *tls); /* octets that were taken from the descriptor are not read yet */
bool tls_is_established(const Tls *tls);
/* DONE: 1 to len octets are on their way (*ret_len). After WANT_ the next call begins with the same octets; the buffer
 * may have moved and grown. */
TlsStatus tls_write(Tls *tls, const char *data, size_t len, size_t *ret_len);
/* Tells the peer that nothing more comes. One try: who ends a connection does not wait. Nothing after a failure or
 * before the handshake is done. */
void tls_close_notify(Tls *tls);

/* --- what is known of a connection, after the handshake --- */

typedef enum {
    TLS_PEER_NONE,      /* no certificate */
    TLS_PEER_UNTRUSTED, /* one that no authority of ours has signed, or that is not valid */
    TLS_PEER_TRUSTED,
    TLS_PEER_VERIFIED, /* and has the name, or the fingerprint, that was expected */
} TlsPeerStatus;

typedef struct {
    char *name;   /* "RSA-PSS", "ECDSA"; NULL: not known */
    char *curve;  /* NULL: none */
    int bits;     /* 0: not said */
    char *digest; /* NULL: none */
} TlsSignature;

typedef struct {
    const char *protocol, *cipher; /* "TLSv1.3" */
    int used_bits, algorithm_bits;
    TlsSignature key_exchange;   /* without digest */
    TlsSignature server, client; /* of the handshake; TLSv1.3 only */
    TlsPeerStatus peer;
    char *peer_name, *issuer_name;            /* common names, '?' for what is not printable; "" where there is none */
    char *cert_fingerprint, *key_fingerprint; /* "AA:BB:..", "" without a certificate */
    char *why_untrusted;                      /* NULL: it is trusted, or there is none */
    char *server_name;                        /* that the client asked for and we know; NULL: none */
    bool resumed;
} TlsFacts;

const TlsFacts *tls_facts(Tls *tls); /* lives as long as tls */
/* " key-exchange .. server-signature .. client-signature ..", each as far as known; begins with a blank, or is "".
 * Caller frees. */
char *tls_facts_signatures(const TlsFacts *facts);
/* Text is a fingerprint of the peer's: hexadecimal in any case, with colons between octets or without. */
bool tls_fingerprints_match(const char *fingerprint, const char *text);

/* --- log lines, as smtpd(8) and smtp(8) have them; each says what the context's log level lets through --- */
void tls_log_begin(const Tls *tls); /* "setting up TLS connection from PEER" */
void tls_log_established(Tls *tls); /* "Anonymous TLS connection established from PEER: .." */
/* "SSL_accept error from PEER: .." and what the library says; after a handshake that ended in status, or did not end in
 * time (DONE). */
void tls_log_failure(Tls *tls, TlsStatus status);
