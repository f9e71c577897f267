/* smtpd.c - the SMTP server's process: reads what it needs, gives up root, serves. */
#include "smtpd/smtpd.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/protection.h"
#include "smtpd/auth_cyrus.h"
#include "smtpd/proxy.h"
#include "verify/cache.h"

#include <unistd.h>

#define COMMIT_PLACES 32   /* threads that may wait for the disk at once */
#define RESOLVER_TIMEOUT 5 /* seconds: a client whose name DNS does not tell is greeted as unknown then */
#define LOOKUP_PLACES 32   /* threads that may wait for lookup tables at once, where one of these asks another system */
#define MEMORY_SHARE 4     /* clients may make us hold this part of the machine's memory: one in so many */

static bool make_settings(SmtpdService *service, const MainCf *main_cf, GError **error)
{
    static const char *const stress[] = {"", "yes"};
    ServiceProcess *process = service->process;

    service->tickets = tls_tickets_map(process->tickets);
    fd_clear(&process->tickets);
    for (int i = 0; i < 2; i++) {
        ConfigScope scope = {.process_name = "smtpd",
                             .service_name = process->name,
                             .stress = stress[i],
                             .overrides = process->overrides};
        service->settings[i] =
            settings_new(main_cf, &scope, process->maxproc, service->tickets, service->settings[0], error);
        if (!service->settings[i])
            return false;
    }
    return true;
}

static bool open_queue(SmtpdService *service, GError **error)
{
    const Config *config = service->settings[0]->config;
    SpoolOptions options = {.directory = service->content_directory,
                            .long_ids = config_bool(config, "enable_long_queue_ids")};

    service->spool = spool_open(&options, error);
    if (!service->spool)
        return false;
    cleanup_use_spool(service->cleanup, service->spool);
    service->notify = queue_notify_open(".", error); /* $queue_directory, but short enough for a socket's name */
    return service->notify != NULL;
}

static bool open_prober(SmtpdService *service, GError **error)
{
    const VerifyOptions options = {.config = service->settings[0]->config,
                                   .route = service->settings[0]->route,
                                   .spool = service->spool,
                                   .cleanup = service->cleanup,
                                   .notify = service->notify};

    service->verify = verify_new(&options, error);
    service->prober = (Prober){&verify_inquiry, service->verify};
    return service->verify != NULL;
}

static bool filter_is_stressed(void *user)
{
    const SmtpdService *service = user;

    return service->slots && slots_has_waiters(service->slots);
}

static bool prepare(SmtpdService *service, const MainCf *main_cf, GError **error)
{
    if (!make_settings(service, main_cf, error))
        return false;
    service->resolver = resolver_open(service->settings[0]->config, RESOLVER_TIMEOUT, error);
    if (!service->resolver)
        return false;

    const Settings *settings = service->settings[0];
    const char *queue_directory = config_string(settings->config, "queue_directory");
    service->content_directory = g_build_filename(queue_directory, "gatepost", NULL);
    service->sink = !settings->proxy ? &sink_queue : settings->speed_adjust ? &sink_spooled : &sink_direct;
    service->server = server_new(service->process, error);
    if (!service->server)
        return false;
    service->sched = server_sched(service->server);
    server_account(service->server)->limit =
        (size_t)sysconf(_SC_PHYS_PAGES) / MEMORY_SHARE * (size_t)sysconf(_SC_PAGESIZE);
    service->content_account = g_new0(Account, 1);
    service->content_account->limit = (size_t)config_int(settings->config, "smtpd_content_memory_limit");
    service->content_account->name = "smtpd_content_memory_limit";
    bool may_probe = access_may_probe(settings->access) || access_may_probe(service->settings[1]->access);
    bool has_queue = !settings->proxy || may_probe;
    if (may_probe)
        verify_cache_will_read(settings->config);
    if ((has_queue && !(service->cleanup = cleanup_new(settings->config, error))) ||
        !auth_cyrus_start(settings, service->process->chroot, error) ||
        !protect(service->process, settings->config, &role_smtpd, error))
        return false;
    auth_cyrus_warn(settings);
    return (!has_queue || open_queue(service, error)) && (!may_probe || open_prober(service, error));
}

static void make_gates(SmtpdService *service)
{
    const Settings *settings = service->settings[0];

    service->policy =
        policy_client_new(service->sched, service->resolver, config_string(settings->config, "inet_protocols"));
    if (settings->sasl.endpoint)
        service->sasl = sasl_new_dovecot(service->sched, service->resolver, settings->sasl.endpoint,
                                         config_string(settings->config, "inet_protocols"), settings->sasl.service);
    else if (settings->sasl.cyrus_path)
        service->sasl = sasl_new_cyrus(service->sched, server_account(service->server));
    service->commit_gate = sched_gate_new(service->sched, COMMIT_PLACES);
    if (service->settings[0]->lookups_block || service->settings[1]->lookups_block)
        service->lookup_gate = sched_gate_new(service->sched, LOOKUP_PLACES);
    if (!settings->proxy)
        return;
    service->dial_gate = sched_gate_new(service->sched, (unsigned)settings->proxy_slots);
    service->slots = slots_new(service->process, service->sched, (unsigned)settings->proxy_slots,
                               (unsigned)settings->proxy_wait_limit, settings->proxy_wait_ms);
    slots_keep(service->slots, settings->proxy_idle_ms, proxy_forget);
    server_set_stress_hint(service->server, filter_is_stressed);
}

static void accepted(void *user, const Connection *connection)
{
    SmtpdService *service = user;
    Smtpd *smtpd = g_new0(Smtpd, 1);

    smtpd->service = service;
    smtpd->settings = service->settings[connection->stress];
    smtpd->connection = *connection;
    smtpd->protocol = "SMTP";
    session_start(service->sched, connection->fd, &smtpd_class, &smtpd->settings->limits,
                  server_account(service->server), server_closing(service->server), connection->number, smtpd);
}

static void release(SmtpdService *service)
{
    server_free(service->server);
    slots_free(service->slots);
    policy_client_free(service->policy);
    sasl_free(service->sasl);
    resolver_free(service->resolver);
    verify_free(service->verify);
    cleanup_free(service->cleanup);
    spool_free(service->spool);
    queue_notify_close(service->notify);
    settings_free(service->settings[0]);
    settings_free(service->settings[1]);
    tls_tickets_unmap(service->tickets);
    g_free(service->content_directory);
    g_free(service->content_account);
}

int smtpd_main(ServiceProcess *process, const MainCf *main_cf)
{
    SmtpdService service = {.process = process};
    g_autoptr(GError) error = NULL;
    bool ready = prepare(&service, main_cf, &error);

    if (ready) {
        make_gates(&service);
        resolver_start(service.resolver, service.sched);
        server_run(service.server, accepted, &service);
    } else {
        log_fatal("%s", error->message);
    }
    release(&service);
    return ready ? 0 : 1;
}

bool smtpd_check(const MainCf *main_cf, const ConfigScope *scope, int maxproc, bool chroot, GError **error)
{
    Settings *settings = settings_new(main_cf, scope, maxproc, NULL, NULL, error);
    bool is_good = settings && auth_cyrus_check(settings, chroot, error);

    settings_free(settings);
    return is_good;
}
