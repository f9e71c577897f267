/* smtp_session.h - the parts of one dialogue with an SMTP server: greeting (smtp_hello.c), envelope (smtp_envelope.c),
 * content (smtp_content.c), and what they all need (smtp_session.c). A part returns false when the dialogue is over for
 * those recipients that are not done; session->failure says why. */
#pragma once
#include "delivery/smtp_private.h"
#include "smtp/envelope_lines.h"

typedef struct {
    const Smtp *smtp;
    Attempt *attempt;
    const SmtpRoute *route;
    const SmtpPeer *peer;
    const TlsPolicy *policy; /* of TLS */
    Client *client;
    Reply *reply;
    SmtpFailure *failure;
    unsigned offers;   /* OFFER_ set */
    guint64 size_max;  /* of SIZE; 0: not told */
    unsigned xforward; /* XForward attributes offered */
    bool last;         /* no other address will be tried */
    bool begun;        /* MAIL was sent, and what came of it has no end yet */
    bool data_sent;    /* DATA went out with the envelope: its reply is still to be read */
    bool *accepted;    /* by index into the attempt's recipients */
    bool *kept;        /* the same: refused here for now, left to the next address */
} SmtpSession;

bool smtp_greet(SmtpSession *session);              /* greeting, EHLO or HELO, TLS */
bool smtp_forward_attributes(SmtpSession *session); /* XFORWARD, where it is offered and wanted */
bool smtp_send_envelope(SmtpSession *session); /* MAIL, RCPT; sets accepted, finishes recipients that are refused */
void smtp_abandon_data(
    SmtpSession *session); /* if DATA was sent, it was for nothing: an empty message for nobody ends it */
/* DATA, content, final dot; finishes those that were accepted. The client is gone afterwards when content could not be
 * read to its end. */
bool smtp_send_message(SmtpSession *session);

/* Whether the message is a probe that has its answer with the reply to this command (smtp_address_verify_target:
 * "rcpt", "data"). */
bool smtp_is_last_command(const SmtpSession *session, const char *target);
void smtp_finish_probe(SmtpSession *session, guint index); /* the last reply was a yes */

/* Remembers why the session is over for those who are not done. Always false. */
bool smtp_give_up(SmtpSession *session, const char *dsn, bool site, const char *text);
/* The message asks that nobody gets it who does not promise the same, inside TLS with whom we meant to speak to: else
 * it goes back (RFC 8689 section 4.2.1). */
bool smtp_requires_tls(const SmtpSession *session);
/* No TLS, or none good enough. May have the address tried again without, where the policy lets it and the message has
 * waited long enough. Always false. */
bool smtp_tls_failed(SmtpSession *session, const char *why);
SmtpTlsPeer smtp_tls_peer(const SmtpSession *session);
/* The same for a failure of the client; doing: "sending MAIL FROM". */
bool smtp_connection_failed(SmtpSession *session, const GError *error, const char *doing);
/* The server's no to everything that is not done: another address may be tried when it said 4xx, else it is for good
 * (true). */
bool smtp_refused(SmtpSession *session, const char *command);

char *smtp_failure_text(const SmtpSession *session, const GError *error,
                        const char *doing); /* caller frees, as with the next two */
char *smtp_reply_line(const Reply *reply);  /* in one line */
char *smtp_said(const SmtpSession *session, const char *command);

typedef struct {
    char code[12];
} SmtpDsn;
/* The reply's enhanced status code where it has one of its own class, else X.0.0; 5.5.0 for a reply of another class
 * than 2, 4 and 5. */
SmtpDsn smtp_reply_dsn(const Reply *reply);
void smtp_set_timeout(SmtpSession *session, const char *parameter);
