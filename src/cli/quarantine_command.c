/* quarantine_command.c - does what an administrator wants of the quarantine. */
#include "cli/quarantine_command.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/service.h"
#include "cli/quarantine_hops.h"
#include "cli/quarantine_options.h"
#include "cli/quarantine_show.h"
#include "config/config.h"
#include "quarantine/release.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define RESOLVER_TIMEOUT 20    /* seconds */
#define BASE64_PIECE (3 << 14) /* octets; a multiple of 3, so that pieces join */

typedef struct {
    const QuarantineOptions *options;
    const Config *config;
    Quarantine *quarantine;
    QuarantineRelease release;
    QuarantineHops *hops;
    bool failed; /* something was not done; it was said */
} Command;

static void complain(Command *command, const GError *error)
{
    log_error("%s", error->message);
    command->failed = true;
}

static bool print(Command *command, const GString *text)
{
    if (fwrite(text->str, 1, text->len, stdout) == text->len)
        return true;
    log_error("write to standard output failed");
    command->failed = true;
    return false;
}

/* ---- content ---- */

typedef struct {
    Command *command;
    GString *text;
    bool raw;
} Printing;

static bool print_piece(void *user, const char *data, size_t len, bool ends_line)
{
    Printing *printing = user;

    g_string_truncate(printing->text, 0);
    if (printing->raw) {
        g_string_append_len(printing->text, data, (gssize)len);
        if (ends_line)
            g_string_append_c(printing->text, '\n');
    } else {
        quarantine_append_content(printing->text, data, len, ends_line);
    }
    return print(printing->command, printing->text);
}

static Content *open_content(Command *command, const char *id)
{
    g_autoptr(GError) error = NULL;
    struct stat status;
    auto_fd fd = quarantine_open_content(command->quarantine, id, &error);

    if (fd >= 0 && fstat(fd, &status) == 0)
        return content_of_file(fd_steal(&fd), status.st_size);
    if (error)
        complain(command, error);
    return NULL;
}

static void print_content(Command *command, const char *id, bool raw)
{
    g_autoptr(GString) text = g_string_new(NULL);
    Printing printing = {.command = command, .text = text, .raw = raw};
    Content *content = open_content(command, id);

    if (content && !content_replay(content, print_piece, &printing) && content_failed(content)) {
        log_error("%s: %s", id, g_strerror(content_failed(content)));
        command->failed = true;
    }
    content_free(content);
}

/* In base64, as JSON has no octets. */
static void print_json_content(Command *command, const QuarantineRecord *record)
{
    g_autoptr(GError) error = NULL;
    auto_fd fd = quarantine_open_content(command->quarantine, record->id, &error);
    g_autofree guchar *piece = g_malloc(BASE64_PIECE);
    g_autoptr(GString) text = g_string_new(", \"content\": \"");

    if (fd < 0) {
        complain(command, error);
        return;
    }
    for (guint64 at = 0; at < record->size && print(command, text); at += BASE64_PIECE) {
        size_t len = (size_t)MIN(record->size - at, BASE64_PIECE);
        g_string_truncate(text, 0);
        if (!fd_pread_all(fd, piece, len, (off_t)at)) {
            log_error("%s: the content cannot be read", record->id);
            command->failed = true;
            break;
        }
        g_autofree char *encoded = g_base64_encode(piece, len);
        g_string_append(text, encoded);
    }
    g_string_append_c(text, '"');
    print(command, text);
}

/* ---- list, show ---- */

static void list_one(Command *command, const QuarantineRecord *record)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (command->options->json) {
        quarantine_append_json(text, record);
        g_string_append(text, "}\n");
    } else {
        quarantine_append_line(text, record);
    }
    print(command, text);
}

