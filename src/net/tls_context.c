/* tls_context.c - contexts: what main.cf says about TLS, made once, shared by all connections. */
#include "base/fail.h"
#include "base/log.h"
#include "net/tls_private.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#define SESSION_TIME_MIN 120 /* seconds, where sessions are resumed at all */
#define DH_GROUP "ffdhe2048"

bool tls_library_init(const char *config_file, const char *config_name, GError **error)
{
    OPENSSL_INIT_SETTINGS *settings = OPENSSL_INIT_new();
    bool none = g_ascii_strcasecmp(config_file, "none") == 0;

    if (!none && *config_file && strcmp(config_file, "default") != 0)
        OPENSSL_INIT_set_config_filename(settings, config_file);
    if (*config_name)
        OPENSSL_INIT_set_config_appname(settings, config_name);
    OPENSSL_INIT_set_config_file_flags(settings, 0);
    ERR_clear_error();
    int done = OPENSSL_init_ssl(none ? OPENSSL_INIT_NO_LOAD_CONFIG : OPENSSL_INIT_LOAD_CONFIG, settings);
    OPENSSL_INIT_free(settings);
    if (done == 1)
        return true;
    g_autofree char *reason = tls_library_reason();
    return fail(error, "tls_config_file = %s, tls_config_name = %s: %s", config_file, config_name, reason);
}

/* --- certificates --- */

static bool load_chain_files(SSL_CTX *ssl, const char *files, GError **error)
{
    g_auto(GStrv) names = g_strsplit_set(files, ", \t\r\n", -1);
    ChainLoader loader = {.context = ssl};
    bool good = true;

    for (char **name = names; good && *name; name++) {
        if (!**name)
            continue;
        ERR_clear_error();
        BIO *text = BIO_new_file(*name, "r");
        if (!text) {
            g_autofree char *reason = tls_library_reason();
            good = fail(error, "cannot open %s: %s", *name, reason);
        } else {
            good = chain_loader_read(&loader, text, *name, error);
        }
        BIO_free(text);
    }
    good = good && chain_loader_end(&loader, error);
    chain_loader_clear(&loader);
    return good;
}

static bool load_certificates(SSL_CTX *ssl, const TlsOptions *options, GError **error)
{
    if (options->chain_files && *options->chain_files)
        return load_chain_files(ssl, options->chain_files, error);
    for (size_t i = 0; i < G_N_ELEMENTS(options->pairs); i++) {
        const char *cert = options->pairs[i].cert_file, *key = options->pairs[i].key_file;
        if (!cert || !*cert || g_ascii_strcasecmp(cert, "none") == 0)
            continue;
        if (!chain_load_pair(ssl, cert, key && *key ? key : cert, error))
            return false;
    }
    return true;
}

/* --- protocols, ciphers, groups --- */

uint64_t tls_protocol_options(const TlsProtocols *wanted)
{
    static const struct {
        unsigned bit;
        uint64_t option;
    } names[] = {
        {TLS_EXCLUDE_SSLV3, SSL_OP_NO_SSLv3},     {TLS_EXCLUDE_TLSV1, SSL_OP_NO_TLSv1},
        {TLS_EXCLUDE_TLSV1_1, SSL_OP_NO_TLSv1_1}, {TLS_EXCLUDE_TLSV1_2, SSL_OP_NO_TLSv1_2},
        {TLS_EXCLUDE_TLSV1_3, SSL_OP_NO_TLSv1_3},
    };
    uint64_t options = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (wanted->excluded & names[i].bit)
            options |= names[i].option;
    return options;
}

static bool set_protocols(SSL_CTX *ssl, const TlsProtocols *wanted)
{
    SSL_CTX_clear_options(ssl, SSL_OP_NO_SSL_MASK);
    SSL_CTX_set_options(ssl, tls_protocol_options(wanted));
    return SSL_CTX_set_min_proto_version(ssl, wanted->min) == 1 && SSL_CTX_set_max_proto_version(ssl, wanted->max) == 1;
}

