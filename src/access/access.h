/* access.h - who may send what to whom: a pure function from facts to a decision (SMTPD_ACCESS_README; behaviour 4.1 to 4.6).
 *
 * access_check() runs the lists of one SMTP command over what is known of the session. It may be run again with the same facts
 * and then gives the same decision; nothing is logged and nothing changes until the caller acts on the decision. */
#pragma once
#include "config/config.h"
#include "route/route.h"

typedef struct Access Access; /* compiled lists and their tables, constant; any thread */

typedef enum { ACCESS_CONNECT, ACCESS_HELO, ACCESS_MAIL, ACCESS_RCPT, ACCESS_DATA, ACCESS_END_OF_DATA, ACCESS_ETRN, ACCESS_VRFY } AccessStage;

/* Everything borrowed for the call. NULL where unknown. */
typedef struct {
    const char *state;          /* CONNECT, HELO, EHLO, MAIL, RCPT, DATA, BDAT, VRFY, ETRN, END-OF-MESSAGE: as the log shows it */
    const char *client_name, *client_addr, *client_port; /* "unknown" where not verified */
    const char *helo;
    const char *sender, *sender_text;       /* internal form; as the client wrote it */
    const char *recipient, *recipient_text; /* NULL at DATA and END-OF-MESSAGE with several recipients */
    unsigned recipient_count;
    bool improper_pipelining;   /* seen in this session */
    const char *sasl_username;
    const char *etrn_domain;
    bool behind_proxy_filter;   /* smtpd_proxy_filter is set: HOLD, FILTER, ... warn and mean DUNNO */
} AccessFacts;

typedef enum { DECISION_PERMIT, DECISION_REJECT, DECISION_NEED } DecisionKind; /* NEED: for DNS, policy and probes, when they come: none of today's restrictions has one */

typedef struct {
    DecisionKind kind;
    char *reply;        /* REJECT: "554 5.7.1 <x>: Recipient address rejected: Access denied", cut at 510 octets */
    GPtrArray *log;     /* of char*: bodies of lines to log once when the decision is acted on, each without queue id: "warn: RCPT from C: text; from=.." , "warning: ..." */
    GPtrArray *prepend; /* headers */
    bool discard, hold;
    char *filter, *redirect; /* NULL: none */
    GPtrArray *bcc;
} Decision;
void decision_free(Decision *decision);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Decision, decision_free)

/* Compiles all lists of the service. Errors: no working reject_unauth_destination etc. (behaviour 1.4, last of the startup checks), a table that cannot be used,
 * a protecting restriction that is known to Postfix but not supported here (named). An unknown word is found when evaluated (451). */
Access *access_new(const Config *config, const Route *route, GError **error);
void access_free(Access *access);

/* smtpd_delay_reject is applied here: at CONNECT, HELO and MAIL the decision is then PERMIT, at RCPT all lists run in order. */
Decision *access_check(const Access *access, AccessStage stage, const AccessFacts *facts);

/* "reject: RCPT from C: 554 ...; from=<s> to=<r> proto=ESMTP helo=<h>" (behaviour 4.6), without queue id; what: "reject", "reject_warning", "hold", ...
 * proto: "SMTP" or "ESMTP". Used for the engine's own rejects too (size, space, bare LF). Caller frees. */
char *access_log_line(const char *what, const AccessFacts *facts, const char *proto, const char *text);
