/* xforward.h - the XFORWARD command, both sides (XFORWARD_README, behaviour 2.3 and 5.1), and XCLIENT's attributes (behaviour 4.10), which share
 * their syntax. Pure functions. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum { XF_NAME, XF_ADDR, XF_PORT, XF_HELO, XF_IDENT, XF_PROTO, XF_SOURCE, XF_REVERSE_NAME, XF_LOGIN, XF_DESTADDR, XF_DESTPORT, XF_COUNT } XfAttr;

/* Values as internal text; NULL: not given; "" : [UNAVAILABLE]. ADDR without the "IPv6:" prefix. */
typedef struct {
    char *value[XF_COUNT];
    unsigned given;       /* bit 1 << XfAttr: named in a command, whatever the value */
    unsigned tempunavail; /* XCLIENT: [TEMPUNAVAIL] */
} XfAttrs;
void xf_attrs_clear(XfAttrs *attrs);

/* The words of EHLO's "XFORWARD NAME ADDR ..." line as a set of bits; unknown words are ignored. */
unsigned xforward_offer_parse(const char *line);

/* The commands to send for attrs limited to offered, in order NAME ADDR PORT HELO IDENT PROTO SOURCE, [UNAVAILABLE] for what is missing, packed
 * to 498 octets of payload each. Array of strings without CRLF; empty when nothing is offered. Overlong single attribute: *ret_warning is set. */
GPtrArray *xforward_commands(const XfAttrs *attrs, unsigned offered, char **ret_warning);

/* Server side. Adds line's attributes to attrs. NULL, or the error reply; earlier attributes of the line are then stored but not
 * given. is_xclient: the other set and its error texts. ipv4, ipv6: enabled families. */
char *xforward_command_parse(const char *line, bool is_xclient, bool ipv4, bool ipv6, XfAttrs *attrs);
