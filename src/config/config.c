/* config.c - a view of the configuration. All values are expanded and checked when the view is made. */
#include "config/config.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/computed.h"
#include "config/expand.h"
#include "config/main_cf.h"
#include "config/params.h"
#include "config/statement.h"
#include "config/values.h"
#include "config/view.h"

#include <string.h>
#include <unistd.h>

typedef struct {
    const Param *param; /* NULL: no parameter of the table */
    char *text;         /* expanded and trimmed. NULL: could not be expanded, and is not of the table */
    gint64 number;
} Value;

struct Config {
    char *dir;
    char *path;           /* of main.cf */
    GHashTable *set;      /* name -> raw value: main.cf's and those of -o */
    GHashTable *defaults; /* name -> raw value: of computed and predefined ones */
    GHashTable *rows;     /* name -> Param: an index of the parameter table */
    GHashTable *values;   /* name -> Value; the names are owned by set or the table */
};

static void value_free(void *data)
{
    Value *value = data;

    g_free(value->text);
    g_free(value);
}

static void put_default(Config *config, const char *name, char *value)
{
    g_hash_table_insert(config->defaults, g_strdup(name), value);
}

const char *view_raw_default(const Config *config, const char *name)
{
    const char *computed = g_hash_table_lookup(config->defaults, name);
    const Param *param = computed ? NULL : g_hash_table_lookup(config->rows, name);

    return param ? param->default_text : computed;
}

const char *view_raw(const Config *config, const char *name)
{
    const char *value = g_hash_table_lookup(config->set, name);

    return value ? value : view_raw_default(config, name);
}

static const char *lookup(const char *name, void *data)
{
    return view_raw(data, name);
}

static char *expand_trimmed(const Config *config, const char *text, GError **error)
{
    g_autofree char *expanded = expand_text(text, lookup, (void *)config, error);

    return expanded ? statement_trim(expanded) : NULL;
}

/* The error of a parameter that matters: what is wrong goes to the log. */
static void fail_expansion(GError **error, const GError *why)
{
    log_warning("%s", why->message);
    fail(error, "dictionary mail_dict: macro processing error");
}

char *config_expand(const Config *config, const char *text, GError **error)
{
    g_autoptr(GError) why = NULL;
    char *expanded = expand_text(text, lookup, (void *)config, &why);

    if (!expanded)
        fail_expansion(error, why);
    return expanded;
}

static void index_row(const Param *param, void *data)
{
    g_hash_table_insert(data, (void *)param->name, (void *)param);
}

static void add_main_cf(Config *config, const MainCf *main_cf)
{
    const GPtrArray *names = main_cf_names(main_cf);

    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_hash_table_insert(config->set, g_strdup(name), g_strdup(main_cf_get(main_cf, name)));
    }
}

static bool add_override(Config *config, const char *override, GError **error)
{
    g_autoptr(GError) why = NULL;
    char *name, *value;

    if (!statement_split(override, &name, &value, &why)) {
        const char *colon = strchr(why->message, ':');
        return fail(error, "invalid \"-o %s\" option value: %.*s", override, (int)(colon - why->message), why->message);
    }
    g_hash_table_replace(config->set, name, value);
    return true;
}

/* What a program knows of itself; no setting can change it. */
static void add_predefined(Config *config, const ConfigScope *scope)
{
    const struct {
        const char *name, *value;
    } fixed[] = {
        {"process_name", scope->process_name ? scope->process_name : ""},
        {"service_name", scope->service_name ? scope->service_name : scope->process_name},
        {"config_directory", config->dir},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++) {
        g_hash_table_remove(config->set, fixed[i].name);
        put_default(config, fixed[i].name, g_strdup(fixed[i].value ? fixed[i].value : ""));
    }
    put_default(config, "process_id", g_strdup_printf("%ld", (long)getpid()));
    if (scope->stress)
        g_hash_table_replace(config->set, g_strdup("stress"), g_strdup(scope->stress));
}

/* myhostname and mydomain have defaults made of each other. */
static void add_computed_names(Config *config)
{
    const char *host = g_hash_table_lookup(config->set, "myhostname");
    const char *domain = g_hash_table_lookup(config->set, "mydomain");

    put_default(config, "mydomain", computed_domain("")); /* while myhostname is found out */
    put_default(config, "myhostname", computed_hostname(domain ? "$mydomain" : NULL));
    g_autofree char *full = expand_trimmed(config, host ? host : view_raw_default(config, "myhostname"), NULL);
    put_default(config, "mydomain", computed_domain(full ? full : ""));
}

