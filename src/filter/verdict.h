/* verdict.h - what an inspector says of a message: one set of actions, whatever decides. A plain record; what comes of
 * it is the relay's. */
#pragma once
#include "filter/edits.h"

typedef enum {
    VERDICT_ACCEPT,
    VERDICT_REJECT,
    VERDICT_TEMPFAIL,
    VERDICT_DISCARD,
    VERDICT_QUARANTINE,
    VERDICT_TAKEN
} VerdictKind;

/* TAKEN: the inspector has passed the message on itself, and somebody else has said yes to it.
 *
 * Zeroed: accept, unchanged. Addresses are in internal form. Changes count when the kind is ACCEPT or QUARANTINE. */
typedef struct {
    VerdictKind kind;
    bool stop;                  /* accept: later inspectors are not asked */
    char *reply;                /* reject, tempfail, taken: "550 5.7.1 text" */
    char *reason;               /* for the log, the trace and the quarantine: what was found; NULL: nothing to tell */
    char *sender;               /* in place of the message's; NULL: unchanged */
    char *redirect;             /* one recipient in place of all; NULL: none */
    GPtrArray *added, *removed; /* recipients; NULL: none */
    Content *content;           /* the message as the inspector wants it; NULL: as it was */
    Edits *edits;               /* made in content, or in the message as it was; NULL: none */
} Verdict;

void verdict_clear(Verdict *verdict);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Verdict, verdict_clear)
const char *verdict_name(VerdictKind kind); /* "accept", ... */

/* Refusals. code: of class 5 or 4 for its kind; text may begin with an enhanced status code, which then counts in place
 * of status, with the code's class. It is a stranger's: cut to a line, and unprintable octets become '?'. The reason is
 * for the log; NULL: the text. */
void verdict_reject(Verdict *verdict, int code, const char *status, const char *text, const char *reason);
void verdict_tempfail(Verdict *verdict, int code, const char *status, const char *text, const char *reason);
void verdict_discard(Verdict *verdict, const char *reason);
void verdict_quarantine(Verdict *verdict, const char *reason);
void verdict_stop(Verdict *verdict);

void verdict_change_sender(Verdict *verdict, const char *address);
void verdict_redirect(Verdict *verdict, const char *address);
void verdict_add_recipient(Verdict *verdict, const char *address);
void verdict_remove_recipient(Verdict *verdict, const char *address);
Edits *verdict_edits(Verdict *verdict); /* made when first asked for; the verdict's */
