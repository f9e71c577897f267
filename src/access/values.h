/* values.h - what templates of replies may say of a session (postconf(5), smtpd_reject_footer, default_rbl_reply). */
#pragma once
#include "access/access.h"

/* Filled in by the caller, but for what is private. */
typedef struct {
    const AccessFacts *facts;
    const char *hostname;
    char time[32]; /* private */
    char *part;    /* private */
} AccessValues;
void access_values_clear(AccessValues *values);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AccessValues, access_values_clear)

/* The value of client, client_address, ..., sender_domain, server_name. NULL: not known now; *ret_exists: false: there
 * is no such name, else left alone. It lives until the next call, or as long as the facts. */
const char *access_value(AccessValues *values, const char *name, bool *ret_exists);
