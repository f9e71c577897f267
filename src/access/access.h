/* access.h - who may send what to whom: a pure function from facts to a decision (SMTPD_ACCESS_README,
 * access(5)).
 *
 * access_check() runs the lists of one SMTP command over what is known of the session and what the world outside has
 * answered (inquiry.h). It may be run again with the same facts and then gives the same decision; nothing is logged
 * (but what the lookup tables themselves have to say) and nothing changes until the caller acts on the decision. */
#pragma once
#include "access/inquiry.h"
#include "access/prober.h"
#include "config/config.h"
#include "dns/resolver.h"
#include "net/tls.h"
#include "policy/policy_client.h"
#include "route/route.h"

typedef struct Access Access; /* compiled lists and their tables, constant; any thread */

typedef enum {
    ACCESS_CONNECT,
    ACCESS_HELO,
    ACCESS_MAIL,
    ACCESS_RCPT,
    ACCESS_DATA,
    ACCESS_END_OF_DATA,
    ACCESS_ETRN,
    ACCESS_VRFY
} AccessStage;

/* Everything borrowed for the call. NULL where unknown. Addresses are in internal form as the client gave them, before
 * completion
 * ("joe", not "joe@$myorigin"): replies and log lines show them like that. */
typedef struct {
    const char
        *state; /* CONNECT, HELO, EHLO, MAIL, RCPT, DATA, BDAT, VRFY, ETRN, END-OF-MESSAGE: as the log shows it */
    const char *protocol; /* "SMTP" or "ESMTP"; NULL: "SMTP" */
    const char *client;   /* "name[addr]", for log lines and replies; NULL: made of the next two */
    const char *client_name, *client_addr, *client_port; /* "unknown" where not verified */
    DnsStatus client_name_status, reverse_name_status;   /* OK, NOT_FOUND, TEMPORARY */
    const char *helo;
    const char *sender, *sender_text; /* internal form; sender_text is not looked at */
    const char *recipient,
        *recipient_text; /* NULL at DATA and END-OF-MESSAGE with several recipients; recipient_text is not looked at */
    unsigned recipient_count; /* accepted so far, without the one that is asked for */
    bool improper_pipelining; /* seen in this session */
    const char *sasl_method;
    const char *sasl_username;             /* also of XCLIENT LOGIN */
    const char *sasl_sender;               /* AUTH= of MAIL, as received; whoever the client is */
    bool sasl_enabled;                     /* smtpd_sasl_auth_enable: else such a name permits nothing */
    const char *reverse_name;              /* of the client, not verified: "unknown" where there is none */
    const char *server_addr, *server_port; /* that the client is connected to */
    const char *queue_id;                  /* NULL: none yet */
    const char *instance; /* of the transaction: the same for all that policy servers are asked of it */
    guint64 size;         /* what MAIL said; after the content what it has */
    bool stress;
    const char *etrn_domain;
    bool discarded;           /* DISCARD was decided for this transaction: no more checks */
    bool held;                /* HOLD was: not logged again */
    bool behind_proxy_filter; /* smtpd_proxy_filter is set: HOLD, FILTER, ... warn and mean DUNNO */
    const TlsFacts *tls;      /* NULL: the session is not inside TLS */
    PolicyClient *policy;     /* whom check_policy_service asks */
    Inquiry *inquiry;         /* of the session: what was asked outside, and the answers so far */
    char *const *doubts;      /* of the last decisions at CONNECT, HELO and MAIL, by stage; NULL: there are none */
    const Prober *prober;     /* may be NULL unless access_may_probe() */
    Resolver *resolver;
} AccessFacts;

/* NEED: an answer from outside is not there yet. The inquiry's task is woken when it is, or its deadline says when to
 * look again: with the same facts then. Nothing else in the decision counts. */
typedef enum { DECISION_PERMIT, DECISION_REJECT, DECISION_NEED } DecisionKind;

typedef struct {
    DecisionKind kind;
    char *reply; /* REJECT: "554 5.7.1 <x>: Recipient address rejected: Access denied", cut at 510 octets */
    GPtrArray
        *log; /* of char*: bodies of lines to log once when the decision is acted on, each without queue id: "warn: RCPT
                 from C: text; from=..", "warning: ..."; those with "warning: " in front never get one */
    GPtrArray *prepend; /* headers */
    bool discard, hold;
    char *filter, *redirect; /* NULL: none */
    GPtrArray *bcc;
    AccessStage stage;
    char *doubt; /* CONNECT, HELO, MAIL: the reply to give at RCPT instead of a yes (DEFER_IF_PERMIT); NULL: none */
} Decision;

#define ACCESS_DOUBTS (ACCESS_MAIL + 1)
void decision_free(Decision *decision); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Decision, decision_free)

/* Compiles all lists of the service; config and route must outlive it. Errors: no working reject_unauth_destination or
 * the like (smtpd(8) does not start then either), a table that cannot be used, a restriction that is known to Postfix
 * but not supported here (named). An unknown word is found when evaluated (451). */
Access *access_new(const Config *config, const Route *route, GError **error);
void access_free(Access *access); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Access, access_free)
/* Whether access_check() may wait for another system in a lookup table: not for threads that serve many. */
bool access_blocks(const Access *access);
/* Whether a list asks for probes of addresses, or a table or another program may come to name such a restriction. */
bool access_may_probe(const Access *access);

/* smtpd_delay_reject is applied here: at CONNECT, HELO and MAIL the decision is then PERMIT, at RCPT all lists run in
 * order. Without it a caller hands the doubts of those decisions back in the facts. At the end of RCPT and VRFY, unless
 * behind a proxy filter, recipients whose mail would go to the transport `local` are deferred, as there is none yet. */
Decision *access_check(const Access *access, AccessStage stage, const AccessFacts *facts);

/* "reject: RCPT from C: 554 ...; from=<s> to=<r> proto=ESMTP helo=<h>", without queue id; what:
 * "reject", "reject_warning", "hold", ... proto: "SMTP" or "ESMTP". Used for the engine's own rejects too (size, space,
 * bare LF). Caller frees. */
char *access_log_line(const char *what, const AccessFacts *facts, const char *proto, const char *text);
