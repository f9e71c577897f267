/* master_cf.h - master.cf as a list of services (master(5)). */
#pragma once
#include "config/config.h"

typedef enum { SERVICE_INET, SERVICE_UNIX, SERVICE_UNIX_DGRAM, SERVICE_FIFO, SERVICE_PASS } ServiceType;

typedef struct {
    int line;             /* first physical line, for messages */
    char *name;           /* first field as written */
    char *identity;       /* "type/canonical-name": `smtp inet` is "inet/:25", see master(5); services are the same when it is */
    ServiceType type;
    char *host;           /* inet: NULL for all of inet_interfaces; no brackets */
    guint16 port;         /* inet */
    bool is_private;      /* unix: private/NAME, else public/NAME */
    bool unprivileged;
    bool chroot;
    int wakeup;           /* seconds; 0 never */
    bool wakeup_when_used;
    int maxproc;          /* "-" already replaced by default_process_limit; 0: no limit */
    char *command;        /* program name: "smtpd" */
    GPtrArray *overrides; /* "name=value" of every -o, in order */
    GPtrArray *arguments; /* the other arguments, as written (braces removed): pipe and spawn need them */
    int verbose;          /* -v */
} Service;

/* Reads DIR/master.cf with main.cf's defaults (default_process_limit, compatibility_level, master_service_disable applied: disabled
 * services are left out). Array of Service*, freed with it. Warnings are logged. NULL: error's text is master(8)'s without "fatal: ". */
GPtrArray *master_cf_read(const char *dir, const Config *config, GError **error);
