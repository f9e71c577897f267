/* findings.c - doubtful settings. Which names are used is found by walking from every known parameter, in the scope of
 * main.cf and in that of each service with overrides, through the names that values refer to. */
#include "config/findings.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/expand.h"
#include "config/params.h"
#include "config/statement.h"
#include "config/view.h"

#include <string.h>

/* Settings as one service sees them. */
typedef struct {
    const MainCf *main_cf;
    const GPtrArray *services;
    GHashTable *overrides; /* name -> raw value; empty in the scope of main.cf itself */
    GPtrArray *names;      /* the keys of overrides, in order */
    GHashTable *used;      /* set of names */
} Scope;

static void scope_init(Scope *scope, const MainCf *main_cf, const GPtrArray *services, const GPtrArray *overrides)
{
    *scope = (Scope){.main_cf = main_cf, .services = services};
    scope->overrides = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    scope->names = g_ptr_array_new();
    scope->used = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; overrides && i < overrides->len; i++) {
        char *name, *value;
        if (!statement_split(g_ptr_array_index(overrides, i), &name, &value, NULL))
            continue; /* config_new() refuses it */
        if (!g_hash_table_contains(scope->overrides, name))
            g_ptr_array_add(scope->names, name);
        g_hash_table_insert(scope->overrides, name, value); /* keeps the first key */
    }
}

static void scope_clear(Scope *scope)
{
    g_hash_table_destroy(scope->overrides);
    g_ptr_array_unref(scope->names);
    g_hash_table_destroy(scope->used);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Scope, scope_clear)

static const char *set_value(const Scope *scope, const char *name)
{
    const char *value = g_hash_table_lookup(scope->overrides, name);

    return value ? value : main_cf_get(scope->main_cf, name);
}

static void mark_used(const char *name, void *data)
{
    Scope *scope = data;
    const char *value = set_value(scope, name);

    if (!g_hash_table_add(scope->used, g_strdup(name)))
        return;
    const Param *param = value ? NULL : params_find(name);
    if (param)
        value = param->default_text;
    if (value)
        expand_names(value, mark_used, scope);
}

static void mark_row(const Param *param, void *data)
{
    mark_used(param->name, data);
}

/* Whether name is TRANSPORT_suffix for a service of master.cf. Without services, any transport will do. */
static bool is_of_transport(const Scope *scope, const char *name)
{
    const ParamSuffix *suffix = params_find_suffix(name);

    if (!suffix || !scope->services)
        return suffix != NULL;
    bool is_time_limit = strcmp(suffix->suffix, "_time_limit") == 0;
    size_t len = strlen(name) - strlen(suffix->suffix);
    for (guint i = 0; i < scope->services->len; i++) {
        const Service *service = g_ptr_array_index(scope->services, i);
        bool starts_programs = strcmp(service->command, "pipe") == 0 || strcmp(service->command, "spawn") == 0;
        if (strlen(service->name) == len && strncmp(service->name, name, len) == 0 && service->type == SERVICE_UNIX &&
            (!is_time_limit || starts_programs))
            return true;
    }
    return false;
}

static void mark_transports(Scope *scope, const GPtrArray *names)
{
    for (guint i = 0; i < names->len; i++)
        if (is_of_transport(scope, g_ptr_array_index(names, i)))
            mark_used(g_ptr_array_index(names, i), scope);
}

/* What a setting refers to is used, as postconf sees it, even where the setting itself is nobody's. */
static void mark_references(Scope *scope, const GPtrArray *names)
{
    for (guint i = 0; i < names->len; i++)
        expand_names(set_value(scope, g_ptr_array_index(names, i)), mark_used, scope);
}

static void mark_all(Scope *scope)
{
    const char *classes = set_value(scope, "smtpd_restriction_classes");

    params_each(mark_row, scope);
    mark_references(scope, main_cf_names(scope->main_cf));
    mark_references(scope, scope->names);
    mark_transports(scope, main_cf_names(scope->main_cf));
    mark_transports(scope, scope->names);
    if (classes) {
        g_autoptr(GPtrArray) names = config_split(classes);
        for (guint i = 0; i < names->len; i++)
            mark_used(g_ptr_array_index(names, i), scope);
    }
}

