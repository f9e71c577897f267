/* tls_chain.c - private keys and certificates from PEM files, checked as they are read. */
#include "base/fail.h"
#include "base/log.h"
#include "net/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

char *tls_library_reason(void)
{
    char *text = NULL;
    bool is_system = false;
    unsigned long code;

    while ((code = ERR_get_error()) != 0) { /* the system's reason is the clearer one */
        const char *reason = ERR_SYSTEM_ERROR(code) ? g_strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
        if (is_system || !reason)
            continue;
        is_system = ERR_SYSTEM_ERROR(code);
        g_free(text);
        text = g_strdup(reason);
    }
    return text ? text : g_strdup("unknown error");
}

static bool fail_with_reason(GError **error, const char *what, const char *file)
{
    g_autofree char *reason = tls_library_reason();

    return fail(error, "%s %s: %s", what, file, reason);
}

/* A key that has a pass phrase cannot be used: nobody is there to type it. */
static int no_pass_phrase(char *buffer, int size, int writing, void *user)
{
    return 0;
}

void chain_loader_clear(ChainLoader *loader)
{
    g_clear_pointer(&loader->key, EVP_PKEY_free);
    g_clear_pointer(&loader->leaf, X509_free);
    if (loader->others)
        sk_X509_pop_free(loader->others, X509_free);
    loader->others = NULL;
    g_clear_pointer(&loader->key_file, g_free);
    g_clear_pointer(&loader->cert_file, g_free);
}

static void warn_of_time(const X509 *cert, const char *file)
{
    const ASN1_TIME *ends = X509_get0_notAfter(cert), *begins = X509_get0_notBefore(cert);
    bool expired = X509_cmp_current_time(ends) < 0;
    bool early = X509_cmp_current_time(begins) > 0;
    struct tm when;

    if ((!expired && !early) || ASN1_TIME_to_tm(expired ? ends : begins, &when) != 1)
        return;
    g_autofree char *name = tls_common_name(X509_get_subject_name(cert));
    log_warning("the certificate of \"%s\" in %s %s %d-%02d-%02d", name, file,
                expired ? "has expired: it was valid until" : "is not valid before", when.tm_year + 1900,
                when.tm_mon + 1, when.tm_mday);
}

/* Names and key identifiers may fit where the key is another: an authority that was made anew. */
static int issue_problem(X509 *issuer, X509 *signed_one)
{
    int problem = X509_check_issued(issuer, signed_one);
    EVP_PKEY *key = X509_get0_pubkey(issuer);

    if (problem == X509_V_OK && (!key || X509_verify(signed_one, key) != 1))
        problem = X509_V_ERR_CERT_SIGNATURE_FAILURE;
    ERR_clear_error();
    return problem;
}

/* Each certificate must be signed by the one behind it. */
static bool check_order(const ChainLoader *loader, GError **error)
{
    X509 *signed_one = loader->leaf;

    for (int i = 0; i < sk_X509_num(loader->others); i++) {
        X509 *issuer = sk_X509_value(loader->others, i);
        int problem = issue_problem(issuer, signed_one);
        if (problem != X509_V_OK) {
            g_autofree char *name = tls_common_name(X509_get_subject_name(signed_one));
            g_autofree char *other = tls_common_name(X509_get_subject_name(issuer));
            return fail(error, "wrong certificate chain in %s: \"%s\" was not issued by \"%s\", which follows it (%s)",
                        loader->cert_file, name, other, X509_verify_cert_error_string(problem));
        }
        signed_one = issuer;
    }
    return true;
}

bool chain_loader_end(ChainLoader *loader, GError **error)
{
    if (!loader->key)
        return true;
    if (!loader->leaf)
        return fail(error, "the key in %s is not followed by its certificate", loader->key_file);
    if (X509_check_private_key(loader->leaf, loader->key) != 1) {
        ERR_clear_error();
        return fail(error, "the key in %s is not that of the certificate in %s", loader->key_file, loader->cert_file);
    }
    if (!check_order(loader, error))
        return false;
    int added =
        loader->context      ? SSL_CTX_use_cert_and_key(loader->context, loader->leaf, loader->key, loader->others, 1)
        : loader->connection ? SSL_use_cert_and_key(loader->connection, loader->leaf, loader->key, loader->others, 1)
                             : 1;
    if (added != 1)
        return fail_with_reason(error, "cannot use the certificate in", loader->cert_file);
    if (!loader->connection) {
        warn_of_time(loader->leaf, loader->cert_file);
        for (int i = 0; i < sk_X509_num(loader->others); i++)
            warn_of_time(sk_X509_value(loader->others, i), loader->cert_file);
    }
    loader->loaded++;
    chain_loader_clear(loader);
    return true;
}

