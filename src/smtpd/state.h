/* state.h - what an SMTP server session knows, in parts that are reset on their own: client, greeting, transaction. */
#pragma once
#include "cleanup/cleanup.h"
#include "dns/resolver.h"
#include "mail/header_append.h"
#include "mail/opening.h"
#include "smtp/server.h"
#include "smtp/session.h"
#include "smtp/xforward.h"
#include "smtpd/settings.h"
#include "smtpd/slots.h"
#include "spool/queue_notify.h"
#include "verify/verify.h"

#define ADDRESS_COPIES 4 /* of a MAIL or RCPT line are kept: the line, the address as text, original and complete */
#define QUEUE_FILE_ERROR "451 4.3.0 Error: queue file write error"

typedef struct SinkClass SinkClass;
typedef struct Smtpd Smtpd;

/* One process: a line of master.cf. Constant once sessions run, but for what counts itself. */
typedef struct {
    ServiceProcess *process;
    Server *server;
    Sched *sched;
    Settings *settings[2]; /* stress empty, stress yes */
    TlsTickets *tickets;   /* shared with all smtpd processes; NULL: sessions are not resumed */
    Resolver *resolver;
    PolicyClient *policy;
    SaslServer *sasl; /* NULL: authentication is not enabled */
    const SinkClass *sink;
    Slots *slots;      /* of the filter; NULL without one */
    Gate *dial_gate;   /* looking up the filter's name, or connecting to it by a path */
    Gate *commit_gate; /* fsync */
    Gate *lookup_gate; /* tables that ask other systems; NULL: there is none */
    Spool *spool;      /* this and the next two: NULL with a filter, unless addresses may be probed */
    Cleanup *cleanup;
    Verify *verify;
    Prober prober;
    char *content_directory;  /* for unnamed files of content */
    Account *content_account; /* of content in memory */
    QueueNotify *notify;      /* to qmgr */
} SmtpdService;

/* Who speaks to us, and what that gives. Anew after XCLIENT. */
typedef struct {
    char *name, *reverse_name; /* "unknown" where there is none */
    DnsStatus name_status, reverse_name_status;
    char *addr, *port;
    char *text; /* "name[addr]": session->peer */
    bool name_asked;
    guint64 name_query;     /* under way; 0: none */
    char *counted;          /* the network for which it counts in the limits per client; NULL: it has none */
    unsigned discard;       /* EHLO_ bits */
    bool xforward, xclient; /* authorized */
    bool rewrite_local;     /* local_header_rewrite_clients matches */
    bool known;             /* logged, and what it may do is known */
    bool greeting;          /* nothing is left to do but the greeting */
    bool xclient_begun;     /* XCLIENT is under way and has made it this client: likewise */
    char *denied;           /* smtpd_delay_reject=no: it was refused; every command but QUIT gets this */
} Peer;

/* One message, from MAIL to its end. */
typedef struct {
    MailCommand mail;
    char *mail_line;       /* as received, for the filter */
    Envelope *envelope;    /* recipients that were accepted */
    char *first_recipient; /* external form, for log lines */
    unsigned refused_over_limit;
    GPtrArray *prepend; /* headers that access rules put above ours */
    bool discard, hold;
    char *filter, *redirect; /* FILTER and REDIRECT actions; NULL: none */
    GPtrArray *bcc;          /* BCC actions */
    guint64 size;            /* octets of records received (command_data.c) */
    guint64 open_octets;     /* of the record that is not complete */
    bool too_big;
    size_t held;  /* octets of memory in the account */
    bool chunked; /* BDAT was used */
    bool content_begun;
    Opening opening;
    HeaderAppend append; /* name NULL: nothing */
    bool logged_client; /* the client= line */
    gint64 arrival_us;
    char *instance;   /* for policy servers */
    char *trace_note; /* " trace=ID"; NULL: not traced */
    struct {
        gint64 begun_ms, content_end_ms; /* clock_ms(); 0: not yet */
        gint64 slot_asked_ms, wait_ms;   /* since when it waits for a filter slot, 0: it does not; all waits */
    } times;
    void *sink; /* the sink's own part */
} Transaction;