static void show_one(Command *command, const QuarantineRecord *record)
{
    const QuarantineOptions *options = command->options;
    g_autoptr(GString) text = g_string_new(NULL);

    if (options->raw) {
        print_content(command, record->id, true);
        return;
    }
    if (!options->json) {
        quarantine_append_text(text, record);
        g_string_append_c(text, '\n');
        print(command, text);
        if (options->content)
            print_content(command, record->id, false);
        return;
    }
    quarantine_append_json(text, record);
    print(command, text);
    if (options->content)
        print_json_content(command, record);
    g_string_assign(text, "}\n");
    print(command, text);
}

/* ---- release, delete ---- */

/* What became of one: a line, on standard error when it was not done. */
static void tell(Command *command, const char *id, const char *done, const char *more, const GError *error)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (error && !command->options->json) {
        complain(command, error);
        return;
    }
    command->failed = command->failed || error;
    if (command->options->json) {
        g_string_append(text, "{\"id\": ");
        json_append_string(text, id);
        g_string_append_printf(text, ", \"%s\": %s, \"text\": ", done, error ? "false" : "true");
        json_append_string(text, error ? error->message : more);
        g_string_append_printf(text, ", \"uncertain\": %s}\n",
                               g_error_matches(error, QUARANTINE_ERROR, QUARANTINE_ERROR_UNCERTAIN) ? "true" : "false");
    } else {
        g_autofree char *shown = log_quote(more, strlen(more));
        g_string_append_printf(text, "%s: %s%s%s\n", id, done, *shown ? ": " : "", shown);
    }
    print(command, text);
}

static void release_one(Command *command, const char *id)
{
    g_autofree char *reply = NULL;
    g_autoptr(GError) error = NULL;

    quarantine_release(command->quarantine, id, &command->release, &reply, &error);
    tell(command, id, "released", reply ? reply : "", error);
}

static void delete_one(Command *command, const char *id)
{
    g_autoptr(GError) error = NULL;

    quarantine_delete(command->quarantine, id, &error);
    tell(command, id, "deleted", "", error);
}

/* ---- which ---- */

/* Released ones are named by id, or by --state, before anything is done to them again. */
static GPtrArray *find(Command *command)
{
    QuarantineFilter filter = command->options->filter;
    g_autoptr(GError) error = NULL;

    if (command->options->action == QUARANTINE_RELEASE && filter.states == 0)
        filter.states = 1u << QUARANTINE_HELD | 1u << QUARANTINE_RELEASING;
    GPtrArray *ids = quarantine_find(command->quarantine, &filter, &error);
    if (!ids)
        complain(command, error);
    return ids;
}

static void handle(Command *command, const char *id, bool named)
{
    g_autoptr(GError) error = NULL;

    if (command->options->action == QUARANTINE_RELEASE) {
        release_one(command, id);
        return;
    }
    if (command->options->action == QUARANTINE_DELETE) {
        delete_one(command, id);
        return;
    }
    g_autoptr(QuarantineRecord) record = quarantine_load(command->quarantine, id, &error);
    if (!record) {
        /* found, and deleted by somebody since */
        if (named || !g_error_matches(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND))
            complain(command, error);
        return;
    }
    if (command->options->action == QUARANTINE_LIST)
        list_one(command, record);
    else
        show_one(command, record);
}

static void handle_all(Command *command)
{
    bool named = command->options->ids->len > 0;
    g_autoptr(GPtrArray) ids = named ? g_ptr_array_ref(command->options->ids) : find(command);

    for (guint i = 0; ids && i < ids->len; i++)
        handle(command, g_ptr_array_index(ids, i), named);
}

/* ---- expire ---- */

static void expire(Command *command)
{
    QuarantineLimits limits = {.max_age_s = config_seconds(command->config, "quarantine_max_age"),
                               .max_size = config_int(command->config, "quarantine_max_size")};
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    QuarantineExpired expired;

    if (!quarantine_expire(command->quarantine, &limits, &expired, &error))
        complain(command, error);
    g_string_printf(text,
                    command->options->json ? "{\"by_age\": %" G_GUINT64_FORMAT ", \"by_size\": %" G_GUINT64_FORMAT
                                             ", \"garbage\": %" G_GUINT64_FORMAT "}\n"
                                           : "removed: %" G_GUINT64_FORMAT " by age, %" G_GUINT64_FORMAT
                                             " by size, %" G_GUINT64_FORMAT " left by crashes\n",
                    expired.by_age, expired.by_size, expired.garbage);
    print(command, text);
}

