/* delivery.h - delivery agents: processes that the queue manager hands messages to (virtual(8), smtp(8), error(8),
 * discard(8)). */
#pragma once
#include "base/service.h"
#include "config/config.h"

/* The whole process of a master.cf line whose command is virtual, smtp, error or discard. Reads tables, gives up root
 * (virtual, when it may be root, keeps it in a part that reads no mail: see privileged.h), serves until an order comes.
 * Returns the exit status. process->listeners has SEQPACKET sockets (spool/delivery_request.h). */
int delivery_main(ServiceProcess *process, const Config *config);

/* Reads what such a process would, TLS keys and tables. False: error, which the process would end with. */
bool delivery_check(const char *command, const Config *config, GError **error);
