/* tls.c - one connection: handshake, octets in and out, its end. */
#include "base/fail.h"
#include "base/log.h"
#include "net/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

Tls *tls_new(TlsContext *context, int fd, const char *peer)
{
    Tls *tls = g_new0(Tls, 1);

    ERR_clear_error();
    tls->context = tls_context_ref(context);
    tls->peer = g_strdup(peer);
    tls->ssl = SSL_new(context->ssl);
    if (!tls->ssl)
        g_error("no memory for a TLS connection");
    BIO *bio = tls_descriptor(tls, fd);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    if (context->role == TLS_SERVER)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    if (context->log_level >= 3)
        tls_log_octets(tls);
    return tls;
}

void tls_free(Tls *tls)
{
    if (!tls)
        return;
    SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session could not be resumed */
    SSL_free(tls->ssl);
    tls_context_unref(tls->context);
    tls_facts_free(tls->facts);
    if (tls->failures)
        g_ptr_array_unref(tls->failures);
    g_strfreev(tls->fingerprints);
    g_free(tls->server_name);
    g_free(tls->early);
    g_free(tls->peer);
    g_free(tls);
}

void tls_feed(Tls *tls, const char *data, size_t len)
{
    tls->early = g_memdup2(data, len);
    tls->early_len = len;
}

/* --- a client's wishes --- */

bool tls_set_server_name(Tls *tls, const char *name)
{
    if (SSL_set_tlsext_host_name(tls->ssl, name) == 1)
        return true;
    ERR_clear_error();
    return false;
}

void tls_expect_names(Tls *tls, const char *const *names)
{
    SSL_set_hostflags(tls->ssl, tls->context->name_flags | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    for (; *names; names++)
        tls->expects_names |= **names && SSL_add1_host(tls->ssl, *names) == 1;
    ERR_clear_error();
}

void tls_expect_fingerprints(Tls *tls, const char *const *fingerprints)
{
    g_strfreev(tls->fingerprints);
    tls->fingerprints = g_strdupv((char **)fingerprints);
}

bool tls_limit(Tls *tls, const TlsProtocols *protocols, const char *ciphers, GError **error)
{
    SSL_clear_options(tls->ssl, SSL_OP_NO_SSL_MASK);
    SSL_set_options(tls->ssl, tls_protocol_options(protocols));
    if (SSL_set_min_proto_version(tls->ssl, protocols->min) != 1 ||
        SSL_set_max_proto_version(tls->ssl, protocols->max) != 1)
        return fail(error, "the library does not know these TLS protocols");
    ERR_clear_error();
    if (SSL_set_cipher_list(tls->ssl, ciphers) == 1)
        return true;
    g_autofree char *reason = tls_library_reason();
    return fail(error, "TLS cipher list \"%s\": %s", ciphers, reason);
}

void tls_offer_session(Tls *tls, const TlsSession *session)
{
    if (session)
        SSL_set_session(tls->ssl, (SSL_SESSION *)session);
    ERR_clear_error();
}

TlsSession *tls_take_session(Tls *tls)
{
    SSL_SESSION *session = tls->established && !tls->broken ? SSL_get1_session(tls->ssl) : NULL;

    if (session && !SSL_SESSION_is_resumable(session)) {
        SSL_SESSION_free(session);
        session = NULL;
    }
    return (TlsSession *)session;
}

void tls_session_free(TlsSession *session)
{
    SSL_SESSION_free((SSL_SESSION *)session);
}

/* --- octets --- */

static void keep_failures(Tls *tls)
{
    const char *file, *function, *data;
    int line, flags;
    unsigned long code;

    if (!tls->failures)
        tls->failures = g_ptr_array_new_with_free_func(g_free);
    while ((code = ERR_get_error_all(&file, &line, &function, &data, &flags)) != 0) {
        char text[256];
        ERR_error_string_n(code, text, sizeof text);
        bool has_data = (flags & ERR_TXT_STRING) && *data;
        g_ptr_array_add(tls->failures, has_data ? g_strdup_printf("%s:%s:%d:%s:", text, file, line, data)
                                                : g_strdup_printf("%s:%s:%d:", text, file, line));
    }
}

/* What a call came to. errno was 0 and the library's queue empty before it. */
static TlsStatus status_of(Tls *tls, int result)
{
    int failure = errno;

    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_NONE:
        return TLS_DONE;
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    case SSL_ERROR_SYSCALL:
        tls->broken = true;
        tls->failure_errno = errno = failure;
        ERR_clear_error();
        return failure ? TLS_LOST : TLS_END;
    default:
        tls->broken = true;
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            ERR_clear_error();
            return TLS_END;
        }
        keep_failures(tls);
        return TLS_ERROR;
    }
}

static void prepare(void)
{
    ERR_clear_error();
    errno = 0;
}

TlsStatus tls_handshake(Tls *tls)
{
    if (tls->broken)
        return TLS_ERROR;
    prepare();
    TlsStatus status = status_of(tls, SSL_do_handshake(tls->ssl));
    tls->established = status == TLS_DONE;
    if (tls->established && tls->context->log_level == 3) /* of the handshake alone */
        tls_log_octets_end(tls);
    return status;
}

static TlsStatus status_of_reading(Tls *tls, int result)
{
    TlsStatus status = status_of(tls, result);

    if (tls->broken && tls->asides > TLS_ASIDES_MAX)
        log_warning("%s: too many TLS messages without data", tls->peer);
    return status;
}

TlsStatus tls_read(Tls *tls, char *data, size_t size, size_t *ret_len)
{
    *ret_len = 0;
    if (tls->broken)
        return TLS_LOST;
    prepare();
    TlsStatus status = status_of_reading(tls, SSL_read_ex(tls->ssl, data, size, ret_len));
    if (status == TLS_DONE)
        tls->asides = 0;
    return status;
}

TlsStatus tls_peek(Tls *tls)
{
    char octet;
    size_t len;

    if (tls->broken)
        return TLS_LOST;
    prepare();
    return status_of_reading(tls, SSL_peek_ex(tls->ssl, &octet, 1, &len));
}

bool tls_has_pending(const Tls *tls)
{
    return SSL_has_pending(tls->ssl) == 1;
}

bool tls_is_established(const Tls *tls)
{
    return tls->established;
}

TlsStatus tls_write(Tls *tls, const char *data, size_t len, size_t *ret_len)
{
    *ret_len = 0;
    if (tls->broken)
        return TLS_LOST;
    prepare();
    return status_of(tls, SSL_write_ex(tls->ssl, data, len, ret_len));
}

void tls_close_notify(Tls *tls)
{
    if (!tls->established || tls->broken)
        return;
    prepare();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}
