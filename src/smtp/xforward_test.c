/* xforward_test.c - XFORWARD on both sides, XCLIENT on the server's; the replies are Postfix's. */
#include "smtp/xforward.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void offers_are_read(void **state)
{
    static const struct {
        const char *line;
        unsigned offered;
    } rows[] = {
        {"250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT", (1 << 7) - 1},
        {"250 xforward name\tAddr  BOGUS ", 1 << XF_NAME | 1 << XF_ADDR},
        {"250--XFORWARD PORT", 0},
        {"abc XFORWARD PORT", 1 << XF_PORT},
        {"XFORWARD PORT", 0},
        {"250_XFORWARD PORT", 0},
        {"250  XFORWARD  PORT", 1 << XF_PORT},
        {"250-XFORWARD", 0},
        {"250-XFORWARDED NAME", 0},
        {"250-XFORWAR NAME", 0},
        {"250-mx XFORWARD NAME", 0},
        {"250-XFORWARD REVERSE_NAME LOGIN DESTADDR NAMES ADD", 0},
        {"250-XCLIENT NAME ADDR", 0},
        {"250", 0},
        {"", 0},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        assert_int_equal(xforward_offer_in(rows[i].line), rows[i].offered);
    assert_int_equal(xforward_offer_parse("XFORWARD PORT NAME"), 1 << XF_PORT | 1 << XF_NAME);
    assert_int_equal(xforward_offer_parse("250 XFORWARD PORT"), 0);
    assert_int_equal(xforward_offer_in("250-mx\n250-XFORWARD NAME\n250 SIZE"), 1 << XF_NAME);
    assert_int_equal(xforward_offer_in("250-mx\n250 XFORWARD NAME"), 1 << XF_NAME);
    assert_int_equal(xforward_offer_in("250-mx\n250 SIZE"), 0);
}

static void commands_are_made(void **state)
{
    XfAttrs attrs = {0};
    g_autofree char *warning = NULL;
    unsigned all = (1 << 7) - 1;

    xf_attrs_set(&attrs, XF_NAME, "localhost");
    xf_attrs_set(&attrs, XF_ADDR, "127.0.0.1");
    xf_attrs_set(&attrs, XF_PORT, "46702");
    xf_attrs_set(&attrs, XF_HELO, "x+y=z??");
    xf_attrs_set(&attrs, XF_PROTO, "ESMTP");
    xf_attrs_set(&attrs, XF_SOURCE, "LOCAL");
    g_autoptr(GPtrArray) one = xforward_commands(&attrs, all, &warning);
    assert_null(warning);
    assert_int_equal(one->len, 1);
    assert_string_equal(one->pdata[0], "XFORWARD NAME=localhost ADDR=127.0.0.1 PORT=46702 HELO=x+2By=z?? "
                                       "IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=LOCAL");

    xf_attrs_set(&attrs, XF_ADDR, "2001:db8::1");
    xf_attrs_set(&attrs, XF_NAME, "");
    xf_attrs_set(&attrs, XF_HELO, "a\r\nb c\xc3\xa9");
    g_autoptr(GPtrArray) some = xforward_commands(&attrs, 1 << XF_NAME | 1 << XF_ADDR | 1 << XF_HELO, &warning);
    assert_int_equal(some->len, 1);
    assert_string_equal(some->pdata[0], "XFORWARD NAME=[UNAVAILABLE] ADDR=IPv6:2001:db8::1 HELO=a+0D+0Ab+20c+C3+A9");

    g_autoptr(GPtrArray) none = xforward_commands(&attrs, 0, &warning);
    assert_int_equal(none->len, 0);
    xf_attrs_clear(&attrs);
}

/* " NAME=mx.client.test" is 20 octets, " HELO=" 6, " PROTO=SMTP" 11: 37 in all. */
static void long_payloads_are_split(void **state)
{
    static const struct {
        size_t helo_len;
        guint commands;
        bool warns;
    } rows[] = {{461, 1, false}, {462, 2, false}, {472, 2, false}, {473, 2, false}, {481, 2, false},
                {482, 3, false}, {492, 3, false}, {493, 3, true},  {2000, 3, true}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        XfAttrs attrs = {0};
        g_autofree char *warning = NULL;
        g_autofree char *helo = g_strnfill(rows[i].helo_len, 'h');
        g_autofree char *wanted = g_strdup_printf(" NAME=mx.client.test HELO=%s PROTO=SMTP", helo);
        g_autoptr(GString) joined = g_string_new(NULL);

        xf_attrs_set(&attrs, XF_NAME, "mx.client.test");
        xf_attrs_set(&attrs, XF_HELO, helo);
        xf_attrs_set(&attrs, XF_PROTO, "SMTP");
        g_autoptr(GPtrArray) commands =
            xforward_commands(&attrs, 1 << XF_NAME | 1 << XF_HELO | 1 << XF_PROTO, &warning);
        for (guint j = 0; j < commands->len; j++) {
            const char *command = commands->pdata[j];
            assert_true(g_str_has_prefix(command, "XFORWARD "));
            assert_true(strlen(command) <= 8 + 498 || rows[i].warns);
            g_string_append(joined, command + 8);
        }
        assert_string_equal(joined->str, wanted);
        assert_int_equal(commands->len, rows[i].commands);
        assert_string_equal(warning ? warning : "none",
                            rows[i].warns ? "XFORWARD command payload HELO=hhhhhhhhhh... exceeds SMTP protocol limit"
                                          : "none");
        xf_attrs_clear(&attrs);
    }
}

#define A10 "aaaaaaaaaa"
#define A50 A10 A10 A10 A10 A10
#define A63 A50 A10 "aaa"
#define A255 A50 A50 A50 A50 A50 "aaaaa"
#define EXPECTED "501 5.5.4 Error: attribute=value expected"

typedef struct {
    const char *arguments;
    const char *reply; /* NULL: accepted */
    XfAttr attr;
    const char *value; /* NULL: not stored */
} Row;

static void check(const char *verb, bool is_xclient, const Row *row)
{
    XfAttrs attrs = {0};
    g_autofree char *line = g_strconcat(verb, row->arguments, NULL);
    g_autofree char *reply = xforward_command_parse(line, is_xclient, true, true, &attrs);

    if (g_strcmp0(reply, row->reply) != 0 || g_strcmp0(attrs.value[row->attr], row->value) != 0)
        print_message("%s: %s, %s\n", line, reply, attrs.value[row->attr]);
    assert_string_equal(reply ? reply : "ok", row->reply ? row->reply : "ok");
    assert_string_equal(attrs.value[row->attr] ? attrs.value[row->attr] : "none", row->value ? row->value : "none");
    assert_int_equal(!!(attrs.given & 1u << row->attr), row->value && !row->reply);
    xf_attrs_clear(&attrs);
}

static void both_commands_share_their_syntax(void **state)
{
    static const Row rows[] = {
        {" NAME=foo", NULL, XF_NAME, "foo"},
        {" nAmE=Foo.Test", NULL, XF_NAME, "Foo.Test"},
        {"  NAME=foo \t ADDR=1.2.3.4  ", NULL, XF_ADDR, "1.2.3.4"},
        {" NAME=foo NAME=bar", NULL, XF_NAME, "bar"},
        {" foo", EXPECTED, XF_NAME, NULL},
        {" NAME=", EXPECTED, XF_NAME, NULL},
        {" NAME = foo", EXPECTED, XF_NAME, NULL},
        {" NAME=foo ADDR=1.2.3.4 PORT", EXPECTED, XF_PORT, NULL},
        {" NAME=a_b", NULL, XF_NAME, "a_b"},
        {" NAME=+41b", NULL, XF_NAME, "Ab"},
        {" NAME=" A63 ".b", NULL, XF_NAME, A63 ".b"},
        {" NAME=" A63 "a.b", "501 5.5.4 Bad NAME syntax: " A63 "a.b", XF_NAME, NULL},
        {" NAME=" A255, "501 5.5.4 Bad NAME syntax: " A255, XF_NAME, NULL},
        {" NAME=" A255 "a", "501 5.5.4 Error: attribute value too long", XF_NAME, NULL},
        {" HELO=" A255, NULL, XF_HELO, A255},
        {" HELO=" A255 "a", "501 5.5.4 Error: attribute value too long", XF_HELO, NULL},
        {" BOGUS=" A255 "a", "501 5.5.4 Error: attribute value too long", XF_HELO, NULL},
        {" NAME=a..b", "501 5.5.4 Bad NAME syntax: a..b", XF_NAME, NULL},
        {" NAME=-a", "501 5.5.4 Bad NAME syntax: -a", XF_NAME, NULL},
        {" NAME=a-", "501 5.5.4 Bad NAME syntax: a-", XF_NAME, NULL},
        {" NAME=a-.b", "501 5.5.4 Bad NAME syntax: a-.b", XF_NAME, NULL},
        {" NAME=a.", "501 5.5.4 Bad NAME syntax: a.", XF_NAME, NULL},
        {" NAME=.a", "501 5.5.4 Bad NAME syntax: .a", XF_NAME, NULL},
        {" NAME=12", "501 5.5.4 Bad NAME syntax: 12", XF_NAME, NULL},
        {" NAME=1.2.3.4", "501 5.5.4 Bad NAME syntax: 1.2.3.4", XF_NAME, NULL},
        {" NAME=+4", "501 5.5.4 Bad NAME syntax: +4", XF_NAME, NULL},
        {" NAME=\303\251.x", "501 5.5.4 Bad NAME syntax: \303\251.x", XF_NAME, NULL},
        {" NAME=a*b", "501 5.5.4 Bad NAME syntax: a*b", XF_NAME, NULL},
        {" NAME=foo=bar", "501 5.5.4 Bad NAME syntax: foo=bar", XF_NAME, NULL},
        {" NAME=[unavailable]", NULL, XF_NAME, ""},
        {" NAME=+5BUNAVAILABLE+5D", NULL, XF_NAME, ""},
        {" ADDR=1.2.3.4", NULL, XF_ADDR, "1.2.3.4"},
        {" ADDR=001.2.3.4", NULL, XF_ADDR, "1.2.3.4"},
        {" ADDR=IPv6:::1", NULL, XF_ADDR, "::1"},
        {" ADDR=IPv6:::ffff:192.0.2.1", NULL, XF_ADDR, "192.0.2.1"},
        {" ADDR=ipv6:2001:DB8:0::A", NULL, XF_ADDR, "2001:db8::a"},
        {" ADDR=::1", "501 5.5.4 Bad ADDR syntax: ::1", XF_ADDR, NULL},
        {" ADDR=IPv6:1.2.3.4", "501 5.5.4 Bad ADDR syntax: IPv6:1.2.3.4", XF_ADDR, NULL},
        {" ADDR=IPv6:fe80::1%lo", "501 5.5.4 Bad ADDR syntax: IPv6:fe80::1%lo", XF_ADDR, NULL},
        {" ADDR=1.2.3", "501 5.5.4 Bad ADDR syntax: 1.2.3", XF_ADDR, NULL},
        {" ADDR=1.2.3.4.5", "501 5.5.4 Bad ADDR syntax: 1.2.3.4.5", XF_ADDR, NULL},
        {" ADDR=256.1.1.1", "501 5.5.4 Bad ADDR syntax: 256.1.1.1", XF_ADDR, NULL},
        {" ADDR=[1.2.3.4]", "501 5.5.4 Bad ADDR syntax: [1.2.3.4]", XF_ADDR, NULL},
        {" ADDR=unknown", "501 5.5.4 Bad ADDR syntax: unknown", XF_ADDR, NULL},
        {" ADDR=[TEMPUNAVAIL]", "501 5.5.4 Bad ADDR syntax: [TEMPUNAVAIL]", XF_ADDR, NULL},
        {" ADDR=[UNAVAILABLE]", NULL, XF_ADDR, ""},
        {" PORT=1", NULL, XF_PORT, "1"},
        {" PORT=00025", NULL, XF_PORT, "00025"},
        {" PORT=99999", NULL, XF_PORT, "99999"},
        {" PORT=123456", "501 5.5.4 Bad PORT syntax: 123456", XF_PORT, NULL},
        {" PORT=-1", "501 5.5.4 Bad PORT syntax: -1", XF_PORT, NULL},
        {" PORT=x", "501 5.5.4 Bad PORT syntax: x", XF_PORT, NULL},
        {" PORT=[UNAVAILABLE]", NULL, XF_PORT, ""},
        {" NAME=foo PORT=x", "501 5.5.4 Bad PORT syntax: x", XF_NAME, "foo"}, /* stored, not given */
        {" HELO=foo=bar", NULL, XF_HELO, "foo=bar"},
        {" HELO=a+20b+00c", NULL, XF_HELO, "a+20b+00c"}, /* no xtext, so as it is */
        {" HELO=a+20b+C3+A9<", NULL, XF_HELO, "a?b\303\251?"},
        {" HELO=+0D+0AQUIT", NULL, XF_HELO, "??QUIT"},
        {" HELO=<a b>", NULL, XF_HELO, "?a?b?"},
        {" HELO=\"a b\"", NULL, XF_HELO, "?a?b?"},
        {" HELO=[TEMPUNAVAIL]", NULL, XF_HELO, "[TEMPUNAVAIL]"},
        {" HELO=\"open", NULL, XF_HELO, "?open"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        check("XFORWARD", false, &rows[i]);
        check("xclient", true, &rows[i]);
    }
}

static void xforward_has_its_own_attributes(void **state)
{
    static const Row rows[] = {
        {"", "501 5.5.4 Syntax: XFORWARD attribute=value...", XF_NAME, NULL},
        {" \t ", "501 5.5.4 Syntax: XFORWARD attribute=value...", XF_NAME, NULL},
        {" =x", "501 5.5.4 Bad XFORWARD attribute name: ", XF_NAME, NULL},
        {" boGus=+41", "501 5.5.4 Bad XFORWARD attribute name: boGus", XF_NAME, NULL},
        {" BAD\001N=x", "501 5.5.4 Bad XFORWARD attribute name: BAD?N", XF_NAME, NULL},
        {" <NAME=foo>", "501 5.5.4 Bad XFORWARD attribute name: <NAME", XF_NAME, NULL},
        {" NAME=foo LOGIN=x", "501 5.5.4 Bad XFORWARD attribute name: LOGIN", XF_NAME, "foo"},
        {" REVERSE_NAME=x", "501 5.5.4 Bad XFORWARD attribute name: REVERSE_NAME", XF_REVERSE_NAME, NULL},
        {" NAME=a\"b c\"", "501 5.5.4 Bad NAME syntax: a?b?c?", XF_NAME, NULL},
        {" NAME=a+0D+0A250+20ok", "501 5.5.4 Bad NAME syntax: a??250?ok", XF_NAME, NULL},
        {" NAME=[TEMPUNAVAIL]", "501 5.5.4 Bad NAME syntax: [TEMPUNAVAIL]", XF_NAME, NULL},
        {" IDENT=3mDk+2F", NULL, XF_IDENT, "3mDk/"},
        {" IDENT=a(b+20c", NULL, XF_IDENT, "a?b?c"},
        {" IDENT=[UNAVAILABLE]", NULL, XF_IDENT, ""},
        {" PROTO=esmtps", NULL, XF_PROTO, "esmtps"},
        {" PROTO=a+20b", NULL, XF_PROTO, "a?b"},
        {" PROTO=" A50 A10 "aaaa", NULL, XF_PROTO, A50 A10 "aaaa"},
        {" PROTO=" A50 A10 "aaaaa", "501 5.5.4 Bad PROTO syntax: " A50 A10 "aaaaa", XF_PROTO, NULL},
        {" PROTO=[unavailable]", NULL, XF_PROTO, ""},
        {" SOURCE=LOCAL", NULL, XF_SOURCE, "LOCAL"},
        {" SOURCE=remote", NULL, XF_SOURCE, "REMOTE"},
        {" SOURCE=[UNAVAILABLE]", NULL, XF_SOURCE, ""},
        {" SOURCE=foo", "501 5.5.4 Bad SOURCE syntax: foo", XF_SOURCE, NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        check("XFORWARD", false, &rows[i]);
}

static void xclient_has_its_own_attributes(void **state)
{
    static const Row rows[] = {
        {"", "501 5.5.4 Syntax: XCLIENT attribute=value...", XF_NAME, NULL},
        {" BOGUS=1", "501 5.5.4 Bad XCLIENT attribute name: BOGUS", XF_NAME, NULL},
        {" IDENT=x", "501 5.5.4 Bad XCLIENT attribute name: IDENT", XF_IDENT, NULL},
        {" SOURCE=LOCAL", "501 5.5.4 Bad XCLIENT attribute name: SOURCE", XF_SOURCE, NULL},
        {" NAME=\"a\"", "501 5.5.4 Bad NAME syntax: \"a\"", XF_NAME, NULL},
        {" NAME=a+0D+0A250+20ok", "501 5.5.4 Bad NAME syntax: a??250 ok", XF_NAME, NULL},
        {" NAME=[tempunavail]", NULL, XF_NAME, ""},
        {" REVERSE_NAME=[TEMPUNAVAIL]", NULL, XF_REVERSE_NAME, ""},
        {" REVERSE_NAME=foo", NULL, XF_REVERSE_NAME, "foo"},
        {" REVERSE_NAME=a..b", "501 5.5.4 Bad REVERSE_NAME syntax: a..b", XF_REVERSE_NAME, NULL},
        {" PROTO=esmtp", NULL, XF_PROTO, "ESMTP"},
        {" PROTO=SMTP", NULL, XF_PROTO, "SMTP"},
        {" PROTO=FOO", "501 5.5.4 Bad PROTO syntax: FOO", XF_PROTO, NULL},
        {" PROTO=a+20b", "501 5.5.4 Bad PROTO syntax: a b", XF_PROTO, NULL},
        {" PROTO=[UNAVAILABLE]", "501 5.5.4 Bad PROTO syntax: [UNAVAILABLE]", XF_PROTO, NULL},
        {" LOGIN=a+20b+01", NULL, XF_LOGIN, "a b?"},
        {" LOGIN=[UNAVAILABLE]", NULL, XF_LOGIN, ""},
        {" DESTADDR=IPv6:::1", NULL, XF_DESTADDR, "::1"},
        {" DESTADDR=[UNAVAILABLE]", NULL, XF_DESTADDR, ""},
        {" DESTADDR=foo", "501 5.5.4 Bad DESTADDR syntax: foo", XF_DESTADDR, NULL},
        {" DESTADDR=1+20+3Cx;", "501 5.5.4 Bad DESTADDR syntax: 1??x?", XF_DESTADDR, NULL},
        {" ADDR=IPv6:::1;x", "501 5.5.4 Bad ADDR syntax: IPv6:::1?x", XF_ADDR, NULL},
        {" DESTPORT=25", NULL, XF_DESTPORT, "25"},
        {" DESTPORT=foo", "501 5.5.4 Bad DESTPORT syntax: foo", XF_DESTPORT, NULL},
        {" PORT=[TEMPUNAVAIL]", "501 5.5.4 Bad PORT syntax: [TEMPUNAVAIL]", XF_PORT, NULL},
    };
    XfAttrs attrs = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        check("XCLIENT", true, &rows[i]);

    assert_null(
        xforward_command_parse("XCLIENT NAME=[TEMPUNAVAIL] REVERSE_NAME=[UNAVAILABLE]", true, true, true, &attrs));
    assert_int_equal(attrs.tempunavail, 1 << XF_NAME);
    assert_null(xforward_command_parse("XCLIENT NAME=foo", true, true, true, &attrs));
    assert_int_equal(attrs.tempunavail, 0);
    assert_string_equal(attrs.value[XF_REVERSE_NAME], "foo"); /* a name is that of both lookups, */
    assert_null(xforward_command_parse("XCLIENT NAME=[UNAVAILABLE]", true, true, true, &attrs));
    assert_string_equal(attrs.value[XF_REVERSE_NAME], "foo"); /* no name is that of one, */
    assert_null(xforward_command_parse("XCLIENT NAME=bar REVERSE_NAME=foo", true, true, true, &attrs));
    assert_string_equal(attrs.value[XF_REVERSE_NAME], "foo"); /* and the last word counts */
    xf_attrs_clear(&attrs);
}

static void a_disabled_family_is_bad_syntax(void **state)
{
    XfAttrs attrs = {0};
    g_autofree char *no4 = xforward_command_parse("XFORWARD ADDR=1.2.3.4", false, false, true, &attrs);
    g_autofree char *no6 = xforward_command_parse("XFORWARD ADDR=IPv6:::1", false, true, false, &attrs);

    assert_string_equal(no4, "501 5.5.4 Bad ADDR syntax: 1.2.3.4");
    assert_string_equal(no6, "501 5.5.4 Bad ADDR syntax: IPv6:::1");
    xf_attrs_clear(&attrs);
}

static void attributes_add_up(void **state)
{
    XfAttrs attrs = {0};

    assert_null(xforward_command_parse("XFORWARD NAME=foo", false, true, true, &attrs));
    g_free(xforward_command_parse("XFORWARD PORT=25 BAD=1", false, true, true, &attrs));
    assert_null(xforward_command_parse("XFORWARD ADDR=1.2.3.4", false, true, true, &attrs));
    assert_int_equal(attrs.given, 1 << XF_NAME | 1 << XF_ADDR);
    assert_string_equal(attrs.value[XF_NAME], "foo");
    assert_string_equal(attrs.value[XF_PORT], "25");
    xf_attrs_clear(&attrs);
    assert_null(attrs.value[XF_NAME]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers_are_read),
        cmocka_unit_test(commands_are_made),
        cmocka_unit_test(long_payloads_are_split),
        cmocka_unit_test(both_commands_share_their_syntax),
        cmocka_unit_test(xforward_has_its_own_attributes),
        cmocka_unit_test(xclient_has_its_own_attributes),
        cmocka_unit_test(a_disabled_family_is_bad_syntax),
        cmocka_unit_test(attributes_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
