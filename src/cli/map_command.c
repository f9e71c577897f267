/* map_command.c - the command line, and asking tables. map_index.c makes and changes them. */
#include "cli/map_command.h"
#include "base/fail.h"
#include "base/log.h"
#include "cli/map_index.h"
#include "table/table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define USAGE "usage: %s [-%s] [-c config_dir] [-d key] [-q key] [map_type:]file..."
#define MAP_FLAGS "bfFhimnNoprsuUvw"
#define ALIAS_FLAGS "Nfinoprsuvw"

/* ---- Asking ---- */

/* For tables whose parameters stand in main.cf, which is read when the first of them is opened. */
typedef struct {
    const MapOptions *options;
    Config *config; /* NULL: not read yet */
    bool has_failed;
} MainParameters;

static const char *get_main_parameter(void *data, const char *name)
{
    MainParameters *main_parameters = data;
    g_autoptr(GError) error = NULL;

    if (!main_parameters->config && !main_parameters->has_failed)
        main_parameters->config = map_config(main_parameters->options, &error);
    if (error)
        log_warning("%s", error->message);
    main_parameters->has_failed = !main_parameters->config;
    return main_parameters->config ? config_lookup(main_parameters->config, name) : NULL;
}

static Table *open_for_reading(const MapOptions *options, const char *name, GError **error)
{
    g_autofree char *spec = map_complete_spec(options, name, error);

    return spec ? table_open_strict(spec, options->exact, error) : NULL;
}

static void free_table(gpointer table)
{
    table_free(table);
}

/* All tables of the command line. NULL: error. */
static GPtrArray *open_tables(const MapOptions *options, char **names, GError **error)
{
    g_autoptr(GPtrArray) tables = g_ptr_array_new_with_free_func(free_table);

    for (; *names; names++) {
        Table *table = open_for_reading(options, *names, error);
        if (!table)
            return NULL;
        g_ptr_array_add(tables, table);
    }
    return g_steal_pointer(&tables);
}

/* The first table that knows the key answers. FAILED: error is set. */
static TableResult ask(const GPtrArray *tables, const char *key, char **ret_value, GError **error)
{
    for (guint i = 0; i < tables->len; i++) {
        const Table *table = g_ptr_array_index(tables, i);
        g_autoptr(GError) why = NULL;
        TableResult result = table_query(table, key, ret_value, &why);
        if (result == TABLE_FAILED)
            fail(error, "table %s: query error: %s", table_spec(table), why ? why->message : "Application error");
        if (result == TABLE_FOUND && **ret_value == '\0') {
            log_warning("table %s: key %s: empty string result is not allowed", table_spec(table), key);
            log_warning("table %s should return NO RESULT in case of NOT FOUND", table_spec(table));
        }
        if (result != TABLE_ABSENT)
            return result;
    }
    return TABLE_ABSENT;
}

/* With -F the content of the files that the value stands for. False: error is set. */
static bool print_value(const MapOptions *options, const char *key, const char *value, GError **error)
{
    gsize len;

    if (!options->files) {
        printf("%s\n", value);
        return true;
    }
    g_autofree guchar *content = g_base64_decode(value, &len);
    g_autofree char *again = g_base64_encode(content, len);
    if (strcmp(again, value) != 0)
        return fail(error, "key %s: malformed BASE64 value: %s", key, value);
    printf("%.*s\n", (int)len, (const char *)content);
    return true;
}

static bool print_pair(const MapOptions *options, const char *key, const char *value, GError **error)
{
    printf("%s%s\t", key, options->aliases ? ":" : "");
    return print_value(options, key, value, error);
}

static bool ask_one(const MapOptions *options, const GPtrArray *tables, bool *ret_found, GError **error)
{
    g_autofree char *value = NULL;
    TableResult result = ask(tables, options->query, &value, error);

    *ret_found = result == TABLE_FOUND;
    return result == TABLE_FOUND ? print_value(options, options->query, value, error) : result == TABLE_ABSENT;
}

/* Many keys, or all entries. */
typedef struct {
    const MapOptions *options;
    const GPtrArray *tables;
    bool found, failed;
    GError **error;
} Many;

/* False: enough. */
static bool ask_next(void *context, const char *key)
{
    Many *many = context;
    g_autofree char *value = NULL;

    if (many->options->utf8_message && !g_utf8_validate(key, -1, NULL))
        return true;
    TableResult result = ask(many->tables, key, &value, many->error);
    many->found |= result == TABLE_FOUND;
    many->failed =
        result == TABLE_FAILED || (result == TABLE_FOUND && !print_pair(many->options, key, value, many->error));
    return !many->failed;
}

