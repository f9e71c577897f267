/* address_list.h - the addresses in the value of a header (RFC 5322 section 3.4: From, To, ...) or in the result of an alias table. Found, not
 * checked: what is no address is passed over, and domains are not looked at. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    size_t at, len; /* where in the text it stands, without brackets */
    char *address;  /* internal form, never "" */
} AddressSpan;

/* Display names, comments and groups are understood: `"A, B" <a@x>, c (d, e), list: f@y, g;` holds a@x, c, f@y and g. At most max are looked for. The
 * array frees what it holds. */
GArray *address_list_find(const char *text, size_t len, guint max);

/* The addresses in the result of an alias table, internal form: the same, but where an element is several words and no address, each word is one. Array of
 * char *, which frees them. */
GPtrArray *address_list_split(const char *text, guint max);

/* The address to stand in for one, in internal form; caller frees. NULL: it stays. */
typedef char *(*AddressMap)(void *user, const char *address);

/* Writes text with its addresses mapped to out; what stands around them stays octet by octet. Returns whether anything changed. */
bool address_list_map(const char *text, size_t len, guint max, AddressMap map, void *user, GString *out);
