/* answer.h - what DNS said to one question, taken apart (RFC 1035 section 3.3, RFC 3596, RFC 7505). The records' data
 * come from strangers: what is not as it should be is left out. No I/O here. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#define DNS_RECORDS_MAX 100 /* kept of one answer */

typedef enum {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_ADDRESSES = 0x10000, /* not of DNS: the addresses of a host, IPv4 first, as resolver.h finds them */
} DnsType;

typedef enum {
    DNS_OK,
    DNS_NOT_FOUND, /* no such name, or no such record */
    DNS_TEMPORARY, /* no answer in time, SERVFAIL, a signature that is wrong, ...: try later */
    DNS_MALFORMED, /* there are records, none of which makes sense. Not given for addresses of hosts and clients */
} DnsStatus;

typedef struct {
    unsigned preference; /* MX */
    char *
        text; /* A, AAAA: as inet_ntop() writes it. MX, NS, PTR: a host name without the last dot, or digits and
                 dots (not PTR); MX: "" for the root. TXT: the strings joined, a blank for what isn't printable ASCII */
} DnsRecord;

typedef struct {
    DnsStatus status;
    bool no_such_name; /* NOT_FOUND: the name does not exist. False: it has no record of this type */
    GArray *records;   /* of DnsRecord; empty unless OK. MX: the lowest preference first */
} DnsAnswer;

DnsAnswer *dns_answer_new(DnsStatus status);
DnsAnswer *dns_answer_copy(const DnsAnswer *answer);
void dns_answer_free(DnsAnswer *answer); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnsAnswer, dns_answer_free)

/* Takes in the data of one record, in wire format without compression. */
void dns_answer_add(DnsAnswer *answer, DnsType type, const void *data, size_t len);
void dns_answer_add_text(DnsAnswer *answer, unsigned preference, const char *text); /* ready as in DnsRecord */
/* After the last record of an answer that has some: it becomes OK or MALFORMED, in order. */
void dns_answer_finish(DnsAnswer *answer, DnsType type);

static inline const DnsRecord *dns_answer_record(const DnsAnswer *answer, guint i)
{
    return &g_array_index(answer->records, DnsRecord, i);
}
/* The domain takes no mail (RFC 7505): an MX of it is the root, and the only one then. */
bool dns_answer_is_null_mx(const DnsAnswer *answer);
