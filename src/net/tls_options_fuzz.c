/* tls_options_fuzz.c - the words about TLS from any text, and PEM from any octets: protocols that are taken leave one
 * to speak, a cipher list begins with its grade and is one OpenSSL reads or refuses, nothing breaks. */
#include "net/tls_private.h"

#include <openssl/err.h>
#include <string.h>

static void check_protocols(const char *text)
{
    TlsProtocols protocols;
    g_autoptr(GError) error = NULL;

    if (!tls_protocols_parse(text, &protocols, &error)) {
        g_assert(error && *error->message);
        return;
    }
    g_assert(protocols.excluded != TLS_EXCLUDE_ALL);
    g_assert(protocols.min >= 0 && protocols.min <= 0xffff && protocols.max >= 0 && protocols.max <= 0xffff);
}

static void check_ciphers(const char *text, SSL_CTX *context)
{
    const TlsGrades grades = {.high = "HIGH", .medium = "HIGH:MEDIUM", .null = "eNULL"};
    g_autofree char *list = tls_cipher_list(&grades, "high", (const char *const[]){text, NULL}, NULL);

    if (list) {
        g_assert(g_str_has_prefix(list, "HIGH"));
        g_assert(!strchr(list + 4, '@') || !strstr(list, ":@")); /* only exclusions were added */
        SSL_CTX_set_cipher_list(context, list);
        ERR_clear_error();
    }
    g_free(tls_cipher_list(&grades, text, (const char *const[]){NULL}, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    SSL *connection = SSL_new(context);
    ChainLoader loader = {.connection = connection};
    BIO *pem = BIO_new_mem_buf(data, (int)MIN(size, 100000));
    uint64_t bits;

    check_protocols(text);
    check_ciphers(text, context);
    tls_ssl_options_parse("tls_ssl_options", text, &bits, NULL);
    tls_workarounds_parse("tls_disable_workarounds", text, &bits, NULL);
    if (chain_loader_read(&loader, pem, "input", NULL))
        chain_loader_end(&loader, NULL);
    chain_loader_clear(&loader);
    BIO_free(pem);
    SSL_free(connection);
    SSL_CTX_free(context);
    return 0;
}
