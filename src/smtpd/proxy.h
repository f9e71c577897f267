/* proxy.h - the dialogue with a before-queue filter (SMTPD_PROXY_README), as both proxy sinks hold it: one connection
 * per message, or with smtpd_proxy_connection_reuse one for many. No function waits: those that give an Outcome are
 * called again with the same arguments, as commands are. What is wrong is logged here, in full; the client gets
 * QUEUE_FILE_ERROR or the filter's own refusal, in smtpd->refusal.
 *
 * A connection is kept for the next message if nothing odd was heard on it: every reply of the class that its command
 * can have, none of 421, none unasked for, no content without its end. The next message begins with RSET there. Until
 * the client has been told something of the dialogue, a kept connection that turns out to be of no use is replaced by a
 * new one without a word: it is lost, RSET or XFORWARD is refused, or a command is answered 421 or 503. */
#pragma once
#include "smtp/client_wait.h"
#include "smtpd/state.h"

typedef enum {
    PROXY_CONNECT,
    PROXY_GREETING,
    PROXY_EHLO,
    PROXY_STARTTLS,  /* if smtpd_proxy_tls_security_level wants it, */
    PROXY_HANDSHAKE, /* as this and the next */
    PROXY_SECURED,   /* EHLO once more */
    PROXY_PREFACE,
    PROXY_OPEN
} ProxyStage;

/* A connection with the filter, and what is known of it. */
typedef struct {
    Client *client;           /* NULL: none */
    const Settings *settings; /* whose filter it is */
    unsigned xforward;        /* the attributes that it offers to take */
    unsigned offers;          /* OFFER_ set of its EHLO */
    int messages;             /* that went there, the present one too */
} ProxyLink;

typedef struct {
    SlotPlace slot;
    ProxyLink link;
    ProxyStage stage;
    GPtrArray *preface; /* before the client's own commands: RSET, XFORWARD, MAIL */
    guint sent, heard;  /* of the preface and the lines behind it: commands, and their replies */
    Reply *refusal;     /* the first; what was sent with that command is still to be heard of */
    bool resets;        /* the connection was kept: RSET is first */
    bool replaceable;   /* and may still be replaced by a new one */
    ClientWatch watch;
    bool in_handshake, in_content, odd;
    bool closed; /* MAIL or what is before it was refused: the next recipient may find a filter */
    bool lost;   /* the filter hung up behind that: no new one in this message */
    bool failed; /* content did not get through */
} Proxy;         /* zero-initialised; proxy_leave() ends it */

/* Takes a filter slot, a connection; greets, forwards the client's identity, sends MAIL as the client sent it: if that
 * has not been done yet. Then sends count lines as the client sent them, at once where the filter and
 * smtpd_proxy_pipelining allow it. DONE without smtpd->refusal: all were taken; *ret_reply is the reply to the last one
 * and has the class want, as all before have 2. */
Outcome proxy_tell(Smtpd *smtpd, Proxy *proxy, const char *const *lines, guint count, int want, Reply **ret_reply);
/* A client is refused for want of a slot. Logged at most once a minute, with the parameters that decide. */
void proxy_log_busy(const Smtpd *smtpd);
/* Content, after DATA. READY before each piece; DONE: it may be added, and is dropped if proxy->failed. */
void proxy_begin_content(Proxy *proxy);
Outcome proxy_ready(Smtpd *smtpd, Proxy *proxy, size_t len);
void proxy_content(Proxy *proxy, const char *data, size_t len, bool ends_line);
/* The final dot. DONE: smtpd->refusal is the filter's verdict, any code, or QUEUE_FILE_ERROR. */
Outcome proxy_finish(Smtpd *smtpd, Proxy *proxy);
/* Keeps the connection or hangs up, gives the slot back. */
void proxy_leave(Smtpd *smtpd, Proxy *proxy);
/* Ends a connection that was kept (slots_keep()). */
void proxy_forget(void *link);

/* "NOQUEUE: client=..." */
void proxy_log_client(Smtpd *smtpd);
/* "proxy-accept: END-OF-MESSAGE: ...", or -reject; reply is "" where the filter said nothing yet. */
void proxy_log_verdict(Smtpd *smtpd, const char *reply);
