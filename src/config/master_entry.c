/* master_entry.c - lines of master.cf taken apart. */
#include "config/master_entry.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/statement.h"

#include <string.h>

#define BLANKS " \t\n\v\f\r"

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_NAME] = "service name",         [FIELD_TYPE] = "transport type", [FIELD_PRIVATE] = "private",
    [FIELD_UNPRIVILEGED] = "unprivileged", [FIELD_CHROOT] = "chroot",       [FIELD_WAKEUP] = "wakeup_time",
    [FIELD_MAXPROC] = "max_proc",          [FIELD_COMMAND] = "command",
};

const char *master_field_name(MasterField field)
{
    return field_names[field];
}

void master_entry_free(MasterEntry *entry)
{
    if (!entry)
        return;
    for (int i = 0; i < FIELD_COUNT; i++)
        g_free(entry->fields[i]);
    g_ptr_array_unref(entry->arguments);
    g_free(entry);
}

/* Takes the next word at *at; NULL: none. Blanks between braces do not end it. */
static char *take_word(const char **at)
{
    const char *start = *at + strspn(*at, BLANKS);
    const char *end = start;
    int level = 0;

    for (; *end && (level > 0 || !strchr(BLANKS, *end)); end++) {
        if (*end == '{')
            level++;
        else if (*end == '}' && level > 0)
            level--;
    }
    *at = end;
    return end > start ? g_strndup(start, (gsize)(end - start)) : NULL;
}

static bool fail_quoted(GError **error, const char *what, const char *word)
{
    g_autofree char *shown = log_quote(word, strlen(word));

    return fail(error, "%s in \"%s\"", what, shown);
}

/* "{ text }" without its braces; other words as they are. Takes word over. */
static char *strip_braces(char *word, GError **error)
{
    g_autofree char *owned = word;
    int level = 0;
    size_t end = 0;

    if (word[0] != '{')
        return g_steal_pointer(&owned);
    for (; word[end]; end++) {
        if (word[end] == '{')
            level++;
        else if (word[end] == '}' && --level == 0)
            break;
    }
    if (!word[end]) {
        fail_quoted(error, "missing '}'", word);
        return NULL;
    }
    if (word[end + 1]) {
        fail_quoted(error, "syntax error after '}'", word);
        return NULL;
    }
    word[end] = '\0';
    return statement_trim(word + 1);
}

MasterEntry *master_entry_new(const char *line, GError **error)
{
    g_autoptr(MasterEntry) entry = g_new0(MasterEntry, 1);
    const char *at = line;
    char *word;

    entry->arguments = g_ptr_array_new_with_free_func(g_free);
    for (int i = 0; i < FIELD_COUNT; i++) {
        size_t len = strcspn(at += strspn(at, BLANKS), BLANKS);
        if (len == 0) {
            fail(error, "missing \"%s\" field", field_names[i]);
            return NULL;
        }
        entry->fields[i] = g_strndup(at, len);
        at += len;
    }
    while ((word = take_word(&at))) {
        char *argument = strip_braces(word, error);
        if (!argument)
            return NULL;
        g_ptr_array_add(entry->arguments, argument);
    }
    return g_steal_pointer(&entry);
}

/* "name = value" as "name=value". What has no '=' stays: whoever makes a view says what is wrong with it. */
static char *normal_override(const char *text)
{
    g_autofree char *name = NULL, *value = NULL;

    if (!statement_split(text, &name, &value, NULL))
        return g_strdup(text);
    return g_strdup_printf("%s=%s", name, value);
}

/* One argument of options, like "-v" or "-vo". *ret_takes_next: its -o has its value in the next argument. */
static bool read_option(const char *argument, MasterOptions *options, bool *ret_takes_next, GError **error)
{
    *ret_takes_next = false;
    for (const char *at = argument + 1; *at; at++) {
        if (*at == 'v') {
            options->verbose++;
        } else if (*at == 'D') {
            options->debugger = true;
        } else if (*at == 'o' && at[1]) {
            g_ptr_array_add(options->overrides, normal_override(at + 1));
            return true;
        } else if (*at == 'o') {
            *ret_takes_next = true;
        } else {
            g_autofree char *shown = log_quote(at, 1);
            return fail(error, "invalid option: %s", shown);
        }
    }
    return true;
}

bool master_entry_options(const MasterEntry *entry, MasterOptions *ret_options, GError **error)
{
    g_autoptr(GPtrArray) overrides = g_ptr_array_new_with_free_func(g_free);
    MasterOptions options = {.overrides = overrides};

    for (; options.rest < entry->arguments->len; options.rest++) {
        const char *argument = g_ptr_array_index(entry->arguments, options.rest);
        bool takes_next;
        if (strcmp(argument, "--") == 0) {
            options.rest++;
            break;
        }
        if (argument[0] != '-' || argument[1] == '\0')
            break;
        if (!read_option(argument, &options, &takes_next, error))
            return false;
        if (!takes_next)
            continue;
        if (++options.rest == entry->arguments->len)
            return fail(error, "invalid option: o");
        g_ptr_array_add(overrides, normal_override(g_ptr_array_index(entry->arguments, options.rest)));
    }
    *ret_options = options;
    g_steal_pointer(&overrides);
    return true;
}
