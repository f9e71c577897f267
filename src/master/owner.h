/* owner.h - whom the mail system's files and processes belong to: mail_owner when the master is root, else the caller.
 */
#pragma once
#include "config/config.h"
#include <sys/types.h>

typedef struct {
    bool root; /* we are root and own things for somebody else */
    uid_t uid;
    gid_t gid;
    gid_t public_gid; /* of public/: setgid_group where there is one */
} Owner;

/* False: no such user, or it is root itself. */
bool owner_find(const Config *config, Owner *ret_owner, GError **error);

/* As root, makes what follows happen with the owner's rights, so that no path inside the owner's directories can lead
 * root astray. For a process with one thread. Between the two calls nothing else may fail and return. */
void owner_enter(const Owner *owner);
void owner_leave(const Owner *owner);
