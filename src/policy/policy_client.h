/* policy_client.h - asks policy servers (SMTPD_POLICY_README), for all sessions of a process, and holds up no thread:
 * connecting by a path and looking up names happen behind a gate.
 *
 * Connections stay open and are shared. As the protocol promises, the requests about one message go over one
 * connection, and a request about another message means that the one before is over: a connection belongs to a message
 * from its first request until policy_client_release(). So there are as many as messages that are being received, at
 * most.
 *
 * A request that fails is tried again (try_limit, retry_delay), with the warnings of Postfix. A connection that was
 * kept and turns out to be closed is replaced at once, without a word and without counting. Whatever a server does, a
 * try lasts 2 * timeout at most: to connect, and to send the request and read its reply (policy_reply.h). */
#pragma once
#include "dns/resolver.h"
#include "policy/policy_service.h"

typedef struct PolicyClient PolicyClient;

/* Before sched_run(). families: $inet_protocols. All three must outlive the client. */
PolicyClient *policy_client_new(Sched *sched, Resolver *resolver, const char *families);
void policy_client_free(PolicyClient *client); /* after sched_free(); NULL is fine */

/* service: outlives the scheduler's run. attributes: "name=value\n" lines; the empty line is added. instance: of the
 * message, "": none. task gets WAKE_ANSWER when the answer is there. Warnings get the number (log.h) of the thread that
 * asks. */
guint64 policy_client_ask(PolicyClient *client, const PolicyService *service, const char *attributes,
                          const char *instance, TaskRef task);
/* False: it is not there yet. *ret_action: NULL: none could be had (that was logged); else the caller's. The number is
 * dead then. */
bool policy_client_take(PolicyClient *client, guint64 number, char **ret_action);
void policy_client_cancel(PolicyClient *client,
                          guint64 number); /* nobody waits for it any more; dead numbers are fine */

void policy_client_release(PolicyClient *client, const char *instance); /* the message is over */
