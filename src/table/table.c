/* table.c - opening a table by its type, and looking up with the rules that hold for all types. */
#include "base/fail.h"
#include "base/log.h"
#include "base/root.h"
#include "table/backend.h"

#include <pthread.h>
#include <string.h>

FAIL_DEFINE_DOMAIN(table_error)

static const TableBackend *const backends[] = {
    &table_btree,   &table_cdb,      &table_cidr,     &table_environ,   &table_fail,   &table_hash,
    &table_inline,  &table_ldap,     &table_lmdb,     &table_mysql,     &table_pcre,   &table_pgsql,
    &table_pipemap, &table_randmap,  &table_regexp,   &table_socketmap, &table_sqlite, &table_static,
    &table_tcp,     &table_texthash, &table_unionmap, &table_unix,
};

/* Types that Postfix reads and this program does not. A list with one of them cannot be evaluated, ever. */
static const char *const unsupported_types[] = {
    "dbm", "internal", "memcache", "mongodb", "netinfo", "nis", "nisplus", "sdbm",
};

static const TableBackend *find_backend(const char *type)
{
    for (size_t i = 0; i < G_N_ELEMENTS(backends); i++)
        if (strcmp(backends[i]->type, type) == 0)
            return backends[i];
    return NULL;
}

static bool is_unsupported(const char *type)
{
    for (size_t i = 0; i < G_N_ELEMENTS(unsupported_types); i++)
        if (strcmp(unsupported_types[i], type) == 0)
            return true;
    return false;
}

/* Whose library reads what it likes, and when. Under another root that would be another file, or none. */
static bool asks_library(const TableBackend *backend)
{
    return backend == &table_ldap || backend == &table_mysql || backend == &table_pgsql;
}

/* "proxy:" in front says which process opens the table, and there is but one here. */
static const char *skip_proxy(const char *spec)
{
    while (g_str_has_prefix(spec, "proxy:"))
        spec += strlen("proxy:");
    return spec;
}

static bool open_backend(Table *table, GError **error)
{
    const char *spec = skip_proxy(table->spec);
    const char *colon = strchr(spec, ':');

    if (!colon || colon == spec || !colon[1]) {
        g_set_error(error, TABLE_ERROR, TABLE_ERROR_UNUSABLE,
                    "open dictionary: expecting \"type:name\" form instead of \"%s\"", table->spec);
        return false;
    }
    g_autofree char *type = g_strndup(spec, (size_t)(colon - spec));
    if (is_unsupported(type)) {
        g_set_error(error, TABLE_ERROR, TABLE_ERROR_UNUSABLE, "%s: lookup tables of type %s are not supported",
                    table->spec, type);
        return false;
    }
    table->backend = find_backend(type);
    if (!table->backend)
        return fail(error, "unsupported dictionary type: %s", type);
    if (spec != table->spec && asks_library(table->backend)) {
        g_autofree char *reason = g_strdup_printf("%s asks for a process that is not under another root", table->spec);
        root_stay(reason);
    }
    table->whole_keys = table->backend->whole_keys;
    table->blocks = table->backend->blocks;
    return table->backend->open(table, colon + 1, error);
}

/* The open tables of this process. Several lists name the same table, and a process has two configurations (with and
 * without stress): each table is read, and complained of, once. Guarded by lock, as are the counts of users in the
 * tables. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; /* a table may open lists that name tables */
static GPtrArray *open_tables;

static Table *find_open(const char *spec)
{
    for (guint i = 0; open_tables && i < open_tables->len; i++) {
        Table *table = g_ptr_array_index(open_tables, i);
        if (strcmp(table->spec, spec) == 0)
            return table;
    }
    return NULL;
}

static void add_open(Table *table)
{
    if (!open_tables)
        open_tables = g_ptr_array_new();
    g_ptr_array_add(open_tables, table);
}

static void remove_open(Table *table)
{
    g_ptr_array_remove_fast(open_tables, table);
    if (open_tables->len == 0)
        g_clear_pointer(&open_tables, g_ptr_array_unref);
}

static Table *new_table(const char *spec)
{
    Table *table = g_new0(Table, 1);

    table->spec = g_strdup(spec);
    table->users = 1;
    table->state.refs = 1;
    return table;
}

static void destroy(Table *table)
{
    if (table->data)
        table->backend->free(table->data);
    reload_free(table->reload);
    state_clear(&table->state);
    g_free(table->spec);
    g_free(table->unavailable);
    g_free(table);
}

void table_watch(Table *table, const char *path)
{
    state_watch(&table->state, path);
}

