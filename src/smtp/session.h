/* session.h - the engine of an SMTP server: lines, replies, content framing, limits and wait points of one client
 * session, on the scheduler. It knows no access rules, proxy or queue: a service (smtpd, filter) gives it a constant
 * ServerClass.
 *
 * A command is a function that may be run again. It replies and returns outcome_done(), or, before its first effect,
 * says what it needs: a place at a gate (it is about to block), or an answer that somebody will announce with
 * sched_wake(). The engine gets it and calls the same function with the same line again. No other code parks. */
#pragma once
#include "base/account.h"
#include "net/sched.h"
#include "smtp/decoder.h"
#include "smtp/reply.h"
#include "smtp/stream.h"

typedef struct Session Session;

typedef enum { OUTCOME_DONE, OUTCOME_GATE, OUTCOME_WAIT, OUTCOME_INPUT, OUTCOME_LINE } OutcomeKind;

typedef struct {
    OutcomeKind kind;
    Gate *gate;
    gint64 deadline;   /* WAIT, INPUT: run again then at the latest */
    bool until_hangup; /* WAIT: nothing was promised to anybody yet: the session ends when its client is gone */
    size_t limit;      /* LINE: octets */
} Outcome;

static inline Outcome outcome_done(void)
{
    return (Outcome){.kind = OUTCOME_DONE};
}
static inline Outcome outcome_gate(Gate *gate)
{
    return (Outcome){.kind = OUTCOME_GATE, .gate = gate};
}
static inline Outcome outcome_wait(gint64 deadline, bool until_hangup)
{
    return (Outcome){.kind = OUTCOME_WAIT, .deadline = deadline, .until_hangup = until_hangup};
}
static inline Outcome
outcome_input(gint64 deadline) /* more octets of the client, or its end; session->stream has them */
{
    return (Outcome){.kind = OUTCOME_INPUT, .deadline = deadline};
}
/* The command has replied with a challenge and goes on with the client's next line, which is none of its own:
 * session->more is set in the runs that get it. A line of more than `limit` octets is read over, and passed as NULL. */
static inline Outcome outcome_line(size_t limit)
{
    return (Outcome){.kind = OUTCOME_LINE, .limit = limit};
}

enum {
    COMMAND_JUNK = 1 << 0,     /* counts against smtpd_junk_command_limit */
    COMMAND_LAST = 1 << 1,     /* the last of a pipelined group (RFC 2920 3.1): nothing may follow before our reply */
    COMMAND_RESTARTS = 1 << 2, /* its success begins the session anew and is not counted as one (XCLIENT) */
};

typedef struct {
    const char *verb;    /* upper case */
    const char *counter; /* its name in the disconnect line, lower case */
    unsigned flags;
    /* line: whole, without its end, no NUL; verb included. It is overwritten when the command is done, and so are the
     * octets that it was read from: what holds a password takes care of its own copies alone. */
    Outcome (*run)(Session *session, const char *line);
} Command;

/* Limits of a session, constant; a line of master.cf has two sets (stress or not) and a session takes one when it
 * connects. */
typedef struct {
    const char *hostname;  /* in replies of the engine itself */
    gint64 timeout_ms;     /* for each read or write */
    bool request_deadline; /* smtpd_per_request_deadline: the time is for a whole request */
    gint64 min_data_rate;  /* octets per second that prolong it during content */
    size_t line_max;       /* line_length_limit */
    int soft_error_limit, hard_error_limit, junk_limit;
    gint64 error_sleep_ms;
    bool soft_bounce;
} SessionLimits;

typedef struct {
    const Command *commands; /* in the order of the disconnect line; the last row has verb NULL and counter "unknown" */
    /* Phase one: checks, then the greeting or a refusal. */
    Outcome (*connect)(Session *session);
    /* Looks at a line before its verb is looked up; may replace *line (g_malloc) or reply itself and return true. NULL:
     * nothing. */
    bool (*line_filter)(Session *session, GString *line);
    /* May this client have the command at all? True: no, and that was replied. NULL: always. */
    bool (*deny)(Session *session, const Command *command);
    Outcome (*unknown)(Session *session, const char *line);
    /* A client that does not wait for its turn; after is the verb, or CONNECT. True: it was answered and is hung up on.
     */
    bool (*early_talker)(Session *session, const char *after);
    /* Content: pieces of canonical lines, then the end, which replies. GATE and WAIT are obeyed by calling again with
     * the same piece. */
    Outcome (*content)(Session *session, const char *data, size_t len, bool ends_line);
    Outcome (*end)(Session *session);
    /* What goes behind a 4xx or 5xx (reply_append()); caller frees. NULL: nothing, ever or now. */
    char *(*footer)(const Session *session, const Reply *reply);
    bool (*in_transaction)(const Session *session);
    /* A handshake of TLS is done, before the next command (or connect) runs: logs it, forgets what was said without.
     * May reply, and 421 ends the session. NULL: session_start_tls() is never called. */
    void (*secured)(Session *session);
    /* A command line that ended in LF alone where bare_newline is REJECT: logs and replies; the engine hangs up. NULL:
     * bare_newline is never REJECT. */
    void (*bare_newline)(Session *session);
    /* "timeout", "lost connection", "too many errors": how the session ends if not with QUIT. Before disconnect. */
    void (*broken)(Session *session, const char *reason);
    void (*disconnect)(Session *session); /* last: logs, frees session->service */
} ServerClass;

