/* envelope_lines.h - an envelope as a client says it: MAIL and RCPT, with what the server offered (RFC 5321 3.3, 1870,
 * 6152, 3461, 6531, 8689). Pure functions. */
#pragma once
#include "mail/envelope.h"

enum {
    OFFER_PIPELINING = 1,
    OFFER_8BITMIME = 2,
    OFFER_SIZE = 4,
    OFFER_DSN = 8,
    OFFER_SMTPUTF8 = 16,
    OFFER_STARTTLS = 32,
    OFFER_REQUIRETLS = 64, /* means nothing outside of TLS: that is for the caller to see */
};

unsigned offer_find(const char *keyword);   /* of EHLO's reply, in any letter case: an OFFER_, or 0 */
unsigned offers_in(const char *reply_text); /* all of them, of EHLO's whole reply; its first line is no offer */

/* size: octets of content with CRLF line ends. quote: addresses in external form, as they must be; else as they are. A
 * CR or LF in an address becomes '?': a line is one line. Caller frees. */
char *envelope_mail_line(const Envelope *envelope, unsigned offers, guint64 size, bool quote);
char *envelope_rcpt_line(const Recipient *recipient, unsigned offers, bool quote);