static bool set_curves(SSL_CTX *ssl, const char *curves)
{
    g_auto(GStrv) names = g_strsplit_set(curves ? curves : "", ", :\t\r\n", -1);
    g_autoptr(GString) list = g_string_new(NULL);

    for (char **name = names; *name; name++) {
        if (!**name)
            continue;
        ERR_clear_error();
        if (SSL_CTX_set1_groups_list(ssl, *name) != 1)
            log_warning("ignoring unknown group \"%s\" for TLS key exchange", *name);
        else
            g_string_append_printf(list, "%s%s", list->len ? ":" : "", *name);
    }
    ERR_clear_error();
    return list->len == 0 || SSL_CTX_set1_groups_list(ssl, list->str) == 1;
}

static EVP_PKEY *standard_dh(void)
{
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)DH_GROUP, 0),
                           OSSL_PARAM_construct_end()};
    EVP_PKEY *dh = NULL;

    if (maker && EVP_PKEY_keygen_init(maker) == 1 && EVP_PKEY_CTX_set_params(maker, params) == 1)
        EVP_PKEY_generate(maker, &dh);
    EVP_PKEY_CTX_free(maker);
    return dh;
}

static EVP_PKEY *dh_of_file(const char *file, GError **error)
{
    ERR_clear_error();
    BIO *text = BIO_new_file(file, "r");
    EVP_PKEY *dh = text ? PEM_read_bio_Parameters(text, NULL) : NULL;

    BIO_free(text);
    if (!dh || (!EVP_PKEY_is_a(dh, "DH") && !EVP_PKEY_is_a(dh, "DHX"))) { /* X9.42: of "openssl dhparam -dsaparam" */
        g_autofree char *reason = tls_library_reason();
        fail(error, "cannot read Diffie-Hellman parameters in %s: %s", file, reason);
        EVP_PKEY_free(dh);
        return NULL;
    }
    ERR_clear_error();
    return dh;
}

static bool set_dh(SSL_CTX *ssl, const char *file, GError **error)
{
    if (file && strcmp(file, "none") == 0)
        return true;
    bool standard = !file || !*file || strcmp(file, "auto") == 0;
    EVP_PKEY *dh = standard ? standard_dh() : dh_of_file(file, error);
    if (dh && SSL_CTX_set0_tmp_dh_pkey(ssl, dh) == 1)
        return true;
    if (!dh && !standard)
        return false;
    EVP_PKEY_free(dh);
    g_autofree char *reason = tls_library_reason();
    return fail(error, "cannot use Diffie-Hellman parameters: %s", reason);
}

static bool set_channel(SSL_CTX *ssl, const TlsOptions *options, GError **error)
{
    SSL_CTX_set_options(ssl, SSL_OP_ALL | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | options->ssl_options);
    SSL_CTX_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT); /* passwords come this way */
    SSL_CTX_clear_options(ssl, options->no_workarounds);
    if (options->prefer_server_ciphers)
        SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    else
        SSL_CTX_clear_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_security_level(ssl, 0); /* main.cf decides, not the system's policy: as in Postfix */
    SSL_CTX_set_mode(ssl,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    ERR_clear_error();
    if (!set_protocols(ssl, &options->protocols))
        return fail(error, "the library does not know these TLS protocols");
    if (SSL_CTX_set_cipher_list(ssl, options->ciphers) != 1) {
        g_autofree char *reason = tls_library_reason();
        return fail(error, "TLS cipher list \"%s\": %s", options->ciphers, reason);
    }
    if (!set_curves(ssl, options->curves))
        return fail(error, "cannot set the groups for TLS key exchange");
    return options->role == TLS_CLIENT || set_dh(ssl, options->dh_file, error);
}

/* --- the peer --- */

/* Whatever is wrong with a certificate, the connection goes on: what it is worth is the caller's business. The first
 * error stays, also in a session that is resumed. */
static int note_verification(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    Tls *tls = SSL_get_app_data(ssl);

    tls_log_verify(tls, store, ok);
    if (!ok && (tls->verify_error == X509_V_OK || tls->verify_error == X509_V_ERR_HOSTNAME_MISMATCH))
        tls->verify_error = X509_STORE_CTX_get_error(store);
    if (tls->verify_error != X509_V_OK)
        X509_STORE_CTX_set_error(store, tls->verify_error);
    return 1;
}

