/* proxy_private.h - what the files of the dialogue with the filter share: proxy_enter.c (up to where something can be
 * said of a message), proxy.c (what is said then). */
#pragma once
#include "smtpd/proxy.h"

/* DONE without a refusal: there is a connection where the preface, and what follows it, can be said. */
Outcome proxy_enter(Smtpd *smtpd, Proxy *proxy);
void proxy_disconnect(Proxy *proxy); /* the slot stays */

Outcome proxy_wait(Smtpd *smtpd, Proxy *proxy);
void proxy_refuse(Smtpd *smtpd, Reply *reply); /* takes it; NULL: for trouble of ours */
void proxy_log_failure(Smtpd *smtpd, const GError *error);
void proxy_log_unexpected(Smtpd *smtpd, const char *command, const Reply *reply);
