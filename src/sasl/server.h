/* server.h - has clients authenticated (RFC 4954), for all sessions of a process, by a server that speaks Dovecot's
 * protocol (smtpd_sasl_type = dovecot), over one connection that stays open, or by Cyrus SASL (cyrus), whose library
 * waits for its databases behind a gate. Sessions see no difference: they start exchanges, and are woken for answers.
 *
 * Dovecot: the connection is made when somebody needs it, and anew after it was lost; what was under way fails then,
 * for now. A server that says what it should not, or nothing for SASL_TIME_MS, is hung up on: nobody is ever let in for
 * it. Octets of a response are overwritten once they are sent.
 * Cyrus: see cyrus.h. */
#pragma once
#include "dns/resolver.h"
#include "net/endpoint.h"
#include "net/sched.h"
#include "table/match.h"

#define SASL_TIME_MS 10000  /* to connect and hear what there is; for each answer */
#define SASL_NAME_MAX 20    /* octets of a mechanism's name (RFC 4422) */
#define SASL_LINE_MAX 65536 /* octets of a line of the server */

typedef struct SaslServer SaslServer;

/* What a mechanism is, as the server says. */
enum {
    SASL_PLAINTEXT = 1 << 0,
    SASL_ACTIVE = 1 << 1,
    SASL_DICTIONARY = 1 << 2,
    SASL_ANONYMOUS = 1 << 3,
    SASL_FORWARD_SECRECY = 1 << 4,
    SASL_MUTUAL = 1 << 5,
    SASL_PRIVATE = 1 << 6, /* for others than us */
};

/* Which of them are for a client. */
typedef struct {
    unsigned without, with;
    MatchList *filter;
} SaslPolicy;

/* smtpd_sasl_security_options. False: an unknown word. */
bool sasl_policy_parse(const char *words, SaslPolicy *policy, GError **error);

/* endpoint, service (smtpd_sasl_service) and resolver outlive it. Before sched_run(). families: $inet_protocols */
SaslServer *sasl_new_dovecot(Sched *sched, Resolver *resolver, const Endpoint *endpoint, const char *families,
                             const char *service);
void sasl_free(SaslServer *server); /* after sched_free(); NULL is fine */
/* How long a response may be for it: a longer line ends Dovecot's connection, which others use, too. */
size_t sasl_response_max(const SaslServer *server);

typedef enum { SASL_KNOWN, SASL_NOT_YET, SASL_UNKNOWN } SaslKnowledge;
/* What it offers. NOT_YET: it is being asked; task is woken then. UNKNOWN: it cannot be reached, and that was logged.
 * *ret_names: "PLAIN LOGIN", the caller's; NULL when nothing is left. */
SaslKnowledge sasl_mechanisms(SaslServer *server, const SaslPolicy *policy, TaskRef task, char **ret_names);

typedef enum { SASL_WAIT, SASL_CHALLENGE, SASL_DONE, SASL_FAILED, SASL_TEMPORARY } SaslStatus;
typedef struct {
    SaslStatus status;
    char *text; /* CHALLENGE: base64; FAILED, TEMPORARY: why, for the client; never NULL but with DONE and WAIT */
    char *user; /* DONE: never NULL; FAILED: maybe empty, NULL where the server does not say */
} SaslAnswer;
void sasl_answer_clear(SaslAnswer *answer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SaslAnswer, sasl_answer_clear)

typedef struct {
    const char *mechanism;    /* as the client wrote it */
    const SaslPolicy *policy; /* constant while the process lives */
    const char *response;     /* base64, maybe; "=": an empty one; NULL: none yet */
    guint64 number;           /* of the session, for log lines */
    const char *local_addr, *local_port, *remote_addr, *remote_port;
    bool secured; /* TLS */
} SaslStart;
/* An exchange; task gets WAKE_ANSWER for each answer that is not there at once. Never 0. */
guint64 sasl_start(SaslServer *server, const SaslStart *start, TaskRef task);
void sasl_continue(SaslServer *server, guint64 number, const char *response);
/* WAIT: no answer yet. All others but CHALLENGE end the exchange. */
SaslAnswer sasl_take(SaslServer *server, guint64 number);
/* Nobody waits any more. hangs: because no answer came: the connection is given up if nothing at all came on it. */
void sasl_cancel(SaslServer *server, guint64 number, bool hangs);

bool sasl_is_base64(const char *text); /* of any length; padded */
