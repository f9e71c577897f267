#include "mail/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text;
    const char *loose;  /* internal form, NULL: bad syntax */
    const char *strict; /* the same under strict_rfc821_envelopes */
} paths[] = {
    {"", "", ""},
    {"<>", "", ""},
    {"< >", "", ""},
    {"a@b", "a@b", "a@b"},
    {"<a@b>", "a@b", "a@b"},
    {" <a@b> ", "a@b", "a@b"},
    {"user", "user", "user"},
    {"\"a b\"@x", "a b@x", "a b@x"},
    {"\"a\\\"b\"@x", "a\"b@x", "a\"b@x"},
    {"\"a@b\"@x", "a@b@x", "a@b@x"},
    {"\"a>b\"@x", "a>b@x", "a>b@x"},
    {"a\\ b@x", "a b@x", "a b@x"},
    {"a\\@c@x", "a@c@x", "a@c@x"},
    {"a\\\"b@x", "a\"b@x", "a\"b@x"},
    {"a b@x", NULL, NULL},
    {"\"a\"b@x", NULL, NULL},
    {"\"a\".\"b\"@x", "a.b@x", "a.b@x"},
    {"\"\"@x", "@x", NULL},
    {"a@x y", NULL, NULL},
    {"a . b @ x . y", "a.b@x.y", "a.b@x.y"},
    {"a..b@x", "a..b@x", "a..b@x"},
    {".a.@x", ".a.@x", ".a.@x"},
    {".", ".", "."},
    {"a@x.", "a@x.", "a@x."},
    {"a@x..", "a@x..", "a@x.."},
    {"a(one (two)) @x", "a@x", NULL},
    {"a.(c)b@x", "a.b@x", NULL},
    {"(only)", "", NULL},
    {"a@x(unclosed", "a@x", NULL},
    {"a)c@x", "a)c@x", "a)c@x"},
    {"@a,@b:user@dom", "user@dom", "user@dom"},
    {"@a:user@dom", "user@dom", "user@dom"},
    {"@a@b:user@dom", "user@dom", "user@dom"},
    {"@:user@dom", "user@dom", "user@dom"},
    {"@a:", "", ""},
    {"@dom", "@dom", NULL},
    {"@a,@b", NULL, NULL},
    {"@", NULL, NULL},
    {"a@", NULL, NULL},
    {"a@b@c", "a@b@c", "a@b@c"},
    {"a:b@c", "a:b@c", "a:b@c"},
    {"a@c:b", NULL, NULL},
    {"a@[1.2.3.4]", "a@[1.2.3.4]", "a@[1.2.3.4]"},
    {"a@[IPv6:::1]", "a@[IPv6:::1]", "a@[IPv6:::1]"},
    {"a@[1.2.3.4]x", NULL, NULL},
    {"a@[1.2.3.4", NULL, NULL},
    {"[b]@x", "[b]@x", "[b]@x"},
    {"a[b]@x", NULL, NULL},
    {"a@\"b\".x", "a@b.x", "a@b.x"},
    {"a, b", NULL, NULL},
    {"a@x, b@y", NULL, NULL},
    {"<a@x>,<b@y>", NULL, NULL},
    {",<a@x>,", "a@x", NULL},
    {"a@x;", "a@x", NULL},
    {",", "", NULL},
    {"\"open@x", NULL, NULL},
    {"a\\", NULL, NULL},
    {"a@x>", "a@x", "a@x"},
    {"<<a@x>>", "a@x", "a@x"},
    {"x <a@x>", "a@x", NULL},
    {"<x \"y\"<a@x>>", "a@x", NULL},
    {"<a@x>y", NULL, NULL},
    {"\xc3\xa9@x", "\xc3\xa9@x", "\xc3\xa9@x"},
};

static void paths_are_parsed(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        for (int strict = 0; strict < 2; strict++) {
            g_autofree char *got = address_parse_path(paths[i].text, strlen(paths[i].text), strict);
            const char *want = strict ? paths[i].strict : paths[i].loose;
            if (g_strcmp0(got, want) != 0)
                fail_msg("%s (strict %d): %s, not %s", paths[i].text, strict, got ? got : "NULL", want ? want : "NULL");
        }
    }
    assert_null(address_parse_path("a\0b@x", 5, false));
}

