/* tls_options.c - the words of main.cf about TLS. */
#include "net/tls_options.h"
#include "base/fail.h"

#include <openssl/ssl.h>
#include <string.h>

#define SEPARATORS " \t\r\n,:"

/* Words of a list; blanks, commas and colons separate. */
static GPtrArray *split(const char *text)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

    for (const char *at = text + strspn(text, SEPARATORS); *at; at += strspn(at, SEPARATORS)) {
        size_t len = strcspn(at, SEPARATORS);
        g_ptr_array_add(words, g_strndup(at, len));
        at += len;
    }
    return words;
}

/* --- protocols --- */

static const struct {
    const char *name;
    int version;
    unsigned bit;
} protocols[] = {
    {"SSLv2", SSL2_VERSION, 0},
    {"SSLv3", SSL3_VERSION, TLS_EXCLUDE_SSLV3},
    {"TLSv1", TLS1_VERSION, TLS_EXCLUDE_TLSV1},
    {"TLSv1.0", TLS1_VERSION, TLS_EXCLUDE_TLSV1},
    {"TLSv1.1", TLS1_1_VERSION, TLS_EXCLUDE_TLSV1_1},
    {"TLSv1.2", TLS1_2_VERSION, TLS_EXCLUDE_TLSV1_2},
    {"TLSv1.3", TLS1_3_VERSION, TLS_EXCLUDE_TLSV1_3},
};

static int find_protocol(const char *name)
{
    for (int i = 0; i < (int)G_N_ELEMENTS(protocols); i++)
        if (g_ascii_strcasecmp(protocols[i].name, name) == 0)
            return i;
    return -1;
}

/* A bound: a name, or a number. -1: neither. */
static int bound_of(const char *word)
{
    int found = find_protocol(word);
    char *end;

    if (found >= 0)
        return protocols[found].version;
    if (!g_ascii_isxdigit(*word))
        return *word ? -1 : 0;
    guint64 number = g_ascii_strtoull(word, &end, 16);
    return *end || number > 0xffff ? -1 : (int)number;
}

static bool leaves_something(const TlsProtocols *wanted)
{
    for (size_t i = 1; i < G_N_ELEMENTS(protocols); i++)
        if (!(wanted->excluded & protocols[i].bit) && (!wanted->min || protocols[i].version >= wanted->min) &&
            (!wanted->max || protocols[i].version <= wanted->max))
            return true;
    return false;
}

bool tls_protocols_parse(const char *text, TlsProtocols *ret_protocols, GError **error)
{
    g_autoptr(GPtrArray) words = split(text);
    TlsProtocols wanted = {0};
    unsigned included = 0;
    bool any_included = false;

    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        bool at_least = g_str_has_prefix(word, ">="), at_most = g_str_has_prefix(word, "<=");
        if (at_least || at_most) {
            int version = bound_of(word + 2);
            if (version < 0)
                return fail(error, "invalid TLS protocol \"%s\"", word);
            *(at_least ? &wanted.min : &wanted.max) = version;
            continue;
        }
        bool excluded = *word == '!';
        int found = find_protocol(word + excluded);
        if (found < 0)
            return fail(error, "invalid TLS protocol \"%s\"", word);
        *(excluded ? &wanted.excluded : &included) |= protocols[found].bit;
        any_included |= !excluded;
    }
    if (any_included)
        wanted.excluded |= TLS_EXCLUDE_ALL & ~included;
    if (!leaves_something(&wanted))
        return fail(error, "the TLS protocols \"%s\" leave none that is known", text);
    *ret_protocols = wanted;
    return true;
}

/* --- ciphers --- */