static bool ask_many(const MapOptions *options, const GPtrArray *tables, bool *ret_found, GError **error)
{
    Many many = {.options = options, .tables = tables, .error = error};

    if (options->message.headers || options->message.body) {
        map_message_keys(&options->message, ask_next, &many);
    } else {
        bool more = true;
        while (more) {
            g_autofree char *key = map_read_key();
            more = key && ask_next(&many, key);
        }
    }
    *ret_found = many.found;
    return !many.failed;
}

static bool print_entry(void *context, const char *key, const char *value)
{
    Many *many = context;

    many->failed = !print_pair(many->options, key, value, many->error);
    return !many->failed;
}

static bool list_all(const MapOptions *options, const GPtrArray *tables, GError **error)
{
    Many many = {.options = options, .error = error};

    for (guint i = 0; i < tables->len && !many.failed; i++)
        if (!table_walk(g_ptr_array_index(tables, i), print_entry, &many, error))
            return false;
    return !many.failed;
}

static bool read_tables(const MapOptions *options, char **names, bool *ret_found, GError **error)
{
    MainParameters main_parameters = {.options = options};

    table_set_parameters(get_main_parameter, &main_parameters);
    g_autoptr(GPtrArray) tables = open_tables(options, names, error);
    table_set_parameters(NULL, NULL);
    config_free(main_parameters.config);
    if (!tables)
        return false;
    *ret_found = options->list;
    if (options->list)
        return list_all(options, tables, error);
    if (strcmp(options->query, "-") == 0)
        return ask_many(options, tables, ret_found, error);
    return ask_one(options, tables, ret_found, error);
}

/* ---- The command line ---- */

/* Options that postalias has not. False: it is none. */
static bool parse_map_option(int option, MapOptions *options)
{
    switch (option) {
    case 'b':
        options->message.body = true;
        return true;
    case 'F':
        options->files = true;
        return true;
    case 'h':
        options->message.headers = true;
        return true;
    case 'm':
        options->message.mime = true;
        return true;
    case 'U':
        options->utf8_message = true;
        return true;
    default:
        return false;
    }
}

/* False: the usage is to be shown. */
static bool parse_options(int argc, char **argv, MapOptions *options)
{
    int option;

    opterr = 0;
    optind = 0; /* begins anew, whatever was parsed before */
    while ((option = getopt(argc, argv, options->aliases ? "+c:d:q:" ALIAS_FLAGS : "+c:d:q:" MAP_FLAGS)) != -1) {
        switch (option) {
        case 'c':
            options->config_dir = optarg;
            break;
        case 'd':
            options->modes += 1;
            options->delete = optarg;
            break;
        case 'q':
            options->modes += 1;
            options->query = optarg;
            break;
        case 'f':
            options->exact = true;
            break;
        case 'i':
            options->incremental = true;
            break;
        case 'n':
            options->nul = NUL_NEVER;
            break;
        case 'N':
            options->nul = NUL_ALWAYS;
            break;
        case 'o':
            options->keep_privileges = true;
            break;
        case 'p':
            options->own_permissions = true;
            break;
        case 'r':
            options->replace = true;
            break;
        case 's':
            options->modes += !options->list;
            options->list = true;
            break;
        case 'u':
            options->any_octets = true;
            break;
        case 'v':
            log_set_verbose(log_verbose() + 1);
            break;
        case 'w':
            options->quiet = true;
            break;
        default:
            if (!parse_map_option(option, options))
                return false;
        }
    }
    return optind < argc;
}

static bool run(const MapOptions *options, char **names, bool *ret_found, GError **error)
{
    if (options->query || options->list)
        return read_tables(options, names, ret_found, error);
    if (options->delete)
        return map_delete_keys(options, names, ret_found, error);
    *ret_found = true;
    for (; *names; names++)
        if (!map_make_index(options, *names, error))
            return false;
    return true;
}

int map_command(int argc, char **argv, const char *config_dir)
{
    g_autoptr(GError) error = NULL;
    MapOptions options = {.config_dir = config_dir};
    bool found = false;

    options.aliases = strcmp(argv[0], "postalias") == 0;
    log_set_tag(NULL, argv[0]);
    if (!parse_options(argc, argv, &options)) {
        log_fatal(USAGE, argv[0], options.aliases ? ALIAS_FLAGS : MAP_FLAGS);
        return 1;
    }
    if (options.modes > 1) {
        log_fatal("specify only one of -s -q or -d");
        return 1;
    }
    if ((options.message.body || options.message.headers || options.message.mime) &&
        (!options.query || strcmp(options.query, "-") != 0)) {
        log_fatal("specify -b -h or -m only with \"-q -\"");
        return 1;
    }
    if (!run(&options, argv + optind, &found, &error)) {
        log_fatal("%s", error->message);
        return 1;
    }
    if (fflush(stdout) != 0) {
        log_fatal("write to standard output: %s", g_strerror(errno));
        return 1;
    }
    return found ? 0 : 1;
}