static bool take_key(ChainLoader *loader, EVP_PKEY *key, const char *file, GError **error)
{
    if (!chain_loader_end(loader, error)) {
        EVP_PKEY_free(key);
        return false;
    }
    loader->key = key;
    loader->key_file = g_strdup(file);
    loader->others = sk_X509_new_null();
    return true;
}

static bool take_certificate(ChainLoader *loader, X509 *cert, const char *file, GError **error)
{
    if (!loader->key) {
        X509_free(cert);
        return fail(error, "%s: a certificate without a key before it", file);
    }
    if (loader->leaf) {
        sk_X509_push(loader->others, cert);
        return true;
    }
    loader->leaf = cert;
    loader->cert_file = g_strdup(file);
    return true;
}

static bool is_key(const char *type)
{
    return g_str_has_suffix(type, "PRIVATE KEY");
}

static bool is_certificate(const char *type)
{
    return strcmp(type, PEM_STRING_X509) == 0 || strcmp(type, PEM_STRING_X509_OLD) == 0 ||
           strcmp(type, PEM_STRING_X509_TRUSTED) == 0;
}

/* One block of PEM, decoded. */
static bool take_block(ChainLoader *loader, const char *type, const unsigned char *data, long len, const char *file,
                       GError **error)
{
    const unsigned char *at = data;

    if (is_key(type)) {
        EVP_PKEY *key = strcmp(type, PEM_STRING_PKCS8) == 0 ? NULL : d2i_AutoPrivateKey(NULL, &at, len);
        if (!key)
            return strcmp(type, PEM_STRING_PKCS8) == 0 ? fail(error, "the key in %s has a pass phrase", file)
                                                       : fail_with_reason(error, "cannot read the key in", file);
        return take_key(loader, key, file, error);
    }
    if (is_certificate(type)) {
        X509 *cert =
            strcmp(type, PEM_STRING_X509_TRUSTED) == 0 ? d2i_X509_AUX(NULL, &at, len) : d2i_X509(NULL, &at, len);
        return cert ? take_certificate(loader, cert, file, error)
                    : fail_with_reason(error, "cannot read a certificate in", file);
    }
    return true; /* parameters and the like */
}

bool chain_loader_read(ChainLoader *loader, BIO *text, const char *file, GError **error)
{
    char *type, *header;
    unsigned char *data;
    long len;
    bool any = false;

    ERR_clear_error();
    while (PEM_read_bio(text, &type, &header, &data, &len) == 1) {
        EVP_CIPHER_INFO cipher;
        any = true;
        bool good = is_key(type) && *header && PEM_get_EVP_CIPHER_INFO(header, &cipher) == 1 && cipher.cipher
                        ? fail(error, "the key in %s has a pass phrase", file)
                        : take_block(loader, type, data, len, file, error);
        OPENSSL_free(type);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)len);
        if (!good)
            return false;
    }
    unsigned long code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
        return fail_with_reason(error, "cannot read", file);
    ERR_clear_error();
    return any ? true : fail(error, "%s holds neither key nor certificate in PEM form", file);
}

bool tls_chain_check(const char *chain, const char *file, GError **error)
{
    ChainLoader loader = {0};
    BIO *text = BIO_new_mem_buf(chain, -1);
    bool good = chain_loader_read(&loader, text, file, error) && chain_loader_end(&loader, error);

    BIO_free(text);
    chain_loader_clear(&loader);
    return good;
}

/* The old form: certificates in one file, the leaf first, and the key in the same or another one. */
bool chain_load_pair(SSL_CTX *context, const char *cert_file, const char *key_file, GError **error)
{
    ChainLoader loader = {.context = context};
    bool good = false;

    ERR_clear_error();
    BIO *text = BIO_new_file(key_file, "r");
    EVP_PKEY *key = text ? PEM_read_bio_PrivateKey(text, NULL, no_pass_phrase, NULL) : NULL;
    BIO_free(text);
    if (!key)
        return fail_with_reason(error, "cannot read the key in", key_file);
    ERR_clear_error();
    if (!take_key(&loader, key, key_file, error))
        return false;
    text = BIO_new_file(cert_file, "r");
    X509 *cert = text ? PEM_read_bio_X509_AUX(text, NULL, no_pass_phrase, NULL) : NULL;
    while (cert && (good = take_certificate(&loader, cert, cert_file, error)))
        cert = PEM_read_bio_X509(text, NULL, no_pass_phrase, NULL);
    unsigned long code = ERR_peek_last_error();
    BIO_free(text);
    if (!good || ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
        good = fail_with_reason(error, "cannot read the certificate in", cert_file);
    ERR_clear_error();
    good = good && chain_loader_end(&loader, error);
    chain_loader_clear(&loader);
    return good;
}
