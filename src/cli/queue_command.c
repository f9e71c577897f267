/* queue_command.c - asks the queue manager for what only it knows, and reads the rest from the store itself. */
#include "cli/queue_command.h"
#include "base/log.h"
#include "cli/queue_list.h"
#include "config/config.h"
#include "spool/queue_notify.h"

#include <errno.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#define USAGE "usage: %s -f | %s -i queueid | %s -j | %s -p"
#define ANSWER_MS 10000
#define SEND_TRIES 50
#define SEND_PAUSE_US 20000

typedef struct {
    enum { NO_ACTION, LIST, LIST_JSON, FLUSH, TRY_ONE } action;
    const char *id;
    const char *config_dir;
} Options;

static bool read_options(int argc, char **argv, Options *options)
{
    int option;

    optind = 0;
    while ((option = getopt(argc, argv, "c:C:fi:jpv")) != -1) {
        int before = (int)options->action;
        switch (option) {
        case 'c':
        case 'C':
            options->config_dir = optarg;
            continue;
        case 'v':
            log_set_verbose(log_verbose() + 1);
            continue;
        case 'f':
            options->action = FLUSH;
            break;
        case 'i':
            options->action = TRY_ONE;
            options->id = optarg;
            break;
        case 'j':
            options->action = LIST_JSON;
            break;
        case 'p':
            options->action = LIST;
            break;
        default:
            return false;
        }
        if (before != NO_ACTION && before != (int)options->action)
            return false;
    }
    return options->action != NO_ACTION && optind == argc;
}

static int list(const Config *config, QueueNotify *notify, QueueListForm form)
{
    g_autofree char *directory = g_strconcat(config_string(config, "queue_directory"), "/gatepost", NULL);
    bool long_ids = config_bool(config, "enable_long_queue_ids");
    g_autoptr(GError) error = NULL;
    g_autoptr(Spool) spool = spool_open_to_read(directory, &error);
    QueueList queue;

    if (!spool) {
        log_fatal("%s", error->message);
        return EX_UNAVAILABLE;
    }
    g_autoptr(GPtrArray) active = queue_ask_active(notify, ANSWER_MS, &error);
    if (!active)
        log_warning("Mail system is down -- accessing queue directly (%s)", error->message);
    g_clear_error(&error);
    if (!queue_list_read(spool, active, form, long_ids, &queue, &error)) {
        log_fatal("%s", error->message);
        return EX_UNAVAILABLE;
    }
    g_autoptr(GString) text = queue_list_text(&queue, form, long_ids);
    queue_list_clear(&queue);
    if (fwrite(text->str, 1, text->len, stdout) != text->len || fflush(stdout) != 0) {
        log_fatal("write to standard output failed");
        return EX_IOERR;
    }
    return 0;
}

static bool is_queue_name(const char *id)
{
    return id[0] && id[strspn(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")] == '\0';
}

static int notify_manager(QueueNotify *notify, QueueNotifyKind kind, const char *id)
{
    if (id && !is_queue_name(id)) {
        log_fatal("Cannot flush queue ID - invalid name: \"%s\"", id);
        return EX_UNAVAILABLE;
    }
    if (id && !id_is_valid(id))
        return 0; /* no message has such an id */
    for (int i = 0; i < SEND_TRIES; i++) {
        if (queue_notify_send(notify, kind, id))
            return 0;
        if (errno != EAGAIN)
            break;
        g_usleep(SEND_PAUSE_US); /* its socket is full: it runs, and has much to do */
    }
    if (errno == ECONNREFUSED || errno == ENOENT)
        log_fatal("Cannot flush mail queue - mail system is down");
    else
        log_fatal("Cannot flush mail queue - %s", g_strerror(errno));
    return EX_UNAVAILABLE;
}

static int run(const Options *options, const Config *config)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(QueueNotify) notify = queue_notify_open(config_string(config, "queue_directory"), &error);

    if (!notify) {
        log_fatal("%s", error->message);
        return EX_UNAVAILABLE;
    }
    switch (options->action) {
    case FLUSH:
        return notify_manager(notify, QUEUE_NOTIFY_FLUSH, NULL);
    case TRY_ONE:
        return notify_manager(notify, QUEUE_NOTIFY_TRY, options->id);
    case LIST_JSON:
        return list(config, notify, QUEUE_LIST_JSON);
    case LIST:
    case NO_ACTION:
        break;
    }
    return list(config, notify, QUEUE_LIST_TEXT);
}

int queue_command(int argc, char **argv, const char *config_dir)
{
    Options options = {.config_dir = config_dir};
    g_autoptr(GError) error = NULL;

    log_set_tag(NULL, argv[0]);
    if (!read_options(argc, argv, &options)) {
        log_fatal(USAGE, argv[0], argv[0], argv[0], argv[0]);
        return EX_UNAVAILABLE; /* Postfix's status for this */
    }
    g_autoptr(MainCf) main_cf = main_cf_read(options.config_dir, &error);
    g_autoptr(Config) config =
        main_cf ? config_new(main_cf, &(ConfigScope){.process_name = argv[0], .stress = ""}, &error) : NULL;
    if (!config) {
        log_fatal("%s", error->message);
        return EX_CONFIG;
    }
    return run(&options, config);
}
