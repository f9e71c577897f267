/* table_fuzz.c - files of tables and lists with hostile content, and hostile keys for them. */
#include "base/log.h"
#include "table/match.h"
#include "table/table.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_table(const char *type, int fd, const char *key)
{
    g_autofree char *spec = g_strdup_printf("%s:/dev/fd/%d", type, fd);
    g_autoptr(Table) table = table_open(spec, NULL);
    g_autofree char *value = NULL;

    if (table)
        table_lookup(table, key, &value);
}

/* The first line is the key, the rest the file; both also go where text of main.cf goes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"texthash", "cidr", "regexp", "pcre"};
    static const char *const inline_types[] = {"inline:{", "cidr:{", "regexp:{", "unionmap:{"};
    static int fd = -1;
    const uint8_t *end = memchr(data, '\n', size);

    if (fd < 0) {
        fd = memfd_create("table", 0);
        log_to_file(open("/dev/null", O_WRONLY), "x");
        log_set_tag("x", "x");
    }
    if (!end)
        return 0;
    g_autofree char *key = g_strndup((const char *)data, (size_t)(end - data));
    g_autofree char *text = g_strndup((const char *)end + 1, size - (size_t)(end - data) - 1);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, end + 1, size - (size_t)(end - data) - 1, 0) < 0)
        return 0;
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        try_table(types[i], fd, key);
    for (size_t i = 0; i < G_N_ELEMENTS(inline_types); i++) {
        g_autofree char *spec = g_strconcat(inline_types[i], text, "}", NULL);
        g_autoptr(Table) table = table_open(spec, NULL);
        g_autofree char *value = NULL;
        if (table)
            table_lookup(table, key, &value);
    }
    if (!strchr(text, ':') && !strchr(text, '/')) {
        g_autoptr(MatchList) list = match_list_new("x", text, MATCH_PARENT, NULL);
        if (list)
            match_host(list, key, key);
    }
    return 0;
}