static void add_computed_networks(Config *config)
{
    g_autofree char *style = NULL, *interfaces = NULL, *protocols = NULL;

    if (g_hash_table_contains(config->set, "mynetworks")) {
        put_default(config, "mynetworks", g_strdup(""));
        return;
    }
    style = expand_trimmed(config, view_raw(config, "mynetworks_style"), NULL);
    interfaces = expand_trimmed(config, view_raw(config, "inet_interfaces"), NULL);
    protocols = expand_trimmed(config, view_raw(config, "inet_protocols"), NULL);
    put_default(
        config, "mynetworks",
        computed_networks(style ? style : "host", interfaces ? interfaces : "all", protocols ? protocols : "all"));
}

/* The unit of a time without one is that of the default, which may refer to other parameters. */
static char default_unit(const Config *config, const Param *param)
{
    if (param->type != PARAM_TIME)
        return 's';
    g_autofree char *expanded = expand_trimmed(config, view_raw_default(config, param->name), NULL);
    return value_time_unit(expanded ? expanded : "");
}

static bool evaluate(const Config *config, const Param *param, const char *raw, Value *ret_value, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autofree char *text = param->type == PARAM_RAW ? statement_trim(raw) : expand_trimmed(config, raw, &why);

    if (!text) {
        if (param->support == PARAM_SUPPORTED || param->support == PARAM_PROTECTS)
            fail_expansion(error, why);
        else
            g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    if (!value_parse(param, text, default_unit(config, param), config->path, &ret_value->number, error))
        return false;
    ret_value->text = g_steal_pointer(&text);
    return true;
}

typedef struct {
    Config *config;
    bool only_set; /* in a first pass, so that a bad value is blamed on its own name, not on one that refers to it */
    GError *error; /* the first */
} Evaluation;

static void evaluate_param(const Param *param, void *data)
{
    Evaluation *evaluation = data;
    Config *config = evaluation->config;
    bool is_set = g_hash_table_contains(config->set, param->name);
    bool matters = param->support == PARAM_SUPPORTED || param->support == PARAM_PROTECTS;
    GError *error = NULL;

    if (evaluation->error || is_set != evaluation->only_set)
        return;
    Value *value = g_new0(Value, 1);
    value->param = param;
    g_hash_table_insert(config->values, (void *)param->name, value);
    if (evaluate(config, param, view_raw(config, param->name), value, &error))
        return;
    if (matters) {
        evaluation->error = error;
        return;
    }
    g_error_free(error); /* nothing reads it; whoever asks anyway gets the default */
    if (!evaluate(config, param, view_raw_default(config, param->name), value, NULL))
        value->text = g_strdup("");
}

/* A transport's own limit or time, checked like the parameter that is the default for all. */
static bool evaluate_suffixed(const Config *config, const char *name, const ParamSuffix *suffix, Value *value,
                              GError **error)
{
    const Param *source = g_hash_table_lookup(config->rows, suffix->source);
    Param own = *source;

    own.name = name;
    return value_parse(&own, value->text, default_unit(config, source), config->path, &value->number, error);
}

/* Parameters that the table doesn't know: of users, of single transports. Nobody may ever ask for the former, so that a
 * bad one is no error here. */
static bool evaluate_others(Config *config, GError **error)
{
    GHashTableIter iter;
    void *name, *raw;

    g_hash_table_iter_init(&iter, config->set);
    while (g_hash_table_iter_next(&iter, &name, &raw)) {
        if (g_hash_table_contains(config->values, name))
            continue;
        Value *value = g_new0(Value, 1);
        const ParamSuffix *suffix = params_find_suffix(name);
        g_hash_table_insert(config->values, name, value);
        value->text = expand_trimmed(config, raw, NULL);
        if (suffix && value->text && !evaluate_suffixed(config, name, suffix, value, error))
            return false;
    }
    return true;
}

Config *view_new_unchecked(const MainCf *main_cf, const ConfigScope *scope, GError **error)
{
    g_autoptr(Config) config = g_new0(Config, 1);

    config->dir = g_strdup(main_cf_dir(main_cf));
    config->path = g_strdup(main_cf_path(main_cf));
    config->set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    config->defaults = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    config->values = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, value_free);
    config->rows = g_hash_table_new(g_str_hash, g_str_equal);
    params_each(index_row, config->rows);
    add_main_cf(config, main_cf);
    for (guint i = 0; scope->overrides && i < scope->overrides->len; i++)
        if (!add_override(config, g_ptr_array_index(scope->overrides, i), error))
            return NULL;
    add_predefined(config, scope);
    add_computed_names(config);
    put_default(config, "mail_owner", computed_mail_owner());
    add_computed_networks(config);
    return g_steal_pointer(&config);
}

