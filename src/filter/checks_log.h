/* checks_log.h - what the checks found, as cleanup(8) logs it:
 *
 *     reject: header Subject: x from mail.example[192.0.2.1]; from=<a@b> to=<c@d> proto=ESMTP
 * helo=<mail.example>: 5.7.1 no
 *
 * for the client that XFORWARD told. */
#pragma once
#include "filter/message.h"

/* context: "header", "body" or "attachment"; found: what was looked up; text: appended, unless NULL or "". */
void checks_log(const Message *message, const char *action, const char *context, const char *found, const char *text);
