/* passwd.c - unix:passwd.byname and unix:group.byname: the line of a user or group in /etc/passwd or /etc/group.
 *
 * The files are read anew for each lookup (they are small, and a new user must be known at once), through a directory
 * opened at the start, so that a changed root does not matter. Users that only a name service knows are not found. */
#include "base/fail.h"
#include "base/fd.h"
#include "table/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (16 * 1024 * 1024)

typedef struct {
    int directory;
    const char *file;
} Accounts;

static bool accounts_open(Table *table, const char *name, GError **error)
{
    const char *file = strcmp(name, "passwd.byname") == 0  ? "passwd"
                       : strcmp(name, "group.byname") == 0 ? "group"
                                                           : NULL;

    if (!file)
        return fail(error, "unknown table: unix:%s", name);
    auto_fd directory = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return fail_errno(error, "open /etc");
    Accounts *accounts = g_new0(Accounts, 1);
    accounts->directory = fd_steal(&directory);
    accounts->file = file;
    table->data = accounts;
    return true;
}

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

static TableResult accounts_lookup(const Table *table, const char *key, char **ret_value, GError **error)
{
    const Accounts *accounts = table->data;
    size_t len = strlen(key);

    if (len == 0 || strpbrk(key, ":\n"))
        return TABLE_ABSENT;
    auto_fd fd = openat(accounts->directory, accounts->file, O_RDONLY | O_CLOEXEC);
    g_autofree char *content = fd < 0 ? NULL : read_file(fd);
    if (!content) {
        fail_errno(error, "read /etc/%s", accounts->file);
        return TABLE_FAILED;
    }
    for (const char *line = content; *line; line += strspn(line, "\n")) {
        size_t line_len = strcspn(line, "\n");
        if (line_len > len && line[len] == ':' && memcmp(line, key, len) == 0) {
            *ret_value = g_strndup(line, line_len);
            return TABLE_FOUND;
        }
        line += line_len;
    }
    return TABLE_ABSENT;
}

static void accounts_free(void *data)
{
    Accounts *accounts = data;

    fd_clear(&accounts->directory);
    g_free(accounts);
}

const TableBackend table_unix = {"unix", true, false, accounts_open, accounts_lookup, accounts_free};
