/* tls_policy_fuzz.c - any text as a policy: what is taken has ciphers, and something to match where a level needs it.
 */
#include "base/log.h"
#include "smtp/tls_policy.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const TlsPolicyDefaults defaults = {.grades = {.high = "HIGH", .medium = "HIGH:MEDIUM", .null = "eNULL"},
                                               .protocols = "",
                                               .mandatory_protocols = ">=TLSv1.2",
                                               .ciphers = "medium",
                                               .mandatory_ciphers = "high",
                                               .exclude = "",
                                               .mandatory_exclude = "",
                                               .verify_match = "hostname",
                                               .secure_match = "nexthop",
                                               .fingerprint_match = "",
                                               .trust_anchors = "",
                                               .server_name = ""};
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    TlsPolicy policy;

    log_to_file(-1, ""); /* nowhere */
    if (!tls_policy_parse(text, &defaults, "input", &policy, &error)) {
        g_assert(error && *error->message && !policy.ciphers);
        return 0;
    }
    g_auto(GStrv) names = tls_policy_names(&policy, "example.com", "mx.example.com");
    g_free(tls_policy_server_name(&policy, "example.com", "mx.example.com"));
    g_assert(*policy.ciphers && g_strv_length(names) == g_strv_length(policy.match));
    g_assert((policy.level >= TLS_LEVEL_FINGERPRINT) == (*policy.match != NULL));
    tls_policy_clear(&policy);
    return 0;
}
