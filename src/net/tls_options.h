/* tls_options.h - the words of main.cf about TLS (postconf(5)), parsed: protocol versions, cipher grades with
 * exclusions, options of OpenSSL. No connection and no file here. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* smtpd_tls_protocols and the like. Versions are numbers of the protocol (0x0303 is TLSv1.2); 0: no bound. */
typedef struct {
    int min, max;      /* ">=TLSv1.2", "<=TLSv1.3": the last one of each counts */
    unsigned excluded; /* TLS_EXCLUDE_ bits: "!TLSv1.1", and, where versions are named, all that are not */
} TlsProtocols;

enum {
    TLS_EXCLUDE_SSLV3 = 1 << 0,
    TLS_EXCLUDE_TLSV1 = 1 << 1,
    TLS_EXCLUDE_TLSV1_1 = 1 << 2,
    TLS_EXCLUDE_TLSV1_2 = 1 << 3,
    TLS_EXCLUDE_TLSV1_3 = 1 << 4,
    TLS_EXCLUDE_ALL = (1 << 5) - 1,
};

/* Names in any case, or after >= and <= a number in hexadecimal; separated by blanks, commas or colons. SSLv2 is known
 * and never spoken. False: error names the word that is none. Nothing is left to speak: an error, too. */
bool tls_protocols_parse(const char *text, TlsProtocols *ret_protocols, GError **error);

/* What the grades mean: tls_high_cipherlist and so on. */
typedef struct {
    const char *high, *medium, *null;
} TlsGrades;

/* The cipher list for OpenSSL: the grade's, without what exclusions (each a list of OpenSSL's names; NULL ends them)
 * say. grade: null, high, medium; low and export mean medium, as they do since Postfix 3.8. NULL: an error. Caller
 * frees. */
char *tls_cipher_list(const TlsGrades *grades, const char *grade, const char *const *exclusions, GError **error);

/* tls_ssl_options and tls_disable_workarounds: names of OpenSSL's options without SSL_OP_, in any case, or one number
 * in hexadecimal. parameter: its name, for the error. */
bool tls_ssl_options_parse(const char *parameter, const char *text, uint64_t *ret_options, GError **error);
bool tls_workarounds_parse(const char *parameter, const char *text, uint64_t *ret_options, GError **error);
