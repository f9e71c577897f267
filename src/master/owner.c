/* owner.c - whom the mail system's files and processes belong to. */
#include "master/owner.h"
#include "base/fail.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

bool owner_find(const Config *config, Owner *ret_owner, GError **error)
{
    const char *name = config_string(config, "mail_owner");
    Owner owner = {.root = geteuid() == 0, .uid = geteuid(), .gid = getegid(), .public_gid = getegid()};

    if (owner.root) {
        const struct passwd *user = getpwnam(name);
        if (!user)
            return fail(error,
                        "mail_owner: unknown user: %s (as root, gatepost needs a user of its own: useradd --system "
                        "--user-group gatepost)",
                        name);
        if (user->pw_uid == 0)
            return fail(error, "mail_owner: user %s must not be root", name);
        owner.uid = user->pw_uid;
        owner.gid = owner.public_gid = user->pw_gid;
        const struct group *group = getgrnam(config_string(config, "setgid_group"));
        if (group)
            owner.public_gid = group->gr_gid;
    }
    *ret_owner = owner;
    return true;
}

void owner_enter(const Owner *owner)
{
    if (!owner->root)
        return;
    if (setegid(owner->gid) < 0 || seteuid(owner->uid) < 0)
        g_error("cannot become uid %d: %s", (int)owner->uid, g_strerror(errno)); /* for root that never fails */
}

void owner_leave(const Owner *owner)
{
    if (!owner->root)
        return;
    int saved = errno;
    if (seteuid(0) < 0 || setegid(0) < 0)
        g_error("cannot become root again: %s", g_strerror(errno));
    errno = saved;
}
