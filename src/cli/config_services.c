/* config_services.c - master.cf as `gatepost config -M`, -F and -P show it. */
#include "base/fail.h"
#include "base/log.h"
#include "cli/config_show.h"
#include "config/view.h"

#include <stdlib.h>
#include <string.h>

#define WIDTH 79 /* one less than for parameters, as in postconf */

/* Where the fields of a printed entry begin, if those before are not too long. */
static const size_t columns[FIELD_COUNT] = {0, 11, 17, 25, 33, 41, 49, 57};

/* As -F calls them. */
static const char *const names[FIELD_COUNT] = {"service", "type",   "private",       "unprivileged",
                                               "chroot",  "wakeup", "process_limit", "command"};

static bool has_blank(const char *text)
{
    return text[strcspn(text, " \t\n\v\f\r")] != '\0';
}

static char *with_braces(const char *argument)
{
    return has_blank(argument) || *argument == '\0' ? g_strdup_printf("{%s}", argument) : g_strdup(argument);
}

/* "name = value" without the blanks around '='. */
static char *normal_override(const char *argument)
{
    size_t name = strcspn(argument, " \t\n\v\f\r=");
    const char *equals = argument + name + strspn(argument + name, " \t\n\v\f\r");

    if (*equals != '=')
        return g_strdup(argument);
    return g_strdup_printf("%.*s=%s", (int)name, argument, equals + 1 + strspn(equals + 1, " \t\n\v\f\r"));
}

static void add_newline(GString *text, size_t *column)
{
    g_string_append(text, "\n   ");
    *column = 3;
}

static void add_piece(GString *text, size_t *column, const char *piece, bool fold)
{
    if (fold && *column > 4 && *column + 1 + strlen(piece) > WIDTH)
        add_newline(text, column);
    g_string_append_printf(text, " %s", piece);
    *column += 1 + strlen(piece);
}

/* The arguments of an entry's command; folded, each -o has a line of its own. */
static void add_arguments(GString *text, size_t *column, const MasterEntry *entry, bool fold)
{
    bool in_options = true, after_override = false;

    for (guint i = 0; i < entry->arguments->len; i++) {
        const char *argument = g_ptr_array_index(entry->arguments, i);
        g_autofree char *piece = NULL;
        bool is_override = in_options && strcmp(argument, "-o") == 0 && i + 1 < entry->arguments->len;

        in_options = in_options && argument[0] == '-';
        if (is_override) {
            g_autofree char *normal = normal_override(g_ptr_array_index(entry->arguments, ++i));
            g_autofree char *braced = with_braces(normal);
            piece = g_strdup_printf("-o %s", braced);
        } else {
            piece = with_braces(argument);
        }
        if (fold && (is_override || after_override))
            add_newline(text, column);
        add_piece(text, column, piece, fold && !is_override);
        after_override = is_override;
    }
}

static void add_entry(GString *text, const MasterEntry *entry, bool fold)
{
    size_t column = 0;

    for (int i = 0; i < FIELD_COUNT; i++) {
        do {
            if (column > 0)
                g_string_append_c(text, ' ');
            column += column > 0;
        } while (column < columns[i]);
        g_string_append(text, entry->fields[i]);
        column += strlen(entry->fields[i]);
    }
    add_arguments(text, &column, entry, fold);
    g_string_append_c(text, '\n');
}

/* A pattern "name[/type[/what]]" in parts; what may hold slashes. */
static char **split_pattern(const char *pattern, guint max_parts, const char *option, GError **error)
{
    char **parts = g_strsplit(pattern, "/", -1);
    guint count = g_strv_length(parts);
    bool bad = count > max_parts || count == 0;

    for (guint i = 0; i < count; i++)
        bad |= parts[i][0] == '\0';
    if (!bad)
        return parts;
    g_strfreev(parts);
    fail(error, "-%s option requires service_name[/type%s]", option,
         max_parts < 3              ? ""
         : strcmp(option, "F") == 0 ? "[/field]"
                                    : "[/parameter]");
    return NULL;
}

static bool part_fits(char **parts, guint index, const char *text)
{
    for (guint i = 0; i <= index; i++)
        if (!parts[i])
            return true;
    return strcmp(parts[index], "*") == 0 || strcmp(parts[index], text) == 0;
}

static bool entry_fits(char **parts, const MasterEntry *entry)
{
    return part_fits(parts, 0, entry->fields[FIELD_NAME]) && part_fits(parts, 1, entry->fields[FIELD_TYPE]);
}

typedef struct {
    const MainCf *main_cf;
    const ConfigStyle *style;
    char **parts;
    GString *text;
} Output;

typedef bool ShowEntry(Output *output, const MasterEntry *entry, GError **error);

static bool show_entry(Output *output, const MasterEntry *entry, GError **error)
{
    add_entry(output->text, entry, output->style->fold);
    return true;
}

