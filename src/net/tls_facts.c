/* tls_facts.c - what is known of a connection after its handshake. */
#include "net/tls_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#define NAME_MAX_OCTETS 256 /* of a name in a certificate */

/* --- texts --- */

static char *name_part(const X509_NAME *name, int nid)
{
    int at = X509_NAME_get_index_by_NID(name, nid, -1);
    unsigned char *utf8 = NULL;

    if (at < 0)
        return NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (len <= 0 || len > NAME_MAX_OCTETS || memchr(utf8, '\0', (size_t)len) ||
        !g_utf8_validate((const char *)utf8, len, NULL)) {
        OPENSSL_free(utf8);
        ERR_clear_error();
        return NULL;
    }
    char *text = g_strndup((const char *)utf8, (gsize)len);
    OPENSSL_free(utf8);
    for (char *octet = text; *octet; octet++)
        if (g_ascii_iscntrl(*octet))
            *octet = '?';
    return text;
}

char *tls_common_name(const X509_NAME *name)
{
    char *text = name_part(name, NID_commonName);

    return text ? text : g_strdup("");
}

/* The issuer without a common name is known by its organization. */
static char *issuer_name(const X509 *cert)
{
    const X509_NAME *name = X509_get_issuer_name(cert);
    char *text = name_part(name, NID_commonName);

    if (!text)
        text = name_part(name, NID_organizationName);
    return text ? text : g_strdup("");
}

static char *hexadecimal(const unsigned char *octets, unsigned len)
{
    GString *text = g_string_sized_new(len * 3);

    for (unsigned i = 0; i < len; i++)
        g_string_append_printf(text, "%s%02X", i ? ":" : "", octets[i]);
    return g_string_free(text, FALSE);
}

