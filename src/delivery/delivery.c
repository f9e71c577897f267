/* delivery.c - starting an agent's process. */
#include "delivery/delivery.h"
#include "base/log.h"
#include "config/protection.h"
#include "delivery/frame.h"
#include "delivery/virtual.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const Agent *const agents[] = {&discard_agent, &error_agent, &smtp_agent, &virtual_agent};

static const Agent *find_agent(const char *command)
{
    for (size_t i = 0; i < G_N_ELEMENTS(agents); i++)
        if (strcmp(agents[i]->command, command) == 0)
            return agents[i];
    return NULL;
}

bool delivery_check(const char *command, const Config *config, GError **error)
{
    const Agent *agent = find_agent(command);

    return !agent || !agent->check || agent->check(config, error);
}

static bool listeners_are_right(const ServiceProcess *process)
{
    for (guint i = 0; i < process->listeners->len; i++) {
        int type = 0;
        socklen_t len = sizeof type;
        if (getsockopt(g_array_index(process->listeners, int, i), SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
            type != SOCK_SEQPACKET)
            return false;
    }
    return process->listeners->len > 0;
}

int delivery_main(ServiceProcess *process, const Config *config)
{
    const Agent *agent = find_agent(process->command);
    g_autoptr(GError) error = NULL;

    if (!agent || !listeners_are_right(process)) {
        log_fatal("service %s: %s", process->name,
                  agent ? "a delivery agent must be `unix`" : "no such delivery agent");
        return 1;
    }
    if (agent == &virtual_agent && geteuid() == 0 && !process->unprivileged)
        return virtual_run_as_root(process, config);
    const Frame frame = {.agent = agent,
                         .state = agent->open(config, process->name, &error),
                         .options = {.program = agent->command,
                                     .resolution = (int)config_int(config, "delay_logging_resolution_limit")}};
    if (!frame.state || !protect(process, config, role_of_agent(agent->command), &error)) {
        log_fatal("%s", error->message);
        return 1;
    }
    return frame_run(&frame, process);
}