static void set_verification(SSL_CTX *ssl, const TlsOptions *options)
{
    if (options->role == TLS_SERVER && options->verify == TLS_VERIFY_NONE)
        return;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | (options->role == TLS_SERVER ? SSL_VERIFY_CLIENT_ONCE : 0),
                       note_verification);
    SSL_CTX_set_verify_depth(ssl, MAX(options->verify_depth - 1, 0)); /* OpenSSL counts the certificates in between */
}

static bool has_bad_label(const char *name)
{
    for (const char *dash = strchr(name, '-'); dash; dash = strchr(dash + 1, '-'))
        if (dash == name || dash[-1] == '.' || dash[1] == '.' || dash[1] == '\0')
            return true;
    return false;
}

/* A name in the client's hello: host name syntax, lower case. NULL: it is none. */
static char *host_name(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > 253 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != len || *name == '.' ||
        name[len - 1] == '.' || strstr(name, "..") || has_bad_label(name))
        return NULL;
    return g_ascii_strdown(name, -1);
}

static int take_chain(Tls *tls, const char *chain, const char *name)
{
    ChainLoader loader = {.connection = tls->ssl};
    g_autoptr(GError) error = NULL;
    BIO *text = BIO_new_mem_buf(chain, -1);

    SSL_certs_clear(tls->ssl);
    bool good =
        chain_loader_read(&loader, text, "the table of server names", &error) && chain_loader_end(&loader, &error);
    BIO_free(text);
    chain_loader_clear(&loader);
    if (good && loader.loaded > 0) {
        tls->server_name = g_strdup(name);
        return SSL_TLSEXT_ERR_OK;
    }
    log_warning("%s: no usable certificate for the server name %s: %s", tls->peer, name,
                error ? error->message : "there is none");
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int choose_certificate(SSL *ssl, int *alert, void *unused)
{
    Tls *tls = SSL_get_app_data(ssl);
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    g_autofree char *name = asked ? host_name(asked) : NULL;
    bool failed = false;

    if (asked && !name) {
        g_autofree char *shown = log_quote(asked, MIN(strlen(asked), 100));
        log_warning("TLS SNI from %s is invalid: %s", tls->peer, shown);
    }
    if (!name || tls->server_name) /* the latter: the second hello of a handshake */
        return name ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
    g_autofree char *chain = tls->context->find_chain(tls->context->find_user, name, &failed);
    *alert = SSL_AD_INTERNAL_ERROR;
    if (failed)
        log_warning("%s: the server name %s cannot be looked up", tls->peer, name);
    if (!failed && !chain && tls->context->log_level >= 1)
        log_info("TLS SNI %s from %s not matched, using default chain", asked, tls->peer);
    if (failed || !chain)
        return failed ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
    return take_chain(tls, chain, asked);
}

/* --- sessions that are resumed --- */

static void set_sessions(SSL_CTX *ssl, const TlsOptions *options)
{
    bool may_resume = options->role == TLS_SERVER && options->tickets && options->session_time > 0;

    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (options->role == TLS_CLIENT)
        return;
    if (!may_resume) {
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ssl, 0);
        return;
    }
    const char *name = options->session_for ? options->session_for : "";
    unsigned char id[EVP_MAX_MD_SIZE];
    unsigned id_len;
    EVP_Digest(name, strlen(name), id, &id_len, EVP_sha256(), NULL);
    SSL_CTX_set_session_id_context(ssl, id, MIN(id_len, SSL_MAX_SSL_SESSION_ID_LENGTH));
    SSL_CTX_set_timeout(ssl, MAX(options->session_time, SESSION_TIME_MIN));
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, tls_tickets_key);
}

/* --- after the handshake --- */

static void count_asides(int is_written, int version, int type, const void *data, size_t len, SSL *ssl, void *unused)
{
    Tls *tls = SSL_get_app_data(ssl);

    if (!is_written && type == SSL3_RT_HANDSHAKE && tls && tls->established)
        tls->asides++;
}