/* ---- the whole ---- */

/* For the history of a message. */
static char *caller_name(void)
{
    const char *name = getenv("SUDO_USER");
    const struct passwd *entry = getpwuid(getuid());

    if (getuid() == 0 && name && *name)
        return g_strdup(name);
    return entry ? g_strdup(entry->pw_name) : g_strdup_printf("user id %u", (unsigned)getuid());
}

static Resolver *prepare_release(Command *command, const char *who, GError **error)
{
    const Config *config = command->config;

    command->hops = quarantine_hops_open(command->options->config_dir, config, error);
    if (!command->hops)
        return NULL;
    const char *nexthop =
        command->options->nexthop ? command->options->nexthop : config_string(config, "quarantine_nexthop");

    command->release = (QuarantineRelease){
        .resolver = resolver_open(config, RESOLVER_TIMEOUT, error),
        .families = config_string(config, "inet_protocols"),
        .base_dir = config_string(config, "queue_directory"),
        .nexthop = *nexthop ? nexthop : NULL,
        .hostname = config_string(config, "myhostname"),
        .timeout_ms = config_seconds(config, "filter_timeout") * 1000,
        .find_tls = quarantine_hops_find,
        .tls_user = command->hops,
        .who = who,
        .recipient = command->options->filter.recipient,
        .force = command->options->force,
    };
    return command->release.resolver;
}

static int run(Command *command)
{
    const char *directory = config_string(command->config, "quarantine_directory");
    g_autofree char *who = caller_name();
    g_autoptr(GError) error = NULL;
    Resolver *resolver = NULL;
    bool ready =
        command->options->action != QUARANTINE_RELEASE || (resolver = prepare_release(command, who, &error)) != NULL;

    umask(077);
    if (ready && service_drop_privileges(config_string(command->config, "mail_owner"), &error) &&
        (command->quarantine = quarantine_open(directory, &error))) {
        if (command->options->action == QUARANTINE_EXPIRE)
            expire(command);
        else
            handle_all(command);
        if (fflush(stdout) != 0)
            command->failed = true;
    } else {
        log_fatal("%s", error->message);
    }
    int status = !command->quarantine ? EX_UNAVAILABLE : command->failed ? 1 : 0;
    quarantine_free(command->quarantine);
    resolver_free(resolver);
    quarantine_hops_free(command->hops);
    return status;
}

int quarantine_command(int argc, char **argv, const char *config_dir)
{
    QuarantineOptions options = {.config_dir = config_dir};
    g_autofree char *usage = NULL;
    g_autoptr(GError) error = NULL;
    int status = EX_USAGE;

    log_set_tag(NULL, argv[0]);
    bool understood = quarantine_options_read(argc, argv, clock_wall_us(), &options, &usage);
    if (understood && options.raw && isatty(STDOUT_FILENO)) {
        usage = g_strdup("--raw is not for a terminal: the message could do things to it; see --content");
        understood = false;
    }
    if (!understood) {
        log_fatal("%s", usage);
    } else {
        g_autoptr(MainCf) main_cf = main_cf_read(options.config_dir, &error);
        g_autoptr(Config) config =
            main_cf ? config_new(main_cf, &(ConfigScope){.process_name = argv[0], .stress = ""}, &error) : NULL;
        Command command = {.options = &options, .config = config};
        if (!config)
            log_fatal("%s", error->message);
        status = config ? run(&command) : EX_CONFIG;
    }
    quarantine_options_clear(&options);
    return status;
}