/* NULL: unusable. Otherwise an instance, which may be unavailable; that was logged then. */
static Table *open_instance(const char *spec, GError **error)
{
    g_autoptr(GError) why = NULL;
    Table *instance = new_table(spec);

    if (open_backend(instance, &why))
        return instance;
    if (g_error_matches(why, TABLE_ERROR, TABLE_ERROR_UNUSABLE) || why->domain == ROOT_ERROR) {
        destroy(instance);
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    log_error("%s", why->message);
    instance->unavailable = g_strdup(why->message);
    return instance;
}

static State *renew_instance(const State *old, void *handle)
{
    const Table *former = (const Table *)old;
    g_autoptr(GError) error = NULL;
    Table *fresh = open_instance(former->spec, &error);

    if (fresh && !fresh->unavailable) {
        log_info("table %s has changed -- reading it anew", former->spec);
        return &fresh->state;
    }
    if (!former->unavailable)
        log_warning("table %s has changed and cannot be read: going on with what it was%s%s", former->spec,
                    error ? ": " : "", error ? error->message : "");
    if (fresh)
        destroy(fresh);
    return NULL;
}

static void free_instance(State *state)
{
    destroy((Table *)state);
}

static const ReloadKind instances = {renew_instance, free_instance};

static Table *open_handle(const char *spec, GError **error)
{
    Table *instance = open_instance(spec, error);

    if (!instance)
        return NULL;
    Table *handle = new_table(spec);
    handle->whole_keys = instance->whole_keys;
    handle->blocks = instance->blocks;
    handle->reload = reload_new(&instances, handle, &instance->state);
    return handle;
}

Table *table_open(const char *spec, GError **error)
{
    pthread_mutex_lock(&lock);
    Table *table = find_open(spec);
    if (table)
        table->users++;
    else if ((table = open_handle(spec, error)) != NULL)
        add_open(table);
    pthread_mutex_unlock(&lock);
    return table;
}

static Table *finish_open(Table *table, GError **error)
{
    if (open_backend(table, error))
        return table;
    destroy(table);
    return NULL;
}

Table *table_open_strict(const char *spec, bool exact, GError **error)
{
    Table *table = new_table(spec);

    table->exact = exact;
    return finish_open(table, error);
}

Table *table_open_substitute(const char *spec, bool exact, GError **error)
{
    Table *table = new_table(spec);

    table->exact = exact;
    table->is_substitute = true;
    return finish_open(table, error);
}

void table_free(Table *table)
{
    if (!table)
        return;
    if (table->reload) { /* only a handle is shared. A member has one user, who may have the lock: it is being opened */
        pthread_mutex_lock(&lock);
        bool last = --table->users == 0;
        if (last)
            remove_open(table);
        pthread_mutex_unlock(&lock);
        if (!last)
            return;
    }
    destroy(table);
}

char *table_fold_key(const char *key)
{
    for (const char *c = key; *c; c++)
        if ((unsigned char)*c >= 0x80)
            return g_utf8_validate(key, -1, NULL) ? g_utf8_casefold(key, -1) : g_ascii_strdown(key, -1);
    return g_ascii_strdown(key, -1);
}

char *table_key(const Table *table, const char *key)
{
    return table->backend->folds && !table->exact ? table_fold_key(key) : g_strdup(key);
}

static TableResult query_instance(const Table *instance, const char *key, char **ret_value, GError **error)
{
    if (instance->unavailable) {
        fail(error, "%s is unavailable. %s", instance->spec, instance->unavailable);
        return TABLE_FAILED;
    }
    g_autofree char *own_key = table_key(instance, key);
    return instance->backend->lookup(instance, own_key, ret_value, error);
}

TableResult table_query(const Table *table, const char *key, char **ret_value, GError **error)
{
    if (!table->reload)
        return query_instance(table, key, ret_value, error);
    State *state = reload_take(table->reload);
    TableResult result = query_instance((const Table *)state, key, ret_value, error);
    reload_give(table->reload, state);
    return result;
}

TableResult table_lookup(const Table *table, const char *key, char **ret_value)
{
    g_autoptr(GError) error = NULL;
    TableResult result = table_query(table, key, ret_value, &error);

    if (result == TABLE_FAILED) {
        if (error)
            log_warning("%s", error->message);
        log_warning("%s lookup error for \"%.100s\"", table->spec, key);
    }
    return result;
}

const char *table_spec(const Table *table)
{
    return table->spec;
}

bool table_takes_whole_keys(const Table *table)
{
    return table->whole_keys;
}

bool table_blocks(const Table *table)
{
    return table->blocks;
}

bool table_walk(const Table *table, TableEach *each, void *context, GError **error)
{
    if (!table->backend->walk)
        return fail(error, "table %s: sequence operation is not supported", table->spec);
    return table->backend->walk(table, each, context, error);
}
