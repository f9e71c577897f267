/* service.h - a service process's side of the contract with the master: what it was started for, and the orders it
 * gets.
 *
 * The master runs its own program again with the service's line of master.cf as arguments, listening sockets and four
 * fixed descriptors (control, page, log, and the line of base/source.h). The process reads its configuration, opens its tables, gives up root, says
 * ready, and serves until an order comes or the master is gone (end of input on the control socket).
 *
 * A service process starts with $queue_directory as its working directory (so `private/NAME` is a path, however deep
 * the queue lies), standard input from and to /dev/null, umask 077, and SIGPIPE, SIGHUP and SIGINT ignored: Ctrl-C and a
 * closed terminal are the master's business. */
#pragma once
#include "base/page.h"
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    char *config_dir;     /* -c DIR, absolute */
    char *command;        /* "smtpd" */
    char *name, *type;    /* as in master.cf: "smtp", "inet" */
    char *identity;       /* "inet/:25": see config/master_cf.h */
    GPtrArray *overrides; /* "name=value" of -o */
    GPtrArray *arguments; /* other arguments */
    int maxproc;          /* 0: no limit */
    int wakeup;           /* seconds, 0: never */
    bool may_stress;      /* not confined to loopback, and maxproc > 1 (STRESS_README) */
    bool unprivileged, chroot;
    guint32 generation;
    GArray *listeners; /* int: listening, non-blocking; owned */
    int tickets; /* of smtpd: memory for the keys of TLS session tickets (net/tls_tickets.h); of others: /dev/null */
    int control; /* SEQPACKET to the master; readable when there is an order */
    Page *page;
    PageRow *row;       /* ours */
    guint32 service_id; /* page_service_id(identity) */

    /* The log, as service_process_new() opened it; nobody else needs these. */
    char *syslog_name; /* of this line: -o syslog_name counts */
    char *log_host;    /* for a log file: first label of $myhostname; NULL: syslog */
    int log_facility;  /* of syslog */
    int verbose;       /* how many -v */
    bool terminal;     /* until ready, log on standard error as well: somebody waits for `start` to succeed */
    int row_number;
} ServiceProcess;

/* From main()'s arguments when argv[1] is "--service"; the log is open afterwards. NULL: error. */
ServiceProcess *service_process_new(int argc, char **argv, GError **error);
void service_process_free(ServiceProcess *process); /* closes listeners and control; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ServiceProcess, service_process_free)

/* Gives up root for the user (mail_owner) if it is root: groups, gid, uid, for good; PR_SET_NO_NEW_PRIVS, not dumpable.
 * All tables are open by then (source_seal()), and what else is needed from outside of the new root, if there will be one
 * (root_change()). */
bool service_drop_privileges(const char *user, GError **error);
/* A part of it, for who stays root: no core dumps, as memory holds mail, passwords and keys; and no capability that a
 * program could give back (of root alone: the bounding set). */
bool service_forbid_leaks(GError **error);

/* Tells the master that clients are served. Before it, a death counts as a bad start and is throttled. */
void service_ready(ServiceProcess *process);

typedef enum {
    SERVICE_ORDER_NONE,   /* nothing (more) to read, or it was handled inside (a new log descriptor) */
    SERVICE_ORDER_DRAIN,  /* a new generation is ready: close listeners, finish sessions, then exit 0 */
    SERVICE_ORDER_OLDEST, /* three generations: besides, say 421 between transactions */
    SERVICE_ORDER_STOP, /* stop accepting, finish what can be finished within 5 s, exit 0; also when the master is gone
                         */
    SERVICE_ORDER_WAKEUP, /* the service's wake-up time */
    SERVICE_ORDER_FLUSH,  /* `flush`, to qmgr only: try all deferred mail now */
} ServiceOrder;
/* Does not block. Call until NONE whenever control is readable. After the master is gone there is one STOP, then
 * nothing: control is never readable again. */
ServiceOrder service_next_order(ServiceProcess *process);

/* ---- The master's half of the contract ---- */

/* Where a service process finds its descriptors; listeners follow in order. */
enum {
    SERVICE_FD_CONTROL = 3,
    SERVICE_FD_PAGE,
    SERVICE_FD_LOG,
    SERVICE_FD_SOURCE,
    SERVICE_FD_TICKETS,
    SERVICE_FD_LISTENERS
};
#define SERVICE_LISTENERS_MAX 64

/* argv that service_process_new() understands, NULL-terminated. Uses all fields but control, page and row (row_number
 * stands for it); of the listeners only their number counts. Freed with g_ptr_array_unref(). */
GPtrArray *service_process_argv(const ServiceProcess *process);

/* Sends an order (not NONE). False: errno; a full socket is EAGAIN. */
bool service_send_order(int control, ServiceOrder order);
bool service_send_log(int control, int log_fd); /* takes the place of SERVICE_FD_LOG in the process, and of its standard
                                                   error where that was the log */
