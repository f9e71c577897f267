/* tls_settings.h - the parameters of main.cf about TLS, as one context of a server or a client wants them
 * (postconf(5)). */
#pragma once
#include "config/config.h"
#include "net/tls.h"

/* What the parameters PREFIX_tls_... and tls_... say. Texts in options are config's but for the list of ciphers, which
 * is owned here, and what is the caller's to set: verify, session_..., tickets, find_.... */
typedef struct {
    TlsOptions options;
    char *ciphers, *curves;
} TlsSettings;

/* prefix: "smtpd", "smtp", "lmtp". mandatory: TLS is required, so the ..._mandatory_... parameters count. no_anonymous:
 * ciphers without certificates are of no use. False: error names the parameter; settings is cleared. */
bool tls_settings_read(const Config *config, const char *prefix, TlsRole role, bool mandatory, bool no_anonymous,
                       TlsSettings *settings, GError **error);
void tls_settings_clear(TlsSettings *settings);
