/* tables.c - lists of tables, and the ways to look for a mail address in them. */
#include "config/config.h"
#include "table/backend.h"

#include <string.h>

struct Tables {
    GPtrArray *tables; /* of Table* */
};

static void free_table(gpointer table)
{
    table_free(table);
}

Tables *tables_open(const char *specs, GError **error)
{
    g_autoptr(GPtrArray) elements = config_split(specs);
    g_autoptr(Tables) tables = g_new0(Tables, 1);

    tables->tables = g_ptr_array_new_with_free_func(free_table);
    for (guint i = 0; i < elements->len; i++) {
        Table *table = table_open(g_ptr_array_index(elements, i), error);
        if (!table)
            return NULL;
        g_ptr_array_add(tables->tables, table);
    }
    return g_steal_pointer(&tables);
}

void tables_free(Tables *tables)
{
    if (!tables)
        return;
    g_ptr_array_unref(tables->tables);
    g_free(tables);
}

guint tables_count(const Tables *tables)
{
    return tables->tables->len;
}

const Table *tables_get(const Tables *tables, guint index)
{
    return g_ptr_array_index(tables->tables, index);
}

bool tables_is_empty(const Tables *tables)
{
    return tables->tables->len == 0;
}

bool tables_block(const Tables *tables)
{
    for (guint i = 0; i < tables->tables->len; i++)
        if (table_blocks(g_ptr_array_index(tables->tables, i)))
            return true;
    return false;
}

static TableResult look_up(const Tables *tables, const char *key, bool is_part, char **ret_value)
{
    for (guint i = 0; i < tables->tables->len; i++) {
        const Table *table = g_ptr_array_index(tables->tables, i);
        if (is_part && table->whole_keys)
            continue;
        TableResult result = table_lookup(table, key, ret_value);
        if (result != TABLE_ABSENT)
            return result;
    }
    return TABLE_ABSENT;
}

TableResult tables_lookup(const Tables *tables, const char *key, char **ret_value)
{
    return look_up(tables, key, false, ret_value);
}

TableResult tables_lookup_part(const Tables *tables, const char *key, char **ret_value)
{
    return look_up(tables, key, true, ret_value);
}

/* Names whose delimiter is part of them. */
static bool is_whole_name(const char *local, size_t len, const char *delimiters)
{
    static const char *const names[] = {"postmaster", "mailer-daemon", "double-bounce"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (len == strlen(names[i]) && g_ascii_strncasecmp(local, names[i], len) == 0)
            return true;
    if (!strchr(delimiters, '-'))
        return false;
    return (len > 6 && g_ascii_strncasecmp(local, "owner-", 6) == 0) ||
           (len > 8 && g_ascii_strncasecmp(local + len - 8, "-request", 8) == 0);
}

/* Length of the local part without its extension; len where there is none. */
static size_t base_length(const char *local, size_t len, const char *delimiters)
{
    if (!*delimiters || is_whole_name(local, len, delimiters))
        return len;
    for (size_t i = 1; i < len; i++)
        if (strchr(delimiters, local[i]))
            return i;
    return len;
}

TableResult tables_lookup_address(const Tables *tables, const char *address, const AddressLookup *how, char **ret_value,
                                  char **ret_extension)
{
    const char *at = strrchr(address, '@');
    size_t len = at ? (size_t)(at - address) : strlen(address);
    size_t base = base_length(address, len, how->delimiters ? how->delimiters : "");
    g_autofree char *local = g_strndup(address, len);
    g_autofree char *base_local = g_strndup(address, base);
    g_autofree char *base_address = g_strconcat(base_local, at, NULL);
    bool has_extension = base < len;
    bool drops_extension = false;
    TableResult result;

    if (ret_extension)
        *ret_extension = NULL;
    result = look_up(tables, address, false, ret_value);
    if (result == TABLE_ABSENT && has_extension) {
        result = look_up(tables, base_address, true, ret_value);
        drops_extension = result == TABLE_FOUND;
    }
    if (result == TABLE_ABSENT && at && how->domain_is_local)
        result = look_up(tables, local, false, ret_value);
    if (result == TABLE_ABSENT && at && how->domain_is_local && has_extension) {
        result = look_up(tables, base_local, true, ret_value);
        drops_extension = result == TABLE_FOUND;
    }
    if (result == TABLE_ABSENT && at && how->with_at_domain)
        result = look_up(tables, at, true, ret_value);
    if (drops_extension && ret_extension)
        *ret_extension = g_strndup(address + base, len - base);
    return result;
}
