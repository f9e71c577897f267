/* plan.c - main.cf and master.cf, read and checked as a whole. */
#include "master/plan.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/findings.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void plan_service_free(void *data)
{
    PlanService *service = data;

    g_free(service->syslog_name);
    g_free(service);
}

void plan_free(Plan *plan)
{
    if (!plan)
        return;
    g_clear_pointer(&plan->services, g_ptr_array_unref);
    g_clear_pointer(&plan->lines, g_ptr_array_unref);
    config_free(plan->config);
    main_cf_free(plan->main_cf);
    g_free(plan->owner_override);
    g_free(plan->config_dir);
    g_free(plan);
}

Plan *plan_new(const char *dir, GError **error)
{
    g_autoptr(Plan) plan = g_new0(Plan, 1);
    char *real = realpath(dir, NULL);

    if (!real) {
        fail_errno(error, "open %s/main.cf", dir);
        return NULL;
    }
    plan->config_dir = g_strdup(real);
    free(real);
    plan->main_cf = main_cf_read(plan->config_dir, error);
    return plan->main_cf ? g_steal_pointer(&plan) : NULL;
}

GPtrArray *plan_overrides(const Plan *plan, const Service *line)
{
    GPtrArray *overrides = g_ptr_array_new();

    if (plan->owner_override)
        g_ptr_array_add(overrides, plan->owner_override);
    for (guint i = 0; line && i < line->overrides->len; i++)
        g_ptr_array_add(overrides, g_ptr_array_index(line->overrides, i));
    return overrides;
}

static Config *read_config(const Plan *plan, GError **error)
{
    g_autoptr(GPtrArray) overrides = plan_overrides(plan, NULL);
    const ConfigScope scope = {.process_name = "master", .stress = "", .overrides = overrides};

    return config_new(plan->main_cf, &scope, error);
}

static bool belongs_to(const char *path, uid_t uid)
{
    struct stat status;

    return stat(path, &status) == 0 && status.st_uid == uid;
}

/* Where there is a user gatepost, a configuration that was made for Postfix and names no owner would otherwise find its
 * directories closed to it: they are postfix's. */
static bool is_postfix_s(const Config *config)
{
    const struct passwd *postfix = geteuid() == 0 && !config_is_set(config, "mail_owner") ? getpwnam("postfix") : NULL;
    g_autofree char *private = g_build_filename(config_string(config, "queue_directory"), "private", NULL);

    return postfix && strcmp(config_string(config, "mail_owner"), "postfix") != 0 &&
           (belongs_to(private, postfix->pw_uid) ||
            belongs_to(config_string(config, "data_directory"), postfix->pw_uid));
}

bool plan_read_config(Plan *plan, GError **error)
{
    plan->config = read_config(plan, error);
    if (plan->config && is_postfix_s(plan->config)) {
        plan->owner_override = g_strdup("mail_owner=postfix");
        config_free(plan->config);
        plan->config = read_config(plan, error);
    }
    return plan->config != NULL;
}

/* Makes the views that the service will make, to see whether it can. */
static bool check_views(const Plan *plan, PlanService *service, GError **error)
{
    const char *const stress[] = {"", "yes"};
    g_autoptr(GPtrArray) overrides = plan_overrides(plan, service->line);

    for (size_t i = 0; i < G_N_ELEMENTS(stress); i++) {
        const ConfigScope scope = {.process_name =
                                       service->program->runs ? service->program->runs : service->line->command,
                                   .service_name = service->line->name,
                                   .stress = stress[i],
                                   .overrides = overrides};
        g_autoptr(Config) view = config_new(plan->main_cf, &scope, error);

        if (!view) {
            g_prefix_error(error, "%s/master.cf: line %d: ", plan->config_dir, service->line->line);
            return false;
        }
        g_free(service->syslog_name);
        service->syslog_name = g_strdup(config_string(view, "syslog_name"));
    }
    return true;
}

