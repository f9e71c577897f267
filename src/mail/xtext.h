/* xtext.h - the encoding of parameter values in SMTP commands (RFC 3461 section 4, as Postfix's XFORWARD and XCLIENT use it too). */
#pragma once

/* Octets up to 32, from 127 on, and '+' become "+HH" with upper-case digits. '=' is left as it is: peers of XFORWARD expect that. Caller frees. */
char *xtext_encode(const char *text);

/* NULL: a '+' without two hexadecimal digits (of either case), or "+00". Any other octet stands for itself; which octets a value may hold is
 * the caller's to check. Caller frees. */
char *xtext_decode(const char *text);
