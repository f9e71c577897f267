/* tls_private.h - what the files of TLS share: tls_context.c, tls_authorities.c, tls_chain.c, tls.c, tls_facts.c,
 * tls_log.c, tls_tickets.c. */
#pragma once
#include "net/tls.h"

#include <openssl/ssl.h>

struct TlsContext {
    gint references; /* atomic */
    SSL_CTX *ssl;
    GHashTable *anchors; /* X509_STORE by file; NULL: none */
    TlsRole role;
    char *options; /* text of all options it was made of */
    char *ciphers;
    const EVP_MD *digest;
    unsigned name_flags;
    bool old_key_fingerprints;
    int log_level;
    bool says_why; /* TLS_VERIFY_NEED */
    TlsTickets *tickets;
    int session_time;
    char *(*find_chain)(const void *user, const char *name, bool *ret_failed);
    const void *find_user;
};

struct Tls {
    TlsContext *context;
    SSL *ssl;
    int fd;
    bool input_ended;
    char *peer;
    char *server_name;   /* of a client's wish that we fulfil */
    char **fingerprints; /* expected; NULL: none */
    bool expects_names;
    bool established, broken;
    unsigned asides; /* messages of the protocol's own since the peer's last octet */
    char *early;     /* octets that were read from the descriptor before TLS had it; NULL: none left */
    size_t early_at, early_len;
    int verify_error; /* the first one; X509_V_OK */
    int failure_errno;
    GPtrArray *failures; /* what the library says of a failure; NULL: nothing */
    TlsFacts *facts;     /* once asked for */
};

/* Keys with their certificates from PEM text, in order, added to the context or to the connection (NULL: only checked).
 * Begins where the last file ended: *loader is {0} at first, and chain_loader_end() closes it. */
typedef struct {
    SSL_CTX *context;
    SSL *connection;
    EVP_PKEY *key;
    X509 *leaf;
    STACK_OF(X509) * others;
    char *key_file, *cert_file; /* where they came from */
    unsigned loaded;
} ChainLoader;
bool chain_loader_read(ChainLoader *loader, BIO *text, const char *file, GError **error);
bool chain_loader_end(ChainLoader *loader, GError **error); /* adds the last one */
void chain_loader_clear(ChainLoader *loader);
bool chain_load_pair(SSL_CTX *context, const char *cert_file, const char *key_file, GError **error);

bool tls_load_authorities(SSL_CTX *ssl, const TlsOptions *options, GError **error);

#define TLS_ASIDES_MAX 32 /* then the peer only wants to keep us busy: key updates, refused renegotiations */

uint64_t tls_protocol_options(const TlsProtocols *wanted); /* SSL_OP_NO_ bits */

/* The reason of the library's last error, without numbers; empties its queue. Caller frees. */
char *tls_library_reason(void);

BIO *tls_descriptor(Tls *tls,
                    int fd); /* reads and writes fd, what was fed first; belongs to the connection afterwards */

void tls_facts_free(TlsFacts *facts);
char *tls_common_name(const X509_NAME *name); /* '?' for what is not printable; "" */

void tls_log_trace(const SSL *ssl, int where, int result); /* as SSL_CTX_set_info_callback() wants it */
void tls_log_verify(const Tls *tls, X509_STORE_CTX *store, int ok);
void tls_log_ticket(const Tls *tls, bool issued, gint64 expires);
void tls_log_octets(Tls *tls); /* levels 3 and 4: has the connection's octets logged */
void tls_log_octets_end(Tls *tls);

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb() wants it. */
int tls_tickets_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                    int issue);
