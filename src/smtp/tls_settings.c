/* tls_settings.c - the parameters of main.cf about TLS. */
#include "smtp/tls_settings.h"
#include "base/fail.h"

#include <string.h>

static char *full_name(const char *prefix, const char *name)
{
    return g_strdup_printf("%s_tls_%s", prefix, name);
}

static const char *text_of(const Config *config, const char *prefix, const char *name)
{
    g_autofree char *full = full_name(prefix, name);

    return config_string(config, full);
}

static bool read_protocols(const Config *config, const char *prefix, bool mandatory, TlsProtocols *protocols,
                           GError **error)
{
    g_autofree char *name = full_name(prefix, mandatory ? "mandatory_protocols" : "protocols");

    if (tls_protocols_parse(config_string(config, name), protocols, error))
        return true;
    g_prefix_error(error, "%s: ", name);
    return false;
}

static char *read_ciphers(const Config *config, const char *prefix, bool mandatory, bool no_anonymous, GError **error)
{
    const TlsGrades grades = {.high = config_string(config, "tls_high_cipherlist"),
                              .medium = config_string(config, "tls_medium_cipherlist"),
                              .null = config_string(config, "tls_null_cipherlist")};
    const char *exclusions[5] = {text_of(config, prefix, "exclude_ciphers")};
    g_autofree char *name = full_name(prefix, mandatory ? "mandatory_ciphers" : "ciphers");
    int count = 1;

    if (mandatory)
        exclusions[count++] = text_of(config, prefix, "mandatory_exclude_ciphers");
    if (no_anonymous)
        exclusions[count++] = "aNULL";
    if (strcmp(prefix, "smtpd") == 0 && g_ascii_strcasecmp(config_string(config, "smtpd_tls_eecdh_grade"), "none") == 0)
        exclusions[count++] = "kEECDH";
    char *list = tls_cipher_list(&grades, config_string(config, name), exclusions, error);
    if (!list)
        g_prefix_error(error, "%s: ", name);
    return list;
}

/* smtpd_tls_eecdh_grade; a client always negotiates. */
static char *read_curves(const Config *config, const char *prefix)
{
    const char *grade = strcmp(prefix, "smtpd") == 0 ? config_string(config, "smtpd_tls_eecdh_grade") : "auto";

    if (g_ascii_strcasecmp(grade, "strong") == 0)
        return g_strdup(config_string(config, "tls_eecdh_strong_curve"));
    if (g_ascii_strcasecmp(grade, "ultra") == 0)
        return g_strdup(config_string(config, "tls_eecdh_ultra_curve"));
    if (g_ascii_strcasecmp(grade, "none") == 0)
        return g_strdup("");
    return g_strdup_printf("%s %s", config_string(config, "tls_eecdh_auto_curves"),
                           config_string(config, "tls_ffdhe_auto_groups"));
}

static bool read_options(const Config *config, TlsOptions *options, GError **error)
{
    return tls_ssl_options_parse("tls_ssl_options", config_string(config, "tls_ssl_options"), &options->ssl_options,
                                 error) &&
           tls_workarounds_parse("tls_disable_workarounds", config_string(config, "tls_disable_workarounds"),
                                 &options->no_workarounds, error);
}

bool tls_settings_read(const Config *config, const char *prefix, TlsRole role, bool mandatory, bool no_anonymous,
                       TlsSettings *settings, GError **error)
{
    static const char *const kinds[3][2] = {
        {"cert_file", "key_file"}, {"dcert_file", "dkey_file"}, {"eccert_file", "eckey_file"}};
    g_autofree char *level = full_name(prefix, "loglevel");
    g_autofree char *depth = full_name(prefix, role == TLS_SERVER ? "ccert_verifydepth" : "scert_verifydepth");
    TlsOptions *options = &settings->options;

    *settings = (TlsSettings){0};
    options->role = role;
    options->chain_files = text_of(config, prefix, "chain_files");
    for (int i = 0; i < 3; i++) {
        options->pairs[i].cert_file = text_of(config, prefix, kinds[i][0]);
        options->pairs[i].key_file = text_of(config, prefix, kinds[i][1]);
    }
    options->ca_file = text_of(config, prefix, "CAfile");
    options->ca_path = text_of(config, prefix, "CApath");
    options->default_ca = config_bool(config, "tls_append_default_CA");
    options->verify_depth = (int)config_int(config, depth);
    options->prefer_server_ciphers = config_bool(config, "tls_preempt_cipherlist");
    options->digest = text_of(config, prefix, "fingerprint_digest");
    options->old_key_fingerprints = config_bool(config, "tls_legacy_public_key_fingerprints");
    options->wildcard_matches_multiple_labels = config_bool(config, "tls_wildcard_matches_multiple_labels");
    options->log_level = (int)config_int(config, level);
    if (read_protocols(config, prefix, mandatory, &options->protocols, error) && read_options(config, options, error)) {
        options->ciphers = settings->ciphers = read_ciphers(config, prefix, mandatory, no_anonymous, error);
        options->curves = settings->curves = read_curves(config, prefix);
    }
    if (options->ciphers)
        return true;
    tls_settings_clear(settings);
    return false;
}

void tls_settings_clear(TlsSettings *settings)
{
    g_free(settings->ciphers);
    g_free(settings->curves);
    *settings = (TlsSettings){0};
}
