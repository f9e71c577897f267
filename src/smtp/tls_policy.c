/* tls_policy.c - the policy of one next hop, from its words. */
#include "smtp/tls_policy.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/values.h"

#include <string.h>

#define BLANKS TLS_POLICY_BLANKS
#define MATCHES_MAX 100 /* patterns, fingerprints or files of one policy */

static const struct {
    const char *name;
    TlsLevel level;
    bool known_only; /* a level of Postfix's that is not one of ours */
} levels[] = {
    {"none", TLS_LEVEL_NONE, false},       {"may", TLS_LEVEL_MAY, false},
    {"encrypt", TLS_LEVEL_ENCRYPT, false}, {"fingerprint", TLS_LEVEL_FINGERPRINT, false},
    {"verify", TLS_LEVEL_VERIFY, false},   {"secure", TLS_LEVEL_SECURE, false},
    {"dane", TLS_LEVEL_NONE, true},        {"dane-only", TLS_LEVEL_NONE, true},
};

/* Attributes as they were given; NULL: not given. */
typedef struct {
    char *ciphers, *protocols, *exclude, *server_name;
    GPtrArray *match, *trust_anchors;
} Attributes;

static void attributes_clear(Attributes *attributes)
{
    g_free(attributes->ciphers);
    g_free(attributes->protocols);
    g_free(attributes->exclude);
    g_free(attributes->server_name);
    g_ptr_array_unref(attributes->match);
    g_ptr_array_unref(attributes->trust_anchors);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Attributes, attributes_clear)

void tls_policy_clear(TlsPolicy *policy)
{
    g_free(policy->ciphers);
    g_strfreev(policy->match);
    g_strfreev(policy->trust_anchors);
    g_free(policy->server_name);
    *policy = (TlsPolicy){0};
}

/* ---- words ---- */

static bool find_level(const char *word, TlsLevel *ret_level, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
        if (g_ascii_strcasecmp(levels[i].name, word) != 0)
            continue;
        *ret_level = levels[i].level;
        return !levels[i].known_only || fail(error, "security level \"%s\" is not supported", word);
    }
    return fail(error, "invalid security level \"%s\"", word);
}

const char *tls_level_name(TlsLevel level)
{
    for (size_t i = 0; i < G_N_ELEMENTS(levels); i++)
        if (levels[i].level == level && !levels[i].known_only)
            return levels[i].name;
    g_assert_not_reached();
}

/* Words of text between any of the separators; false: there are too many. */
static bool add_words(GPtrArray *words, const char *text, const char *separators)
{
    for (const char *at = text + strspn(text, separators); *at; at += strspn(at, separators)) {
        size_t len = strcspn(at, separators);
        if (words->len >= MATCHES_MAX)
            return false;
        g_ptr_array_add(words, g_strndup(at, len));
        at += len;
    }
    return true;
}

static bool set_once(char **value, const char *name, const char *text, GError **error)
{
    if (*value)
        return fail(error, "attribute \"%s\" is specified multiple times", name);
    *value = g_strdup(text);
    return true;
}

static bool not_at_level(const char *name, TlsLevel level, GError **error)
{
    return fail(error, "attribute \"%s\" invalid at security level \"%s\"", name, tls_level_name(level));
}

static bool take_attribute(Attributes *attributes, TlsLevel level, const char *name, const char *value, GError **error)
{
    if (strcmp(name, "exclude") == 0)
        return set_once(&attributes->exclude, name, value, error);
    bool has_value = strcmp(name, "match") == 0 || strcmp(name, "tafile") == 0 || strcmp(name, "ciphers") == 0 ||
                     strcmp(name, "protocols") == 0 || strcmp(name, "servername") == 0 ||
                     strcmp(name, "connection_reuse") == 0;
    if (!has_value)
        return fail(error, "invalid attribute name: \"%s\"", name);
    if (*value == '\0')
        return fail(error, "attribute \"%s\" has empty value", name);
    if (strcmp(name, "ciphers") == 0)
        return set_once(&attributes->ciphers, name, value, error);
    if (strcmp(name, "protocols") == 0)
        return set_once(&attributes->protocols, name, value, error);
    if (strcmp(name, "servername") == 0) /* the words "hostname" and "nexthop", too */
        return !value_is_hostname(value) ? fail(error, "\"%s=%s\" specifies an invalid hostname", name, value)
                                         : set_once(&attributes->server_name, name, value, error);
    if (strcmp(name, "connection_reuse") == 0) /* no connection is used again for another delivery */
        return g_ascii_strcasecmp(value, "yes") == 0 || g_ascii_strcasecmp(value, "no") == 0 ||
               fail(error, "attribute \"%s\" has bad value: \"%s\"", name, value);
    if (strcmp(name, "match") == 0) {
        if (level < TLS_LEVEL_FINGERPRINT)
            return not_at_level(name, level, error);
        return add_words(attributes->match, value, level == TLS_LEVEL_FINGERPRINT ? "|" : ":") ||
               fail(error, "attribute \"%s\" is too long", name);
    }
    if (level < TLS_LEVEL_VERIFY)
        return not_at_level(name, level, error);
    return add_words(attributes->trust_anchors, value, "") || fail(error, "attribute \"%s\" is too long", name);
}

