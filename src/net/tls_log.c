/* tls_log.c - what the log says of TLS, by level: 1 a line for each connection, 2 how it came about, 3 the octets of
 * the handshake, 4 all octets. */
#include "base/log.h"
#include "net/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#define DUMP_LINE 16

void tls_log_begin(const Tls *tls)
{
    if (tls->context->log_level < 2)
        return;
    log_info("setting up TLS connection %s %s", tls->context->role == TLS_SERVER ? "from" : "to", tls->peer);
    log_info("%s: TLS cipher list \"%s\"", tls->peer, tls->context->ciphers);
}

/* --- the way to it --- */

void tls_log_trace(const SSL *ssl, int where, int result)
{
    const Tls *tls = SSL_get_app_data(ssl);
    const char *call = where & SSL_ST_CONNECT ? "SSL_connect" : where & SSL_ST_ACCEPT ? "SSL_accept" : "unknown";

    if (!tls)
        return;
    if (where & SSL_CB_LOOP) {
        log_info("%s:%s", call, SSL_state_string_long(ssl));
    } else if (where & SSL_CB_ALERT) {
        if ((result & 0xff) != SSL_AD_CLOSE_NOTIFY)
            log_info("SSL3 alert %s:%s:%s", where & SSL_CB_READ ? "read" : "write", SSL_alert_type_string_long(result),
                     SSL_alert_desc_string_long(result));
    } else if ((where & SSL_CB_EXIT) && result == 0) {
        log_info("%s:failed in %s", call, SSL_state_string_long(ssl));
    } else if ((where & SSL_CB_EXIT) && result < 0 && !SSL_want_read(ssl) && !SSL_want_write(ssl)) {
        log_info("%s:error in %s", call, SSL_state_string_long(ssl));
    }
}

static char *one_line(const X509_NAME *name)
{
    char text[512];

    X509_NAME_oneline(name, text, sizeof text);
    return log_quote(text, strlen(text));
}

void tls_log_verify(const Tls *tls, X509_STORE_CTX *store, int ok)
{
    X509 *cert = X509_STORE_CTX_get_current_cert(store);

    if (tls->context->log_level < 2)
        return;
    g_autofree char *subject = cert ? one_line(X509_get_subject_name(cert)) : g_strdup("(unavailable)");
    log_info("%s: depth=%d verify=%d subject=%s", tls->peer, X509_STORE_CTX_get_error_depth(store), ok, subject);
}

void tls_log_ticket(const Tls *tls, bool issued, gint64 expires)
{
    if (tls->context->log_level >= 2)
        log_info("%s: %s session ticket, key expiration: %" G_GINT64_FORMAT, tls->peer,
                 issued ? "Issuing" : "Decrypting", expires);
}

/* --- what became of it --- */

static void log_peer(Tls *tls, const TlsFacts *facts)
{
    X509 *cert = SSL_get0_peer_certificate(tls->ssl);

    if (!cert || tls->context->log_level < 2)
        return;
    if (tls->context->role == TLS_CLIENT) {
        log_info("%s: subject_CN=%s, issuer_CN=%s, fingerprint=%s, pkey_fingerprint=%s", tls->peer, facts->peer_name,
                 facts->issuer_name, facts->cert_fingerprint, facts->key_fingerprint);
        return;
    }
    g_autofree char *subject = one_line(X509_get_subject_name(cert));
    g_autofree char *issuer = one_line(X509_get_issuer_name(cert));
    log_info("subject=%s", subject);
    log_info("issuer=%s", issuer);
    if (facts->why_untrusted)
        log_info("%s: certificate verification failed: %s", tls->peer, facts->why_untrusted);
    log_info("%s: subject_CN=%s, issuer=%s, fingerprint=%s, pkey_fingerprint=%s", tls->peer, facts->peer_name,
             facts->issuer_name, facts->cert_fingerprint, facts->key_fingerprint);
}

/* Of the certificate that nobody we know has signed: the last one that the peer sent. */
static char *last_issuer(const Tls *tls)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(tls->ssl);
    int count = chain ? sk_X509_num(chain) : 0;

    return count > 0 ? one_line(X509_get_issuer_name(sk_X509_value(chain, count - 1))) : g_strdup("");
}

/* A certificate that had to be more than it is. */
static void log_unverified(const Tls *tls)
{
    long problem = SSL_get_verify_result(tls->ssl);
    const char *kind = tls->context->role == TLS_SERVER ? "client" : "server";
    g_autofree char *issuer = last_issuer(tls);

    if (tls->fingerprints)
        problem = X509_V_ERR_DANE_NO_MATCH; /* what it is with Postfix */
    switch (problem) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        log_info("certificate verification failed for %s: untrusted issuer %s", tls->peer, issuer);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        log_info("certificate verification failed for %s: self-signed certificate", tls->peer);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
        log_info("%s certificate verification failed for %s: certificate not yet valid", kind, tls->peer);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
        log_info("%s certificate verification failed for %s: certificate has expired", kind, tls->peer);
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        log_info("certificate verification failed for %s: not designated for use as a %s certificate", tls->peer, kind);
        break;
    default:
        log_info("%s certificate verification failed for %s: num=%ld:%s", kind, tls->peer, problem,
                 X509_verify_cert_error_string(problem));
    }
}

