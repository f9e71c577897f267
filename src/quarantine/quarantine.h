/* quarantine.h - messages that the filter keeps back until somebody releases or deletes them, or they are too old.
 *
 *     DIR/index.db     SQLite: envelope, client, reason, verdicts, what became of it
 *     DIR/content/ID   the message: lines that end in LF, otherwise octet for octet as it came
 *
 * A message is there when its row is. The content file comes first and goes last, so a row never lacks its content; a
 * content file without a row is what a crash left, and quarantine_expire() removes it an hour later. Who works on a
 * message (stores, releases, deletes it) holds the flock of its content file; the lock dies with its holder.
 *
 * Any number of threads and processes may use one directory at once, on one machine. All functions block (behind a
 * gate): for the disk, and up to QUARANTINE_WAIT_MS for other threads and again as long for other processes. Then, and
 * when the disk is full or fails, they fail (FAIL_ERROR unless something else is said); nothing has changed then. */
#pragma once
#include "mail/content.h"
#include "mail/envelope.h"
#include "smtp/xforward.h"

#define QUARANTINE_WAIT_MS 10000
#define QUARANTINE_TEXT_MAX 4096 /* octets kept of a reason and of each text of a verdict */

typedef enum {
    QUARANTINE_ERROR_NOT_FOUND,
    QUARANTINE_ERROR_BUSY,      /* somebody else releases or deletes it just now */
    QUARANTINE_ERROR_RELEASED,  /* all that was asked for has been released before */
    QUARANTINE_ERROR_UNCERTAIN, /* it may have been: the reply to the final dot was lost, or we were */
    QUARANTINE_ERROR_NEXTHOP,   /* it is not there, or refused the message: which is still in quarantine */
} QuarantineError;
#define QUARANTINE_ERROR (quarantine_error_quark())
GQuark quarantine_error_quark(void);

typedef struct Quarantine Quarantine;

/* Makes directory (mode 0700; its parent must exist) and what is in it, if need be. It must belong to the caller and be
 * nobody else's to enter. */
Quarantine *quarantine_open(const char *directory, GError **error);
void quarantine_free(Quarantine *quarantine); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Quarantine, quarantine_free)

/* What one inspector said. */
typedef struct {
    const char *inspector; /* "checks", "command:clamdscan" */
    const char *action;    /* "accept", "quarantine" */
    const char *text;      /* NULL: none */
    gint64 milliseconds;
} QuarantineVerdict;

/* ---- The filter's side ---- */

typedef struct {
    const Envelope *envelope; /* sender, recipients, BODY=, SMTPUTF8, DSN, arrival_us; at least one recipient */
    const XfAttrs *client;    /* XFORWARD as it came: goes out again when the message is released */
    Content *content;         /* whole; one thread's, as always */
    const char *reason;
    const char *nexthop; /* where release goes unless told otherwise: the filter's filter_nexthop */
    const char *trace;   /* id of the transaction; NULL or "": none */
    const QuarantineVerdict *verdicts;
    size_t verdict_count;
} QuarantineMessage;

/* True: the message is on stable storage, whole, once; *ret_id (caller frees) is its name, 8 lower-case letters and
 * digits. False: there is no such message, and its client must be told 451. (One case is open, which no client sees:
 * when the disk fails in the last sync and then the power, the message may turn up although it was refused.) */
bool quarantine_store(Quarantine *quarantine, const QuarantineMessage *message, char **ret_id, GError **error);

typedef struct {
    gint64 max_age_s; /* since it was stored; 0: no limit */
    gint64 max_size;  /* octets of all contents; 0: no limit */
} QuarantineLimits;

typedef struct {
    guint64 by_age, by_size; /* messages */
    guint64 garbage;         /* content files that no message has had for an hour */
} QuarantineExpired;

/* Removes what is too old, then, above max_size, released messages and after them all others, oldest first. Leaves
 * those that somebody works on. *ret is right also after a failure. */
bool quarantine_expire(Quarantine *quarantine, const QuarantineLimits *limits, QuarantineExpired *ret, GError **error);

/* ---- The administrator's side ---- */

typedef enum {
    QUARANTINE_HELD,      /* "quarantined" */
    QUARANTINE_RELEASING, /* "releasing": on its way to the next hop; or interrupted there, before anything was sent */
    QUARANTINE_UNCERTAIN, /* "uncertain": see QUARANTINE_ERROR_UNCERTAIN */
    QUARANTINE_RELEASED,  /* "released" */
    QUARANTINE_STATES
} QuarantineState;
const char *quarantine_state_name(QuarantineState state);
bool quarantine_state_parse(const char *name, QuarantineState *ret_state);

/* What to look for; what is NULL or 0 is any. Letter case does not count. */
typedef struct {
    const char *sender;    /* address, or "@domain"; "" or "<>" for the null sender */
    const char *recipient; /* address, or "@domain" */
    const char *client;    /* its name or address */
    const char *reason;    /* part of it */
    const char *trace;
    gint64 since_us, until_us; /* when it was stored */
    unsigned states;           /* a set of 1 << QuarantineState */
    guint limit;               /* that many, the newest */
} QuarantineFilter;

/* Ids, oldest first. NULL: error. */
GPtrArray *quarantine_find(Quarantine *quarantine, const QuarantineFilter *filter, GError **error);

typedef struct {
    gint64 at_us;
    char *who;  /* as QuarantineRelease has it; "filter" */
    char *what; /* a line of text */
} QuarantineEvent;

typedef struct {
    char *inspector, *action, *text;
    gint64 milliseconds;
} QuarantineRecordVerdict;

typedef struct {
    char *id;
    gint64 stored_us;
    guint64 size; /* octets of the content file */
    QuarantineState
        state; /* of all recipients: the first of uncertain, releasing, quarantined, released that one has */
    char *reason, *trace, *nexthop; /* "": none */
    Envelope *envelope;
    GArray *states; /* QuarantineState, by the envelope's recipients */
    XfAttrs client;
    GPtrArray *verdicts; /* QuarantineRecordVerdict */
    GPtrArray *events;   /* QuarantineEvent, oldest first */
} QuarantineRecord;

/* NULL: error, NOT_FOUND among them. id: in any letter case, with whatever a person types. */
QuarantineRecord *quarantine_load(Quarantine *quarantine, const char *id, GError **error);
void quarantine_record_free(QuarantineRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QuarantineRecord, quarantine_record_free)

/* A descriptor of the content, to read. -1: error. */
int quarantine_open_content(Quarantine *quarantine, const char *id, GError **error);

bool quarantine_delete(Quarantine *quarantine, const char *id, GError **error);

bool quarantine_matches(const char *pattern, const char *address); /* as QuarantineFilter's recipient does */
