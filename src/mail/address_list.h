/* address_list.h - the addresses in the value of a header (RFC 5322 section 3.4: From, To, ...) or in the result of an
 * alias table. Found, not checked: what is no address is passed over, and domains are not looked at.
 *
 * Display names, comments and groups are understood: `"A, B" <a@x>, c (d, e), list: f@y, g;` holds a@x, c, f@y and g.
 * What is no list by the standard is taken as cleanup(8) takes it: where an element is several words and no address,
 * each word is one. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* The addresses, internal form, at most max. Array of char *, which frees them. */
GPtrArray *address_list_split(const char *text, guint max);

/* The address to stand in for one, in internal form; caller frees. NULL: it stays. */
typedef char *(*AddressMap)(void *user, const char *address);

/* Appends text with its addresses mapped to out, which holds the header's name and colon. Returns whether anything
 * changed. If nothing did, it is text octet by octet; else the list is written anew, as cleanup(8) does: a comma and a
 * blank between elements, or a line end and a TAB where a line would get long; no folding elsewhere; comments behind
 * their addresses; no source routes. What follows the first max parts stays as it is. */
bool address_list_map(const char *text, size_t len, guint max, AddressMap map, void *user, GString *out);