static void a_quoted_address_is_parsed_back(void **state)
{
    static const struct {
        const char *internal, *external;
    } rows[] = {
        {"", ""},
        {"a.b@x", "a.b@x"},
        {"a b@x", "\"a b\"@x"},
        {"a@b@x", "\"a@b\"@x"},
        {".a@x", "\".a\"@x"},
        {"a..b@x", "\"a..b\"@x"},
        {"a.@x", "\"a.\"@x"},
        {"a\"\\b@x", "\"a\\\"\\\\b\"@x"},
        {"user", "user"},
        {"two words", "\"two words\""},
        {"\xc3\xa9@x", "\xc3\xa9@x"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *external = address_quote(rows[i].internal);
        assert_string_equal(external, rows[i].external);
        g_autofree char *back = address_parse_path(external, strlen(external), false);
        assert_string_equal(back, rows[i].internal);
    }
}

#define BUECHER "b\xc3\xbc\x63her.test"

static void domains_are_checked(void **state)
{
    static const char *const good[] = {"x",
                                       "a.b.",
                                       "my_host.test",
                                       "[1.2.3.4]",
                                       "[IPv6:::1]",
                                       "[ipv6:2001:db8::1]",
                                       "3com.test",
                                       "xn--bcher-kva.test"};
    static const char *const bad[] = {"",
                                      ".",
                                      "b..c",
                                      ".b",
                                      "[1.2.3]",
                                      "[::1]",
                                      "[]",
                                      "-a.b",
                                      "a-.b",
                                      "a.b-",
                                      "1.2.3.4",
                                      "a b",
                                      BUECHER,
                                      "a..",
                                      "[IPv6:1.2.3.4]",
                                      "l234567890123456789012345678901234567890123456789012345678901234.test"};
    g_autofree char *label = g_strnfill(63, 'a');
    g_autofree char *longest = g_strdup_printf("%s.%s.%s.%s", label, label, label, label);
    g_autofree char *longer = g_strdup_printf("%s.b", longest);

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        if (!address_domain_is_valid(good[i], false))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        if (address_domain_is_valid(bad[i], false))
            fail_msg("accepted: %s", bad[i]);
    assert_true(address_domain_is_valid(longest, false));
    assert_false(address_domain_is_valid(longer, false));
    assert_true(address_domain_is_valid(BUECHER, true));
    assert_false(address_domain_is_valid("b\xc3\x63her.test", true));
}

static void addresses_are_split(void **state)
{
    g_autofree char *local = address_local_part("a@b@x");
    assert_string_equal(local, "a@b");
    assert_string_equal(address_domain("a@b@x"), "x");
    assert_null(address_domain("user"));

    assert_string_equal(address_extension("user+ext+2", "+"), "ext+2");
    assert_string_equal(address_extension("user-ext+2", "+-"), "ext+2");
    assert_string_equal(address_extension("user+", "+"), "");
    assert_null(address_extension("user", "+"));
    assert_null(address_extension("+user", "+"));
    assert_null(address_extension("user+ext", ""));
    assert_null(address_extension("owner-list", "-"));
    assert_null(address_extension("list-request", "-"));
    assert_null(address_extension("Mailer-Daemon", "-"));
    assert_string_equal(address_extension("owner-list+x", "+"), "x");
}

static void addresses_are_folded(void **state)
{
    g_autofree char *ascii = address_fold("User@EXAMPLE.test");
    g_autofree char *utf8 = address_fold("J\xc3\x9cRGEN@x");
    g_autofree char *latin1 = address_fold("J\xdcRGEN@x");

    assert_string_equal(ascii, "user@example.test");
    assert_string_equal(utf8, "j\xc3\xbcrgen@x");
    assert_string_equal(latin1, "j\xdcrgen@x");
    assert_true(address_equal("A@x", "a@X"));
    assert_false(address_equal("A@x", "a@y"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_parsed),     cmocka_unit_test(a_quoted_address_is_parsed_back),
        cmocka_unit_test(domains_are_checked),  cmocka_unit_test(addresses_are_split),
        cmocka_unit_test(addresses_are_folded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
