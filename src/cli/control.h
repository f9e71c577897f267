/* control.h - the commands that make a mail system start, stop, and tell how it is: postfix(1)'s. */
#pragma once
#include "master/logdest.h"
#include "master/plan.h"
#include <sys/types.h>

typedef int ControlCommand(const char *config_dir); /* returns the exit status; has said everything */

/* NULL: no such command. */
ControlCommand *control_find(const char *name);

/* For the commands: main.cf read but its values not checked (one that is bad must not keep `stop` from working), and
 * the log open under the tag postfix-script, and on standard error. */
typedef enum {
    CONTROL_LOG_NEEDED, /* without a log: NULL */
    CONTROL_LOG_TRIED,  /* somebody who may not write to the log only asks: standard error will do */
} ControlLog;
typedef struct {
    Plan *plan; /* main_cf only; the next function reads more */
    char *queue_directory;
    char *pid_file; /* the master's lock */
    char *syslog_name;
    LogDestination log;
    bool log_open;
} Control;
Control *control_open(const char *config_dir, ControlLog how); /* NULL: said why */
/* Reads and checks the values of main.cf, and with_services master.cf and the rest. False: said why. */
bool control_read(Control *control, bool with_services);
void control_close(Control *control);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Control, control_close)

ControlCommand start_command, start_fg_command; /* start.c */
ControlCommand check_command;                   /* check.c */
ControlCommand logrotate_command;               /* logrotate.c */

/* check.c: what is odd but no reason not to start. Reads services' views; nothing is changed. */
void check_warn(const Plan *plan);
void check_slots(const Plan *plan); /* check_slots.c, a part of it */

/* The running master's process id, 0 for none, -1 when it cannot be told (said why). *ret_ours: it is gatepost's and
 * understands its signals. */
pid_t control_find_master(const Control *control, bool *ret_ours);
/* The same for commands that need one: when none runs, or it is Postfix's, that is said, and 0 returned. */
pid_t control_need_master(const Control *control);
