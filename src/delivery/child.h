/* child.h - virtual's children: processes that have become one user for good, and deliver as that user. */
#pragma once
#include "base/service.h"
#include "delivery/virtual.h"

typedef struct {
    uid_t uid;
    gid_t gid;
    int socket; /* SEQPACKET, non-blocking; -1: told to end */
    pid_t pid;
    gint64 used_ms; /* clock_ms() when it last got something to do */
} VirtualChild;

/* Forks: the caller has no threads. In the child, everything that was open but log and socket is closed before anything
 * else: no child shall hold another message's lock. NULL: error. */
VirtualChild *virtual_child_start(ServiceProcess *process, const VirtualOptions *options, int resolution, uid_t uid,
                                  gid_t gid, GError **error);
/* What it has been given it still does, then it ends. */
void virtual_child_dismiss(VirtualChild *child);
void virtual_child_free(VirtualChild *child); /* dismisses */
