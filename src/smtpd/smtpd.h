/* smtpd.h - the SMTP server, before the filter or behind it: one line of master.cf is one process. */
#pragma once
#include "base/service.h"
#include "config/config.h"

/* Returns the exit status when the master's orders end it. Errors at start are logged (fatal) and give 1. */
int smtpd_main(ServiceProcess *process, const MainCf *main_cf);

/* What smtpd_main() would find wrong with its line's configuration, of which maxproc and chroot are fields. Nothing is
 * changed. For a process without threads. */
bool smtpd_check(const MainCf *main_cf, const ConfigScope *scope, int maxproc, bool chroot, GError **error);
