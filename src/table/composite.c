/* composite.c - tables made of others: unionmap (all answers, joined by commas), pipemap (the answer of one is the
 * key of the next), and randmap, which is a list of values of which it gives any. */
#include "base/fail.h"
#include "config/config.h"
#include "table/backend.h"

#include <string.h>
#include <sys/random.h>

/* The elements of "{a, b}". NULL: error. */
static GPtrArray *split_members(const char *type, const char *need, const char *name, GError **error)
{
    const char *rest = NULL;
    g_autofree char *content = brace_content(name, &rest);

    if (content && *content && !*rest)
        return config_split(content);
    fail(error, "bad syntax: \"%s:%s\"; need \"%s:{%s...}\"", type, name, type, need);
    return NULL;
}

static void free_member(gpointer table)
{
    table_free(table);
}

/* A member that cannot be opened makes the whole one unavailable. */
static bool members_open(Table *table, const char *name, GError **error)
{
    g_autoptr(GPtrArray) specs = split_members(table->backend->type, "type:name", name, error);
    g_autoptr(GPtrArray) members = g_ptr_array_new_with_free_func(free_member);
    bool blocks = false;

    if (!specs)
        return false;
    table->whole_keys = true;
    table->blocks = true; /* of one that is not whole yet nobody knows */
    for (guint i = 0; i < specs->len; i++) {
        Table *member = table_open_strict(g_ptr_array_index(specs, i), table->exact, error);
        if (!member)
            return false;
        table->whole_keys &= member->whole_keys;
        blocks |= member->blocks;
        state_watch_as(&table->state, &member->state);
        g_ptr_array_add(members, member);
    }
    table->blocks = blocks;
    table->data = g_steal_pointer(&members);
    return true;
}

static void members_free(void *data)
{
    g_ptr_array_unref(data);
}

static TableResult union_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const GPtrArray *members = table->data;
    g_autoptr(GString) all = g_string_new(NULL);

    for (guint i = 0; i < members->len; i++) {
        g_autofree char *value = NULL;
        TableResult result = table_query(g_ptr_array_index(members, i), key, &value, error);
        if (result == TABLE_FAILED)
            return TABLE_FAILED;
        if (result == TABLE_FOUND)
            g_string_append_printf(all, "%s%s", all->len > 0 ? "," : "", value);
    }
    if (all->len == 0)
        return TABLE_ABSENT;
    *ret_value = g_string_free(g_steal_pointer(&all), FALSE);
    return TABLE_FOUND;
}

static TableResult pipe_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const GPtrArray *members = table->data;
    g_autofree char *value = g_strdup(key);

    for (guint i = 0; i < members->len; i++) {
        char *next = NULL;
        TableResult result = table_query(g_ptr_array_index(members, i), value, &next, error);
        if (result != TABLE_FOUND)
            return result;
        g_free(value);
        value = next;
    }
    *ret_value = g_steal_pointer(&value);
    return TABLE_FOUND;
}

static bool random_open(Table *table, const char *name, GError **error)
{
    table->data = split_members("randmap", "value", name, error);
    return table->data != NULL;
}

static TableResult random_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const GPtrArray *values = table->data;
    guint32 number;

    if (getrandom(&number, sizeof number, 0) != sizeof number) {
        fail_errno(error, "getrandom");
        return TABLE_FAILED;
    }
    *ret_value = g_strdup(g_ptr_array_index(values, number % values->len));
    return TABLE_FOUND;
}

const TableBackend table_unionmap = {"unionmap", false, false, members_open, union_lookup, members_free};
const TableBackend table_pipemap = {"pipemap", false, false, members_open, pipe_lookup, members_free};
const TableBackend table_randmap = {"randmap", false, true, random_open, random_lookup, members_free};