/* "service/type/what = value". */
static void add_value(Output *output, const MasterEntry *entry, const char *what, const char *value)
{
    size_t column = 0;

    if (!output->style->values_only) {
        g_autofree char *key = g_strdup_printf("%s/%s/%s", entry->fields[FIELD_NAME], entry->fields[FIELD_TYPE], what);
        g_string_append_printf(output->text, "%s%s", key, output->style->names_only ? "" : " =");
        column = strlen(key) + 2;
    }
    if (!output->style->names_only)
        config_show_words(output->text, &column, value, output->style->fold);
    g_string_append_c(output->text, '\n');
}

static bool show_fields(Output *output, const MasterEntry *entry, GError **error)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (!part_fits(output->parts, 2, names[i]))
            continue;
        g_autoptr(GString) value = g_string_new(entry->fields[i]);
        size_t column = 0;
        if (i == FIELD_COMMAND)
            add_arguments(value, &column, entry, false);
        add_value(output, entry, names[i], value->str);
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool show_overrides(Output *output, const MasterEntry *entry, GError **error)
{
    MasterOptions options;

    if (!master_entry_options(entry, &options, error))
        return false;
    g_autoptr(GPtrArray) overrides = options.overrides;
    const ConfigScope scope = {.process_name = entry->fields[FIELD_COMMAND],
                               .service_name = entry->fields[FIELD_NAME],
                               .overrides = overrides};
    g_autoptr(Config) view = view_new_unchecked(output->main_cf, &scope, error);
    if (!view)
        return false;
    g_autoptr(GPtrArray) sorted = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < overrides->len; i++) {
        const char *override = g_ptr_array_index(overrides, i);
        g_ptr_array_add(sorted, g_strndup(override, strcspn(override, "=")));
    }
    if (sorted->len > 0)
        qsort(sorted->pdata, sorted->len, sizeof *sorted->pdata, compare);
    for (guint i = 0; i < sorted->len; i++) {
        const char *name = g_ptr_array_index(sorted, i);
        bool is_repeated = i > 0 && strcmp(name, g_ptr_array_index(sorted, i - 1)) == 0;
        if (is_repeated || !part_fits(output->parts, 2, name))
            continue;
        g_autofree char *expanded =
            output->style->expand ? config_expand(view, view_raw(view, name), NULL) : g_strdup(view_raw(view, name));
        if (!expanded)
            return fail(error, "macro processing error");
        add_value(output, entry, name, expanded);
    }
    return true;
}

/* Shows what each pattern fits; all, where there is none. */
static char *show_matching(const MainCf *main_cf, const GPtrArray *entries, const ConfigStyle *style,
                           const GPtrArray *patterns, const char *option, ShowEntry *show, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    guint count = patterns && patterns->len > 0 ? patterns->len : 1;

    for (guint i = 0; i < count; i++) {
        const char *pattern = patterns && patterns->len > 0 ? g_ptr_array_index(patterns, i) : NULL;
        g_auto(GStrv) parts =
            pattern ? split_pattern(pattern, show == show_entry ? 2 : 3, option, error) : g_new0(char *, 1);
        Output output = {.main_cf = main_cf, .style = style, .parts = parts, .text = text};
        gsize before = text->len;

        if (!parts)
            return NULL;
        for (guint j = 0; j < entries->len; j++)
            if (entry_fits(parts, g_ptr_array_index(entries, j)) &&
                !show(&output, g_ptr_array_index(entries, j), error))
                return NULL;
        if (pattern && text->len == before)
            log_warning("unmatched request: \"%s\"", pattern);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

char *config_show_services(const GPtrArray *entries, const ConfigStyle *style, const GPtrArray *patterns,
                           GError **error)
{
    return show_matching(NULL, entries, style, patterns, "M", show_entry, error);
}

char *config_show_fields(const GPtrArray *entries, const ConfigStyle *style, const GPtrArray *patterns, GError **error)
{
    for (guint i = 0; patterns && i < patterns->len; i++) {
        g_auto(GStrv) parts = g_strsplit(g_ptr_array_index(patterns, i), "/", 3);
        bool known = g_strv_length(parts) < 3 || strcmp(parts[2], "*") == 0;
        for (int j = 0; !known && j < FIELD_COUNT; j++)
            known = strcmp(parts[2], names[j]) == 0;
        if (!known) {
            fail(error, "invalid service attribute name: \"%s\"", parts[2]);
            return NULL;
        }
    }
    return show_matching(NULL, entries, style, patterns, "F", show_fields, error);
}

char *config_show_overrides(const MainCf *main_cf, const GPtrArray *entries, const ConfigStyle *style,
                            const GPtrArray *patterns, GError **error)
{
    return show_matching(main_cf, entries, style, patterns, "P", show_overrides, error);
}
