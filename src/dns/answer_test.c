/* Records as they come off the wire. */
#include "dns/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OCTETS(text) text, sizeof text - 1

static char *shown(const DnsAnswer *answer)
{
    static const char *const statuses[] = {"ok", "none", "later", "malformed"};
    GString *text = g_string_new(statuses[answer->status]);

    for (guint i = 0; i < answer->records->len; i++)
        g_string_append_printf(text, " %u:%s", dns_answer_record(answer, i)->preference,
                               dns_answer_record(answer, i)->text);
    return g_string_free(text, FALSE);
}

static const struct {
    DnsType type;
    const char *data;
    size_t len;
    const char *wanted;
} rows[] = {
    {DNS_A, OCTETS("\300\0\2\1"), "ok 0:192.0.2.1"},
    {DNS_A, OCTETS("\300\0\2"), "malformed"},
    {DNS_A, OCTETS("\300\0\2\1\1"), "malformed"},
    {DNS_A, OCTETS(""), "malformed"},
    {DNS_AAAA, OCTETS("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), "ok 0:2001:db8::1"},
    {DNS_AAAA, OCTETS("\300\0\2\1"), "malformed"},
    {DNS_MX, OCTETS("\0\012\2mx\4Test\0"), "ok 10:mx.Test"},
    {DNS_MX, OCTETS("\377\376\2mx\4test\0"), "ok 65534:mx.test"},
    {DNS_MX, OCTETS("\0\0\0"), "ok 0:"},
    {DNS_MX, OCTETS("\0\5\0"), "ok 0:"},
    {DNS_MX, OCTETS("\0\0\0\0"), "malformed"},
    {DNS_MX, OCTETS("\0\012"), "malformed"},
    {DNS_MX, OCTETS("\0"), "malformed"},
    {DNS_MX, OCTETS("\0\012\2mx\4test"), "malformed"},
    {DNS_MX, OCTETS("\0\012\077mx\4test\0"), "malformed"},
    {DNS_MX, OCTETS("\0\012\300\014"), "malformed"},
    {DNS_MX, OCTETS("\0\012\3m\0x\4test\0"), "malformed"},
    {DNS_MX, OCTETS("\0\012\3m.x\4test\0"), "malformed"},
    {DNS_MX, OCTETS("\0\012\4m\r\nx\4test\0"), "malformed"},
    {DNS_MX, OCTETS("\0\012\3-mx\4test\0"), "malformed"},
    {DNS_MX, OCTETS("\0\012\003192\0010\0012\0011\0"), "ok 10:192.0.2.1"},
    {DNS_NS, OCTETS("\2ns\4test\0"), "ok 0:ns.test"},
    {DNS_NS, OCTETS("\0"), "malformed"},
    {DNS_PTR, OCTETS("\4host\4test\0"), "ok 0:host.test"},
    {DNS_PTR, OCTETS("\003192\0010\0012\0011\0"), "malformed"},
    {DNS_TXT, OCTETS("\5hello"), "ok 0:hello"},
    {DNS_TXT, OCTETS("\5hello\6 world"), "ok 0:hello world"},
    {DNS_TXT, OCTETS("\0"), "ok 0:"},
    {DNS_TXT, OCTETS("\4a\r\nb\3\0\377\t"), "ok 0:a  b   "},
    {DNS_TXT, OCTETS("\6hello"), "malformed"},
    {DNS_TXT, OCTETS(""), "malformed"},
};

static void records_are_read(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(DnsAnswer) answer = dns_answer_new(DNS_TEMPORARY);
        dns_answer_add(answer, rows[i].type, rows[i].data, rows[i].len);
        dns_answer_finish(answer, rows[i].type);
        g_autofree char *got = shown(answer);
        if (strcmp(got, rows[i].wanted) != 0)
            fail_msg("row %zu: %s, wanted %s", i, got, rows[i].wanted);
    }
}

static void exchangers_stand_in_order(void **state)
{
    g_autoptr(DnsAnswer) answer = dns_answer_new(DNS_TEMPORARY);

    dns_answer_add(answer, DNS_MX, OCTETS("\0\024\1b\0"));
    dns_answer_add(answer, DNS_MX, OCTETS("\0\012\1a\0"));
    dns_answer_add(answer, DNS_MX, OCTETS("\0\024\1c\0"));
    dns_answer_add(answer, DNS_MX, OCTETS("\0\024\1-\0"));
    dns_answer_finish(answer, DNS_MX);
    g_autofree char *got = shown(answer);
    assert_string_equal(got, "ok 10:a 20:b 20:c");
    assert_false(dns_answer_is_null_mx(answer));
}

static void the_root_takes_no_mail(void **state)
{
    g_autoptr(DnsAnswer) answer = dns_answer_new(DNS_TEMPORARY);

    assert_false(dns_answer_is_null_mx(answer));
    dns_answer_add(answer, DNS_MX, OCTETS("\0\012\1a\0"));
    dns_answer_add(answer, DNS_MX, OCTETS("\0\0\0"));
    dns_answer_finish(answer, DNS_MX);
    assert_true(dns_answer_is_null_mx(answer));
}

static void a_flood_of_records_is_cut(void **state)
{
    g_autoptr(DnsAnswer) answer = dns_answer_new(DNS_TEMPORARY);

    for (int i = 0; i < 5000; i++)
        dns_answer_add(answer, DNS_A, OCTETS("\300\0\2\1"));
    dns_answer_finish(answer, DNS_A);
    assert_int_equal(answer->records->len, DNS_RECORDS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_read),
        cmocka_unit_test(exchangers_stand_in_order),
        cmocka_unit_test(the_root_takes_no_mail),
        cmocka_unit_test(a_flood_of_records_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
