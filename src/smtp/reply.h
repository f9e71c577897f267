/* reply.h - SMTP replies of one or more lines (RFC 5321 section 4.2). No I/O here. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define REPLY_LINE_MAX 2048 /* octets read of one line of a peer's reply ($line_length_limit); what comes after is read and dropped */
#define REPLY_TEXT_MAX 4096 /* octets kept of one reply at most: no line is kept once REPLY_LINE_MAX are */

typedef struct Reply Reply;

/* Parses our own text "250 2.1.0 Ok", lines separated by '\n' each with the code or without (the first has it, asserted). */
Reply *reply_new(const char *text);
Reply *reply_printf(const char *format, ...) G_GNUC_PRINTF(1, 2);
Reply *reply_copy(const Reply *reply);
void reply_free(Reply *reply); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Reply, reply_free)

/* Takes in the next line of a peer's reply. line, len: octets without CRLF, not kept; what is not printable becomes '?'. ret_last: no
 * line follows. ret_garbage: the line did not begin with three digits and ' ', '-' or end; it is kept as a continuation line. */
Reply *reply_new_empty(void);
void reply_add_line(Reply *reply, const char *line, size_t len, bool *ret_last, bool *ret_garbage);

int reply_code(const Reply *reply);          /* as sent; 0 when no line had one */
bool reply_is(const Reply *reply, int class); /* first digit of the first line: 2, 3, 4, 5 */
const char *reply_text(const Reply *reply);  /* lines joined by '\n', each with its code and separator; owned by reply */
char *reply_for_log(const Reply *reply);     /* lines joined by "??" as Postfix shows CRLF inside a logged reply; caller frees */
/* Wire form: every line with '-' behind its code on all but the last, ' ' on the last (a last line that is a bare code stays bare), CRLF. A
 * peer's garbage line has its fourth octet overwritten by the '-'. soft_bounce: 5xx and 5.x.x go out as 4xx and 4.x.x. */
void reply_write(const Reply *reply, bool soft_bounce, GString *out);
/* Appends a footer (smtpd_reject_footer) as further lines, with the first line's code and enhanced status code; '\n' inside separates
 * lines, "\\c" in front continues the last line instead. */
void reply_append(Reply *reply, const char *footer);