static void log_unused(const char *file, const char *name, const char *value)
{
    log_warning("%s: unused parameter: %s=%s", file, name, value);
}

typedef struct {
    const Scope *scope;
    GHashTable *known; /* names that some default refers to: old names */
    GHashTable *told;
    const char *file;
} Undefined;

static void check_defined(const char *name, void *data)
{
    Undefined *undefined = data;
    bool is_known = params_find(name) || params_find_suffix(name) || set_value(undefined->scope, name) ||
                    g_hash_table_contains(undefined->known, name);

    if (!is_known && g_hash_table_add(undefined->told, g_strdup(name)))
        log_warning("%s: undefined parameter: %s", undefined->file, name);
}

static void check_references(Undefined *undefined, const char *name, const char *value)
{
    const Param *param = params_find(name);

    if (!param || param->type != PARAM_RAW)
        expand_names(value, check_defined, undefined);
}

static void add_name(const char *name, void *data)
{
    g_hash_table_add(data, g_strdup(name));
}

static void add_names_of_default(const Param *param, void *data)
{
    if (param->default_text)
        expand_names(param->default_text, add_name, data);
}

static void add_used(const Scope *scope, GHashTable *used)
{
    GHashTableIter iter;
    void *name;

    g_hash_table_iter_init(&iter, scope->used);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        g_hash_table_add(used, g_strdup(name));
}

static void report_service(const MainCf *main_cf, const GPtrArray *services, const Service *service,
                           Undefined *undefined, GHashTable *used_anywhere)
{
    g_auto(Scope) scope;

    scope_init(&scope, main_cf, services, service->overrides);
    mark_all(&scope);
    undefined->scope = &scope;
    for (guint i = 0; i < scope.names->len; i++) {
        const char *own = g_ptr_array_index(scope.names, i);
        if (!g_hash_table_contains(scope.used, own))
            log_unused(undefined->file, own, set_value(&scope, own));
        check_references(undefined, own, set_value(&scope, own));
    }
    add_used(&scope, used_anywhere);
}

GHashTable *findings_used(const MainCf *main_cf, const GPtrArray *services)
{
    GHashTable *used = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; i <= (services ? services->len : 0); i++) {
        const Service *service = i > 0 ? g_ptr_array_index(services, i - 1) : NULL;
        g_auto(Scope) scope;
        scope_init(&scope, main_cf, services, service ? service->overrides : NULL);
        if (!service || service->overrides->len > 0)
            mark_all(&scope);
        add_used(&scope, used);
    }
    return used;
}

void findings_report_unused(const MainCf *main_cf, const GPtrArray *services)
{
    g_autoptr(GHashTable) known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *master_path = g_strdup_printf("%s/master.cf", main_cf_dir(main_cf));
    const GPtrArray *names = main_cf_names(main_cf);
    Undefined undefined = {.known = known, .told = told, .file = master_path};
    g_auto(Scope) scope;

    scope_init(&scope, main_cf, services, NULL);
    mark_all(&scope);
    params_each(add_names_of_default, known);
    for (guint i = 0; services && i < services->len; i++) {
        const Service *service = g_ptr_array_index(services, i);
        if (service->overrides->len > 0)
            report_service(main_cf, services, service, &undefined, scope.used);
    }
    undefined.file = main_cf_path(main_cf);
    undefined.scope = &scope;
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (!g_hash_table_contains(scope.used, name))
            log_unused(main_cf_path(main_cf), name, main_cf_get(main_cf, name));
        check_references(&undefined, name, main_cf_get(main_cf, name));
    }
}

