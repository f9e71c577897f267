/* address.h - mail addresses: external form (as on the wire, `"a b"@x`) and internal form (`a b@x`), RFC 5321 4.1.2, RFC 5322 3.4. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* Path of MAIL or RCPT, text between (or without) the brackets, as smtpd(8) accepts it: comments dropped, source route cut, one address.
 * Returns the internal form ("" for an empty path; a dot at the end of the domain stays); NULL where the syntax is bad. strict: strict_rfc821_envelopes' rules beyond the brackets. */
char *address_parse_path(const char *text, size_t len, bool strict);
/* domain as smtpd(8) checks it: labels, lengths, literals. utf8: SMTPUTF8 was declared */
bool address_domain_is_valid(const char *domain, bool utf8);
char *address_quote(const char *internal); /* external form without brackets; caller frees */
/* local part and domain of an internal address: split at the last '@'. domain is NULL where there is none. Pointers into address. */
const char *address_domain(const char *internal);
char *address_local_part(const char *internal);
/* `user+ext` cut at the first delimiter as Postfix does (owner-, -request, a leading delimiter, MAILER-DAEMON etc. are left whole).
 * Returns the extension (after the delimiter), or NULL; pointer into local_part. */
const char *address_extension(const char *local_part, const char *delimiters);
char *address_fold(const char *internal); /* for comparing: lower case, UTF-8 aware; caller frees */
bool address_equal(const char *a, const char *b); /* folded */
/* Addresses in headers: address_list.h. */
