/* tls_policies.c - what main.cf and its tables say about the TLS of next hops. */
#include "base/fail.h"
#include "base/log.h"
#include "smtp/tls_policy.h"
#include "table/table.h"

#include <string.h>

struct TlsPolicies {
    TlsPolicyDefaults defaults;
    const char *level; /* of main.cf, for all others */
    Tables *tables;
    GPtrArray *anchors; /* of char *: files, as far as they are known */
};

/* smtp_tls_security_level, or what its old forms mean. */
static const char *general_level(const Config *config)
{
    const char *level = config_string(config, "smtp_tls_security_level");

    if (*level)
        return level;
    if (config_bool(config, "smtp_enforce_tls"))
        return config_bool(config, "smtp_tls_enforce_peername") ? "verify" : "encrypt";
    return config_bool(config, "smtp_use_tls") ? "may" : "none";
}

static TlsPolicyDefaults read_defaults(const Config *config)
{
    return (TlsPolicyDefaults){.grades = {.high = config_string(config, "tls_high_cipherlist"),
                                          .medium = config_string(config, "tls_medium_cipherlist"),
                                          .null = config_string(config, "tls_null_cipherlist")},
                               .protocols = config_string(config, "smtp_tls_protocols"),
                               .mandatory_protocols = config_string(config, "smtp_tls_mandatory_protocols"),
                               .ciphers = config_string(config, "smtp_tls_ciphers"),
                               .mandatory_ciphers = config_string(config, "smtp_tls_mandatory_ciphers"),
                               .exclude = config_string(config, "smtp_tls_exclude_ciphers"),
                               .mandatory_exclude = config_string(config, "smtp_tls_mandatory_exclude_ciphers"),
                               .verify_match = config_string(config, "smtp_tls_verify_cert_match"),
                               .secure_match = config_string(config, "smtp_tls_secure_cert_match"),
                               .fingerprint_match = config_string(config, "smtp_tls_fingerprint_cert_match"),
                               .trust_anchors = config_string(config, "smtp_tls_trust_anchor_file"),
                               .server_name = config_string(config, "smtp_tls_servername")};
}

static bool note_anchors(void *context, const char *key, const char *value)
{
    g_auto(GStrv) words = g_strsplit_set(value, TLS_POLICY_BLANKS, -1);

    for (char **word = words; *word; word++)
        if (g_str_has_prefix(*word, "tafile="))
            g_ptr_array_add(context, g_strdup(*word + strlen("tafile=")));
    return true;
}

static GPtrArray *find_anchors(const TlsPolicies *policies)
{
    GPtrArray *anchors = config_split(policies->defaults.trust_anchors);

    note_anchors(anchors, NULL, policies->level);
    for (guint i = 0; i < tables_count(policies->tables); i++) {
        const Table *table = tables_get(policies->tables, i);
        g_autoptr(GError) cannot_list = NULL; /* patterns cannot; what cannot be read is logged with each lookup */
        g_autoptr(Table) listed =
            table_blocks(table) ? NULL : table_open_strict(table_spec(table), false, &cannot_list);
        if (listed)
            table_walk(listed, note_anchors, anchors, NULL);
    }
    return anchors;
}

bool tls_policy_of_peer(const Config *config, const char *what, const char *text, TlsPolicy *ret_policy, GError **error)
{
    TlsPolicyDefaults defaults = read_defaults(config);

    if (tls_policy_parse(*text ? text : "none", &defaults, what, ret_policy, error))
        return true;
    g_prefix_error(error, "%s = %s: ", what, text);
    return false;
}

TlsPolicies *tls_policies_new(const Config *config, GError **error)
{
    g_autoptr(TlsPolicies) policies = g_new0(TlsPolicies, 1);
    TlsPolicy policy;

    policies->defaults = read_defaults(config);
    policies->level = general_level(config);
    if (!tls_policy_parse(policies->level, &policies->defaults, "smtp_tls_security_level", &policy, error)) {
        g_prefix_error(error, "smtp_tls_security_level = %s: ", policies->level);
        return NULL;
    }
    tls_policy_clear(&policy);
    policies->tables = tables_open(config_string(config, "smtp_tls_policy_maps"), error);
    if (!policies->tables)
        return NULL;
    policies->anchors = find_anchors(policies);
    return g_steal_pointer(&policies);
}

void tls_policies_free(TlsPolicies *policies)
{
    if (!policies)
        return;
    tables_free(policies->tables);
    if (policies->anchors)
        g_ptr_array_unref(policies->anchors);
    g_free(policies);
}

const GPtrArray *tls_policies_anchors(const TlsPolicies *policies)
{
    return policies->anchors;
}

bool tls_policies_are_none(const TlsPolicies *policies)
{
    return tables_is_empty(policies->tables) && g_ascii_strcasecmp(policies->level, "none") == 0;
}

/* The next hop as it stands; of a bare domain the parents, too, each with a dot in front. */
static TableResult look_up(const TlsPolicies *policies, const char *nexthop, char **ret_text)
{
    TableResult result = tables_lookup(policies->tables, nexthop, ret_text);
    bool is_domain = !strpbrk(nexthop, "[]:/");

    for (const char *at = strchr(nexthop, '.'); is_domain && at && result == TABLE_ABSENT; at = strchr(at + 1, '.'))
        result = tables_lookup_part(policies->tables, at, ret_text);
    return result;
}

bool tls_policy_find(const TlsPolicies *policies, const char *nexthop, TlsPolicy *ret_policy)
{
    g_autofree char *what = g_strdup_printf("smtp_tls_policy_maps, next-hop destination \"%s\"", nexthop);
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    *ret_policy = (TlsPolicy){0};
    TableResult result = look_up(policies, nexthop, &text);
    if (result == TABLE_FAILED)
        return false;
    if (tls_policy_parse(result == TABLE_FOUND ? text : policies->level, &policies->defaults, what, ret_policy, &error))
        return true;
    log_warning("%s: %s", what, error->message);
    return false;
}

bool tls_policy_raise(const TlsPolicies *policies, TlsLevel least, TlsPolicy *policy)
{
    g_autoptr(GError) error = NULL;

    if (policy->level >= least || (policy->level == TLS_LEVEL_FINGERPRINT && least <= TLS_LEVEL_SECURE))
        return true;
    tls_policy_clear(policy);
    if (tls_policy_parse(tls_level_name(least), &policies->defaults, "smtp_tls_security_level", policy, &error))
        return true;
    log_warning("security level %s: %s", tls_level_name(least), error->message);
    return false;
}
