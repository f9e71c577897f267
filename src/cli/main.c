/* main.c - the command line of all names that this program has. */
#include "base/log.h"
#include "cli/config_command.h"
#include "cli/control.h"
#include "cli/map_command.h"
#include "cli/quarantine_command.h"
#include "cli/queue_command.h"
#include "cli/services.h"
#include "cli/trace_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define USAGE "Usage: gatepost start (or stop, reload, abort, flush, check, status, start-fg, logrotate)"

static const char *default_config_dir(void)
{
    const char *dir = getenv("MAIL_CONFIG");

    return dir && *dir ? dir : "/etc/postfix";
}

/* Commands with arguments of their own, each also a program's name as Postfix's. */
typedef int ToolCommand(int argc, char **argv, const char *config_dir);
static const struct {
    const char *command;
    const char *program;
    const char *fixed; /* the first argument under that name; NULL: none */
    ToolCommand *run;
} tools[] = {
    {"config", "postconf", NULL, config_command},
    {"map", "postmap", NULL, map_command},
    {"alias", "postalias", NULL, map_command},
    {"queue", "postqueue", NULL, queue_command},
    {"mailq", "mailq", "-p", queue_command},
    {"quarantine", "quarantine", NULL, quarantine_command},
    {"trace", "trace", NULL, trace_command},
};

static int run_tool(size_t index, int argc, char **argv, const char *config_dir)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();

    g_ptr_array_add(words, (char *)tools[index].program); /* what its messages begin with */
    if (tools[index].fixed)
        g_ptr_array_add(words, (char *)tools[index].fixed);
    for (int i = 1; i < argc; i++)
        g_ptr_array_add(words, argv[i]);
    g_ptr_array_add(words, NULL);
    return tools[index].run((int)words->len - 1, (char **)words->pdata, config_dir);
}

static int usage(const char *word)
{
    log_set_tag("postfix", "postfix-script");
    if (word)
        log_fatal("unknown command: '%s'. " USAGE, word);
    else
        log_fatal(USAGE);
    return 1;
}

static int run_command(int argc, char **argv)
{
    const char *config_dir = default_config_dir();
    int option;

    while ((option = getopt(argc, argv, "+c:v")) != -1) {
        if (option == 'c')
            config_dir = optarg;
        else if (option == 'v')
            log_set_verbose(log_verbose() + 1);
        else
            return usage(NULL);
    }
    argc -= optind;
    argv += optind;
    if (argc < 1)
        return usage(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tools); i++)
        if (strcmp(argv[0], tools[i].command) == 0) {
            optind = 0; /* it reads its own options from the start */
            return run_tool(i, argc, argv, config_dir);
        }
    ControlCommand *command = control_find(argv[0]);
    if (!command || argc > 1)
        return usage(command ? argv[1] : argv[0]);
    close_range(STDERR_FILENO + 1, ~0U, 0); /* what a caller forgot to close must not live on in the background */
    umask(022);
    return command(config_dir);
}

int main(int argc, char **argv)
{
    if (argc < 1)
        return 1;
    g_autofree char *name = g_path_get_basename(argv[0]);

    if (argc > 1 && strcmp(argv[1], "--service") == 0)
        return services_main(argc, argv);
    for (size_t i = 0; i < G_N_ELEMENTS(tools); i++)
        if (strcmp(name, tools[i].program) == 0)
            return run_tool(i, argc, argv, default_config_dir());
    return run_command(argc, argv);
}
