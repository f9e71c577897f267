/* proxy.h - the dialogue with a before-queue filter (SMTPD_PROXY_README), as both proxy sinks hold it: one
 * connection per message. All but proxy_enter() and the logging ones block: call them at the filter gate. What is wrong
 * is logged here, in full; the client gets QUEUE_FILE_ERROR or the filter's own refusal. */
#pragma once
#include "smtp/client.h"
#include "smtpd/state.h"

/* A filter slot, then a place at the filter gate; does not block. DONE without smtpd->refusal: both are there. */
Outcome proxy_enter(Smtpd *smtpd, SlotPlace *place);
/* A client is refused for want of a slot. Logged at most once a minute, with the parameters that decide. */
void proxy_log_busy(const Smtpd *smtpd);
/* Connects, greets, forwards the client's identity, sends MAIL as the client sent it. NULL: *ret_refusal is what the
 * client gets. */
Client *proxy_open(Smtpd *smtpd, Reply **ret_refusal);
/* Sends one line as the client sent it. True: *ret_reply, the filter's, has the wanted class. False: *ret_reply is what
 * the client gets; *ret_lost: the connection is gone. */
bool proxy_command(Smtpd *smtpd, Client *filter, const char *line, int want, Reply **ret_reply, bool *ret_lost);
/* The final dot: the filter's verdict, any code, or QUEUE_FILE_ERROR; never NULL. */
Reply *proxy_finish(Smtpd *smtpd, Client *filter);
void proxy_log_failure(Smtpd *smtpd, const GError *error); /* lost connection, timeout */

/* "NOQUEUE: client=..." */
void proxy_log_client(Smtpd *smtpd);
/* "proxy-accept: END-OF-MESSAGE: ...", or -reject; reply is "" where the filter said nothing yet. */
void proxy_log_verdict(Smtpd *smtpd, const char *reply);
