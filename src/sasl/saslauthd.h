/* saslauthd.h - asks saslauthd(8) whether a password is right. libsasl2 does so itself, but it waits for the answer
 * without end, and leaves the password on its stack.
 *
 * The protocol: four texts, each behind its length in two octets (user, password, service, realm); the answer is one
 * such text, which begins with "OK" or "NO". */
#pragma once
#include "net/endpoint.h"

#define SASLAUTHD_REQUEST_MAX 8192 /* octets: it reads no more */

typedef struct {
    const char *user, *service; /* a realm in user counts, if it has one */
    const char *realm;          /* NULL: none */
    const char *password;       /* may hold NUL */
    size_t password_len;
} SaslauthdLogin;

typedef enum { SASLAUTHD_YES, SASLAUTHD_NO, SASLAUTHD_AWAY } SaslauthdAnswer;
/* Blocks until deadline (clock_ms()). AWAY: error says why there is no answer. All copies of the password are
 * overwritten. */
SaslauthdAnswer saslauthd_ask(const Endpoint *saslauthd, const SaslauthdLogin *login, gint64 deadline, GError **error);
