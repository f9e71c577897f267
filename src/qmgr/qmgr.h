/* qmgr.h - the queue manager: which message is tried when, by whom, how many at once (qmgr(8), SCHEDULER_README). One
 * process, one thread, one event loop; it opens and locks messages and hands them to the delivery agents at
 * private/TRANSPORT. */
#pragma once
#include "base/service.h"
#include "config/config.h"

/* The whole process: reads tables, gives up root, waits for an earlier queue manager to end, serves until an order
 * comes. Returns the exit status. The working directory is $queue_directory; process->listeners has one datagram socket
 * (queue_notify.h). */
int qmgr_main(ServiceProcess *process, const Config *config);
