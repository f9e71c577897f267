/* spawn.c - the spawn service's process. */
#include "spawn/spawn.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/runner.h"
#include "config/protection.h"
#include "smtp/server.h"
#include "spawn/spawn_attributes.h"

#include <sys/epoll.h>
#include <unistd.h>

#define GATE_PLACES 4        /* threads that may wait for the runner at once */
#define RUNNER_WAIT_MS 10000 /* for a runner that takes no request */
#define DEFAULT_PATH "/usr/bin:/bin"

typedef struct {
    Server *server;
    Runner *runner;
    Gate *gate;
    SpawnAttributes attributes;
    char **environment;
    gint64 time_limit_ms;
} SpawnService;

/* A connection and its program. */
typedef struct {
    SpawnService *service;
    guint64 number;
    int connection; /* until the program has it */
    int run;        /* from runner_begin() on */
    gint64 deadline;
} Spawned;

static void report(const Spawned *spawned, const RunnerResult *result)
{
    const char *command = spawned->service->attributes.argv[0];

    if (result->kind == RUN_FAILED)
        log_warning("command %s cannot be started: %s", command, g_strerror(result->value));
    else if (result->kind == RUN_KILLED)
        log_warning("command %s killed by signal %d", command, result->value);
    else if (result->value != 0)
        log_warning("command %s exit status %d", command, result->value);
}

/* Behind the gate. */
static Step begin(Spawned *spawned, TaskRef self)
{
    SpawnService *service = spawned->service;
    g_autoptr(GError) error = NULL;
    RunnerRequest request = {.argv = service->attributes.argv,
                             .environment = service->environment,
                             .input = spawned->connection,
                             .output = spawned->connection,
                             .errors = spawned->connection};

    fd_set_nonblock(spawned->connection, false); /* programs do not expect it */
    spawned->run = runner_begin(service->runner, &request, clock_ms() + RUNNER_WAIT_MS, &error);
    fd_clear(&spawned->connection);
    if (spawned->run < 0) {
        log_warning("command %s: %s", service->attributes.argv[0], error->message);
        return step_end();
    }
    sched_change_fd(server_sched(service->server), self, spawned->run);
    spawned->deadline = clock_ms() + service->time_limit_ms;
    return step_park(EPOLLIN, spawned->deadline);
}

static Step spawned_run(void *data, TaskRef self, unsigned reasons)
{
    Spawned *spawned = data;
    RunnerResult result;

    log_set_number(spawned->number);
    if (spawned->run < 0)
        return reasons & WAKE_GATE ? begin(spawned, self) : step_gate(spawned->service->gate, CLOCK_NEVER);
    if (reasons & (WAKE_INPUT | WAKE_HANGUP)) {
        sched_change_fd(server_sched(spawned->service->server), self, -1);
        if (runner_finish(fd_steal(&spawned->run), &result, NULL, NULL))
            report(spawned, &result);
        return step_end();
    }
    if (clock_ms() >= spawned->deadline) {
        log_warning("%s: command time limit exceeded", spawned->service->attributes.argv[0]);
        return step_end();
    }
    return step_park(EPOLLIN, spawned->deadline);
}

/* A program that still runs is killed with that. */
static void spawned_free(void *data)
{
    Spawned *spawned = data;

    fd_clear(&spawned->connection);
    fd_clear(&spawned->run);
    server_session_ended(spawned->service->server);
    g_free(spawned);
}

static void accepted(void *user, const Connection *connection)
{
    SpawnService *service = user;
    Spawned *spawned = g_new0(Spawned, 1);

    spawned->service = service;
    spawned->number = connection->number;
    spawned->connection = connection->fd;
    spawned->run = -1;
    sched_add(server_sched(service->server), -1, spawned_run, spawned_free, spawned);
}

/* Without the runner no connection can be served any more: the next process has a new one. */
static Step runner_gone(void *data, TaskRef self, unsigned reasons)
{
    SpawnService *service = data;

    if (!(reasons & (WAKE_INPUT | WAKE_HANGUP)))
        return step_park(EPOLLIN, CLOCK_NEVER);
    log_error("the process that starts commands is gone: starting anew");
    server_retire(service->server);
    return step_end();
}

static void watched_free(void *data)
{
}

/* export_environment: names, and "name=value" */
static char **make_environment(const Config *config)
{
    g_autoptr(GPtrArray) words = config_split(config_string(config, "export_environment"));
    char **environment = g_new0(char *, 1);

    environment = g_environ_setenv(environment, "PATH", DEFAULT_PATH, TRUE);
    for (guint i = 0; i < words->len; i++) {
        g_auto(GStrv) pair = g_strsplit(g_ptr_array_index(words, i), "=", 2);
        const char *value = pair[0] && pair[1] ? pair[1] : g_getenv(pair[0]);
        if (value)
            environment = g_environ_setenv(environment, pair[0], value, TRUE);
    }
    return environment;
}

static bool prepare(SpawnService *service, ServiceProcess *process, const Config *config, GError **error)
{
    const char *owner = config_string(config, "mail_owner");

    if (!spawn_attributes_parse(process->arguments, owner, &service->attributes, error))
        return false;
    service->environment = make_environment(config);
    service->time_limit_ms =
        config_transport_seconds(config, process->name, "_time_limit", "command_time_limit") * 1000;
    RunnerProgram program = {.program = service->attributes.program,
                             .user = service->attributes.user,
                             .group = service->attributes.group,
                             .directory = config_string(config, "queue_directory")};
    service->runner = runner_start(&program, error);
    if (!service->runner)
        return false;
    service->server = server_new(process, error);
    return service->server && protect(process, config, &role_spawn, error);
}

int spawn_main(ServiceProcess *process, const Config *config)
{
    SpawnService service = {0};
    g_autoptr(GError) error = NULL;
    bool ready = prepare(&service, process, config, &error);

    if (ready) {
        service.gate = sched_gate_new(server_sched(service.server), GATE_PLACES);
        sched_add(server_sched(service.server), runner_descriptor(service.runner), runner_gone, watched_free, &service);
        server_run(service.server, accepted, &service);
    } else {
        log_fatal("%s", error->message);
    }
    server_free(service.server);
    runner_stop(service.runner);
    spawn_attributes_clear(&service.attributes);
    g_strfreev(service.environment);
    return ready ? 0 : 1;
}

bool spawn_check(const Config *config, const GPtrArray *arguments, GError **error)
{
    SpawnAttributes attributes;
    bool is_good = spawn_attributes_parse(arguments, config_string(config, "mail_owner"), &attributes, error);

    if (is_good)
        spawn_attributes_clear(&attributes);
    return is_good;
}
