/* trace_command.c - shows the way of a message from the log. */
#include "cli/trace_command.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "cli/time_option.h"
#include "cli/trace_files.h"
#include "cli/trace_list.h"
#include "cli/trace_show.h"
#include "config/config.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define USAGE "usage: trace [--since time] [--until time] [--log file] [--json] [--client name-or-address | id]"

typedef struct {
    const char *config_dir, *id, *client;
    gint64 since_us, until_us; /* 0: not given */
    GPtrArray *logs;           /* of const char * */
    bool json;
} Options;

/* One pass over the log. */
typedef struct {
    const Options *options;
    TraceFind *find; /* NULL: a list is wanted */
    TraceList *list;
    bool candidates; /* the pass for them */
    guint rows;
    bool failed;
    char stamp[64]; /* the last line's, which the next one mostly shares */
    gint64 stamp_written_us, stamp_us;
} Pass;

static void print(Pass *pass, const GString *text)
{
    if (fwrite(text->str, 1, text->len, stdout) == text->len || pass->failed)
        return;
    log_error("write to standard output failed");
    pass->failed = true;
}

/* ---- options ---- */

static bool read_options(int argc, char **argv, Options *options, char **ret_usage)
{
    static const struct option table[] = {
        {"client", required_argument, NULL, 'C'}, {"since", required_argument, NULL, 'S'},
        {"until", required_argument, NULL, 'U'},  {"log", required_argument, NULL, 'L'},
        {"json", no_argument, NULL, 'J'},         {NULL, 0, NULL, 0}};
    gint64 now_us = clock_wall_us();
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, "c:", table, NULL)) != -1) {
        bool fine = true;
        if (option == 'c')
            options->config_dir = optarg;
        else if (option == 'C')
            options->client = optarg;
        else if (option == 'L')
            g_ptr_array_add(options->logs, optarg);
        else if (option == 'J')
            options->json = true;
        else
            fine = option != '?' &&
                   time_option_parse(optarg, now_us, option == 'S' ? &options->since_us : &options->until_us);
        if (!fine)
            *ret_usage = option == '?' ? g_strdup_printf("bad option, or its value is missing: %s", argv[optind - 1])
                                       : g_strdup_printf("not a time: %s", optarg);
        if (!fine)
            return false;
    }
    options->id = argv[optind];
    if (argc - optind > 1)
        *ret_usage = g_strdup(USAGE);
    else if (options->id && options->client)
        *ret_usage = g_strdup("an id or --client, not both");
    else if (options->id && !*options->id)
        *ret_usage = g_strdup(USAGE);
    return !*ret_usage;
}

/* ---- lines ---- */

static gint64 time_of(Pass *pass, const TraceLine *line, gint64 written_us)
{
    bool fits = line->stamp.len < sizeof pass->stamp;

    if (fits && written_us == pass->stamp_written_us && trace_text_is(line->stamp, pass->stamp))
        return pass->stamp_us;
    pass->stamp_us = trace_line_time(line, written_us);
    pass->stamp_written_us = written_us;
    memcpy(pass->stamp, line->stamp.at, fits ? line->stamp.len : 0);
    pass->stamp[fits ? line->stamp.len : 0] = '\0';
    return pass->stamp_us;
}

static void take_line(void *user, const char *raw, gint64 written_us)
{
    Pass *pass = user;
    TraceLine line;

    if (!trace_line_parse(raw, &line))
        return;
    gint64 time_us = time_of(pass, &line, written_us);
    if (time_us < pass->options->since_us || (pass->options->until_us && time_us > pass->options->until_us))
        return;
    if (pass->list)
        trace_list_feed(pass->list, &line, time_us);
    else if (pass->candidates)
        trace_find_feed_candidate(pass->find, &line, time_us);
    else
        trace_find_feed(pass->find, &line, raw, time_us);
}

/* ---- what is found ---- */

static TraceText whole(const char *text)
{
    return (TraceText){text, text ? strlen(text) : 0};
}

static void append_json_row(GString *out, const TraceRow *row)
{
    g_string_append_printf(out, "{\"time\": %" G_GINT64_FORMAT, row->time_us / G_USEC_PER_SEC);
    trace_append_json_text(out, "id", whole(row->id));
    trace_append_json_text(out, "client", whole(row->client));
    trace_append_json_text(out, "sender", whole(row->sender));
    trace_append_json_text(out, "recipient", whole(row->recipient));
    trace_append_json_text(out, "verdict", whole(row->verdict));
    trace_append_json_text(out, "text", whole(row->text));
    g_string_append(out, "}\n");
}

