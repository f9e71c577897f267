/* auth_cyrus.h - Cyrus SASL of a server (smtpd_sasl_type = cyrus): its start, and what is doubtful about its
 * configuration. All do nothing where clients are not authenticated by it. */
#pragma once
#include "smtpd/settings.h"

/* Before root is given up. chroot: the process will be under $queue_directory. */
bool auth_cyrus_start(const Settings *settings, bool chroot, GError **error);
/* Afterwards: logs what will not work. */
void auth_cyrus_warn(const Settings *settings);
/* Both, for a process that is none of a server. False: error is what such a process would end with. */
bool auth_cyrus_check(const Settings *settings, bool chroot, GError **error);