struct Smtpd {
    const SmtpdService *service;
    const Settings *settings;
    Session *session;
    Connection connection; /* what a proxy in front of us said of it, if there is one */
    struct {
        bool heard;
        gint64 deadline; /* 0: not waited yet */
    } balancer;
    Peer client;
    char *helo;
    const char *protocol;              /* "SMTP" or "ESMTP" */
    const char *tls_problem;           /* why the client may not go on inside TLS; NULL: it may */
    char *sasl_method, *sasl_username; /* NULL: not authenticated (AUTH or XCLIENT LOGIN can say so) */
    struct {
        guint64 number; /* of the exchange under way; 0: none */
        char *method;
    } auth;
    XfAttrs forwarded;                 /* XFORWARD */
    Transaction *transaction;          /* NULL outside */
    Decision *decision;                /* of the command under way, until it is acted upon */
    Inquiry *inquiry;                  /* what our checks have asked outside */
    char *doubts[ACCESS_DOUBTS];       /* of the decisions about client, HELO and sender */
    guint64 checked;                   /* session->finished + 1 of the command that passed its checks */
    char *typed;                       /* the command under way, if blanks stand before it; else NULL */
    Reply *refusal;                    /* what the sink says instead of yes; the reply of a chunk that is skipped */
    bool chunk_refused;                /* BDAT failed: further chunks are discarded until LAST or RSET */
    guint64 chunk_octets;              /* announced in all chunks of a message, refused ones, too */
    bool chunk_in_mail;                /* and that was behind a MAIL */
};

/* Where a transaction goes. The functions are called with a transaction; those that give an Outcome may be called
 * again, and then have had no effect yet. A refusal is left in smtpd->refusal. */
struct SinkClass {
    bool is_proxy;
    bool has_queue_id;
    bool (*checks_space)(const Smtpd *smtpd);
    Outcome (*mail)(Smtpd *smtpd); /* smtpd_delay_open_until_valid_rcpt=no: what else the first recipient would begin */
    Outcome (*rcpt)(Smtpd *smtpd, const char *line);  /* our own checks passed */
    Outcome (*data)(Smtpd *smtpd, const char *line);  /* before the 354, or at the first chunk (line is "DATA" then) */
    void (*header)(Smtpd *smtpd, const char *header); /* ours, above the client's content; lines joined by '\n' */
    Outcome (*ready)(Smtpd *smtpd, size_t len);       /* before each piece: may it block? */
    void (*content)(Smtpd *smtpd, const char *data, size_t len, bool ends_line);
    Outcome (*end)(Smtpd *smtpd); /* content is complete and allowed: *smtpd->refusal is the reply, whatever it is */
    void (*dropped)(Smtpd *smtpd,
                    const char *reply);          /* content is complete and refused by us with reply: for the log */
    void (*abort)(Smtpd *smtpd);                 /* frees the sink's part; the next hop never sees an end */
    const char *(*queue_id)(const Smtpd *smtpd); /* NULL: none yet */
};

/* --- helpers of all command files --- */

static inline Smtpd *smtpd_of(const Session *session)
{
    return session->service;
}
static inline const char *smtpd_as_typed(const Smtpd *smtpd,
                                         const char *line) /* for the filter, which gets all of it */
{
    return smtpd->typed ? smtpd->typed : line;
}
const char *smtpd_queue_id(const Smtpd *smtpd); /* "NOQUEUE" while there is none */
bool smtpd_in_chunks(const Smtpd *smtpd);       /* BDAT was used: MAIL, RCPT and DATA are out of order */
AccessFacts smtpd_facts(const Smtpd *smtpd, const char *state); /* borrowed texts */
/* Logs "QID: reject: STATE from C: text; from=<..> ..." */
void smtpd_log_reject(const Smtpd *smtpd, const AccessFacts *facts, const char *text);
/* smtpd_proxy_trace: " trace=ID" for the end of a log line, or "". */
const char *smtpd_trace_note(const Smtpd *smtpd);
/* The id in it: what the incoming session says (XFORWARD IDENT), else ours; NULL: neither. */
const char *smtpd_ident(const Smtpd *smtpd);
char *smtpd_footer(const Session *session, const Reply *reply); /* ServerClass.footer */
/* "QID: client=...": once a message; id NULL: NOQUEUE. */
void smtpd_log_client(const Smtpd *smtpd, const char *id);
/* smtpd_forbid_bare_newline = reject: logs and replies. */
void smtpd_refuse_bare_newline(Smtpd *smtpd, const AccessFacts *facts);
/* A table that the session cannot do without fails: logs, says 421. */
void smtpd_refuse_for_trouble(Smtpd *smtpd, const char *where);
/* Whether a run must have a place behind the lookup gate first. */
bool smtpd_lacks_lookup_place(const Smtpd *smtpd);
/* Runs the lists of a command. DONE: smtpd->decision is there. Otherwise what it needs first. */
Outcome smtpd_decide(Smtpd *smtpd, AccessStage stage, const AccessFacts *facts);
/* Acts on smtpd->decision once: logs, prepends, notes. NULL: permitted; otherwise the refusal, for the caller to give.
 */
Reply *smtpd_take_decision(Smtpd *smtpd, const AccessFacts *facts);
/* What decisions from this stage on were not sure about. */
void smtpd_forget_doubts(Smtpd *smtpd, AccessStage from);
/* Both, and only once however often a command is run again for what comes behind them. DONE: *ret_refusal is set if the
 * command is refused, else left alone. */
