/* root.h - another root directory for a service process (master.cf: chroot), and what the paths of its configuration
 * are there.
 *
 * That it will come is known before the configuration is read, so that what cannot work there is found at the start,
 * with a word on what would. Until root_change() paths are what they were; root_path() says what they are at the moment
 * of the call. For a process that has one thread until then. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* directory: as the configuration names it; the process's working directory. */
void root_will_change(const char *directory);
/* Something asks for a process that is not under another root: it will not come after all. why: for the log. */
void root_stay(const char *why);

/* The domain of root_check()'s failures: nothing may start with such a configuration. */
#define ROOT_ERROR (root_error_quark())
GQuark root_error_quark(void);

/* Whether path, a socket or directory that will be used later, means the same thing then. A path that is below the new
 * root, or is there seen from it, does. False: error says what to do. */
bool root_check(const char *path, GError **error);
/* The same for what will have to be below the new root. */
bool root_check_below(const char *path, GError **error);

/* Changes it, if it will. What libraries read from files once, or look at again and again (time zone, name services),
 * is read before. */
bool root_change(GError **error);

/* path, or the part of it that begins at the new root. */
const char *root_path(const char *path);
