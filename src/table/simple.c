/* simple.c - tables that lie in their own name or in the process: inline, static, fail, environ. */
#include "base/fail.h"
#include "config/config.h"
#include "table/backend.h"

#include <stdlib.h>
#include <string.h>

/* inline:{name=value, {name = text with blanks}, ...}: a repeated name replaces the earlier one. */

/* "name = value" with blanks around either part. False: error. */
static bool add_pair(const Table *table, GHashTable *pairs, const char *text, GError **error)
{
    const char *equals = strchr(text, '=');

    if (!equals)
        return fail(error, "missing '=' after attribute name: \"%s\"; need \"inline:{name=value...}\"", table->spec);
    g_autofree char *name = g_strstrip(g_strndup(text, (size_t)(equals - text)));
    if (!*name)
        return fail(error, "missing attribute name: \"%s\"; need \"inline:{name=value...}\"", table->spec);
    g_hash_table_replace(pairs, table_key(table, name), g_strstrip(g_strdup(equals + 1)));
    return true;
}

static bool inline_open(Table *table, const char *name, GError **error)
{
    const char *rest = NULL;
    g_autofree char *content = brace_content(name, &rest);

    if (!content || !*content || *rest)
        return fail(error, "bad syntax: \"inline:%s\"; need \"inline:{name=value...}\"", name);
    g_autoptr(GHashTable) pairs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GPtrArray) elements = config_split(content);
    for (guint i = 0; i < elements->len; i++) {
        const char *element = g_ptr_array_index(elements, i);
        const char *after = "";
        g_autofree char *unbraced = brace_content(element, &after);
        if (*after)
            return fail(error, "syntax error after '}' in \"%s\"; need \"inline:{name=value...}\"", element);
        if (!add_pair(table, pairs, unbraced ? unbraced : element, error))
            return false;
    }
    table->data = g_steal_pointer(&pairs);
    return true;
}

static TableResult inline_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const char *value = g_hash_table_lookup(table->data, key);

    if (!value)
        return TABLE_ABSENT;
    *ret_value = g_strdup(value);
    return TABLE_FOUND;
}

static void inline_free(void *data)
{
    g_hash_table_unref(data);
}

static bool inline_walk(const Table *table, TableEach *each, void *context, GError **error)
{
    GHashTableIter iter;
    gpointer name, value;

    g_hash_table_iter_init(&iter, table->data);
    while (g_hash_table_iter_next(&iter, &name, &value) && each(context, name, value))
        ;
    return true;
}

const TableBackend table_inline = {"inline",      true,        false,      inline_open,
                                   inline_lookup, inline_free, inline_walk};

static bool static_open(Table *table, const char *name, GError **error)
{
    const char *rest = NULL;

    if (*name != '{') {
        table->data = g_strdup(name);
        return true;
    }
    g_autofree char *content = brace_content(name, &rest);
    if (!content)
        return fail(error, "bad static:name syntax: missing '}' in \"%s\"", name);
    if (*rest)
        return fail(error, "bad static:name syntax: syntax error after '}' in \"%s\"", name);
    table->data = g_steal_pointer(&content);
    return true;
}

static TableResult static_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    *ret_value = g_strdup(table->data);
    return TABLE_FOUND;
}

const TableBackend table_static = {"static", false, true, static_open, static_lookup, g_free};

static bool nothing_to_open(Table *table, const char *name, GError **error)
{
    return true;
}

static void nothing_to_free(void *data)
{
}

static TableResult fail_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    return TABLE_FAILED;
}

const TableBackend table_fail = {"fail", false, false, nothing_to_open, fail_lookup, nothing_to_free};

/* Keys are names of environment variables, in which case counts; nothing here changes the environment after the start.
 */
static TableResult environ_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const char *value = getenv(key);

    if (!value)
        return TABLE_ABSENT;
    *ret_value = g_strdup(value);
    return TABLE_FOUND;
}

const TableBackend table_environ = {"environ", false, false, nothing_to_open, environ_lookup, nothing_to_free};
