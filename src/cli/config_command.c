/* config_command.c - `gatepost config`: options, and what they need read. */
#include "cli/config_command.h"
#include "base/fail.h"
#include "base/log.h"
#include "cli/config_edit.h"
#include "cli/config_show.h"
#include "config/findings.h"
#include "config/lines.h"
#include "config/params.h"
#include "config/statement.h"
#include "config/view.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define USAGE                                                                                                          \
    "usage: %s [-c config_dir] [-d (defaults)] [-e (edit)] [-f (fold lines)] [-F (master.cf fields)] [-h (no names)] " \
    "[-H (no values)] [-M (master.cf)] [-n (set parameters)] [-o name=value] [-P (master.cf parameters)] "             \
    "[-q (no warnings)] [-v] [-x (expand)] [-X (remove)] [-# (comment out)] [name...]"
#define DEFAULT_DIRECTORY "/etc/postfix"

typedef struct {
    const char *dir;
    char mode; /* 0: parameters; M F P; e X #: edit */
    bool quiet;
    ConfigStyle style;
    GPtrArray *settings; /* of -o */
    GPtrArray *names;
} Request;

static bool set_mode(Request *request, char mode)
{
    if (request->mode && request->mode != mode) {
        log_fatal("specify one of -%c -%c", request->mode, mode);
        return false;
    }
    request->mode = mode;
    return true;
}

static bool set_which(Request *request, ConfigWhich which)
{
    if (request->style.which != CONFIG_ALL && request->style.which != which) {
        log_fatal("specify one of -d -n");
        return false;
    }
    request->style.which = which;
    return true;
}

static bool read_option(Request *request, int option)
{
    switch (option) {
    case 'c':
        request->dir = optarg;
        return true;
    case 'd':
        return set_which(request, CONFIG_DEFAULTS);
    case 'n':
        return set_which(request, CONFIG_SET);
    case 'f':
        request->style.fold = true;
        return true;
    case 'h':
        request->style.values_only = true;
        return true;
    case 'H':
        request->style.names_only = true;
        return true;
    case 'x':
        request->style.expand = true;
        return true;
    case 'q':
        request->quiet = true;
        return true;
    case 'v':
        log_set_verbose(log_verbose() + 1);
        return true;
    case 'o':
        g_ptr_array_add(request->settings, optarg);
        return true;
    case 'M':
    case 'F':
    case 'P':
    case 'e':
    case 'X':
    case '#':
        return set_mode(request, (char)option);
    default:
        return false;
    }
}

static bool check_request(const Request *request)
{
    bool edits = request->mode && strchr("eX#", request->mode);

    if (request->mode == 'M' && (request->style.names_only || request->style.values_only)) {
        log_fatal("with option -M, do not specify -%c", request->style.names_only ? 'H' : 'h');
        return false;
    }
    if (request->style.names_only && request->style.values_only) {
        log_fatal("specify one of -h and -H");
        return false;
    }
    if (edits && request->names->len == 0) {
        log_fatal("-%c requires %s argument", request->mode, request->mode == 'e' ? "name=value" : "name");
        return false;
    }
    if (request->mode && request->style.which != CONFIG_ALL) {
        log_fatal("with option -%c, do not specify -d or -n", request->mode);
        return false;
    }
    return true;
}

/* The entries of master.cf; none, with a warning, when it cannot be read. NULL: error. */
static GPtrArray *read_entries(const char *dir, bool must_be_there, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/master.cf", dir);
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)master_entry_free);
    g_autoptr(GError) failure = NULL;
    g_autoptr(Lines) lines = lines_open(path, &failure);
    const char *text;
    int line = 0;

    while (lines && (text = lines_next(lines, &line, &failure))) {
        MasterEntry *entry = master_entry_new(text, &failure);
        if (!entry) {
            g_prefix_error(&failure, "%s: line %d: ", path, line);
            break;
        }
        g_ptr_array_add(entries, entry);
    }
    if (failure && must_be_there) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    if (failure)
        log_warning("%s", failure->message);
    return g_steal_pointer(&entries);
}

static void service_free(void *data)
{
    Service *service = data;

    g_ptr_array_unref(service->overrides);
    g_free(service);
}

