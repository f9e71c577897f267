/* child.h - one service process, seen from the master: how it is started, told, and buried. */
#pragma once
#include "base/page.h"
#include "base/service.h"
#include "base/source.h"
#include "master/listen.h"
#include "master/logdest.h"
#include "master/plan.h"

typedef struct {
    pid_t pid;
    int control; /* to the process; -1 once it closed its end */
    SourceServer *source;
    int row; /* in the page */
    guint32 generation;
    char *identity;
    char *path; /* "$daemon_directory/COMMAND", for log lines as Postfix's */
    const Program *program;
    bool ready;        /* it said so */
    gint64 ready_at;   /* clock_ms */
    ServiceOrder told; /* the last of DRAIN, OLDEST, STOP that it was told */
    gint64 kill_at;    /* clock_ms; CLOCK_NEVER */
    bool killed;       /* by us, with SIGKILL */
} Child;

/* What all children of a master have in common. */
typedef struct {
    Page *page;
    int page_fd;
    int tickets_fd; /* for servers that speak TLS */
    const Plan *plan;
    const LogDestination *log;
    bool terminal; /* children log to the terminal too, until they are ready */
} ChildContext;

/* Starts a process for a service. NULL: error. */
Child *child_start(const ChildContext *context, const PlanService *service, const Listeners *listeners,
                   guint32 generation, GError **error);
/* Takes in what it said, if anything: that it is ready. */
void child_hear(Child *child);
/* Frees what is left of a process that waitpid() returned, clears its row. */
void child_bury(Child *child, Page *page);

/* Once each, and never a weaker one after a stronger one. STOP also sets kill_at. */
void child_tell(Child *child, ServiceOrder order, gint64 now);
#define CHILD_STOP_MS 5000     /* from STOP to SIGKILL */
void child_kill(Child *child); /* SIGKILL; its death is then no news */
