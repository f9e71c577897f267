/* tls_authorities.c - whom certificates may come from: files, directories, trust anchors. All are read before the first
 * connection, when the process may still read what it likes: OpenSSL would look into a directory for each certificate,
 * from under another root or out of the sandbox, and where it finds nothing nobody is trusted, without a word. */
#include "base/fail.h"
#include "base/log.h"
#include "net/tls_private.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* As "openssl rehash" makes it; OpenSSL itself looks for no others. */
static bool is_hash(const char *name)
{
    const char *number = name + 9;

    return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && *number &&
           number[strspn(number, "0123456789")] == '\0';
}

/* One that cannot be read is not trusted, that is all. *ret_count: of those that can. False: errno tells why. */
static bool load_directory(X509_STORE *store, const char *path, unsigned *ret_count)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;

    *ret_count = 0;
    while (directory && (entry = readdir(directory))) {
        g_autofree char *file = is_hash(entry->d_name) ? g_build_filename(path, entry->d_name, NULL) : NULL;
        if (!file)
            continue;
        ERR_clear_error();
        if (X509_STORE_load_file(store, file) == 1) {
            ++*ret_count;
            continue;
        }
        g_autofree char *reason = tls_library_reason();
        log_warning("cannot read the authority in %s: %s", file, reason);
    }
    if (directory)
        closedir(directory);
    return directory != NULL;
}

/* The system's, where OpenSSL has them: a file or directories, which need not exist. */
static bool load_default(SSL_CTX *ssl, GError **error)
{
    const char *value = getenv(X509_get_default_cert_dir_env());
    g_auto(GStrv) directories = g_strsplit(value ? value : X509_get_default_cert_dir(), ":", -1);
    unsigned count;

    if (SSL_CTX_set_default_verify_file(ssl) != 1)
        return fail(error, "cannot read the system's authorities");
    for (char **directory = directories; *directory; directory++)
        load_directory(SSL_CTX_get_cert_store(ssl), *directory, &count);
    return true;
}

bool tls_load_authorities(SSL_CTX *ssl, const TlsOptions *options, GError **error)
{
    const char *file = options->ca_file, *path = options->ca_path;
    unsigned count = 0;

    ERR_clear_error();
    if (file && *file && SSL_CTX_load_verify_file(ssl, file) != 1) {
        g_autofree char *reason = tls_library_reason();
        return fail(error, "cannot read authorities in %s: %s", file, reason);
    }
    if (path && *path) {
        if (!load_directory(SSL_CTX_get_cert_store(ssl), path, &count))
            return fail_errno(error, "cannot read authorities in %s", path);
        if (count == 0)
            log_warning("%s holds no authorities under names as \"openssl rehash\" makes them", path);
    }
    if (options->default_ca && !load_default(ssl, error))
        return false;
    if (options->role == TLS_SERVER && options->verify != TLS_VERIFY_NONE && file && *file)
        SSL_CTX_set_client_CA_list(ssl, SSL_load_client_CA_file(file));
    ERR_clear_error();
    return true;
}

/* --- trust anchors --- */

static void free_store(void *store)
{
    X509_STORE_free(store);
}

static X509_STORE *read_anchors(const char *file, GError **error)
{
    X509_STORE *store = X509_STORE_new();

    ERR_clear_error();
    if (store && X509_STORE_load_file(store, file) == 1)
        return store;
    g_autofree char *reason = tls_library_reason();
    X509_STORE_free(store);
    fail(error, "cannot read trust anchors in %s: %s", file, reason);
    return NULL;
}

bool tls_context_keep_anchors(TlsContext *context, const char *file, GError **error)
{
    if (!context->anchors)
        context->anchors = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_store);
    if (g_hash_table_contains(context->anchors, file))
        return true;
    X509_STORE *store = read_anchors(file, error);
    return store && g_hash_table_insert(context->anchors, g_strdup(file), store);
}

static bool add_all(X509_STORE *store, X509_STORE *from)
{
    STACK_OF(X509) *certificates = X509_STORE_get1_all_certs(from);
    bool good = certificates != NULL;

    for (int i = 0; good && i < sk_X509_num(certificates); i++)
        good = X509_STORE_add_cert(store, sk_X509_value(certificates, i)) == 1;
    sk_X509_pop_free(certificates, X509_free);
    return good;
}

static bool add_anchors(X509_STORE *store, const TlsContext *context, const char *file, GError **error)
{
    X509_STORE *kept = context->anchors ? g_hash_table_lookup(context->anchors, file) : NULL;
    X509_STORE *anchors = kept ? kept : read_anchors(file, error);
    bool good = anchors && (add_all(store, anchors) || fail(error, "no memory for trust anchors"));

    if (anchors != kept)
        X509_STORE_free(anchors);
    return good;
}

bool tls_trust_only(Tls *tls, const char *const *files, GError **error)
{
    X509_STORE *store = X509_STORE_new();
    bool good = store != NULL;

    for (; good && *files; files++)
        good = add_anchors(store, tls->context, *files, error);
    if (good) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        good = SSL_set1_verify_cert_store(tls->ssl, store) == 1;
        SSL_set1_chain_cert_store(tls->ssl, NULL);
    }
    X509_STORE_free(store);
    return good;
}