char *tls_cipher_list(const TlsGrades *grades, const char *grade, const char *const *exclusions, GError **error)
{
    const struct {
        const char *name, *list;
    } known[] = {
        {"high", grades->high},     {"medium", grades->medium}, {"low", grades->medium},
        {"export", grades->medium}, {"null", grades->null},
    };
    const char *base = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        if (g_ascii_strcasecmp(grade, known[i].name) == 0)
            base = known[i].list;
    if (!base) {
        fail(error, "invalid TLS cipher grade \"%s\"", grade);
        return NULL;
    }
    g_autoptr(GString) list = g_string_new(base);
    for (; *exclusions; exclusions++) {
        g_autoptr(GPtrArray) words = split(*exclusions);
        for (guint i = 0; i < words->len; i++) {
            const char *word = g_ptr_array_index(words, i);
            if (strchr("!+-@", *word)) { /* it would say something else */
                fail(error, "invalid TLS cipher \"%s\" to be excluded", word);
                return NULL;
            }
            g_string_append_printf(list, "%s!%s", list->len ? ":" : "", word);
        }
    }
    return g_string_free(g_steal_pointer(&list), FALSE);
}

/* --- options of OpenSSL --- */

typedef struct {
    const char *name;
    uint64_t bit;
} Option;

static const Option ssl_options[] = {
    {"ENABLE_MIDDLEBOX_COMPAT", SSL_OP_ENABLE_MIDDLEBOX_COMPAT},
    {"LEGACY_SERVER_CONNECT", SSL_OP_LEGACY_SERVER_CONNECT},
    {"NO_TICKET", SSL_OP_NO_TICKET},
    {"NO_COMPRESSION", SSL_OP_NO_COMPRESSION},
    {"NO_RENEGOTIATION", SSL_OP_NO_RENEGOTIATION},
    {"NO_SESSION_RESUMPTION_ON_RENEGOTIATION", SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION},
    {"PRIORITIZE_CHACHA", SSL_OP_PRIORITIZE_CHACHA},
    {"NO_ENCRYPT_THEN_MAC", SSL_OP_NO_ENCRYPT_THEN_MAC},
};

static const Option workarounds[] = {
    {"CRYPTOPRO_TLSEXT_BUG", SSL_OP_CRYPTOPRO_TLSEXT_BUG},
    {"DONT_INSERT_EMPTY_FRAGMENTS", SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS},
    {"LEGACY_SERVER_CONNECT", SSL_OP_LEGACY_SERVER_CONNECT},
    {"TLSEXT_PADDING", SSL_OP_TLSEXT_PADDING},
    {"SAFARI_ECDHE_ECDSA_BUG", SSL_OP_SAFARI_ECDHE_ECDSA_BUG},
    /* Of old releases: known, and without effect in the library itself. */
    {"MICROSOFT_SESS_ID_BUG", 0},
    {"NETSCAPE_CHALLENGE_BUG", 0},
    {"NETSCAPE_REUSE_CIPHER_CHANGE_BUG", 0},
    {"SSLREF2_REUSE_CERT_TYPE_BUG", 0},
    {"MICROSOFT_BIG_SSLV3_BUFFER", 0},
    {"MSIE_SSLV2_RSA_PADDING", 0},
    {"SSLEAY_080_CLIENT_DH_BUG", 0},
    {"TLS_D5_BUG", 0},
    {"TLS_BLOCK_PADDING_BUG", 0},
};

static bool parse_options(const char *parameter, const char *text, const Option *options, size_t count,
                          uint64_t *ret_options, GError **error)
{
    g_autoptr(GPtrArray) words = split(text);
    uint64_t bits = 0;

    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        bool is_number = g_ascii_strncasecmp(word, "0x", 2) == 0;
        char *end = NULL;
        size_t k = 0;
        if (is_number) {
            bits |= g_ascii_strtoull(word, &end, 16);
            if (end == word + 1 || *end)
                return fail(error, "%s: bad number \"%s\"", parameter, word);
            continue;
        }
        while (k < count && g_ascii_strcasecmp(options[k].name, word) != 0)
            k++;
        if (k == count)
            return fail(error, "%s: unknown name \"%s\"", parameter, word);
        bits |= options[k].bit;
    }
    *ret_options = bits;
    return true;
}

bool tls_ssl_options_parse(const char *parameter, const char *text, uint64_t *ret_options, GError **error)
{
    return parse_options(parameter, text, ssl_options, G_N_ELEMENTS(ssl_options), ret_options, error);
}

bool tls_workarounds_parse(const char *parameter, const char *text, uint64_t *ret_options, GError **error)
{
    return parse_options(parameter, text, workarounds, G_N_ELEMENTS(workarounds), ret_options, error);
}
