/* received.h - our Received: header (RFC 5321 4.4, RFC 3848), folded with tabs as smtpd(8) writes it. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* Texts are borrowed and clean (no controls). */
typedef struct {
    const char *helo; /* NULL: the client name stands in its place */
    const char *name; /* client name or "unknown" */
    const char *addr; /* numeric; IPv6 gets its tag here */
    const char *by;   /* $myhostname */
    const char *mail_name;
    const char *tls;       /* "(using TLSv1.3 ..)..", lines separated by "\n\t"; NULL: nothing */
    const char *login;     /* NULL: not to be told */
    const char *with;      /* SMTP, ESMTP, UTF8SMTP, ... */
    const char *id;        /* queue id; NULL: none yet */
    const char *recipient; /* external form; NULL unless there is exactly one */
    bool hide_client;      /* smtpd_hide_client_session */
    gint64 wall_us;
} ReceivedInfo;

/* "Received: from ...; DATE", lines separated by '\n', none at the end. Caller frees. */
char *received_header(const ReceivedInfo *info);
