/* tls_log.c - what the log says of TLS, by level: 1 a line for each connection, 2 how it came about, 3 the octets of
 * the handshake, 4 all octets. */
#include "base/log.h"
#include "net/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#define DUMP_LINE 16

static const char *call_name(const Tls *tls)
{
    return tls->context->role == TLS_SERVER ? "SSL_accept" : "SSL_connect";
}

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
    g_autofree char *subject = one_line(X509_get_subject_name(cert));
    g_autofree char *issuer = one_line(X509_get_issuer_name(cert));
    log_info("subject=%s", subject);
    log_info("issuer=%s", issuer);
    if (facts->why_untrusted)
        log_info("%s: certificate verification failed: %s", tls->peer, facts->why_untrusted);
    log_info("%s: subject_CN=%s, issuer=%s, fingerprint=%s, pkey_fingerprint=%s", tls->peer, facts->peer_name,
             facts->issuer_name, facts->cert_fingerprint, facts->key_fingerprint);
}

void tls_log_established(Tls *tls)
{
    static const char *const trust[] = {
        [TLS_PEER_NONE] = "Anonymous",
        [TLS_PEER_UNTRUSTED] = "Untrusted",
        [TLS_PEER_TRUSTED] = "Trusted",
        [TLS_PEER_VERIFIED] = "Verified",
    };

    if (tls->context->log_level < 1)
        return;
    const TlsFacts *facts = tls_facts(tls);
    g_autofree char *signatures = tls_facts_signatures(facts);
    bool named = facts->server_name != NULL;
    log_peer(tls, facts);
    if (facts->resumed && tls->context->log_level >= 2)
        log_info("%s: Reusing old session", tls->peer);
    log_info("%s TLS connection established %s %s%s%s: %s with cipher %s (%d/%d bits)%s", trust[facts->peer],
             tls->context->role == TLS_SERVER ? "from" : "to", tls->peer, named ? " to " : "",
             named ? facts->server_name : "", facts->protocol, facts->cipher, facts->used_bits, facts->algorithm_bits,
             signatures);
}

void tls_log_failure(Tls *tls, TlsStatus status)
{
    if (status == TLS_ERROR)
        log_info("%s error from %s: -1", call_name(tls), tls->peer);
    else if (status == TLS_LOST && tls->failure_errno)
        log_info("%s error from %s: %s", call_name(tls), tls->peer, g_strerror(tls->failure_errno));
    else if (status == TLS_DONE)
        log_info("%s error from %s: %s", call_name(tls), tls->peer, g_strerror(ETIMEDOUT));
    else
        log_info("%s error from %s: lost connection", call_name(tls), tls->peer);
    for (guint i = 0; tls->failures && i < tls->failures->len; i++)
        log_warning("TLS library problem: %s", (const char *)g_ptr_array_index(tls->failures, i));
}

/* --- octets --- */

static void dump(const Tls *tls, const char *what, const char *data, size_t len)
{
    log_info("%s: %s %zu octets", tls->peer, what, len);
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