static bool take_attributes(Attributes *attributes, TlsLevel level, char **words, const char *what, GError **error)
{
    for (; *words; words++) {
        if (**words == '\0')
            continue;
        if (level == TLS_LEVEL_NONE) {
            log_warning("%s: ignoring attribute \"%s\" with TLS disabled", what, *words);
            continue;
        }
        char *equals = strchr(*words, '=');
        if (!equals || equals == *words)
            return fail(error, "malformed attribute/value pair \"%s\": %s", *words,
                        equals ? "missing attribute name" : "missing '=' after attribute name");
        *equals = '\0';
        if (!take_attribute(attributes, level, *words, equals + 1, error))
            return false;
    }
    return true;
}

/* ---- policies ---- */

static char *ciphers_of(const Attributes *attributes, const TlsPolicyDefaults *defaults, TlsLevel level, GError **error)
{
    bool mandatory = level >= TLS_LEVEL_ENCRYPT;
    const char *grade = attributes->ciphers ? attributes->ciphers
                        : mandatory         ? defaults->mandatory_ciphers
                                            : defaults->ciphers;
    const char *exclusions[4] = {attributes->exclude ? attributes->exclude : defaults->exclude};
    int count = 1;

    if (mandatory && !attributes->exclude)
        exclusions[count++] = defaults->mandatory_exclude;
    if (level > TLS_LEVEL_ENCRYPT)
        exclusions[count++] = "aNULL"; /* a server without certificate would be anybody */
    return tls_cipher_list(&defaults->grades, grade, exclusions, error);
}

/* What is left to main.cf. */
static bool add_defaults(Attributes *attributes, const TlsPolicyDefaults *defaults, TlsLevel level, GError **error)
{
    bool fits = true;

    if (attributes->match->len == 0 && level == TLS_LEVEL_FINGERPRINT)
        fits = add_words(attributes->match, defaults->fingerprint_match, BLANKS "|");
    if (attributes->match->len == 0 && level == TLS_LEVEL_VERIFY)
        fits = add_words(attributes->match, defaults->verify_match, BLANKS ":");
    if (attributes->match->len == 0 && level == TLS_LEVEL_SECURE)
        fits = add_words(attributes->match, defaults->secure_match, BLANKS ":");
    if (attributes->trust_anchors->len == 0 && level >= TLS_LEVEL_VERIFY)
        fits &= add_words(attributes->trust_anchors, defaults->trust_anchors, BLANKS);
    if (!fits)
        return fail(error, "more than %d patterns or files", MATCHES_MAX);
    if (attributes->match->len == 0 && level >= TLS_LEVEL_FINGERPRINT)
        return fail(error, "nothing to match at security level \"%s\"", tls_level_name(level));
    return true;
}

static char **texts_of(GPtrArray *words)
{
    char **texts = g_new0(char *, words->len + 1);

    for (guint i = 0; i < words->len; i++)
        texts[i] = g_strdup(g_ptr_array_index(words, i));
    return texts;
}

static bool make_policy(TlsLevel level, char **words, const TlsPolicyDefaults *defaults, const char *what,
                        TlsPolicy *ret_policy, GError **error)
{
    g_auto(Attributes) attributes = {.match = g_ptr_array_new_with_free_func(g_free),
                                     .trust_anchors = g_ptr_array_new_with_free_func(g_free)};
    const char *protocols = level >= TLS_LEVEL_ENCRYPT ? defaults->mandatory_protocols : defaults->protocols;

    if (!take_attributes(&attributes, level, words, what, error) || !add_defaults(&attributes, defaults, level, error))
        return false;
    if (!tls_protocols_parse(attributes.protocols ? attributes.protocols : protocols, &ret_policy->protocols, error))
        return false;
    ret_policy->ciphers = ciphers_of(&attributes, defaults, level, error);
    if (!ret_policy->ciphers)
        return false;
    ret_policy->level = level;
    ret_policy->match = texts_of(attributes.match);
    ret_policy->trust_anchors = texts_of(attributes.trust_anchors);
    ret_policy->server_name = g_strdup(attributes.server_name ? attributes.server_name : defaults->server_name);
    return true;
}

bool tls_policy_parse(const char *text, const TlsPolicyDefaults *defaults, const char *what, TlsPolicy *ret_policy,
                      GError **error)
{
    g_auto(GStrv) words = NULL;
    TlsLevel level = TLS_LEVEL_NONE;

    *ret_policy = (TlsPolicy){0};
    text += strspn(text, BLANKS);
    words = g_strsplit_set(text, BLANKS, -1);
    if (!*text)
        return fail(error, "invalid empty policy");
    return find_level(words[0], &level, error) && make_policy(level, words + 1, defaults, what, ret_policy, error);
}

/* ---- names ---- */

char **tls_policy_names(const TlsPolicy *policy, const char *domain, const char *host)
{
    guint count = g_strv_length(policy->match);
    char **names = g_new0(char *, count + 1);

    for (guint i = 0; i < count; i++) {
        const char *pattern = policy->match[i];
        if (g_ascii_strcasecmp(pattern, "nexthop") == 0)
            names[i] = g_strdup(domain);
        else if (g_ascii_strcasecmp(pattern, "dot-nexthop") == 0)
            names[i] = g_strconcat(".", domain, NULL);
        else if (g_ascii_strcasecmp(pattern, "hostname") == 0)
            names[i] = g_strdup(host);
        else
            names[i] = g_strdup(pattern);
    }
    return names;
}

char *tls_policy_server_name(const TlsPolicy *policy, const char *domain, const char *host)
{
    const char *name = policy->server_name;

    if (g_ascii_strcasecmp(name, "hostname") == 0)
        name = host;
    else if (g_ascii_strcasecmp(name, "nexthop") == 0)
        name = domain;
    return *name && !g_hostname_is_ip_address(name) ? g_strdup(name) : NULL;
}