/* Each kind of process has its kind of endpoint. */
static bool check_endpoint(const Plan *plan, const Service *line, const Program *program, GError **error)
{
    bool fits = line->type == SERVICE_UNIX || line->type == SERVICE_FIFO;

    if (program->kind == PROGRAM_SERVER)
        fits = line->type == SERVICE_INET || line->type == SERVICE_UNIX;
    if (!fits)
        return fail(error, "%s/master.cf: line %d: program %s cannot serve an endpoint of this type", plan->config_dir,
                    line->line, line->command);
    if (program->kind == PROGRAM_SERVER && !program->takes_arguments && line->arguments->len > 0)
        return fail(error, "%s/master.cf: line %d: %s: unexpected command-line argument: %s", plan->config_dir,
                    line->line, line->command, (char *)g_ptr_array_index(line->arguments, 0));
    return true;
}

static void warn_of_lost_options(const Plan *plan, const Service *line)
{
    for (guint i = 0; i < line->overrides->len; i++) {
        const char *option = g_ptr_array_index(line->overrides, i);
        log_warning("%s/master.cf: line %d: %s is a function here: no effect of: -o %s", plan->config_dir, line->line,
                    line->command, option);
    }
}

/* One warning for each program, with all the services that name it. */
static void warn_of_later_programs(const Plan *plan)
{
    g_autoptr(GHashTable) said = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < plan->lines->len; i++) {
        const Service *line = g_ptr_array_index(plan->lines, i);
        const Program *program = program_find(line->command);
        g_autoptr(GString) names = g_string_new(NULL);

        if (!program || program->kind != PROGRAM_LATER || !g_hash_table_add(said, (gpointer)program->command))
            continue;
        for (guint j = i; j < plan->lines->len; j++) {
            const Service *other = g_ptr_array_index(plan->lines, j);
            if (strcmp(other->command, line->command) == 0)
                g_string_append_printf(names, "%s%s", names->len ? ", " : "", other->name);
        }
        log_warning("%s/master.cf: program %s is not available yet (%s): %s", plan->config_dir, program->command,
                    names->str, program->note);
    }
}

static void warn_of_chroot(const Plan *plan)
{
    for (guint i = 0; geteuid() != 0 && i < plan->services->len; i++) {
        const PlanService *service = g_ptr_array_index(plan->services, i);
        if (!service->line->chroot)
            continue;
        log_warning("%s/master.cf: line %d: chroot needs root: not applied (said once)", plan->config_dir,
                    service->line->line);
        return;
    }
}

static bool add_line(Plan *plan, const Service *line, GError **error)
{
    const Program *program = program_find(line->command);

    if (!program)
        return fail(error, "%s/master.cf: line %d: unknown program: %s", plan->config_dir, line->line, line->command);
    if (program->kind == PROGRAM_REFUSED)
        return fail(error, "%s/master.cf: line %d: there is no %s here: %s", plan->config_dir, line->line,
                    line->command, program->note);
    if (program->kind == PROGRAM_FUNCTION)
        warn_of_lost_options(plan, line);
    if (program->kind == PROGRAM_FUNCTION || program->kind == PROGRAM_LATER)
        return true;
    if (!check_endpoint(plan, line, program, error))
        return false;
    if (line->chroot && program->stays_outside)
        return fail(error,
                    "%s/master.cf: line %d: %s cannot work in a chroot, its mailboxes are outside: the chroot "
                    "column must be n",
                    plan->config_dir, line->line, line->command);
    PlanService *service = g_new0(PlanService, 1);
    service->line = line;
    service->program = program;
    g_ptr_array_add(plan->services, service);
    return check_views(plan, service, error);
}

bool plan_read_services(Plan *plan, GError **error)
{
    const Service *qmgr = NULL;

    plan->services = g_ptr_array_new_with_free_func(plan_service_free);
    plan->lines = master_cf_read(plan->config_dir, plan->config, error);
    if (!plan->lines)
        return false;
    for (guint i = 0; i < plan->lines->len; i++) {
        const Service *line = g_ptr_array_index(plan->lines, i);
        const Program *program = program_find(line->command);

        if (!add_line(plan, line, error))
            return false;
        if (program->kind != PROGRAM_QMGR)
            continue;
        if (qmgr)
            return fail(error, "%s/master.cf: line %d: a second queue manager (the first is in line %d)",
                        plan->config_dir, line->line, qmgr->line);
        qmgr = line;
    }
    warn_of_later_programs(plan);
    warn_of_chroot(plan);
    return findings_report(plan->main_cf, plan->lines, error);
}
