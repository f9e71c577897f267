/* dns_list.h - a DNS list as restrictions name it: "domain" or "domain=d.d.d.d", where each d is a number or a set of
 * numbers and ranges, "[2;4..6]" (postconf(5), reject_rbl_client). No I/O here. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    char *text;           /* as written: a key of rbl_reply_maps */
    char *domain;         /* without the pattern */
    bool any;             /* no pattern: whatever address the list gives */
    guint8 octets[4][32]; /* a bit for each value that matches */
} DnsList;

/* NULL: error says where the pattern is wrong. */
DnsList *dns_list_new(const char *text, GError **error);
void dns_list_free(DnsList *list); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnsList, dns_list_free)

bool dns_list_matches(const DnsList *list, const char *addr); /* an IPv4 address as text; any other text does not */
