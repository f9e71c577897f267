/* xforward.h - the XFORWARD command, both sides (XFORWARD_README), and XCLIENT's attributes (XCLIENT_README), which share
 * their syntax. Pure functions. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum { XF_NAME, XF_ADDR, XF_PORT, XF_HELO, XF_IDENT, XF_PROTO, XF_SOURCE, XF_REVERSE_NAME, XF_LOGIN, XF_DESTADDR, XF_DESTPORT, XF_COUNT } XfAttr;

/* Values as internal text; NULL: not given; "" : [UNAVAILABLE]. ADDR without the "IPv6:" prefix, in canonical form. Values that
 * xforward_command_parse() stored are printable and have at most 255 octets. */
typedef struct {
    char *value[XF_COUNT];
    unsigned given;       /* bit 1 << XfAttr: named in a command, whatever the value */
    unsigned tempunavail; /* XCLIENT: [TEMPUNAVAIL]; the value is then "" */
} XfAttrs;
/* Those that describe the client: where one is given, those that are not are unknown; else the connection's hold (as smtpd(8) does it). */
#define XF_CLIENT_SET (1u << XF_NAME | 1u << XF_ADDR | 1u << XF_PORT | 1u << XF_HELO | 1u << XF_PROTO)
void xf_attrs_clear(XfAttrs *attrs);
void xf_attrs_set(XfAttrs *attrs, XfAttr attr, const char *value); /* copies; marks it as given */

/* The words of EHLO's "XFORWARD NAME ADDR ..." line, without the reply's code, as a set of bits 1 << XfAttr; unknown words are
 * ignored; 0 for any other line. xforward_offer_in(): the same of all lines of a reply's text, with their codes. */
unsigned xforward_offer_parse(const char *line);
unsigned xforward_offer_in(const char *reply_text);

/* The commands to send for attrs limited to offered, in order NAME ADDR PORT HELO IDENT PROTO SOURCE, [UNAVAILABLE] for what is missing, packed
 * to 498 octets of payload each. Array of strings without CRLF, which the caller unrefs (it frees them); empty when nothing is offered. A single
 * attribute longer than that stands alone in its command and sets *ret_warning (else NULL; caller frees), a text for log_warning(). */
GPtrArray *xforward_commands(const XfAttrs *attrs, unsigned offered, char **ret_warning);

/* Server side. line: the whole command with its verb. Adds its attributes to attrs. NULL, or the error reply (caller frees); earlier attributes of
 * the line are then stored but not given. is_xclient: the other set and its error texts; NAME
 * with a name then is REVERSE_NAME as well. ipv4, ipv6: enabled families. Whether the client may use
 * the command, and now, is the caller's to check. */
char *xforward_command_parse(const char *line, bool is_xclient, bool ipv4, bool ipv6, XfAttrs *attrs);