/* --- contexts --- */

/* All that makes two contexts differ, as text. */
static char *describe(const TlsOptions *options)
{
    GString *text = g_string_new(NULL);
    const char *const words[] = {
        options->chain_files,
        options->pairs[0].cert_file,
        options->pairs[0].key_file,
        options->pairs[1].cert_file,
        options->pairs[1].key_file,
        options->pairs[2].cert_file,
        options->pairs[2].key_file,
        options->ca_file,
        options->ca_path,
        options->ciphers,
        options->curves,
        options->dh_file,
        options->digest,
        options->session_for,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        g_string_append_printf(text, "%s\n", words[i] ? words[i] : "");
    g_string_append_printf(
        text, "%d %d %d %d %x %x %x %" G_GINT64_MODIFIER "x %" G_GINT64_MODIFIER "x %d %d %d %d %d %p %p",
        options->role, options->default_ca, options->verify, options->verify_depth, (unsigned)options->protocols.min,
        (unsigned)options->protocols.max, options->protocols.excluded, (guint64)options->ssl_options,
        (guint64)options->no_workarounds, options->prefer_server_ciphers, options->wildcard_matches_multiple_labels,
        options->old_key_fingerprints, options->log_level, options->session_time, (void *)options->tickets,
        options->find_user);
    return g_string_free(text, FALSE);
}

static bool fill(TlsContext *context, const TlsOptions *options, GError **error)
{
    SSL_CTX *ssl = context->ssl;

    context->digest = EVP_get_digestbyname(options->digest);
    if (!context->digest)
        return fail(error, "unknown TLS fingerprint digest \"%s\"", options->digest);
    if (!set_channel(ssl, options, error) || !load_certificates(ssl, options, error) ||
        !tls_load_authorities(ssl, options, error))
        return false;
    set_verification(ssl, options);
    set_sessions(ssl, options);
    if (options->role == TLS_SERVER && options->find_chain)
        SSL_CTX_set_tlsext_servername_callback(ssl, choose_certificate);
    SSL_CTX_set_msg_callback(ssl, count_asides);
    if (options->log_level >= 2)
        SSL_CTX_set_info_callback(ssl, tls_log_trace);
    return true;
}

TlsContext *tls_context_new(const TlsOptions *options, TlsContext *like, GError **error)
{
    g_autofree char *text = describe(options);

    if (like && strcmp(like->options, text) == 0)
        return tls_context_ref(like);
    g_autoptr(TlsContext) context = g_new0(TlsContext, 1);
    context->references = 1;
    ERR_clear_error();
    context->ssl = SSL_CTX_new(options->role == TLS_SERVER ? TLS_server_method() : TLS_client_method());
    if (!context->ssl) {
        g_autofree char *reason = tls_library_reason();
        fail(error, "cannot start TLS: %s", reason);
        return NULL;
    }
    context->role = options->role;
    context->options = g_steal_pointer(&text);
    context->ciphers = g_strdup(options->ciphers);
    context->name_flags = options->wildcard_matches_multiple_labels ? X509_CHECK_FLAG_MULTI_LABEL_WILDCARDS : 0;
    context->old_key_fingerprints = options->old_key_fingerprints;
    context->log_level = options->log_level;
    context->says_why = options->verify == TLS_VERIFY_NEED;
    context->tickets = options->tickets;
    context->session_time = MAX(options->session_time, SESSION_TIME_MIN);
    context->find_chain = options->find_chain;
    context->find_user = options->find_user;
    return fill(context, options, error) ? g_steal_pointer(&context) : NULL;
}

TlsContext *tls_context_ref(TlsContext *context)
{
    g_atomic_int_inc(&context->references);
    return context;
}

void tls_context_unref(TlsContext *context)
{
    if (!context || !g_atomic_int_dec_and_test(&context->references))
        return;
    SSL_CTX_free(context->ssl);
    g_clear_pointer(&context->anchors, g_hash_table_unref);
    g_free(context->options);
    g_free(context->ciphers);
    g_free(context);
}

int tls_context_log_level(const TlsContext *context)
{
    return context->log_level;
}
