/* filter.c - the filter's process. */
#include "filter/filter.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/root.h"
#include "config/protection.h"
#include "filter/relay.h"
#include "quarantine/keeper.h"

#include <sys/epoll.h>

#define DEFAULT_PLACES 100         /* dialogues with the next hop where the line has no limit */
#define RESOLVER_TIMEOUT 20        /* seconds */
#define STATISTICS_MS (600 * 1000) /* as anvil(8) */
#define NO_ERROR_LIMIT G_MAXINT    /* our client is a server of ours: its clients' errors are not counted against it */

static bool open_nexthop(RelayService *service, GError **error)
{
    const Config *config = service->config;
    const char *name = config_string(config, "filter_nexthop");

    if (!*name)
        return fail(error, "filter_nexthop is empty: give the after-filter server's address, as in "
                           "-o filter_nexthop=127.0.0.1:10026");
    service->nexthop = endpoint_parse(name, config_string(config, "queue_directory"), 0, error);
    endpoint_announce(service->nexthop);
    if (!service->nexthop) {
        g_prefix_error(error, "filter_nexthop: ");
        return false;
    }
    if (!hop_tls_open(config, "filter_tls_security_level", &service->nexthop_tls, error))
        return false;
    service->resolver = resolver_open(config, RESOLVER_TIMEOUT, error);
    return service->resolver != NULL;
}

/* All that comes from the configuration. */
static bool configure(RelayService *service, const MainCf *main_cf, const ConfigScope *scope, GError **error)
{
    service->config = config_new(main_cf, scope, error);
    if (!service->config || !open_nexthop(service, error))
        return false;
    service->authorized =
        match_list_new("filter_authorized_hosts", config_string(service->config, "filter_authorized_hosts"), 0, error);
    if (!service->authorized)
        return false;
    service->inspectors = inspectors_open(service->config, error);
    service->quarantine_directory = config_string(service->config, "quarantine_directory");
    if (!service->inspectors ||
        (!inspectors_are_none(service->inspectors) && !root_check_below(service->quarantine_directory, error)))
        return false;
    service->inet_protocols = config_string(service->config, "inet_protocols");
    service->timeout_ms = config_seconds(service->config, "filter_timeout") * 1000;
    service->limits = (SessionLimits){
        .hostname = config_string(service->config, "myhostname"),
        .timeout_ms = config_seconds(service->config, "smtpd_timeout") * 1000,
        .line_max = (size_t)config_int(service->config, "line_length_limit"),
        .soft_error_limit = NO_ERROR_LIMIT,
        .hard_error_limit = NO_ERROR_LIMIT,
        .junk_limit = NO_ERROR_LIMIT,
    };
    service->content_directory = g_build_filename(config_string(service->config, "queue_directory"), "gatepost", NULL);
    gint64 size_max = config_int(service->config, "message_size_limit");
    service->size_max = size_max > 0 ? (guint64)size_max : G_MAXUINT64;
    service->deadline_ms = config_seconds(service->config, "filter_deadline") * 1000;
    return true;
}

static bool prepare(RelayService *service, const MainCf *main_cf, GError **error)
{
    ServiceProcess *process = service->process;
    const ConfigScope scope = {
        .process_name = "filter", .service_name = process->name, .stress = "", .overrides = process->overrides};

    if (!configure(service, main_cf, &scope, error))
        return false;
    service->server = server_new(process, error);
    if (!service->server)
        return false;
    service->content_account.limit = (size_t)config_int(service->config, "filter_content_memory_limit");
    service->content_account.name = "filter_content_memory_limit";
    service->place = (ContentPlace){.directory = service->content_directory, .account = &service->content_account};
    return protect(process, service->config, &role_filter, error);
}

/* A quarantine that cannot be used is known before the first message needs it; until then the others are served. */
static void open_quarantine(RelayService *service)
{
    g_autoptr(GError) error = NULL;

    if (inspectors_are_none(service->inspectors))
        return;
    service->quarantine = quarantine_open(root_path(service->quarantine_directory), &error);
    if (!service->quarantine) {
        log_warning("quarantine %s: %s; what should go there will be deferred", service->quarantine_directory,
                    error->message);
        return;
    }
    QuarantineLimits limits = {.max_age_s = config_seconds(service->config, "quarantine_max_age"),
                               .max_size = config_int(service->config, "quarantine_max_size")};
    quarantine_keeper_add(server_sched(service->server), service->quarantine, &limits);
}

/* A process whose inspectors can never answer again makes room for one whose can. */
static Step inspector_gone(void *data, TaskRef self, unsigned reasons)
{
    RelayService *service = data;

    if (!(reasons & (WAKE_INPUT | WAKE_HANGUP)))
        return step_park(EPOLLIN, CLOCK_NEVER);
    log_error("a process that runs inspectors is gone: starting anew");
    server_retire(service->server);
    return step_end();
}

static void watched_free(void *data)
{
}

static Step log_statistics(void *data, TaskRef self, unsigned reasons)
{
    const RelayService *service = data;

    if (reasons & WAKE_TIMER) {
        log_set_number(0);
        inspectors_log_statistics(service->inspectors);
    }
    return step_park(0, clock_ms() + STATISTICS_MS);
}

static void watch_inspectors(RelayService *service)
{
    g_autoptr(GArray) descriptors = inspectors_descriptors(service->inspectors);

    sched_add(server_sched(service->server), -1, log_statistics, watched_free, service);
    for (guint i = 0; i < descriptors->len; i++)
        sched_add(server_sched(service->server), g_array_index(descriptors, int, i), inspector_gone, watched_free,
                  service);
}

static void accepted(void *user, const Connection *connection)
{
    RelayService *service = user;

    session_start(server_sched(service->server), connection->fd, &relay_class, &service->limits,
                  server_account(service->server), server_closing(service->server), connection->number,
                  relay_new(service, connection));
}

static void release(RelayService *service)
{
    server_free(service->server);
    inspectors_close(service->inspectors);
    quarantine_free(service->quarantine);
    g_free(service->content_directory);
    resolver_free(service->resolver);
    match_list_free(service->authorized);
    endpoint_free(service->nexthop);
    hop_tls_free(service->nexthop_tls);
    config_free(service->config);
}

int filter_main(ServiceProcess *process, const MainCf *main_cf)
{
    RelayService service = {.process = process};
    g_autoptr(GError) error = NULL;
    bool ready = prepare(&service, main_cf, &error);

    if (ready) {
        int places = process->maxproc > 0 ? process->maxproc : DEFAULT_PLACES;
        open_quarantine(&service);
        watch_inspectors(&service);
        service.gate = sched_gate_new(server_sched(service.server), (unsigned)places);
        resolver_start(service.resolver, server_sched(service.server));
        server_run(service.server, accepted, &service);
        inspectors_log_statistics(service.inspectors);
    } else {
        log_fatal("%s", error->message);
    }
    release(&service);
    return ready ? 0 : 1;
}

bool filter_check(const MainCf *main_cf, const ConfigScope *scope, GError **error)
{
    RelayService service = {.process = NULL};
    bool is_good = configure(&service, main_cf, scope, error);

    release(&service);
    return is_good;
}
