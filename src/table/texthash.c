/* texthash.c - records of text files, and the table that reads them when it is opened. */
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/source.h"
#include "table/backend.h"
#include "table/text.h"

#include <string.h>

/* End of the key at line: the first blank outside of quotes. NULL: a quote is not closed. */
static const char *key_end(const char *line)
{
    bool quoted = false;
    const char *end;

    for (end = line; *end && (quoted || !g_ascii_isspace(*end)); end++) {
        if (*end == '"')
            quoted = !quoted;
        else if (*end == '\\' && end[1])
            end++;
    }
    return quoted ? NULL : end;
}

/* The name of "name: value", as it is looked up, and where the value begins. NULL: it is none. The caller frees. */
static char *alias_name(const char *line, const char **ret_value, bool *ret_is_local)
{
    g_autoptr(GString) name = g_string_new(NULL);
    bool quoted = false;

    *ret_is_local = true;
    for (; *line && (quoted || *line != ':'); line++) {
        if (*line == '"') {
            quoted = !quoted;
            continue;
        }
        if (*line == '\\' && line[1])
            line++;
        else if (!quoted && *line == ',')
            return NULL;
        else if (!quoted && (*line == '@' || *line == '%'))
            *ret_is_local = false;
        g_string_append_c(name, *line);
    }
    if (*line != ':')
        return NULL;
    *ret_value = line + 1;
    g_strchomp(name->str);
    return *name->str ? g_string_free(g_steal_pointer(&name), FALSE) : NULL;
}

static TextResult read_alias(const char *line, const char *file, int number, char **ret_key, char **ret_value)
{
    const char *rest = "";
    bool is_local;
    g_autofree char *name = alias_name(line, &rest, &is_local);
    g_autofree char *value = g_strstrip(g_strdup(rest));

    if (!name || !*value) {
        log_warning("%s, line %d: need name:value pair", file, number);
        return TEXT_SKIPPED;
    }
    if (!is_local) {
        log_warning("%s, line %d: name must be local", file, number);
        return TEXT_SKIPPED;
    }
    *ret_key = g_steal_pointer(&name);
    *ret_value = g_steal_pointer(&value);
    return TEXT_RECORD;
}

TextResult text_next(Lines *lines, const char *file, TextUse use, char **ret_key, char **ret_value, int *ret_line,
                     GError **error)
{
    g_autoptr(GError) why = NULL;
    int number = 0;
    const char *line = lines_next(lines, &number, &why);

    if (!line && why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return TEXT_ERROR;
    }
    if (!line)
        return TEXT_END;
    *ret_line = number;
    if (use == TEXT_FOR_ALIASES)
        return read_alias(line, file, number, ret_key, ret_value);
    const char *end = key_end(line);
    if (!end) {
        log_warning("%s, line %d: unbalanced '\"' in '%.100s' -- ignoring this line", file, number, line);
        return TEXT_SKIPPED;
    }
    g_autofree char *key = g_strndup(line, (size_t)(end - line));
    g_autofree char *value = g_strstrip(g_strdup(end));
    if (!*key || !*value) {
        log_warning("%s, line %d: expected format: key whitespace value%s", file, number,
                    use == TEXT_FOR_INDEX ? "" : " -- ignoring this line");
        return TEXT_SKIPPED;
    }
    if (end[-1] == ':' && use == TEXT_FOR_SUBSTITUTE)
        key[end - line - 1] = '\0';
    else if (end[-1] == ':')
        log_warning("%s, line %d: record is in \"key: value\" format; is this an alias file?", file, number);
    *ret_key = g_steal_pointer(&key);
    *ret_value = g_steal_pointer(&value);
    return TEXT_RECORD;
}

/* Of two records with one key the first counts. */
static bool read_records(const Table *table, GHashTable *records, Lines *lines, const char *path, GError **error)
{
    TextUse use = table->is_substitute ? TEXT_FOR_SUBSTITUTE : TEXT_FOR_LOOKUP;

    for (;;) {
        g_autofree char *key = NULL;
        g_autofree char *value = NULL;
        int line;

        switch (text_next(lines, path, use, &key, &value, &line, error)) {
        case TEXT_END:
            return true;
        case TEXT_ERROR:
            return false;
        case TEXT_SKIPPED:
            continue;
        case TEXT_RECORD:
            break;
        }
        char *folded = table_key(table, key);
        if (g_hash_table_contains(records, folded)) {
            log_warning("%s, line %d: duplicate entry: \"%s\"", path, line, key);
            g_free(folded);
            continue;
        }
        g_hash_table_insert(records, folded, g_steal_pointer(&value));
    }
}

static bool texthash_open(Table *table, const char *path, GError **error)
{
    g_autoptr(GHashTable) records = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    table_watch(table, path);
    auto_fd fd = source_open(path);

    if (fd < 0)
        return fail_errno(error, "open database %s", path);
    g_autoptr(Lines) lines = lines_open_fd(path, fd_steal(&fd));
    if (!read_records(table, records, lines, path, error))
        return false;
    table->data = g_steal_pointer(&records);
    return true;
}

static TableResult texthash_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const char *value = g_hash_table_lookup(table->data, key);

    if (!value)
        return TABLE_ABSENT;
    *ret_value = g_strdup(value);
    return TABLE_FOUND;
}

static void texthash_free(void *data)
{
    g_hash_table_unref(data);
}

static bool texthash_walk(const Table *table, TableEach *each, void *context, GError **error)
{
    GHashTableIter iter;
    gpointer key, value;

    g_hash_table_iter_init(&iter, table->data);
    while (g_hash_table_iter_next(&iter, &key, &value) && each(context, key, value))
        ;
    return true;
}

const TableBackend table_texthash = {"texthash",      true,          false,        texthash_open,
                                     texthash_lookup, texthash_free, texthash_walk};
