/* policy_reply.h - the reply of a policy server (SMTPD_POLICY_README): lines "name=value" and an empty one. Of its
 * attributes only the first "action" counts, up to a NUL. No I/O here. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define POLICY_REPLY_MAX 16384 /* octets of a whole reply */

typedef struct {
    GString *line; /* the one that is not complete yet */
    char *action;  /* NULL: none so far */
    size_t octets; /* of the whole reply */
    bool is_long;  /* what kind of BAD it was */
} PolicyReply;
void policy_reply_init(PolicyReply *reply);
void policy_reply_clear(PolicyReply *reply);

typedef enum {
    POLICY_REPLY_MORE,  /* to come */
    POLICY_REPLY_WHOLE, /* there is an action */
    POLICY_REPLY_BAD,   /* there is none, or one without value, or the reply is too long */
} PolicyReplyStatus;

/* Takes in octets, up to the reply's end: *ret_used of them. After WHOLE and BAD no more are taken. */
PolicyReplyStatus policy_reply_add(PolicyReply *reply, const char *data, size_t len, size_t *ret_used);

/* What is wrong, for the log, as Postfix words it: "missing attribute action in input from NAME". With MORE: what it
 * means that the connection ended or timed out here; NULL where nothing had come. Caller frees. */
typedef enum { POLICY_REPLY_IS_BAD, POLICY_REPLY_ENDED, POLICY_REPLY_TIMED_OUT } PolicyReplyTrouble;
char *policy_reply_trouble(const PolicyReply *reply, PolicyReplyTrouble trouble, const char *name);
