/* service.h - a service process's side of the contract with the master: what it was started for, and the orders it gets.
 *
 * The master runs its own program again with the service's line of master.cf as arguments, listening sockets and three fixed descriptors (control,
 * page, log). The process reads its configuration, opens its tables, gives up root, says ready, and serves until an order comes or the
 * master is gone (end of input on the control socket). */
#pragma once
#include "base/page.h"
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    char *config_dir;     /* -c DIR */
    char *command;        /* "smtpd" */
    char *name, *type;    /* as in master.cf: "smtp", "inet" */
    char *identity;       /* "inet/:25": see config/master_cf.h */
    GPtrArray *overrides; /* "name=value" of -o */
    GPtrArray *arguments; /* other arguments */
    int maxproc;          /* 0: no limit */
    int wakeup;           /* seconds, 0: never */
    bool may_stress;      /* not confined to loopback, and maxproc > 1 (behaviour 1.7) */
    bool unprivileged, chroot;
    guint32 generation;
    GArray *listeners;    /* int: listening, non-blocking; owned */
    int control;          /* SEQPACKET to the master; readable when there is an order */
    Page *page;
    PageRow *row;         /* ours */
    guint32 service_id;   /* page_service_id(identity) */
} ServiceProcess;

/* From main()'s arguments when argv[1] is "--service"; the log is open afterwards. NULL: error. */
ServiceProcess *service_process_new(int argc, char **argv, GError **error);

/* Gives up root for the user (mail_owner) if it is root: groups, gid, uid, for good; PR_SET_NO_NEW_PRIVS, not dumpable. */
bool service_drop_privileges(const char *user, GError **error);

/* Tells the master that clients are served. Before it, a death counts as a bad start and is throttled. */
void service_ready(ServiceProcess *process);

typedef enum {
    SERVICE_ORDER_NONE,   /* nothing (more) to read, or it was handled inside (a new log descriptor) */
    SERVICE_ORDER_DRAIN,  /* a new generation is ready: close listeners, finish sessions, then exit 0 */
    SERVICE_ORDER_OLDEST, /* three generations: besides, say 421 between transactions */
    SERVICE_ORDER_STOP,   /* stop accepting, finish what can be finished within 5 s, exit 0; also when the master is gone */
    SERVICE_ORDER_WAKEUP, /* the service's wake-up time, or flush for qmgr */
} ServiceOrder;
/* Does not block. Call until NONE whenever control is readable. */
ServiceOrder service_next_order(ServiceProcess *process);
