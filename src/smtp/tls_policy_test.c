/* tls_policy_test.c - policies of next hops: levels, attributes, names. */
#include "smtp/tls_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const TlsPolicyDefaults defaults = {.grades = {.high = "HIGH", .medium = "HIGH:MEDIUM", .null = "eNULL"},
                                           .protocols = ">=TLSv1",
                                           .mandatory_protocols = ">=TLSv1.2",
                                           .ciphers = "medium",
                                           .mandatory_ciphers = "high",
                                           .exclude = "RC4",
                                           .mandatory_exclude = "3DES",
                                           .verify_match = "hostname",
                                           .secure_match = "nexthop, dot-nexthop",
                                           .fingerprint_match = "",
                                           .trust_anchors = "",
                                           .server_name = ""};

static void levels_have_their_defaults(void **state)
{
    static const struct {
        const char *text;
        TlsLevel level;
        const char *ciphers, *match;
        int min;
    } cases[] = {
        {"none", TLS_LEVEL_NONE, "HIGH:MEDIUM:!RC4", "", 0x301},
        {" May ", TLS_LEVEL_MAY, "HIGH:MEDIUM:!RC4", "", 0x301},
        {"may ciphers=high,exclude=DES:MD5", TLS_LEVEL_MAY, "HIGH:!DES:!MD5", "", 0x301},
        {"encrypt", TLS_LEVEL_ENCRYPT, "HIGH:!RC4:!3DES", "", 0x303},
        {"encrypt exclude=", TLS_LEVEL_ENCRYPT, "HIGH", "", 0x303},
        {"encrypt protocols=>=TLSv1.3", TLS_LEVEL_ENCRYPT, "HIGH:!RC4:!3DES", "", 0x304},
        {"verify", TLS_LEVEL_VERIFY, "HIGH:!RC4:!3DES:!aNULL", "hostname", 0x303},
        {"secure", TLS_LEVEL_SECURE, "HIGH:!RC4:!3DES:!aNULL", "nexthop dot-nexthop", 0x303},
        {"secure match=a.test:.b.test match=nexthop", TLS_LEVEL_SECURE, "HIGH:!RC4:!3DES:!aNULL",
         "a.test .b.test nexthop", 0x303},
        {"fingerprint match=AA:BB|CC:DD match=EE", TLS_LEVEL_FINGERPRINT, "HIGH:!RC4:!3DES:!aNULL", "AA:BB CC:DD EE",
         0x303},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        TlsPolicy policy;
        assert_true(tls_policy_parse(cases[i].text, &defaults, "test", &policy, NULL));
        g_autofree char *match = g_strjoinv(" ", policy.match);
        assert_int_equal(policy.level, cases[i].level);
        assert_string_equal(policy.ciphers, cases[i].ciphers);
        assert_string_equal(match, cases[i].match);
        assert_int_equal(policy.protocols.min, cases[i].min);
        tls_policy_clear(&policy);
    }
}

static void mistakes_are_told(void **state)
{
    static const char *const cases[][2] = {
        {"", "invalid empty policy"},
        {" , ", "invalid empty policy"},
        {"sure", "invalid security level \"sure\""},
        {"dane", "security level \"dane\" is not supported"},
        {"dane-only", "security level \"dane-only\" is not supported"},
        {"may speed=1", "invalid attribute name: \"speed\""},
        {"may ciphers", "malformed attribute/value pair \"ciphers\": missing '=' after attribute name"},
        {"may =high", "malformed attribute/value pair \"=high\": missing attribute name"},
        {"may servername=-bad", "\"servername=-bad\" specifies an invalid hostname"},
        {"may ciphers=", "attribute \"ciphers\" has empty value"},
        {"may ciphers=best", "invalid TLS cipher grade \"best\""},
        {"may protocols=TLSv9", "invalid TLS protocol \"TLSv9\""},
        {"may exclude=!RC4", "invalid TLS cipher \"!RC4\" to be excluded"},
        {"may protocols=TLSv1 protocols=TLSv1", "attribute \"protocols\" is specified multiple times"},
        {"may match=x", "attribute \"match\" invalid at security level \"may\""},
        {"fingerprint tafile=/x", "attribute \"tafile\" invalid at security level \"fingerprint\""},
        {"fingerprint", "nothing to match at security level \"fingerprint\""},
        {"may connection_reuse=maybe", "attribute \"connection_reuse\" has bad value: \"maybe\""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        TlsPolicy policy;
        assert_false(tls_policy_parse(cases[i][0], &defaults, "test", &policy, &error));
        assert_string_equal(error->message, cases[i][1]);
        assert_null(policy.ciphers);
    }
}

static void strategies_become_names(void **state)
{
    TlsPolicy policy;

    assert_true(
        tls_policy_parse("secure match=NextHop:dot-nexthop:hostname:.x.test:y.test servername=nexthop tafile=/a",
                         &defaults, "test", &policy, NULL));
    g_auto(GStrv) names = tls_policy_names(&policy, "example.com", "mx.example.net");
    g_autofree char *joined = g_strjoinv(" ", names);
    g_autofree char *sent = tls_policy_server_name(&policy, "example.com", "mx.example.net");
    assert_string_equal(joined, "example.com .example.com mx.example.net .x.test y.test");
    assert_string_equal(sent, "example.com");
    assert_null(tls_policy_server_name(&policy, "192.0.2.1", "mx.example.net"));
    assert_string_equal(policy.trust_anchors[0], "/a");
    tls_policy_clear(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_have_their_defaults),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(strategies_become_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
