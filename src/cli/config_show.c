/* config_show.c - parameters of main.cf and their defaults. */
#include "cli/config_show.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/params.h"
#include "config/view.h"

#include <stdlib.h>
#include <string.h>

#define WIDTH 80
#define BLANKS " \t\n\v\f\r"

void config_show_words(GString *text, size_t *column, const char *words, bool fold)
{
    for (;;) {
        words += strspn(words, BLANKS);
        size_t len = strcspn(words, BLANKS);
        if (len == 0)
            return;
        if (fold && *column > 4 && *column + 1 + len > WIDTH) {
            g_string_append(text, "\n   ");
            *column = 3;
        }
        if (*column > 0) {
            g_string_append_c(text, ' ');
            *column += 1;
        }
        g_string_append_len(text, words, (gssize)len);
        *column += len;
        words += len;
    }
}

typedef struct {
    const Config *view;
    const ConfigStyle *style;
    GString *text;
} Output;

static bool add_line(Output *output, const char *name, const char *raw, GError **error)
{
    g_autofree char *expanded = NULL;
    size_t column = 0;

    if (output->style->names_only) {
        g_string_append_printf(output->text, "%s\n", name);
        return true;
    }
    if (output->style->expand) {
        expanded = config_expand(output->view, raw, NULL);
        if (!expanded)
            return fail(error, "macro processing error");
        raw = expanded;
    }
    if (!output->style->values_only) {
        g_string_append_printf(output->text, "%s =", name);
        column = strlen(name) + 2;
    }
    config_show_words(output->text, &column, raw, output->style->fold);
    g_string_append_c(output->text, '\n');
    return true;
}

/* The default that every transport of master.cf has: "$default_..." of its suffix. NULL: name is of no such transport.
 */
static char *transport_default(const GPtrArray *entries, const char *name)
{
    static const char *const agents[] = {"smtp", "lmtp", "local", "virtual", "pipe", "error", "discard"};
    const ParamSuffix *suffix = params_find_suffix(name);

    for (guint i = 0; suffix && i < entries->len; i++) {
        const MasterEntry *entry = g_ptr_array_index(entries, i);
        const char *command = entry->fields[FIELD_COMMAND];
        bool is_time_limit = strcmp(suffix->suffix, "_time_limit") == 0;
        bool fits = is_time_limit ? strcmp(command, "pipe") == 0 || strcmp(command, "spawn") == 0 : false;
        for (size_t j = 0; !is_time_limit && j < G_N_ELEMENTS(agents); j++)
            fits |= strcmp(command, agents[j]) == 0;
        size_t len = strlen(name) - strlen(suffix->suffix);
        if (fits && strcmp(entry->fields[FIELD_TYPE], "unix") == 0 && strlen(entry->fields[FIELD_NAME]) == len &&
            strncmp(entry->fields[FIELD_NAME], name, len) == 0)
            return g_strconcat("$", suffix->source, NULL);
    }
    return NULL;
}

static char *default_of(const Output *output, const GPtrArray *entries, const char *name)
{
    const char *raw = view_raw_default(output->view, name);

    return raw ? g_strdup(raw) : transport_default(entries, name);
}

static void add_row(const Param *param, void *data)
{
    g_hash_table_add(data, g_strdup(param->name));
}

static void add_transports(GHashTable *names, const GPtrArray *entries)
{
    for (guint i = 0; i < entries->len; i++) {
        const MasterEntry *entry = g_ptr_array_index(entries, i);
        for (size_t j = 0; j < param_suffix_count; j++) {
            g_autofree char *name = g_strconcat(entry->fields[FIELD_NAME], param_suffixes[j].suffix, NULL);
            g_autofree char *value = transport_default(entries, name);
            if (value)
                g_hash_table_add(names, g_steal_pointer(&name));
        }
    }
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names to print, where none were given, sorted. The set owns them. */
static GPtrArray *collect_names(GHashTable *set, const Output *output, const MainCf *main_cf, const GPtrArray *entries,
                                GHashTable *used)
{
    const ConfigStyle *style = output->style;
    GPtrArray *sorted = g_ptr_array_new();
    GHashTableIter iter;
    void *name;

    if (style->which != CONFIG_SET) {
        params_each(add_row, set);
        add_transports(set, entries);
    }
    if (style->which != CONFIG_DEFAULTS) {
        const GPtrArray *names = main_cf_names(main_cf);
        for (guint i = 0; i < names->len; i++)
            if (g_hash_table_contains(used, g_ptr_array_index(names, i)))
                g_hash_table_add(set, g_strdup(g_ptr_array_index(names, i)));
        if (style->which == CONFIG_SET && style->names_directory)
            g_hash_table_add(set, g_strdup("config_directory"));
    }
    g_hash_table_iter_init(&iter, set);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        g_ptr_array_add(sorted, name);
    if (sorted->len > 0)
        qsort(sorted->pdata, sorted->len, sizeof *sorted->pdata, compare);
    return sorted;
}

/* Prints one parameter. *ret_known: whether there is one of that name. */
static bool show_one(Output *output, const GPtrArray *entries, GHashTable *used, const char *name, bool *ret_known,
                     GError **error)
{
    g_autofree char *default_text = default_of(output, entries, name);
    const char *raw = output->style->which == CONFIG_DEFAULTS ? NULL : view_raw(output->view, name);

    if (!default_text && !g_hash_table_contains(used, name))
        raw = NULL; /* set, but nobody's */
    if (!raw)
        raw = default_text;
    *ret_known = raw != NULL;
    return !raw || add_line(output, name, raw, error);
}

char *config_show_params(const MainCf *main_cf, const GPtrArray *entries, GHashTable *used, const ConfigStyle *style,
                         const GPtrArray *names, GError **error)
{
    const ConfigScope scope = {.process_name = "postconf", .service_name = ""};
    g_autoptr(MainCf) empty = main_cf_parse(main_cf_dir(main_cf), main_cf_path(main_cf), "", 0, NULL);
    g_autoptr(Config) view = view_new_unchecked(style->which == CONFIG_DEFAULTS ? empty : main_cf, &scope, error);
    g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) sorted = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    Output output = {.view = view, .style = style, .text = text};

    if (!view)
        return NULL;
    if (!names || names->len == 0)
        names = sorted = collect_names(set, &output, main_cf, entries, used);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        bool is_known;
        if (!show_one(&output, entries, used, name, &is_known, error))
            return NULL;
        if (!is_known)
            log_warning("%s: unknown parameter", name);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}
