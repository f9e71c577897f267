/* check.c - check: what keeps a mail system from starting, and what is odd. When all is well it says what protects the
 * services. */
#include "base/log.h"
#include "cli/control.h"
#include "config/protection.h"
#include "delivery/delivery.h"
#include "filter/filter.h"
#include "master/dirs.h"
#include "master/listen.h"
#include "smtpd/smtpd.h"
#include "spawn/spawn.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Who can reach what only our own should ---- */

/* The first address beyond loopback that the line listens on, or NULL. */
static char *exposed_address(const Plan *plan, const Service *line)
{
    if (line->type != SERVICE_INET)
        return NULL;
    g_autoptr(GPtrArray) addresses = listen_addresses(line, plan->config, NULL);

    for (guint i = 0; addresses && i < addresses->len; i++)
        if (!listen_is_loopback(g_ptr_array_index(addresses, i)))
            return g_strdup(g_ptr_array_index(addresses, i));
    return NULL;
}

static void warn_of_exposure(const Plan *plan, const PlanService *service)
{
    const Service *line = service->line;
    g_autofree char *address = exposed_address(plan, line);
    const ConfigScope scope = {
        .process_name = line->command, .service_name = line->name, .stress = "", .overrides = line->overrides};

    if (!address)
        return;
    if (strcmp(line->command, "filter") == 0) {
        log_warning(
            "%s/master.cf: line %d: filter listens on %s, beyond loopback: only filter_authorized_hosts keeps it "
            "from being an open relay",
            plan->config_dir, line->line, address);
        return;
    }
    g_autoptr(Config) view = config_new(plan->main_cf, &scope, NULL);
    if (view && strcmp(line->command, "smtpd") == 0 && *config_string(view, "smtpd_authorized_xforward_hosts") != '\0')
        log_warning("%s/master.cf: line %d: smtpd with smtpd_authorized_xforward_hosts listens on %s, beyond loopback",
                    plan->config_dir, line->line, address);
}

/* Who names a client's address decides what that client may. */
static void warn_of_upstream(const Plan *plan, const PlanService *service)
{
    const Service *line = service->line;
    const ConfigScope scope = {
        .process_name = line->command, .service_name = line->name, .stress = "", .overrides = line->overrides};

    if (strcmp(line->command, "smtpd") != 0)
        return;
    g_autoptr(Config) view = config_new(plan->main_cf, &scope, NULL);
    if (view && *config_string(view, "smtpd_upstream_proxy_protocol") != '\0' &&
        *config_string(view, "smtpd_upstream_proxy_hosts") == '\0')
        log_warning("%s/master.cf: line %d: smtpd_upstream_proxy_hosts is empty: whoever can connect may claim any "
                    "client address, also one in mynetworks",
                    plan->config_dir, line->line);
}

/* ---- What keeps a service that was taken over from doing harm ---- */

static Config *service_view(const Plan *plan, const Service *line)
{
    g_autoptr(GPtrArray) overrides = plan_overrides(plan, line);
    const ConfigScope scope = {
        .process_name = line->command, .service_name = line->name, .stress = "", .overrides = overrides};

    return config_new(plan->main_cf, &scope, NULL);
}

static void warn_of_kernel(const Plan *plan)
{
    g_autofree char *lacks = sandbox_lacks();

    for (guint i = 0; lacks && i < plan->services->len; i++) {
        const PlanService *service = g_ptr_array_index(plan->services, i);
        g_autoptr(Config) view = service_view(plan, service->line);
        if (view && strcmp(config_string(view, "service_sandbox"), "off") != 0) {
            log_warning("service_sandbox: %s", lacks);
            return;
        }
    }
}

/* A line for those that have the same, in the order of master.cf. On standard output: it is no complaint. */
static void tell_protection(const Plan *plan, const Owner *owner)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (guint i = 0; i < plan->services->len; i++) {
        const Service *line = ((PlanService *)g_ptr_array_index(plan->services, i))->line;
        g_autoptr(Config) view = service_view(plan, line);
        guint at = 0;

        if (!view)
            continue;
        g_autofree char *protection = protection_text(view);
        g_autofree char *text =
            g_strdup_printf("user %s, %s%s", owner->root ? config_string(view, "mail_owner") : "as the caller",
                            line->chroot ? "chroot, " : "", protection);
        while (at < texts->len && strcmp(g_ptr_array_index(texts, at), text) != 0)
            at++;
        if (at == texts->len) {
            g_ptr_array_add(texts, g_steal_pointer(&text));
            g_ptr_array_add(names, g_string_new(NULL));
        }
        GString *list = g_ptr_array_index(names, at);
        g_string_append_printf(list, "%s%s", list->len > 0 ? " " : "", line->name);
    }
    for (guint i = 0; i < texts->len; i++) {
        g_autoptr(GString) list = g_ptr_array_index(names, i);
        printf("protection of %s: %s\n", list->str, (char *)g_ptr_array_index(texts, i));
    }
}

void check_warn(const Plan *plan)
{
    for (guint i = 0; i < plan->services->len; i++) {
        warn_of_exposure(plan, g_ptr_array_index(plan->services, i));
        warn_of_upstream(plan, g_ptr_array_index(plan->services, i));
    }
    check_slots(plan);
    warn_of_kernel(plan);
}

/* ---- Who could change what root trusts ---- */