void tls_log_established(Tls *tls)
{
    bool unverified = (tls->expects_names || tls->fingerprints) && tls_facts(tls)->peer != TLS_PEER_VERIFIED;

    static const char *const trust[] = {
        [TLS_PEER_NONE] = "Anonymous",
        [TLS_PEER_UNTRUSTED] = "Untrusted",
        [TLS_PEER_TRUSTED] = "Trusted",
        [TLS_PEER_VERIFIED] = "Verified",
    };

    if (unverified || (tls->context->says_why && tls_facts(tls)->peer == TLS_PEER_UNTRUSTED))
        log_unverified(tls);
    if (tls->context->log_level < 1)
        return;
    const TlsFacts *facts = tls_facts(tls);
    TlsPeerStatus shown = unverified && facts->peer == TLS_PEER_TRUSTED ? TLS_PEER_UNTRUSTED : facts->peer;
    g_autofree char *signatures = tls_facts_signatures(facts);
    bool named = facts->server_name != NULL;
    log_peer(tls, facts);
    if (facts->resumed && tls->context->log_level >= 2)
        log_info("%s: Reusing old session", tls->peer);
    log_info("%s TLS connection established %s %s%s%s: %s with cipher %s (%d/%d bits)%s", trust[shown],
             tls->context->role == TLS_SERVER ? "from" : "to", tls->peer, named ? " to " : "",
             named ? facts->server_name : "", facts->protocol, facts->cipher, facts->used_bits, facts->algorithm_bits,
             signatures);
}

void tls_log_failure(Tls *tls, TlsStatus status)
{
    const char *why = "lost connection";

    if (status == TLS_ERROR)
        why = "-1";
    else if (status == TLS_LOST && tls->failure_errno)
        why = g_strerror(tls->failure_errno);
    else if (status == TLS_DONE)
        why = g_strerror(ETIMEDOUT);
    log_info("%s error %s %s: %s", tls->context->role == TLS_SERVER ? "SSL_accept" : "SSL_connect",
             tls->context->role == TLS_SERVER ? "from" : "to", tls->peer, why);
    for (guint i = 0; tls->failures && i < tls->failures->len; i++)
        log_warning("TLS library problem: %s", (const char *)g_ptr_array_index(tls->failures, i));
}

/* --- octets --- */

/* With a cipher that hides nothing, these octets would be passwords. */
static bool may_be_shown(const SSL *ssl)
{
    const SSL_CIPHER *now = SSL_get_current_cipher(ssl), *next = SSL_get_pending_cipher(ssl);

    return (!now || SSL_CIPHER_get_bits(now, NULL) > 0) && (!next || SSL_CIPHER_get_bits(next, NULL) > 0);
}

static void dump(const Tls *tls, const char *what, const char *data, size_t len)
{
    log_info("%s: %s %zu octets", tls->peer, what, len);
    if (!may_be_shown(tls->ssl))
        return;
    for (size_t at = 0; at < len; at += DUMP_LINE) {
        g_autoptr(GString) line = g_string_new(NULL);
        g_string_printf(line, "%04zx ", at);
        for (size_t i = at; i < at + DUMP_LINE; i++)
            if (i < len)
                g_string_append_printf(line, "%02x ", (unsigned char)data[i]);
            else
                g_string_append(line, "   ");
        for (size_t i = at; i < MIN(at + DUMP_LINE, len); i++)
            g_string_append_c(line, g_ascii_isprint(data[i]) ? data[i] : '.');
        log_info("%s", line->str);
    }
}

static long note_octets(BIO *bio, int operation, const char *data, size_t len, int unused, long unused_too, int result,
                        size_t *processed)
{
    const Tls *tls = (const Tls *)(void *)BIO_get_callback_arg(bio);

    if (result > 0 && processed && operation == (BIO_CB_READ | BIO_CB_RETURN))
        dump(tls, "read", data, *processed);
    else if (result > 0 && processed && operation == (BIO_CB_WRITE | BIO_CB_RETURN))
        dump(tls, "wrote", data, *processed);
    return result;
}

void tls_log_octets(Tls *tls)
{
    BIO *bio = SSL_get_rbio(tls->ssl); /* the same one for both directions */

    BIO_set_callback_ex(bio, note_octets);
    BIO_set_callback_arg(bio, (char *)tls);
}

void tls_log_octets_end(Tls *tls)
{
    BIO_set_callback_ex(SSL_get_rbio(tls->ssl), NULL);
}