/* Many defaults compare with it. */
static void check_level(const Config *config, GError **error)
{
    const Value *value = g_hash_table_lookup(config->values, "compatibility_level");
    int order;

    if (value) /* set, not the default */
        expand_compare_levels(value->text, "0", &order, error);
}

Config *config_new(const MainCf *main_cf, const ConfigScope *scope, GError **error)
{
    g_autoptr(Config) config = view_new_unchecked(main_cf, scope, error);
    if (!config)
        return NULL;

    Evaluation evaluation = {.config = config, .only_set = true};
    params_each(evaluate_param, &evaluation);
    if (!evaluation.error)
        check_level(config, &evaluation.error);
    evaluation.only_set = false;
    params_each(evaluate_param, &evaluation);
    if (evaluation.error) {
        g_propagate_error(error, evaluation.error);
        return NULL;
    }
    if (!evaluate_others(config, error))
        return NULL;
    return g_steal_pointer(&config);
}

void config_free(Config *config)
{
    if (!config)
        return;
    g_free(config->dir);
    g_free(config->path);
    g_hash_table_destroy(config->values);
    g_hash_table_destroy(config->set);
    g_hash_table_destroy(config->defaults);
    g_hash_table_destroy(config->rows);
    g_free(config);
}

static const Value *known_value(const Config *config, const char *name)
{
    const Value *value = g_hash_table_lookup(config->values, name);

    g_assert(value && value->param);
    return value;
}

const char *config_string(const Config *config, const char *name)
{
    return known_value(config, name)->text;
}

bool config_bool(const Config *config, const char *name)
{
    const Value *value = known_value(config, name);

    g_assert(value->param->type == PARAM_BOOL);
    return value->number != 0;
}

gint64 config_int(const Config *config, const char *name)
{
    const Value *value = known_value(config, name);

    g_assert(value->param->type == PARAM_INT);
    return value->number;
}

gint64 config_seconds(const Config *config, const char *name)
{
    const Value *value = known_value(config, name);

    g_assert(value->param->type == PARAM_TIME);
    return value->number;
}

const char *config_lookup(const Config *config, const char *name)
{
    const Value *value = g_hash_table_lookup(config->values, name);

    return value ? value->text : NULL;
}

bool config_is_set(const Config *config, const char *name)
{
    return g_hash_table_contains(config->set, name);
}

const char *config_directory(const Config *config)
{
    return config->dir;
}

static gint64 transport_number(const Config *config, const char *transport, const char *suffix,
                               const char *default_name, ParamType type)
{
    g_autofree char *name = g_strconcat(transport, *suffix == '_' ? "" : "_", suffix, NULL);
    const Value *value = g_hash_table_lookup(config->values, name);

    if (value && value->text && (value->param || params_find_suffix(name)))
        return value->number;
    value = known_value(config, default_name);
    g_assert(value->param->type == type);
    return value->number;
}

gint64 config_transport_int(const Config *config, const char *transport, const char *suffix, const char *default_name)
{
    return transport_number(config, transport, suffix, default_name, PARAM_INT);
}

gint64 config_transport_seconds(const Config *config, const char *transport, const char *suffix,
                                const char *default_name)
{
    return transport_number(config, transport, suffix, default_name, PARAM_TIME);
}

bool config_level_at_least(const Config *config, int major, int minor)
{
    g_autofree char *wanted = g_strdup_printf("%d.%d", major, minor);
    int order = 0;

    expand_compare_levels(config_string(config, "compatibility_level"), wanted, &order,
                          NULL); /* checked by config_new() */
    return order >= 0;
}
