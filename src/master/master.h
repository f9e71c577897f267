/* master.h - the master process: starts the services of a plan, keeps them running, reloads, stops. It has one thread
 * and reads no mail.
 *
 * Signals: SIGTERM and SIGINT stop (a second one at once), SIGQUIT stops at once, SIGHUP reloads, SIGUSR1 tells qmgr to
 * try all deferred mail, SIGUSR2 opens the log file again. */
#pragma once
#include "master/logdest.h"
#include "master/plan.h"

typedef struct {
    bool detached; /* in the background: standard output and error are given up once all services are ready */
    int notify_fd; /* one octet is written here, and it is closed, once all services are ready; -1: none */
} MasterOptions;

/* Runs until stopped; returns the exit status. Takes plan and log over. Whatever goes wrong was logged. */
int master_run(Plan *plan, LogDestination *log, const MasterOptions *options);

#define MASTER_PROCESS_NAME                                                                                            \
    "gatepost" /* in /proc/PID/comm: tells our master from Postfix's, which takes the same locks */

/* $queue_directory/$process_id_directory/master.pid and $data_directory/master.lock. */
char *master_pid_file(const Config *config);
char *master_lock_file(const Config *config);