/* The services, as far as the search for unused names looks at them. Names are the entries'. */
static GPtrArray *make_services(const GPtrArray *entries)
{
    GPtrArray *services = g_ptr_array_new_with_free_func(service_free);

    for (guint i = 0; i < entries->len; i++) {
        const MasterEntry *entry = g_ptr_array_index(entries, i);
        MasterOptions options;
        if (!master_entry_options(entry, &options, NULL))
            continue;
        Service *service = g_new0(Service, 1);
        service->name = entry->fields[FIELD_NAME];
        service->command = entry->fields[FIELD_COMMAND];
        service->type = strcmp(entry->fields[FIELD_TYPE], "unix") == 0 ? SERVICE_UNIX : SERVICE_INET;
        service->overrides = options.overrides;
        g_ptr_array_add(services, service);
    }
    return services;
}

static bool apply_settings(const Request *request, MainCf *main_cf, GError **error)
{
    for (guint i = 0; i < request->settings->len; i++) {
        const char *setting = g_ptr_array_index(request->settings, i);
        g_autofree char *name = NULL, *value = NULL;
        g_autoptr(GError) why = NULL;
        if (!statement_split(setting, &name, &value, &why))
            return fail(error, "invalid parameter override: %s: %.*s", setting, (int)strcspn(why->message, ":"),
                        why->message);
        main_cf_set(main_cf, name, value);
    }
    return true;
}

/* Whether every set parameter of the table can be expanded: where one cannot, no program starts, and none is shown. */
static bool check_expansions(const MainCf *main_cf, GError **error)
{
    const ConfigScope scope = {.process_name = "postconf", .service_name = "", .stress = ""};
    const GPtrArray *names = main_cf_names(main_cf);
    g_autoptr(Config) view = view_new_unchecked(main_cf, &scope, error);

    for (guint i = 0; view && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        const Param *param = params_find(name);
        if (!param || param->type == PARAM_RAW)
            continue;
        g_autofree char *value = config_expand(view, view_raw(view, name), NULL);
        if (!value)
            return fail(error, "macro processing error");
    }
    return view != NULL;
}

static char *show(const Request *request, GError **error)
{
    bool needs_master = request->mode != 0;
    g_autoptr(GPtrArray) entries = read_entries(request->dir, needs_master, error);

    if (!entries)
        return NULL;
    if (request->mode == 'M')
        return config_show_services(entries, &request->style, request->names, error);
    if (request->mode == 'F')
        return config_show_fields(entries, &request->style, request->names, error);

    g_autoptr(MainCf) main_cf = main_cf_read(request->dir, error);
    if (!main_cf || !apply_settings(request, main_cf, error))
        return NULL;
    if (request->style.which != CONFIG_DEFAULTS && !check_expansions(main_cf, error))
        return NULL;
    if (request->mode == 'P')
        return config_show_overrides(main_cf, entries, &request->style, request->names, error);

    g_autoptr(GPtrArray) services = make_services(entries);
    g_autoptr(GHashTable) used = findings_used(main_cf, services);
    g_autofree char *text = config_show_params(main_cf, entries, used, &request->style, request->names, error);
    if (text && !request->quiet && request->style.which != CONFIG_DEFAULTS)
        findings_report_unused(main_cf, services);
    return g_steal_pointer(&text);
}

static int run(const Request *request)
{
    g_autoptr(GError) error = NULL;

    if (request->mode && strchr("eX#", request->mode)) {
        g_autofree char *path = g_strdup_printf("%s/main.cf", request->dir);
        ConfigEdit edit = request->mode == 'e'   ? CONFIG_EDIT_SET
                          : request->mode == 'X' ? CONFIG_EDIT_REMOVE
                                                 : CONFIG_EDIT_COMMENT;
        if (config_edit_file(path, edit, request->names, &error))
            return 0;
    } else {
        g_autofree char *text = show(request, &error);
        if (text) {
            fputs(text, stdout);
            if (fflush(stdout) == 0)
                return 0;
            log_fatal("error writing standard output");
            return 1;
        }
    }
    log_fatal("%s", error->message);
    return 1;
}

int config_command(int argc, char **argv, const char *config_dir)
{
    g_autoptr(GPtrArray) settings = g_ptr_array_new();
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    Request request = {.dir = config_dir, .settings = settings, .names = names};
    int option;

    log_set_tag(NULL, argv[0]);
    optind = 0; /* the options of another command may have been read before */
    while ((option = getopt(argc, argv, "+c:defFhHMno:PqvxX#")) != -1) {
        if (option == '?') {
            log_fatal(USAGE, argv[0]);
            return 1;
        }
        if (!read_option(&request, option))
            return 1;
    }
    for (int i = optind; i < argc; i++)
        g_ptr_array_add(names, argv[i]);
    if (!check_request(&request))
        return 1;
    request.style.names_directory = strcmp(request.dir, DEFAULT_DIRECTORY) != 0;
    return run(&request);
}
