/* services.c - what a service process runs, by its command. */
#include "cli/services.h"
#include "base/log.h"
#include "base/root.h"
#include "base/service.h"
#include "config/config.h"
#include "delivery/delivery.h"
#include "filter/filter.h"
#include "qmgr/qmgr.h"
#include "smtpd/smtpd.h"
#include "spawn/spawn.h"
#include "table/table.h"

#include <malloc.h>
#include <string.h>
#include <unistd.h>

/* smtpd and filter make their views themselves: one for each value of stress. */
typedef struct {
    const char *command;
    int (*with_file)(ServiceProcess *process, const MainCf *main_cf);
    int (*with_view)(ServiceProcess *process, const Config *config);
} ServiceMain;

static const ServiceMain mains[] = {
    {"smtpd", .with_file = smtpd_main},      {"filter", .with_file = filter_main},
    {"spawn", .with_view = spawn_main},
    {"qmgr", .with_view = qmgr_main},        {"virtual", .with_view = delivery_main},
    {"smtp", .with_view = delivery_main},    {"error", .with_view = delivery_main},
    {"discard", .with_view = delivery_main},
};

/* For tables whose parameters stand in main.cf. */
static const char *parameter(void *config, const char *name)
{
    return config_lookup(config, name);
}

static int run(const ServiceMain *entry, ServiceProcess *process)
{
    const ConfigScope scope = {
        .process_name = process->command, .service_name = process->name, .stress = "", .overrides = process->overrides};
    g_autoptr(GError) error = NULL;
    g_autoptr(MainCf) main_cf = main_cf_read(process->config_dir, &error);

    g_autoptr(Config) config = main_cf ? config_new(main_cf, &scope, &error) : NULL;
    if (config)
        table_set_parameters(parameter, config);
    if (config && process->chroot && geteuid() == 0)
        root_will_change(config_string(config, "queue_directory"));
    if (config && entry->with_file)
        return entry->with_file(process, main_cf);
    if (config)
        _exit(entry->with_view(process, config)); /* deliveries and threads of theirs may not have ended yet */
    log_fatal("%s", error->message);
    return 1;
}

int services_main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ServiceProcess) process = service_process_new(argc, argv, &error);

    if (!process) {
        log_fatal("%s", error->message);
        return 1;
    }
    /* One thread does most of the work, but any may have its turn: with an arena of its own each would keep as much
     * memory as a whole crowd of clients once took. */
    mallopt(M_ARENA_MAX, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(mains); i++)
        if (strcmp(mains[i].command, process->command) == 0)
            return run(&mains[i], process);
    log_fatal("there is no program %s", process->command);
    return 1;
}
