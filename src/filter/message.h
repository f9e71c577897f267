/* message.h - a message that the filter holds back until it is judged: what the next hop was told of it, and its
 * content. */
#pragma once
#include "filter/verdict.h"
#include "smtp/xforward.h"

typedef struct {
    char *line;    /* RCPT as received; for an added recipient as we write it */
    char *address; /* internal form */
} MessageRecipient;

typedef struct {
    XfAttrs client;        /* XFORWARD's values */
    GPtrArray *xforward;   /* XFORWARD's lines, as received */
    char *mail;            /* MAIL as received; NULL: no transaction */
    char *sender;          /* internal form */
    GPtrArray *recipients; /* of MessageRecipient*: those that the next hop accepted */
    Content *content;      /* NULL: it is not held back, or has not begun */
    guint64 size;          /* octets of content, line ends counted as two */
    bool envelope_changed; /* the next hop must be told anew */
} Message;

/* " trace=ID" for the end of a log line; "" where XFORWARD gave none. Caller frees. */
char *message_trace_note(const Message *message);
void message_init(Message *message);
void message_clear(Message *message);              /* before free */
void message_forget_transaction(Message *message); /* all but XFORWARD's */
void message_forget_client(Message *message);
void message_begin(Message *message, const char *mail_line);
void message_add_recipient(Message *message, const char *rcpt_line);

/* Where new content is made. */
typedef struct {
    const char *directory;
    Account *account;
} ContentPlace;
/* Makes a verdict's changes; takes its content. False: content failed, errno in *ret_errno. */
bool message_apply(Message *message, Verdict *verdict, const ContentPlace *place, int *ret_errno);
