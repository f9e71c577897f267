/* config_edit.c - changes to the text of main.cf. */
#include "cli/config_edit.h"
#include "base/fail.h"
#include "base/fd.h"
#include "config/statement.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)64 * 1024 * 1024)
#define BLANKS " \t\n\v\f\r"

typedef struct {
    GHashTable *values; /* name -> value; "" unless SET. Those that were written are in done */
    GHashTable *done;
    GPtrArray *order; /* the names as given */
} Changes;

static void changes_clear(Changes *changes)
{
    g_hash_table_destroy(changes->values);
    g_hash_table_destroy(changes->done);
    g_ptr_array_unref(changes->order);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Changes, changes_clear)

static bool read_changes(Changes *changes, ConfigEdit edit, const GPtrArray *list, GError **error)
{
    changes->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    changes->done = g_hash_table_new(g_str_hash, g_str_equal);
    changes->order = g_ptr_array_new();
    for (guint i = 0; i < list->len; i++) {
        const char *change = g_ptr_array_index(list, i);
        char *name, *value;
        if (strchr(change, '\n'))
            return fail(error, "-e, -X, or -# accepts no multi-line input");
        if (edit == CONFIG_EDIT_SET) {
            if (!statement_split(change, &name, &value, error))
                return false;
        } else {
            if (*change == '\0' || change[0] == '#' || strpbrk(change, BLANKS "="))
                return fail(error, "-X or -# requires parameter names without value");
            name = g_strdup(change);
            value = g_strdup("");
        }
        if (!g_hash_table_contains(changes->values, name))
            g_ptr_array_add(changes->order, name);
        g_hash_table_insert(changes->values, name, value);
    }
    return true;
}

static void write_statement(GString *result, const Changes *changes, const char *name)
{
    g_string_append_printf(result, "%s = %s\n", name, (const char *)g_hash_table_lookup(changes->values, name));
    g_hash_table_add(changes->done, (void *)name);
}

/* A line (with its end) that belongs to a statement which changes. */
static void change_line(GString *result, const Changes *changes, ConfigEdit edit, const char *name, bool is_first,
                        const char *line, size_t len)
{
    if (edit == CONFIG_EDIT_COMMENT) {
        g_string_append_c(result, '#');
        g_string_append_len(result, line, (gssize)len);
    } else if (edit == CONFIG_EDIT_SET && is_first && !g_hash_table_contains(changes->done, name)) {
        write_statement(result, changes, name);
    }
}

char *config_edit_text(const char *text, ConfigEdit edit, const GPtrArray *list, GError **error)
{
    g_auto(Changes) changes = {0};
    g_autoptr(GString) result = g_string_new(NULL);
    const char *changing = NULL; /* the name of the statement that we are in, if it changes */

    if (!read_changes(&changes, edit, list, error))
        return NULL;
    while (*text) {
        size_t len = strcspn(text, "\n");
        size_t blanks = MIN(strspn(text, BLANKS), len);
        bool is_dropped = blanks == len || text[blanks] == '#';
        len += text[len] == '\n';
        if (!is_dropped && blanks == 0) {
            g_autofree char *name = g_strndup(text, strcspn(text, BLANKS "="));
            void *key;
            changing = g_hash_table_lookup_extended(changes.values, name, &key, NULL) ? key : NULL;
        }
        if (changing && !is_dropped)
            change_line(result, &changes, edit, changing, blanks == 0, text, len);
        else
            g_string_append_len(result, text, (gssize)len);
        text += len;
    }
    if (result->len > 0 && result->str[result->len - 1] != '\n')
        g_string_append_c(result, '\n');
    for (guint i = 0; edit == CONFIG_EDIT_SET && i < changes.order->len; i++)
        if (!g_hash_table_contains(changes.done, g_ptr_array_index(changes.order, i)))
            write_statement(result, &changes, g_ptr_array_index(changes.order, i));
    return g_string_free(g_steal_pointer(&result), FALSE);
}

/* Replaces path by a file with text. */
static bool replace_file(const char *path, const char *text, GError **error)
{
    g_autofree char *new_path = g_strdup_printf("%s.tmp", path);
    struct stat status;

    if (stat(path, &status) < 0)
        return fail_errno(error, "stat %s", path);
    auto_fd fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_errno(error, "open %s", new_path);
    bool written = fd_write_all(fd, text, strlen(text)) && fchmod(fd, status.st_mode & 07777) == 0 &&
                   (geteuid() != 0 || fchown(fd, status.st_uid, status.st_gid) == 0) && fsync(fd) == 0 &&
                   rename(new_path, path) == 0;
    if (!written) {
        fail_errno(error, "write %s", new_path);
        unlink(new_path);
    }
    return written;
}

bool config_edit_file(const char *path, ConfigEdit edit, const GPtrArray *changes, GError **error)
{
    size_t len;
    g_autofree char *text = fd_read_file(path, FILE_MAX, &len, error);

    if (!text)
        return false;
    if (strlen(text) != len)
        return fail(error, "%s: has a null byte", path);
    g_autofree char *result = config_edit_text(text, edit, changes, error);
    return result && replace_file(path, result, error);
}