/* Whether mail may pass with that value, although it does nothing here. */
static bool is_harmless(const Param *param, const char *value, const char *default_value)
{
    g_autofree char *padded = g_strdup_printf(" %s ", param->words ? param->words : "");
    g_autofree char *wanted = g_strdup_printf(" %s ", value);

    return *value == '\0' || g_ascii_strcasecmp(value, default_value) == 0 ||
           (param->type == PARAM_BOOL && g_ascii_strcasecmp(value, "no") == 0) ||
           (param->words && strstr(padded, wanted));
}

/* Says what a set parameter's support asks to say. Each name is told once for each file. */
static bool report_support(const Config *view, const char *file, const char *name, GHashTable *told, GError **error)
{
    const Param *param = params_find(name);
    g_autofree char *value = NULL, *default_value = NULL;

    if (!param || param->support == PARAM_SUPPORTED)
        return true;
    const char *raw_default = view_raw_default(view, name);
    value = param->type == PARAM_RAW ? g_strdup(view_raw(view, name)) : config_expand(view, view_raw(view, name), NULL);
    default_value = param->type == PARAM_RAW ? g_strdup(raw_default) : config_expand(view, raw_default, NULL);
    if (!value || !default_value)
        return true; /* config_new() refuses it where it matters */
    g_strstrip(value);
    if (strcmp(value, default_value) == 0)
        return true;
    bool is_word = param->words && *value && strcmp(value, "none") != 0;
    if (param->support == PARAM_PROTECTS && !(is_word && is_harmless(param, value, default_value))) {
        if (is_harmless(param, value, default_value))
            return true;
        return fail(error, "%s: parameter %s = %s is not supported (%s): mail would pass without it", file, name, value,
                    param->help);
    }
    if (!g_hash_table_add(told, g_strdup_printf("%s %s", file, name)))
        return true;
    if (param->support == PARAM_PROTECTS)
        log_warning("%s: parameter %s = %s is not supported and is ignored (%s)", file, name, value, param->help);
    else if (param->support == PARAM_UNSUPPORTED)
        log_warning("%s: parameter %s is not supported and is ignored", file, name);
    else
        log_warning("%s: parameter %s has no effect here", file, name);
    return true;
}

/* Keeps the first failure, logs the others. */
static void keep_first(GError **ret_first, GError *error)
{
    if (!*ret_first) {
        *ret_first = error;
        return;
    }
    log_error("%s", error->message);
    g_error_free(error);
}

static void report_names(const Config *view, const char *file, const GPtrArray *names, GHashTable *told,
                         GError **ret_first)
{
    for (guint i = 0; i < names->len; i++) {
        GError *error = NULL;
        if (!report_support(view, file, g_ptr_array_index(names, i), told, &error))
            keep_first(ret_first, error);
    }
}

static void report_overrides(const MainCf *main_cf, const Service *service, const char *file, GHashTable *told,
                             GError **ret_first)
{
    const ConfigScope names = {
        .process_name = service->command, .service_name = service->name, .overrides = service->overrides};
    g_autoptr(Config) view = view_new_unchecked(main_cf, &names, NULL);
    g_auto(Scope) scope;

    scope_init(&scope, main_cf, NULL, service->overrides);
    if (!view) /* config_new() says why */
        return;
    report_names(view, file, scope.names, told, ret_first);
}

bool findings_report(const MainCf *main_cf, const GPtrArray *services, GError **error)
{
    const ConfigScope master = {.process_name = "master"};
    g_autoptr(Config) view = view_new_unchecked(main_cf, &master, error);
    g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *master_path = g_strdup_printf("%s/master.cf", main_cf_dir(main_cf));
    GError *first = NULL;

    if (!view)
        return false;
    findings_report_unused(main_cf, services);
    report_names(view, main_cf_path(main_cf), main_cf_names(main_cf), told, &first);
    for (guint i = 0; services && i < services->len; i++) {
        const Service *service = g_ptr_array_index(services, i);
        if (service->overrides->len > 0)
            report_overrides(main_cf, service, master_path, told, &first);
    }
    if (!first)
        return true;
    g_propagate_error(error, first);
    return false;
}