typedef struct {
    const char *path;
    bool owners; /* it belongs to mail_owner, else to root (or the caller) */
} Checked;

static void check_path(const Checked *checked, const Owner *owner, const char *owner_name)
{
    struct stat status;

    if (stat(checked->path, &status) < 0)
        return;
    if (checked->owners && status.st_uid != owner->uid)
        log_warning("not owned by %s: %s", owner_name, checked->path);
    else if (!checked->owners && status.st_uid != 0 && status.st_uid != geteuid())
        log_warning("not owned by root: %s", checked->path);
    if (status.st_mode & 022)
        log_warning("group or other writable: %s", checked->path);
}

static void check_permissions(const Plan *plan, const Owner *owner)
{
    const char *queue = config_string(plan->config, "queue_directory");
    const char *data = config_string(plan->config, "data_directory");
    const char *quarantine = config_string(plan->config, "quarantine_directory");
    const char *owner_name = owner->root ? config_string(plan->config, "mail_owner") : "the caller";
    g_autofree char *main_cf = g_build_filename(plan->config_dir, "main.cf", NULL);
    g_autofree char *master_cf = g_build_filename(plan->config_dir, "master.cf", NULL);
    g_autofree char *pid = g_build_filename(queue, config_string(plan->config, "process_id_directory"), NULL);
    g_autofree char *private = g_build_filename(queue, "private", NULL);
    g_autofree char *public = g_build_filename(queue, "public", NULL);
    g_autofree char *ours = g_build_filename(queue, "gatepost", NULL);
    const Checked all[] = {
        {plan->config_dir}, {main_cf},       {master_cf},    {queue},      {pid},
        {data, true},       {private, true}, {public, true}, {ours, true}, {quarantine, true},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        check_path(&all[i], owner, owner_name);
}

/* ---- What the services find only when they start ---- */

static bool check_view(const Plan *plan, const Service *line, const ConfigScope *scope, GError **error)
{
    g_autoptr(Config) view = config_new(plan->main_cf, scope, error);

    if (!view)
        return false;
    return strcmp(line->command, "spawn") == 0 ? spawn_check(view, line->arguments, error)
                                               : delivery_check(line->command, view, error);
}

static bool check_service(const Plan *plan, const Service *line, GError **error)
{
    g_autoptr(GPtrArray) overrides = plan_overrides(plan, line);
    const ConfigScope scope = {
        .process_name = line->command, .service_name = line->name, .stress = "", .overrides = overrides};
    bool is_good = true;

    if (strcmp(line->command, "smtpd") == 0)
        is_good = smtpd_check(plan->main_cf, &scope, line->maxproc, line->chroot, error);
    else if (strcmp(line->command, "filter") == 0)
        is_good = filter_check(plan->main_cf, &scope, error);
    else
        is_good = check_view(plan, line, &scope, error);
    if (!is_good)
        g_prefix_error(error, "%s/master.cf: line %d: ", plan->config_dir, line->line);
    return is_good;
}

/* All that is wrong is said, not only the first. What several services have in common is said once. */
static bool check_services(const Plan *plan)
{
    bool are_good = true;

    log_only_problems_once(true);
    for (guint i = 0; i < plan->services->len; i++) {
        const PlanService *service = g_ptr_array_index(plan->services, i);
        g_autoptr(GError) error = NULL;
        if (check_service(plan, service->line, &error))
            continue;
        log_fatal("%s", error->message);
        are_good = false;
    }
    log_only_problems_once(false);
    return are_good;
}

/* ---- Whether the descriptors suffice ---- */

#define DESCRIPTORS_OF_PROCESS 64 /* listeners, log, tables, DNS */
#define DESCRIPTORS_OF_SESSION 2  /* its own, and that of a filter connection or a message's file */

static void check_descriptors(const Plan *plan)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_max == RLIM_INFINITY)
        return;
    unsigned long long max = files.rlim_max; /* the master raises the other */
    unsigned long long room =
        max > DESCRIPTORS_OF_PROCESS ? (max - DESCRIPTORS_OF_PROCESS) / DESCRIPTORS_OF_SESSION : 0;
    for (guint i = 0; i < plan->services->len; i++) {
        const PlanService *service = g_ptr_array_index(plan->services, i);
        const Service *line = service->line;
        bool fits = line->maxproc > 0 && (unsigned long long)line->maxproc <= room;
        if (service->program->kind == PROGRAM_SERVER && !service->program->takes_arguments && !fits)
            log_warning("%s/master.cf: line %d: %llu sessions fit into the limit of %llu descriptors (RLIMIT_NOFILE), "
                        "maxproc is %d%s",
                        plan->config_dir, line->line, room, max, line->maxproc, line->maxproc == 0 ? ", no limit" : "");
    }
}

int check_command(const char *config_dir)
{
    g_autoptr(Control) control = control_open(config_dir, CONTROL_LOG_NEEDED);
    g_autoptr(GError) error = NULL;
    Owner owner;

    if (!control || !control_read(control, true))
        return 1;
    if (!owner_find(control->plan->config, &owner, &error) || !dirs_make(control->plan->config, &owner, &error)) {
        log_fatal("%s", error->message);
        return 1;
    }
    check_warn(control->plan);
    check_descriptors(control->plan);
    check_permissions(control->plan, &owner);
    if (!check_services(control->plan))
        return 1;
    tell_protection(control->plan, &owner);
    return 0;
}
