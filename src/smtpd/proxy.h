/* proxy.h - the dialogue with a before-queue filter (SMTPD_PROXY_README), as both proxy sinks hold it: one connection
 * per message. No function waits: those that give an Outcome are called again with the same arguments, as commands are.
 * What is wrong is logged here, in full; the client gets QUEUE_FILE_ERROR or the filter's own refusal, in
 * smtpd->refusal. */
#pragma once
#include "smtp/client.h"
#include "smtpd/state.h"

typedef enum { PROXY_CONNECT, PROXY_GREETING, PROXY_EHLO, PROXY_XFORWARD, PROXY_MAIL, PROXY_OPEN } ProxyStage;

typedef struct {
    SlotPlace slot;
    ProxyStage stage;    /* what is under way */
    Client *filter;      /* NULL: no connection */
    GPtrArray *identity; /* the XFORWARD commands */
    guint identity_sent;
    bool unwatched; /* the scheduler cannot tell when the filter answers */
    bool lost;      /* the filter hung up, in this message */
    bool failed;    /* content did not get through */
} Proxy;            /* zero-initialised; proxy_leave() ends it */

/* A filter slot, a connection; greets, forwards the client's identity, sends MAIL as the client sent it. DONE without
 * smtpd->refusal: the filter has taken it, now or before. */
Outcome proxy_enter(Smtpd *smtpd, Proxy *proxy);
/* A client is refused for want of a slot. Logged at most once a minute, with the parameters that decide. */
void proxy_log_busy(const Smtpd *smtpd);
/* Sends one line as the client sent it. DONE without smtpd->refusal: *ret_reply, the filter's, has the wanted class. */
Outcome proxy_command(Smtpd *smtpd, Proxy *proxy, const char *line, int want, Reply **ret_reply);
/* Content, after DATA. READY before each piece; DONE: it may be added, and is dropped if proxy->failed. */
Outcome proxy_ready(Smtpd *smtpd, Proxy *proxy, size_t len);
void proxy_content(Proxy *proxy, const char *data, size_t len, bool ends_line);
/* The final dot. DONE: smtpd->refusal is the filter's verdict, any code, or QUEUE_FILE_ERROR. */
Outcome proxy_finish(Smtpd *smtpd, Proxy *proxy);
/* Hangs up, gives the slot back. */
void proxy_leave(Smtpd *smtpd, Proxy *proxy);

/* "NOQUEUE: client=..." */
void proxy_log_client(Smtpd *smtpd);
/* "proxy-accept: END-OF-MESSAGE: ...", or -reject; reply is "" where the filter said nothing yet. */
void proxy_log_verdict(Smtpd *smtpd, const char *reply);