typedef struct {
    guint32 good, all;
} CommandCount;

#define SESSION_COMMANDS_MAX 24

typedef enum {
    PHASE_CONNECT,
    PHASE_TLS,
    PHASE_COMMAND,
    PHASE_RUN,
    PHASE_LINE, /* of the running command: its next one is awaited */
    PHASE_CONTENT,
    PHASE_END,
    PHASE_CLOSING
} SessionPhase;

struct Session {
    const ServerClass *class;
    const SessionLimits *limits;
    Sched *sched;
    void *service; /* the service's own part */
    TaskRef self;
    guint64 number; /* in log lines */
    Stream stream;

    /* For the service to set when it connects, and to read. */
    const char *peer; /* "name[addr]" for log lines; the service's */
    BareNewline bare_newline;
    const char *where; /* CONNECT, the last verb, UNKNOWN, END-OF-MESSAGE; a line that was no command leaves it */
    bool esmtp;        /* EHLO was said at some time: pipelining is legal */
    bool early_talked; /* improper pipelining was seen */
    int errors, junk;
    CommandCount counts[SESSION_COMMANDS_MAX];
    Decoder decoder;    /* its saw_ flags, at the end of data */
    bool saw_bare_lf;   /* in any line of the session */
    bool bdat;          /* the content comes in chunks (BDAT) */
    bool bdat_last;     /* and this chunk is the last one */
    guint64 chunk_size; /* octets of this chunk */

    /* The engine's own. */
    SessionPhase phase;
    unsigned reasons;
    Gate *gate; /* held in this run */
    Gate *gate_wanted;
    const Command *command;
    GString *line;   /* of the running command; NULL: it asked for one more, and that was too long */
    bool more;       /* it is not the one that the command began with */
    size_t more_max; /* octets of the next one */
    int reply_code;  /* of the last reply */
    bool forgive;    /* the running command's error is not counted */
    bool uncounted;  /* nor is the command */
    gint64 deadline; /* of the present request or read */
    gint64 reply_at; /* not before: the error sleep */
    bool waiting, waiting_for_client_too, hangup_seen;
    guint64 finished;   /* commands, pieces and ends of content so far: the same while one of them is run again */
    bool skipping_line; /* discards the rest of an over-long line */
    size_t skipped;
    guint64 chunk_left;
    struct {
        TlsContext *context; /* a reference, until the handshake begins; NULL: none is wanted */
        SessionPhase next;   /* CONNECT or COMMAND: after the handshake */
        gint64 time_ms;      /* for it */
    } tls;
    struct {
        const char *data;
        size_t len;
        size_t used; /* octets of input that the piece stands for */
        bool ends_line;
        bool pending;
    } piece;
    _Atomic int *closing; /* shared by all of a process: 1: say 421 between transactions */
};

/* Takes over fd, adds the session to sched. class->connect runs first. */
TaskRef session_start(Sched *sched, int fd, const ServerClass *class, const SessionLimits *limits, Account *account,
                      _Atomic int *closing, guint64 number, void *service);

/* Replies. One per command; 421 and 521 end the session after they are sent. */
void session_reply(Session *session, const char *text);
void session_replyf(Session *session, const char *format, ...) G_GNUC_PRINTF(2, 3);
void session_reply_take(Session *session, Reply *reply); /* frees it */
void session_forgive(
    Session *session); /* the reply being given is no error of the client's: its command counts as good */
void session_uncounted(Session *session); /* the line is no command for the disconnect line */
void session_hang_up(Session *session);   /* after the reply */
/* How much of a client's octets a log line may show: nothing behind AUTH. */
size_t session_shown_len(const char *data, size_t len);

bool session_at_gate(const Session *session, const Gate *gate);
bool session_timed_out(const Session *session); /* this run came from the deadline of the last wait */

/* Called by connect(), which then returns DONE without a reply and is run again inside TLS; or by a command, which
 * replies: the handshake follows. Whatever the client has sent behind a command by now is thrown away, so that nothing
 * it (or somebody in between) said before the handshake is run after it; returns the number of octets. The handshake is
 * part of the parked session. */
size_t session_start_tls(Session *session, TlsContext *context, gint64 time_ms);
const TlsFacts *session_tls(Session *session); /* NULL: the session is not inside TLS */

/* After the 354: content follows. */
void session_begin_data(Session *session, BareNewline policy);
/* BDAT: size octets follow; first: of a message. class->end is called after each chunk. */
void session_begin_chunk(Session *session, BareNewline policy, guint64 size, bool first, bool last);
