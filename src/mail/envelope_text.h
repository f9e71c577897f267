/* envelope_text.h - an envelope as lines of text, as it lies in a message's file in the spool.
 *
 *     envelope 1                      the version
 *     sender=a@b.example
 *     arrival=1795336928123456        microseconds since 1970
 *     body=8bitmime ...               what is not known is left out
 *     rcpt=user@virt.example          begins a recipient; recipients have their order, and with it their numbers, from here
 *     original=alias@virt.example     belongs to the recipient above it
 *     end
 *
 * In a value, octets below 32, 127 and '%' are written as %HH: any string survives, and no value can make a line of its own. */
#pragma once
#include "mail/envelope.h"
#include <stddef.h>

#define ENVELOPE_TEXT_MAX (64u << 20) /* octets; who makes an envelope keeps its text below that */

/* An Origin field or sender that is NULL comes back as NULL. Caller frees. */
GString *envelope_to_text(const Envelope *envelope);

/* Strict: whatever envelope_to_text() would not have written is an error (FAIL_ERROR, naming the line). */
Envelope *envelope_from_text(const char *text, size_t len, GError **error);