static char *cert_fingerprint(const X509 *cert, const EVP_MD *digest)
{
    unsigned char octets[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (X509_digest(cert, digest, octets, &len) != 1)
        len = 0;
    return hexadecimal(octets, len);
}

/* Of the whole public key info in DER form; the old way took its bits alone. */
static char *key_fingerprint(const X509 *cert, const EVP_MD *digest, bool old_way)
{
    unsigned char octets[EVP_MAX_MD_SIZE], *der = NULL;
    unsigned len = 0;

    if (old_way) {
        if (X509_pubkey_digest(cert, digest, octets, &len) != 1)
            len = 0;
        return hexadecimal(octets, len);
    }
    int der_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    if (der_len <= 0 || EVP_Digest(der, (size_t)der_len, octets, &len, digest, NULL) != 1)
        len = 0;
    OPENSSL_free(der);
    return hexadecimal(octets, len);
}

bool tls_fingerprints_match(const char *fingerprint, const char *text)
{
    bool same = *fingerprint != '\0';

    while (same && (*fingerprint || *text)) {
        fingerprint += *fingerprint == ':';
        text += *text == ':';
        same = *fingerprint && g_ascii_tolower(*fingerprint++) == g_ascii_tolower(*text++);
    }
    return same;
}

/* --- keys and signatures --- */

static char *curve_of(EVP_PKEY *key)
{
    char name[64];
    size_t len;

    return EVP_PKEY_get_group_name(key, name, sizeof name, &len) == 1 ? g_strdup(name) : NULL;
}

static void describe_exchange(SSL *ssl, TlsSignature *exchange)
{
    EVP_PKEY *key = NULL;

    if (SSL_get_peer_tmp_key(ssl, &key) != 1 || !key)
        return;
    int id = EVP_PKEY_get_id(key);
    if (EVP_PKEY_is_a(key, "DH")) {
        exchange->name = g_strdup("DHE");
        exchange->bits = EVP_PKEY_get_bits(key);
    } else if (EVP_PKEY_is_a(key, "EC")) {
        exchange->name = g_strdup("ECDHE");
        exchange->curve = curve_of(key);
    } else {
        exchange->name = g_strdup(OBJ_nid2sn(id));
    }
    EVP_PKEY_free(key);
}

/* key: public, of the certificate that signed; type and digest as the handshake had them. */
static void describe_signature(EVP_PKEY *key, int type, int digest, TlsSignature *signature)
{
    if (!key || type == NID_undef)
        return;
    if (EVP_PKEY_is_a(key, "EC")) {
        signature->name = g_strdup("ECDSA");
        signature->curve = curve_of(key);
    } else if (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS")) {
        signature->name = g_strdup(type == EVP_PKEY_RSA_PSS ? "RSA-PSS" : "RSA");
        signature->bits = EVP_PKEY_get_bits(key);
    } else {
        signature->name = g_strdup(OBJ_nid2sn(EVP_PKEY_get_id(key)));
    }
    if (digest != NID_undef)
        signature->digest = g_strdup(OBJ_nid2sn(digest));
}

static void describe_signatures(SSL *ssl, bool is_server, TlsFacts *facts)
{
    X509 *own = SSL_get_certificate(ssl), *other = SSL_get0_peer_certificate(ssl);
    TlsSignature *ours = is_server ? &facts->server : &facts->client;
    TlsSignature *theirs = is_server ? &facts->client : &facts->server;
    int type, digest;

    if (SSL_version(ssl) < TLS1_3_VERSION)
        return;
    describe_exchange(ssl, &facts->key_exchange);
    if (facts->resumed) /* nobody signed */
        return;
    if (own && SSL_get_signature_type_nid(ssl, &type) == 1) {
        digest = NID_undef;
        SSL_get_signature_nid(ssl, &digest);
        describe_signature(X509_get0_pubkey(own), type, digest, ours);
    }
    if (other && SSL_get_peer_signature_type_nid(ssl, &type) == 1) {
        digest = NID_undef;
        SSL_get_peer_signature_nid(ssl, &digest);
        describe_signature(X509_get0_pubkey(other), type, digest, theirs);
    }
}

/* --- the peer --- */

static bool is_expected(const Tls *tls, const TlsFacts *facts)
{
    for (char **text = tls->fingerprints; text && *text; text++)
        if (tls_fingerprints_match(facts->cert_fingerprint, *text) ||
            tls_fingerprints_match(facts->key_fingerprint, *text))
            return true;
    return false;
}

static void describe_peer(const Tls *tls, TlsFacts *facts)
{
    X509 *cert = SSL_get0_peer_certificate(tls->ssl);
    long problem = SSL_get_verify_result(tls->ssl);

    facts->peer_name = cert ? tls_common_name(X509_get_subject_name(cert)) : g_strdup("");
    facts->issuer_name = cert ? issuer_name(cert) : g_strdup("");
    facts->cert_fingerprint = cert ? cert_fingerprint(cert, tls->context->digest) : g_strdup("");
    facts->key_fingerprint =
        cert ? key_fingerprint(cert, tls->context->digest, tls->context->old_key_fingerprints) : g_strdup("");
    facts->peer = TLS_PEER_NONE;
    if (!cert)
        return;
    bool trusted =
        problem == X509_V_OK || problem == X509_V_ERR_HOSTNAME_MISMATCH || problem == X509_V_ERR_IP_ADDRESS_MISMATCH;
    facts->peer = is_expected(tls, facts)                                 ? TLS_PEER_VERIFIED
                  : trusted && problem == X509_V_OK && tls->expects_names ? TLS_PEER_VERIFIED
                  : trusted                                               ? TLS_PEER_TRUSTED
                                                                          : TLS_PEER_UNTRUSTED;
    if (problem != X509_V_OK && facts->peer != TLS_PEER_VERIFIED)
        facts->why_untrusted = g_strdup(X509_verify_cert_error_string(problem));
}

const TlsFacts *tls_facts(Tls *tls)
{
    if (tls->facts)
        return tls->facts;
    TlsFacts *facts = tls->facts = g_new0(TlsFacts, 1);
    const SSL_CIPHER *cipher = SSL_get_current_cipher(tls->ssl);

    ERR_clear_error();
    facts->protocol = SSL_get_version(tls->ssl);
    facts->cipher = cipher ? SSL_CIPHER_get_name(cipher) : "(NONE)";
    facts->used_bits = cipher ? SSL_CIPHER_get_bits(cipher, &facts->algorithm_bits) : 0;
    facts->resumed = SSL_session_reused(tls->ssl) == 1;
    facts->server_name = g_strdup(tls->server_name);
    describe_peer(tls, facts);
    describe_signatures(tls->ssl, tls->context->role == TLS_SERVER, facts);
    ERR_clear_error();
    return facts;
}

static void clear_signature(TlsSignature *signature)
{
    g_free(signature->name);
    g_free(signature->curve);
    g_free(signature->digest);
}

void tls_facts_free(TlsFacts *facts)
{
    if (!facts)
        return;
    clear_signature(&facts->key_exchange);
    clear_signature(&facts->server);
    clear_signature(&facts->client);
    g_free(facts->peer_name);
    g_free(facts->issuer_name);
    g_free(facts->cert_fingerprint);
    g_free(facts->key_fingerprint);
    g_free(facts->why_untrusted);
    g_free(facts->server_name);
    g_free(facts);
}

static void append_signature(GString *text, const char *what, const char *digest, const TlsSignature *signature)
{
    if (!signature->name)
        return;
    g_string_append_printf(text, " %s %s", what, signature->name);
    if (signature->curve)
        g_string_append_printf(text, " (%s)", signature->curve);
    else if (signature->bits > 0)
        g_string_append_printf(text, " (%d bits)", signature->bits);
    if (digest && signature->digest)
        g_string_append_printf(text, " %s %s", digest, signature->digest);
}

char *tls_facts_signatures(const TlsFacts *facts)
{
    GString *text = g_string_new(NULL);

    append_signature(text, "key-exchange", NULL, &facts->key_exchange);
    append_signature(text, "server-signature", "server-digest", &facts->server);
    append_signature(text, "client-signature", "client-digest", &facts->client);
    return g_string_free(text, FALSE);
}
