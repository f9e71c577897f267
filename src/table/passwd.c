/* passwd.c - unix:passwd.byname and unix:group.byname: the line of a user or group in /etc/passwd or /etc/group.
 *
 * The files are read like those of any table, so that a changed root does not matter. Users that only a name service
 * knows are not found. */
#include "base/fail.h"
#include "base/fd.h"
#include "base/source.h"
#include "table/backend.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (16 * 1024 * 1024)

/* What is left of the file, NUL-terminated. NULL: errno. The caller frees. */
static char *read_file(int fd)
{
    g_autoptr(GString) content = g_string_new(NULL);
    char buffer[16384];

    for (;;) {
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return NULL;
        if (got == 0)
            return g_string_free(g_steal_pointer(&content), FALSE);
        if (content->len + (size_t)got > FILE_MAX) {
            errno = EFBIG;
            return NULL;
        }
        g_string_append_len(content, buffer, got);
    }
}

/* name -> its line. Of two lines with one name the first counts. */
static GHashTable *read_accounts(const char *text)
{
    GHashTable *accounts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    for (const char *line = text; *line; line += strspn(line, "\n")) {
        size_t len = strcspn(line, "\n"), name_len = strcspn(line, ":\n");
        char *name = name_len > 0 && name_len < len ? g_strndup(line, name_len) : NULL;

        if (name && !g_hash_table_contains(accounts, name))
            g_hash_table_insert(accounts, g_steal_pointer(&name), g_strndup(line, len));
        g_free(name);
        line += len;
    }
    return accounts;
}

static bool accounts_open(Table *table, const char *name, GError **error)
{
    const char *path = strcmp(name, "passwd.byname") == 0  ? "/etc/passwd"
                       : strcmp(name, "group.byname") == 0 ? "/etc/group"
                                                           : NULL;

    if (!path)
        return fail(error, "unknown table: unix:%s", name);
    table_watch(table, path);
    auto_fd fd = source_open(path);
    g_autofree char *text = fd < 0 ? NULL : read_file(fd);
    if (!text)
        return fail_errno(error, "read %s", path);
    table->data = read_accounts(text);
    return true;
}

static TableResult accounts_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const char *line = g_hash_table_lookup(table->data, key);

    if (!line)
        return TABLE_ABSENT;
    *ret_value = g_strdup(line);
    return TABLE_FOUND;
}

static void accounts_free(void *data)
{
    g_hash_table_unref(data);
}

const TableBackend table_unix = {"unix", true, false, accounts_open, accounts_lookup, accounts_free};
