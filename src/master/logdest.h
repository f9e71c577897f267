/* logdest.h - where the mail log goes: maillog_file, else syslog. */
#pragma once
#include "config/config.h"

typedef struct {
    int fd;       /* of maillog_file; -1: syslog */
    bool stdout_; /* it is /dev/stdout */
    char *host;   /* first label of $myhostname, for lines of a file; NULL: syslog */
    int facility; /* of syslog */
} LogDestination;

/* Opens it. False: not below maillog_file_prefixes, or not to be opened; nothing is then changed. */
bool log_destination_open(const Config *config, LogDestination *ret_destination, GError **error);
/* The same for a main.cf with a bad value somewhere: to say so where people look. */
bool log_destination_open_unchecked(const MainCf *main_cf, LogDestination *ret_destination, GError **error);
/* The same for a main.cf that cannot be parsed: its good lines count. False: that is no help either. */
bool log_destination_guess(const char *config_dir, LogDestination *ret_destination);
void log_destination_clear(LogDestination *destination);
/* All lines of this process go there from now on. The destination must live as long. */
void log_destination_use(const LogDestination *destination, const char *syslog_name, const char *program);
