/* root.c - another root directory. */
#include "base/root.h"
#include "base/fail.h"
#include "base/log.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

FAIL_DEFINE_DOMAIN(root_error)

static char *root;       /* where it will be; NULL: nothing changes */
static bool has_changed; /* both are written before there are threads */

void root_will_change(const char *directory)
{
    g_free(root);
    root = g_strdup(directory);
}

void root_stay(const char *why)
{
    if (!root || has_changed)
        return;
    log_warning("chroot is not applied to this service: %s", why);
    g_clear_pointer(&root, g_free);
}

/* What is left of a path behind the new root, with its '/'. NULL: it is not below. */
static const char *below_root(const char *path)
{
    size_t len = strlen(root);

    while (len > 0 && root[len - 1] == '/')
        len--;
    if (strncmp(path, root, len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return NULL;
    return path[len] == '\0' ? "/" : path + len;
}

static bool fail_outside(const char *path, GError **error)
{
    g_set_error(error, ROOT_ERROR, 0,
                "%s is outside of the chroot %s: let it be below that directory, or let the service have n in the "
                "chroot column of master.cf",
                path, root);
    return false;
}

bool root_check_below(const char *path, GError **error)
{
    return !root || has_changed || *path != '/' || below_root(path) || fail_outside(path, error);
}

bool root_check(const char *path, GError **error)
{
    if (!root || has_changed || *path != '/' || below_root(path))
        return true;
    g_autofree char *inside = g_strconcat(root, path, NULL);
    return access(inside, F_OK) == 0 || access(path, F_OK) < 0 || fail_outside(path, error);
}

const char *root_path(const char *path)
{
    const char *below = has_changed && *path == '/' ? below_root(path) : NULL;

    return below ? below : path;
}

/* The C library looks for the time zone's file each time unless the environment names one, and for the files of its
 * name services once. */
static void read_ahead(void)
{
    struct addrinfo *found = NULL;

    setenv("TZ", ":/etc/localtime", 0);
    tzset();
    if (getaddrinfo("localhost", "smtp", &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &found) == 0)
        freeaddrinfo(found);
}

bool root_change(GError **error)
{
    if (!root)
        return true;
    read_ahead();
#ifndef SANITIZED /* the sanitizers read /proc at their end */
    if (chroot(root) < 0 || chdir("/") < 0)
        return fail_errno(error, "chroot %s", root);
    has_changed = true;
#endif
    return true;
}
