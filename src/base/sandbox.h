/* sandbox.h - what a process forbids itself for good before it reads the first octet of a stranger.
 *
 * Two fences. seccomp refuses system calls: with SANDBOX_DENY_LIST those with which one gets out (programs, other
 * processes, users, mounts, the kernel's rarer parts) fail with EPERM; with SANDBOX_ALLOW_LIST all that the process's
 * kind is not known to need end it with SIGSYS. Landlock bounds files to directories and TCP to ports, as well as the
 * kernel can: what it cannot, sandbox_lacks() says, and nothing else is done about it.
 *
 * Before root, or the root directory, is given up, everybody says what he will want later. Directories are opened
 * then and there, and a rule holds for all beneath; files have no rules, as they may be replaced. What is open already
 * stays usable, sockets in the file system may be connected to, and /dev/null and /dev/urandom are for everybody.
 *
 * For a process that has one thread. Under the sanitizers there are no fences around files, and fewer calls are
 * refused: they look at their own process from outside. */
#pragma once
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef enum { SANDBOX_OFF, SANDBOX_DENY_LIST, SANDBOX_ALLOW_LIST } SandboxMode;

/* System calls beyond those that every process makes (memory, threads, time, reading and writing what is open). */
typedef enum {
    SANDBOX_FILES = 1 << 0,   /* makes, renames and removes files; databases */
    SANDBOX_SERVER = 1 << 1,  /* accepts connections */
    SANDBOX_CLIENT = 1 << 2,  /* makes connections, asks DNS */
    SANDBOX_PARENT = 1 << 3,  /* has children (that were started before), and waits for them */
    SANDBOX_FORKS = 1 << 4,   /* may make processes that are itself; never other programs */
    SANDBOX_BECOMES = 1 << 5, /* may become other users: a part that stays root */
} SandboxCalls;

typedef enum { SANDBOX_LIST, SANDBOX_READ, SANDBOX_WRITE } SandboxAccess;

/* Any thread may say it, but after sandbox_enter() it is too late and means nothing. A directory that does not exist is
 * none, but with WRITE the nearest one above it is meant, where it can be made. Names that are empty are none as well.
 */
void sandbox_will_use(const char *directory, SandboxAccess access);
#define SANDBOX_ANY_PORT 0
void sandbox_will_connect(guint16 port); /* TCP */
/* A library will be asked that reads what it likes: system-wide files, its own plugins, any port (databases' clients,
 * the system's resolver). */
void sandbox_will_ask_library(void);
/* Forgets all that was said so far: a child of a part that wanted it for itself. */
void sandbox_forget(void);

/* refused: where the number of the call that ended the process goes, plus 1; memory that others see. NULL: nobody wants
 * to know. From now on new privileges cannot come by exec either. False: error. */
bool sandbox_enter(SandboxMode mode, SandboxCalls calls, _Atomic gint32 *refused, GError **error);

/* Only the deny-list, for a part that stays root. */
bool sandbox_enter_as_root(SandboxMode mode, SandboxCalls calls, GError **error);

/* The version of Landlock's interface in this kernel; 0: none that is of use. */
int sandbox_landlock_version(void);
/* What this kernel cannot forbid, in words for a warning, caller frees; NULL: nothing is lacking. */
char *sandbox_lacks(void);

bool sandbox_mode_from_text(const char *text, SandboxMode *ret_mode); /* "off", "deny-list", "allow-list" */
char *sandbox_call_name(int number);                                  /* of a system call. The caller frees */
