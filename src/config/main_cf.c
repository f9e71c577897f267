/* main_cf.c - main.cf as statements. Values stay raw here: expanding and checking them is config.c's work. */
#include "config/main_cf.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/lines.h"
#include "config/statement.h"

#include <string.h>

struct MainCf {
    char *dir;
    char *path;
    GHashTable *values; /* name -> raw value, both owned */
    GPtrArray *names;   /* the keys of values, in the order of the file */
};

static MainCf *main_cf_new(const char *dir, const char *path)
{
    MainCf *main_cf = g_new0(MainCf, 1);

    main_cf->dir = g_strdup(dir);
    main_cf->path = g_strdup(path);
    main_cf->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    main_cf->names = g_ptr_array_new();
    return main_cf;
}

void main_cf_free(MainCf *main_cf)
{
    if (!main_cf)
        return;
    g_free(main_cf->dir);
    g_free(main_cf->path);
    g_hash_table_destroy(main_cf->values);
    g_ptr_array_unref(main_cf->names);
    g_free(main_cf);
}

/* Takes name and value over. A value that replaces another is warned of. */
static void add_statement(MainCf *main_cf, char *name, char *value, int line)
{
    const char *earlier = g_hash_table_lookup(main_cf->values, name);

    if (!earlier) {
        g_ptr_array_add(main_cf->names, name);
        g_hash_table_insert(main_cf->values, name, value);
        return;
    }
    if (strcmp(earlier, value) != 0)
        log_warning("%s, line %d: overriding earlier entry: %s=%s", main_cf->path, line, name, earlier);
    g_hash_table_insert(main_cf->values, name, value); /* keeps the old key, frees this one */
}

/* Closes lines. */
static MainCf *read_lines(const char *dir, const char *path, Lines *from, GError **error)
{
    g_autoptr(Lines) lines = from;
    g_autoptr(MainCf) main_cf = main_cf_new(dir, path);
    g_autoptr(GError) failure = NULL;
    const char *text;
    int line;

    while ((text = lines_next(lines, &line, &failure))) {
        char *name, *value;
        if (!statement_split(text, &name, &value, &failure)) {
            fail(error, "%s, line %d: %s", path, line, failure->message);
            return NULL;
        }
        add_statement(main_cf, name, value, line);
    }
    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    return g_steal_pointer(&main_cf);
}

MainCf *main_cf_read_file(const char *dir, const char *path, GError **error)
{
    Lines *lines = lines_open_source(path, error);

    return lines ? read_lines(dir, path, lines, error) : NULL;
}

MainCf *main_cf_read(const char *dir, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/main.cf", dir);
    Lines *lines = lines_open(path, error);

    return lines ? read_lines(dir, path, lines, error) : NULL;
}

MainCf *main_cf_parse(const char *dir, const char *path, const char *text, size_t len, GError **error)
{
    return read_lines(dir, path, lines_open_text(path, text, len), error);
}

void main_cf_set(MainCf *main_cf, const char *name, const char *value)
{
    char *key = g_strdup(name);

    if (!g_hash_table_contains(main_cf->values, name))
        g_ptr_array_add(main_cf->names, key);
    g_hash_table_insert(main_cf->values, key, g_strdup(value)); /* an old key stays, and this one is freed */
}

const char *main_cf_dir(const MainCf *main_cf)
{
    return main_cf->dir;
}

const char *main_cf_path(const MainCf *main_cf)
{
    return main_cf->path;
}

const char *main_cf_get(const MainCf *main_cf, const char *name)
{
    return g_hash_table_lookup(main_cf->values, name);
}

const GPtrArray *main_cf_names(const MainCf *main_cf)
{
    return main_cf->names;
}