static void append_row(GString *out, const TraceRow *row)
{
    trace_append_time(out, row->time_us);
    g_string_append(out, "  ");
    gsize start = out->len;
    trace_append_quoted(out, whole(row->id ? row->id : "-"));
    g_string_append_printf(out, "%*s  ", (int)MAX(12 - (gssize)(out->len - start), 0), "");
    trace_append_quoted(out, whole(row->client ? row->client : "unknown"));
    if (row->sender) {
        g_string_append(out, "  <");
        trace_append_quoted(out, whole(row->sender));
        g_string_append(out, "> -> <");
        trace_append_quoted(out, whole(row->recipient ? row->recipient : ""));
        g_string_append_c(out, '>');
    }
    g_string_append_printf(out, "  %s%s", row->verdict, row->text ? ": " : "");
    trace_append_quoted(out, whole(row->text));
    g_string_append_c(out, '\n');
}

static void show_row(void *user, const TraceRow *row)
{
    Pass *pass = user;
    g_autoptr(GString) text = g_string_new(NULL);

    pass->rows++;
    (pass->options->json ? append_json_row : append_row)(text, row);
    print(pass, text);
}

static void show_list(Pass *pass, TraceFiles *files)
{
    g_autoptr(TraceList) list = trace_list_new(pass->options->client, show_row, pass);

    pass->list = list;
    trace_files_read(files, take_line, pass);
    trace_list_finish(list);
    if (pass->rows > 0)
        return;
    log_error("no message%s%s in that time in the log", pass->options->client ? " of " : "",
              pass->options->client ? pass->options->client : "");
    pass->failed = true;
}

static void show_way(Pass *pass, TraceFiles *files)
{
    g_autoptr(TraceFind) find = trace_find_new(pass->options->id);
    g_autoptr(GString) text = g_string_new(NULL);

    pass->find = find;
    while (trace_find_again(find))
        trace_files_read(files, take_line, pass);
    const GPtrArray *events = trace_find_events(find);
    if (events->len == 0) {
        log_error("%s: not in the log", pass->options->id);
        pass->failed = true;
        return;
    }
    if (trace_find_lost_sight(find)) {
        pass->candidates = true;
        trace_files_read(files, take_line, pass);
    }
    g_autoptr(GPtrArray) notes = trace_find_notes(find);
    (pass->options->json ? trace_append_json_way : trace_append_way)(text, events, notes, trace_find_candidates(find));
    print(pass, text);
}

/* ---- the whole ---- */

/* maillog_file, unless --log says what else. */
static bool add_logs(const Options *options, TraceFiles *files, GError **error)
{
    for (guint i = 0; i < options->logs->len; i++)
        if (!trace_files_add(files, options->logs->pdata[i], options->since_us, error))
            return false;
    if (options->logs->len > 0)
        return true;
    g_autoptr(MainCf) main_cf = main_cf_read(options->config_dir, error);
    g_autoptr(Config) config =
        main_cf ? config_new(main_cf, &(ConfigScope){.process_name = "trace", .stress = ""}, error) : NULL;
    if (!config)
        return false;
    const char *path = config_string(config, "maillog_file");
    if (*path && strcmp(path, "/dev/stdout") != 0)
        return trace_files_add(files, path, options->since_us, error);
    return fail(error, "maillog_file is '%s': name the log that syslogd writes with --log", path);
}

static int run(const Options *options)
{
    g_autoptr(TraceFiles) files = trace_files_new();
    g_autoptr(GError) error = NULL;
    Pass pass = {.options = options};

    bool ready = add_logs(options, files, &error);
    if (ready && options->id)
        show_way(&pass, files);
    else if (ready)
        show_list(&pass, files);
    const GPtrArray *complaints = trace_files_complaints(files);
    for (guint i = 0; i < complaints->len; i++)
        log_warning("%s", (const char *)complaints->pdata[i]);
    if (!ready)
        log_fatal("%s", error->message);
    if (fflush(stdout) != 0)
        pass.failed = true;
    return !ready ? EX_NOINPUT : pass.failed ? 1 : 0;
}

int trace_command(int argc, char **argv, const char *config_dir)
{
    g_autoptr(GPtrArray) logs = g_ptr_array_new();
    Options options = {.config_dir = config_dir, .logs = logs};
    g_autofree char *usage = NULL;

    log_set_tag(NULL, argv[0]);
    if (read_options(argc, argv, &options, &usage))
        return run(&options);
    log_fatal("%s", usage);
    return EX_USAGE;
}
