/* tls_options_test.c - the words of main.cf about TLS. */
#include "net/tls_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void protocols_are_read(void **state)
{
    static const struct {
        const char *text;
        int min, max;
        unsigned excluded;
    } cases[] = {
        {"", 0, 0, 0},
        {">=TLSv1", 0x301, 0, 0},
        {">=TLSv1.2", 0x303, 0, 0},
        {">=tlsv1.2, <=TLSv1.3", 0x303, 0x304, 0},
        {">=0303", 0x303, 0, 0},
        {"<=0303", 0, 0x303, 0},
        {">=TLSv1 >=TLSv1.1", 0x302, 0, 0},
        {">=TLSv1 >=", 0, 0, 0},
        {"!SSLv2, !SSLv3", 0, 0, TLS_EXCLUDE_SSLV3},
        {"!SSLv2:!SSLv3:!TLSv1", 0, 0, TLS_EXCLUDE_SSLV3 | TLS_EXCLUDE_TLSV1},
        {"TLSv1.2", 0, 0, TLS_EXCLUDE_ALL & ~TLS_EXCLUDE_TLSV1_2},
        {"TLSv1.2 TLSv1.3", 0, 0, TLS_EXCLUDE_ALL & ~(TLS_EXCLUDE_TLSV1_2 | TLS_EXCLUDE_TLSV1_3)},
        {">=TLSv1 !TLSv1.1", 0x301, 0, TLS_EXCLUDE_TLSV1_1},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        TlsProtocols got;
        assert_true(tls_protocols_parse(cases[i].text, &got, NULL));
        assert_int_equal(got.min, cases[i].min);
        assert_int_equal(got.max, cases[i].max);
        assert_int_equal(got.excluded, cases[i].excluded);
    }
}

static void what_is_no_protocol_is_refused(void **state)
{
    static const char *const cases[] = {"TLSv9",
                                        "!TLSv9",
                                        ">=TLSv9",
                                        ">=xyz",
                                        ">TLSv1.2",
                                        "=TLSv1.2",
                                        ">=12345",
                                        "<=TLSv1 >=TLSv1.2",
                                        "!SSLv3 !TLSv1 !TLSv1.1 !TLSv1.2 !TLSv1.3",
                                        "SSLv2",
                                        "!",
                                        ">= TLSv1.2x"};

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        TlsProtocols got;
        g_autoptr(GError) error = NULL;
        assert_false(tls_protocols_parse(cases[i], &got, &error));
        assert_non_null(error);
    }
}

static void cipher_lists_are_made(void **state)
{
    const TlsGrades grades = {.high = "HIGH", .medium = "HIGH:MEDIUM", .null = "eNULL"};
    static const struct {
        const char *grade, *exclusions[3], *list; /* NULL: refused */
    } cases[] = {
        {"high", {NULL}, "HIGH"},
        {"Medium", {"", NULL}, "HIGH:MEDIUM"},
        {"low", {NULL}, "HIGH:MEDIUM"},
        {"export", {NULL}, "HIGH:MEDIUM"},
        {"null", {NULL}, "eNULL"},
        {"high", {"aNULL, RC4", "MD5+RSA", NULL}, "HIGH:!aNULL:!RC4:!MD5+RSA"},
        {"high", {"ECDHE-RSA-AES128-SHA", NULL}, "HIGH:!ECDHE-RSA-AES128-SHA"},
        {"high", {"+aNULL", NULL}, NULL},
        {"high", {"!aNULL", NULL}, NULL},
        {"high", {"aNULL, RC4", "DES:3DES", NULL}, "HIGH:!aNULL:!RC4:!DES:!3DES"},
        {"high", {"-aNULL", NULL}, NULL},
        {"high", {"@SECLEVEL=0", NULL}, NULL},
        {"best", {NULL}, NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *list = tls_cipher_list(&grades, cases[i].grade, cases[i].exclusions, &error);
        if (!cases[i].list)
            assert_null(list);
        else
            assert_string_equal(list, cases[i].list);
        assert_true((error != NULL) == (cases[i].list == NULL));
    }
}

static void options_are_read(void **state)
{
    uint64_t bits = 0, more = 0;
    g_autoptr(GError) error = NULL;

    assert_true(tls_ssl_options_parse("tls_ssl_options", "no_ticket, NO_RENEGOTIATION", &bits, NULL));
    assert_true(tls_ssl_options_parse("tls_ssl_options", "0x4000 no_renegotiation", &more, NULL)); /* NO_TICKET */
    assert_true(bits != 0 && bits == more);
    assert_true(tls_ssl_options_parse("tls_ssl_options", "", &bits, NULL));
    assert_true(bits == 0);
    assert_true(tls_workarounds_parse("tls_disable_workarounds", "0xffffffff CRYPTOPRO_TLSEXT_BUG", &bits, NULL));
    assert_true(bits == 0xffffffff);
    assert_false(tls_ssl_options_parse("tls_ssl_options", "NO_SUCH", &bits, &error));
    assert_string_equal(error->message, "tls_ssl_options: unknown name \"NO_SUCH\"");
    assert_false(tls_ssl_options_parse("tls_ssl_options", "0x4x", &bits, NULL));
    assert_false(tls_ssl_options_parse("tls_ssl_options", "0x", &bits, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protocols_are_read),
        cmocka_unit_test(what_is_no_protocol_is_refused),
        cmocka_unit_test(cipher_lists_are_made),
        cmocka_unit_test(options_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
