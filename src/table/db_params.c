/* db_params.c - where the parameters of a database table come from, and their types. */
#include "table/db_params.h"
#include "base/fail.h"
#include "config/main_cf.h"
#include "config/values.h"
#include "table/backend.h"

struct DbParams {
    char *source;
    MainCf *file;          /* NULL: they stand in main.cf */
    GStringChunk *of_main; /* what was taken from there */
};

/* Set once, before there are tables. */
static TableParameter *get_parameter;
static void *get_context;

void table_set_parameters(TableParameter *get, void *context)
{
    get_parameter = get;
    get_context = context;
}

DbParams *db_params_read(Table *table, const char *name, GError **error)
{
    g_autoptr(DbParams) params = g_new0(DbParams, 1);

    params->source = g_strdup(name);
    if (*name != '/' && *name != '.') {
        params->of_main = g_string_chunk_new(256);
        return g_steal_pointer(&params);
    }
    table_watch(table, name);
    params->file = main_cf_read_file(".", name, error);
    return params->file ? g_steal_pointer(&params) : NULL;
}

void db_params_free(DbParams *params)
{
    if (!params)
        return;
    main_cf_free(params->file);
    if (params->of_main)
        g_string_chunk_free(params->of_main);
    g_free(params->source);
    g_free(params);
}

const char *db_params_source(const DbParams *params)
{
    return params->source;
}

/* As the administrator wrote it. The caller frees. */
static char *full_name(const DbParams *params, const char *name)
{
    return params->file ? g_strdup(name) : g_strconcat(params->source, "_", name, NULL);
}

/* The configuration may end before the table does. */
static const char *get_of_main(const DbParams *params, const char *name)
{
    g_autofree char *full = full_name(params, name);
    const char *value = get_parameter ? get_parameter(get_context, full) : NULL;

    return value ? g_string_chunk_insert_const(params->of_main, value) : NULL;
}

const char *db_params_get(const DbParams *params, const char *name)
{
    return params->file ? main_cf_get(params->file, name) : get_of_main(params, name);
}

/* Adds the file, which Postfix names in front. */
static bool blame(const DbParams *params, GError **error)
{
    if (params->file)
        g_prefix_error(error, "%s: ", params->source);
    return false;
}

const char *db_params_need(const DbParams *params, const char *name, const char *fallback, GError **error)
{
    const char *value = db_params_get(params, name);

    if (!value)
        value = fallback;
    if (value && *value)
        return value;
    g_autofree char *full = full_name(params, name);
    fail(error, "bad string length 0 < 1: %s = ", full);
    blame(params, error);
    return NULL;
}

/* ret_number is left alone where it is not set. */
static bool parse(const DbParams *params, const char *name, ParamType type, int min, gint64 *ret_number, GError **error)
{
    const char *value = db_params_get(params, name);
    g_autofree char *full = full_name(params, name);
    const Param param = {.name = full, .type = type, .min = min};

    return !value || value_parse(&param, value, 's', params->source, ret_number, error) || blame(params, error);
}

bool db_params_int(const DbParams *params, const char *name, int fallback, int min, int *ret_number, GError **error)
{
    gint64 number = fallback;

    if (!parse(params, name, PARAM_INT, min, &number, error))
        return false;
    *ret_number = (int)number;
    return true;
}

bool db_params_bool(const DbParams *params, const char *name, bool fallback, bool *ret_value, GError **error)
{
    gint64 number = fallback;

    if (!parse(params, name, PARAM_BOOL, 0, &number, error))
        return false;
    *ret_value = number != 0;
    return true;
}

bool db_params_seconds(const DbParams *params, const char *name, int fallback, int min, int *ret_seconds,
                       GError **error)
{
    gint64 number = fallback;

    if (!parse(params, name, PARAM_TIME, min, &number, error))
        return false;
    *ret_seconds = (int)number;
    return true;
}
