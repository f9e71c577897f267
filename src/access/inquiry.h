/* inquiry.h - what the restrictions of one session have asked the world outside (DNS, policy servers, probes, the
 * clock), and what it said.
 *
 * A restriction that needs an answer asks for it here. When it is not there yet the restriction returns VERDICT_NEED,
 * the whole evaluation ends, the command parks, and when the answer comes its task is woken and the evaluation is
 * repeated from its start, which finds this answer and perhaps needs the next one. So an evaluation never waits, and
 * stays a pure function of facts and answers. An Inquiry belongs to one session; one thread at a time. */
#pragma once
#include "base/account.h"
#include "net/sched.h"

typedef struct Inquiry Inquiry;

/* A kind of question. Each source gives every answer within a time limit of its own. */
typedef struct {
    /* Puts a question. Answered at once: sets *ret_answer and returns 0. Otherwise a number, and task gets WAKE_ANSWER
     * when there is an answer. */
    guint64 (*ask)(void *source, const void *question, TaskRef task, void **ret_answer);
    void *(*take)(void *source, guint64 number); /* NULL: not yet. After take or cancel the number is dead. */
    void (*cancel)(void *source, guint64 number);
    void (*free)(void *answer);
    size_t (*size)(const void *answer); /* octets that it holds, about. NULL: next to none */
    /* Whether the answer holds for the rest of the session. NULL: none does, each command asks anew. */
    bool (*lasts)(const void *answer);
} InquiryKind;

#define INQUIRY_ANSWERS_MAX 100 /* kept for the rest of a session */

/* What it holds is on the account, which outlives it. */
Inquiry *inquiry_new(TaskRef task, Account *account);
/* Cancels what is under way. The sources must still be there. NULL is fine. */
void inquiry_free(Inquiry *inquiry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Inquiry, inquiry_free)

/* The answer to a question, owned by inquiry until inquiry_settled(); NULL: not there yet. key tells questions apart,
 * of all kinds ("dns MX example.com"); the first time with a key the question is asked. */
const void *inquiry_answer(Inquiry *inquiry, const InquiryKind *kind, void *source, const char *key,
                           const void *question);
/* Whether ms milliseconds have passed since this was asked first with key. */
bool inquiry_slept(Inquiry *inquiry, const char *key, gint64 ms);
/* When to evaluate again at the latest: the next timer's end. */
gint64 inquiry_deadline(const Inquiry *inquiry);
/* The evaluation came to its end, or is given up: what is not to last is forgotten. */
void inquiry_settled(Inquiry *inquiry);
