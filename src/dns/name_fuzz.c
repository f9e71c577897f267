/* Names and records in wire format, and files like /etc/hosts. */
#include "dns/answer.h"
#include "dns/hosts.h"
#include "dns/name.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a stranger's record says, its text can stand in a log line and a reply. */
static void check_record(DnsType type, const DnsRecord *record)
{
    for (const char *c = record->text; *c; c++)
        g_assert_true(g_ascii_isprint(*c));
    g_assert_true(record->preference <= G_MAXUINT16);
    if (type == DNS_PTR)
        g_assert_true(dns_name_is_valid(record->text));
    if (type == DNS_MX || type == DNS_NS)
        g_assert_true(strlen(record->text) <= DNS_NAME_MAX && !strchr(record->text, ' '));
    if (type == DNS_NS)
        g_assert_true(*record->text != '\0');
}

/* Records of one type, each behind its length. */
static void check_answer(DnsType type, const uint8_t *data, size_t size)
{
    g_autoptr(DnsAnswer) answer = dns_answer_new(DNS_TEMPORARY);

    for (size_t at = 0; at < size;) {
        size_t len = MIN(data[at], size - at - 1);
        dns_answer_add(answer, type, data + at + 1, len);
        at += 1 + len;
    }
    dns_answer_finish(answer, type);
    g_assert_true(answer->records->len <= DNS_RECORDS_MAX);
    g_assert_true((answer->status == DNS_OK) == (answer->records->len > 0));
    for (guint i = 0; i < answer->records->len; i++)
        check_record(type, dns_answer_record(answer, i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const DnsType types[] = {DNS_A, DNS_NS, DNS_PTR, DNS_MX, DNS_TXT, DNS_AAAA};
    g_autofree char *name = dns_name_from_wire(data, size);
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(Hosts) hosts = hosts_new_from_text((const char *)data, size);

    if (name)
        g_assert_true(strlen(name) <= DNS_NAME_MAX && (dns_name_is_valid(name) || !name[strspn(name, "0123456789.")]));
    g_autofree char *addr = hosts_canonical_address(text, NULL, NULL);
    if (addr && hosts_name(hosts, addr))
        g_assert_nonnull(hosts_addresses(hosts, hosts_name(hosts, addr)));
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        check_answer(types[i], data, size);
    return 0;
}
