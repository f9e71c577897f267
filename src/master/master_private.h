/* master_private.h - what the files of the master share: its state. */
#pragma once
#include "master/logdest.h"
#include "master/master.h"
#include "master/units.h"

typedef enum { MASTER_STARTING, MASTER_RUNNING, MASTER_RELOADING, MASTER_STOPPING } MasterPhase;

typedef struct {
    MasterOptions options;
    MasterPhase phase;
    gint64 deadline;       /* of STARTING and RELOADING: all must be ready by then */
    gint64 stopping_since; /* STOPPING */
    bool terminal;         /* STARTING, and the log is not the terminal: what goes wrong is said on both */
    int status;            /* exit status */

    Plan *plan;
    LogDestination log;
    GPtrArray *units;
    guint32 generation;      /* of the units */
    guint32 last_generation; /* that was used; one that was not ready in time uses up its number */

    Plan *next_plan; /* RELOADING, else NULL; the same for what follows */
    LogDestination next_log;
    GPtrArray *next_units;
    bool reload_again; /* SIGHUP came meanwhile */

    GPtrArray *children;            /* Child, of all generations */
    gint64 sweep_at, statistics_at; /* of the clients' rates */
    Owner owner;
    Page *page;
    int page_fd, tickets_fd, pid_lock, data_lock, signals;
} Master;

/* processes.c */

/* Starts what is due of a generation's units. without_qmgr: a new generation's qmgr waits for the old one's end. */
void master_start_units(Master *master, const Plan *plan, const LogDestination *log, GPtrArray *units,
                        guint32 generation, bool without_qmgr);
void master_stop(Master *master, gint64 now); /* begins to end everything */
void master_stop_at_once(Master *master, gint64 now);
/* The start failed: logs why, and stops. */
void master_fail_start(Master *master, const char *format, ...) G_GNUC_PRINTF(2, 3);
void master_reap(Master *master); /* processes that ended: plans their restart */
void master_kill_overdue(Master *master, gint64 now);

/* events.c */

void master_wait(Master *master); /* for something to happen, and takes it in */
void master_wake_units(Master *master, gint64 now);
void master_use_log(Master *master, LogDestination *log); /* takes it over; tells the processes */

/* statistics.c: of the clients' rates */

void master_tend_statistics(Master *master, gint64 now); /* does what is due; sets when it is due next */
void master_log_statistics(Master *master);              /* and at the end */

/* reload.c: the running system goes on until the new generation is ready, and if that fails */

void reload_begin(Master *master);
void reload_look(Master *master, gint64 now); /* after anything happened: complete, or too late? */
void reload_abort(Master *master, const char *why, gint64 now);
