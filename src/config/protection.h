/* protection.h - what each kind of service process may do once strangers can speak to it (base/sandbox.h), and how it
 * comes to that. */
#pragma once
#include "base/sandbox.h"
#include "base/service.h"
#include "config/config.h"

/* A kind of process. What is not named here and not said by sandbox_will_connect() and the like is forbidden. */
typedef struct {
    const char *name;
    SandboxCalls calls;
    /* Directories, with $parameters; NULL-terminated. */
    const char *const *lists, *const *reads, *const *writes;
    bool any_port; /* TCP: whom it speaks to, messages say */
} Role;

extern const Role role_smtpd, role_filter, role_spawn, role_qmgr;
extern const Role role_smtp, role_virtual, role_error; /* error: discard as well */

/* The role of a delivery agent. */
const Role *role_of_agent(const char *command);

/* Gives up root for mail_owner if it is root, and from now on the process can do what its role says and nothing else
 * (service_sandbox). Before the first thread, when all has been read. process: NULL in tests. False: error. */
bool protect(ServiceProcess *process, const Config *config, const Role *role, GError **error);

/* The same without a change of user, for a child of a root part, which has become another user already. */
bool protect_child(const Config *config, const Role *role, GError **error);
/* For the root part: it starts no programs, and leaves the machine alone. */
bool protect_root_part(const Config *config, GError **error);

/* What protects processes with this view, in words: "seccomp deny-list, Landlock 7 (files, TCP ports, signals), ..."
 * The caller frees. */
char *protection_text(const Config *config);
