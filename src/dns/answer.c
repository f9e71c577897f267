/* answer.c - records from strangers. */
#include "dns/answer.h"
#include "dns/name.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static void clear_record(void *data)
{
    g_free(((DnsRecord *)data)->text);
}

DnsAnswer *dns_answer_new(DnsStatus status)
{
    DnsAnswer *answer = g_new0(DnsAnswer, 1);

    answer->status = status;
    answer->records = g_array_new(FALSE, FALSE, sizeof(DnsRecord));
    g_array_set_clear_func(answer->records, clear_record);
    return answer;
}

void dns_answer_free(DnsAnswer *answer)
{
    if (!answer)
        return;
    g_array_unref(answer->records);
    g_free(answer);
}

DnsAnswer *dns_answer_copy(const DnsAnswer *answer)
{
    DnsAnswer *copy = dns_answer_new(answer->status);

    copy->no_such_name = answer->no_such_name;
    for (guint i = 0; i < answer->records->len; i++)
        dns_answer_add_text(copy, dns_answer_record(answer, i)->preference, dns_answer_record(answer, i)->text);
    return copy;
}

static void add(DnsAnswer *answer, unsigned preference, char *text)
{
    DnsRecord record = {.preference = preference, .text = text};

    if (text && answer->records->len < DNS_RECORDS_MAX)
        g_array_append_val(answer->records, record);
    else
        g_free(text);
}

void dns_answer_add_text(DnsAnswer *answer, unsigned preference, const char *text)
{
    add(answer, preference, g_strdup(text));
}

static char *address_text(int family, const void *data)
{
    char text[INET6_ADDRSTRLEN];

    return g_strdup(inet_ntop(family, data, text, sizeof text));
}

static char *host_text(const guint8 *data, size_t len)
{
    return len == 1 && data[0] == 0 ? g_strdup("") : dns_name_from_wire(data, len);
}

static char *strings_text(const guint8 *data, size_t len)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t at = 0; at < len; at += 1u + data[at]) {
        if (data[at] >= len - at)
            return NULL;
        for (size_t i = 1; i <= data[at]; i++)
            g_string_append_c(text, g_ascii_isprint(data[at + i]) ? (char)data[at + i] : ' ');
    }
    return len == 0 ? NULL : g_string_free(g_steal_pointer(&text), FALSE);
}

static char *verified(char *name, bool is_good)
{
    if (name && is_good)
        return name;
    g_free(name);
    return NULL;
}

void dns_answer_add(DnsAnswer *answer, DnsType type, const void *data, size_t len)
{
    const guint8 *octets = data;
    char *name;

    switch (type) {
    case DNS_A:
        add(answer, 0, len == 4 ? address_text(AF_INET, data) : NULL);
        break;
    case DNS_AAAA:
        add(answer, 0, len == 16 ? address_text(AF_INET6, data) : NULL);
        break;
    case DNS_MX:
        if (len > 2)
            add(answer, (unsigned)octets[0] << 8 | octets[1], host_text(octets + 2, len - 2));
        break;
    case DNS_NS:
        add(answer, 0, dns_name_from_wire(data, len));
        break;
    case DNS_PTR:
        name = dns_name_from_wire(data, len);
        add(answer, 0, verified(name, name && dns_name_is_valid(name)));
        break;
    case DNS_TXT:
        add(answer, 0, strings_text(octets, len));
        break;
    case DNS_ADDRESSES:
        break;
    }
}

/* Whoever says that the domain takes no mail is believed, whatever else is said (RFC 7505 section 3 has nothing beside
 * it). */
static void keep_root_alone(DnsAnswer *answer)
{
    bool has_root = false;

    for (guint i = 0; i < answer->records->len; i++)
        has_root |= dns_answer_record(answer, i)->text[0] == '\0';
    if (!has_root)
        return;
    g_array_set_size(answer->records, 0);
    dns_answer_add_text(answer, 0, "");
}

static int compare_preferences(const void *a, const void *b)
{
    unsigned x = ((const DnsRecord *)a)->preference, y = ((const DnsRecord *)b)->preference;

    return (x > y) - (x < y);
}

void dns_answer_finish(DnsAnswer *answer, DnsType type)
{
    if (type == DNS_MX) {
        keep_root_alone(answer);
        g_array_sort(answer->records, compare_preferences);
    }
    answer->status = answer->records->len > 0 ? DNS_OK : DNS_MALFORMED;
}

bool dns_answer_is_null_mx(const DnsAnswer *answer)
{
    return answer->records->len == 1 && dns_answer_record(answer, 0)->text[0] == '\0';
}