Outcome smtpd_check_command(Smtpd *smtpd, AccessStage stage, const AccessFacts *facts, Reply **ret_refusal);

/* --- client.c --- */
Outcome client_connected(Session *session); /* ServerClass.connect */
void client_reset(Smtpd *smtpd);            /* forgets who the client is (before XCLIENT) */
void client_authorize(Smtpd *smtpd);        /* what its name and address allow */
void client_set_identity(Smtpd *smtpd, const char *name, const char *reverse_name, const char *addr, const char *port);
Outcome client_greet(Smtpd *smtpd);                     /* restrictions of the client, then 220 or the refusal */
bool client_early(Session *session, const char *after); /* ServerClass.early_talker */
void client_broken(Session *session, const char *reason);
void client_disconnected(Session *session);

/* --- balancer.c --- */
/* smtpd_upstream_proxy_protocol: the header of the proxy in front of us, into smtpd->connection. False: *ret_outcome
 * says what to wait for, or the header is none, and that was logged and replied. */
bool balancer_heard(Smtpd *smtpd, Outcome *ret_outcome);

/* --- limits.c --- */
bool limits_refuse_connection(Smtpd *smtpd); /* counts it. True: one too many, logged and replied */
/* Counts a MAIL, RCPT or AUTH command, once, also if it is refused for something else. True: over the limit, logged and
 * replied. */
bool limits_refuse(Smtpd *smtpd, RateKind kind);
bool limits_refuse_tls(const Smtpd *smtpd); /* it has made too many new TLS sessions; nothing is counted or said */
bool limits_count_tls(const Smtpd *smtpd);  /* one more. True: over the limit, logged */
void limits_leave(Smtpd *smtpd);            /* the connection counts no longer */

/* --- tls.c --- */
bool tls_wraps(
    Smtpd *smtpd); /* smtpd_tls_wrappermode. True: the handshake comes first, or the client was turned away */
void tls_secured(Session *session); /* ServerClass.secured */
bool tls_aborts(Smtpd *smtpd);      /* True: not with that certificate; replied, and the session ends */
bool tls_is_lacking(Smtpd *smtpd, const Command *command); /* True: not without TLS; replied */
char *tls_received(const Smtpd *smtpd);                    /* for the Received: header; NULL: nothing. Caller frees */

/* --- auth.c --- */
/* What EHLO offers: "PLAIN LOGIN", the caller's; NULL: nothing. Not DONE: what that waits for. */
Outcome auth_mechanisms(Smtpd *smtpd, char **ret_names);
void auth_end(Smtpd *smtpd); /* the exchange under way, if there is one */

/* --- transaction.c --- */
void transaction_begin(Smtpd *smtpd, MailCommand *mail, const char *line); /* takes over what mail holds */
void transaction_end(Smtpd *smtpd,
                     bool aborted); /* aborted: the sink is told; forgets XFORWARD too. Nothing when there is none */
bool transaction_in(const Session *session);
/* Memory that the transaction takes until its end goes into the account; what must not be had any more is for the
 * commands to refuse. */
void transaction_hold(Smtpd *smtpd, size_t octets);
bool smtpd_memory_is_full(const Smtpd *smtpd); /* and logs it once a minute */
void transaction_begin_content(Smtpd *smtpd);  /* our headers */

/* --- trace.c --- */
void trace_begin(Smtpd *smtpd);        /* with the transaction */
char *trace_times(const Smtpd *smtpd); /* " delay=.. delays=.. trace=ID", or ""; at the verdict. Caller frees */

/* --- the commands; see commands.c --- */
Outcome command_helo(Session *session, const char *line);
Outcome command_ehlo(Session *session, const char *line);
Outcome command_mail(Session *session, const char *line);
Outcome command_rcpt(Session *session, const char *line);
Outcome command_data(Session *session, const char *line);
Outcome command_bdat(Session *session, const char *line);
Outcome command_rset(Session *session, const char *line);
Outcome command_noop(Session *session, const char *line);
Outcome command_vrfy(Session *session, const char *line);
Outcome command_etrn(Session *session, const char *line);
Outcome command_quit(Session *session, const char *line);
Outcome command_help(Session *session, const char *line);
Outcome command_auth(Session *session, const char *line);
Outcome command_starttls(Session *session, const char *line);
Outcome command_xforward(Session *session, const char *line);
Outcome command_xclient(Session *session, const char *line);
Outcome command_unknown(Session *session, const char *line);
bool command_filter(Session *session, GString *line);
Outcome content_piece(Session *session, const char *data, size_t len, bool ends_line);
Outcome content_end(Session *session);
extern const ServerClass smtpd_class;

extern const SinkClass sink_queue, sink_direct, sink_spooled;
