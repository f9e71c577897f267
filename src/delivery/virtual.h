/* virtual.h - virtual(8): Maildirs of users that need not exist in the system. */
#pragma once
#include "base/service.h"
#include "config/config.h"
#include "delivery/mailbox.h"
#include "delivery/maildir.h"

/* The process of a virtual service that is root and may stay so: a part without threads that accepts deliveries, finds
 * out whose mailbox each recipient has, and passes it on to a child that has become that user for good. It never reads
 * a message. Returns the exit status. */
int virtual_run_as_root(ServiceProcess *process, const Config *config);

/* What virtual's children and virtual_agent share. */
typedef struct {
    guint64 limit; /* virtual_mailbox_limit */
    bool original; /* enable_original_recipient */
    char *host;
    const Config *config;
} VirtualOptions;
VirtualOptions virtual_options(const Config *config);
