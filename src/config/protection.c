/* protection.c - the roles, and how a process gets into one. */
#include "config/protection.h"
#include "base/fail.h"

#include <string.h>
#include <sys/prctl.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SPOOL "$queue_directory/gatepost"

/* A directory is listed to be synced, too: one that another lies in.
 *
 * Content beyond the memory limit goes to unnamed files in the spool, and so do messages without a filter. */
const Role role_smtpd = {
    .name = "smtpd",
    .calls = SANDBOX_FILES | SANDBOX_SERVER | SANDBOX_CLIENT,
    .lists = NAMES("$queue_directory"),
    .writes = NAMES(SPOOL),
};
/* iconv opens its modules, for character sets that are rare in mail. */
const Role role_filter = {
    .name = "filter",
    .calls = SANDBOX_FILES | SANDBOX_SERVER | SANDBOX_CLIENT | SANDBOX_PARENT,
    .lists = NAMES("$quarantine_directory/.."),
    .reads = NAMES("/usr/lib"),
    .writes = NAMES(SPOOL, "$quarantine_directory"),
};
const Role role_spawn = {.name = "spawn", .calls = SANDBOX_SERVER | SANDBOX_PARENT};
/* Its lock and the queue; the cache of addresses, which is thrown away when another boot wrote to it. */
const Role role_qmgr = {
    .name = "qmgr",
    .calls = SANDBOX_FILES,
    .lists = NAMES("$queue_directory"),
    .reads = NAMES("/proc/sys/kernel/random"),
    .writes = NAMES(SPOOL),
};
/* Agents get messages as descriptors. */
const Role role_smtp = {
    .name = "smtp",
    .calls = SANDBOX_SERVER | SANDBOX_CLIENT,
    .any_port = true,
};
const Role role_virtual = {
    .name = "virtual", .calls = SANDBOX_FILES | SANDBOX_SERVER, .writes = NAMES("$virtual_mailbox_base/")};
const Role role_error = {.name = "error", .calls = SANDBOX_SERVER};

const Role *role_of_agent(const char *command)
{
    static const Role *const roles[] = {&role_smtp, &role_virtual};

    for (size_t i = 0; i < G_N_ELEMENTS(roles); i++)
        if (strcmp(roles[i]->name, command) == 0)
            return roles[i];
    return &role_error;
}

static bool use(const Config *config, const char *const *names, SandboxAccess access, GError **error)
{
    for (; names && *names; names++) {
        g_autofree char *directory = config_expand(config, *names, error);
        if (!directory)
            return false;
        if (*directory == '/')
            sandbox_will_use(directory, access);
    }
    return true;
}

static bool use_places(const Config *config, const Role *role, GError **error)
{
    if (role->any_port)
        sandbox_will_connect(SANDBOX_ANY_PORT);
    return use(config, role->lists, SANDBOX_LIST, error) && use(config, role->reads, SANDBOX_READ, error) &&
           use(config, role->writes, SANDBOX_WRITE, error);
}

static SandboxMode mode_of(const Config *config)
{
    SandboxMode mode = SANDBOX_DENY_LIST;

    sandbox_mode_from_text(config_string(config, "service_sandbox"), &mode); /* one of the words: config.h checks */
    return mode;
}

bool protect(ServiceProcess *process, const Config *config, const Role *role, GError **error)
{
    return use_places(config, role, error) && service_drop_privileges(config_string(config, "mail_owner"), error) &&
           sandbox_enter(mode_of(config), role->calls, process && process->row ? &process->row->refused_call : NULL,
                         error);
}

bool protect_child(const Config *config, const Role *role, GError **error)
{
    sandbox_forget(); /* what the root part asks for */
    return use_places(config, role, error) && sandbox_enter(mode_of(config), role->calls, NULL, error);
}

bool protect_root_part(const Config *config, GError **error)
{
    return service_forbid_leaks(error) &&
           sandbox_enter_as_root(mode_of(config), SANDBOX_FORKS | SANDBOX_BECOMES, error);
}

char *protection_text(const Config *config)
{
    int version = sandbox_landlock_version();
    const char *mode = config_string(config, "service_sandbox");
    g_autofree char *landlock = version > 0 ? g_strdup_printf("Landlock %d", version) : g_strdup("no Landlock");

    if (mode_of(config) == SANDBOX_OFF)
        return g_strdup("no capabilities, no new privileges, no core dumps; no seccomp, no Landlock");
    return g_strdup_printf("no capabilities, no new privileges, no core dumps, seccomp %s, %s%s", mode, landlock,
                           version >= 6   ? " (files, TCP ports, signals)"
                           : version >= 4 ? " (files, TCP ports)"
                           : version > 0  ? " (files)"
                                          : "");
}
