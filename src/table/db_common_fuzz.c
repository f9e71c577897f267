/* db_common_fuzz.c - hostile keys, values and parameters of tables that ask a database. The first line is a key, the
 * second a value, the rest a file of parameters. */
#include "base/log.h"
#include "table/backend.h"
#include "table/db_common.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Nothing of the key may get past it: what it returns has none of the key's octets, which are no Q. */
static char *hide(void *context, const char *text, GError **error)
{
    return g_strnfill(strlen(text), 'Q');
}

static void try_query(const DbParams *params, const char *key)
{
    g_autoptr(DbTemplate) query = db_template_new_sql(params, true, NULL);
    g_autoptr(DbTemplate) own = db_template_new(params, "query", "%s %u %d %1 %9 %S %U %D %%", NULL);

    if (query && db_template_accepts(query, key))
        g_free(db_template_expand(query, key, hide, NULL, NULL));
    if (!db_template_accepts(own, key))
        return;
    g_autofree char *text = db_template_expand(own, key, hide, NULL, NULL);
    g_assert_cmpuint(strspn(text, "Q %"), ==, strlen(text));
}

static void try_answer(const DbParams *params, const char *key, const char *value)
{
    g_autoptr(DbRules) rules = db_params_get(params, "domain") ? NULL : /* it names files */
                                   db_rules_new(params, "sql:x", "result_format", NULL);
    g_autoptr(DbTemplate) query = db_template_new(params, "query", "%s", NULL);
    g_autofree char *all = NULL;
    g_auto(DbAnswer) answer = {0};

    if (!rules || db_rules_admit(rules, query, true, key, NULL) != TABLE_FOUND)
        return;
    db_answer_init(&answer, rules, key);
    if (db_answer_add(&answer, value, NULL) && db_answer_add(&answer, key, NULL))
        db_answer_end(&answer, &all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    const uint8_t *end_of_key = memchr(data, '\n', size);
    size_t rest = end_of_key ? size - (size_t)(end_of_key - data) - 1 : 0;
    const uint8_t *end_of_value = end_of_key ? memchr(end_of_key + 1, '\n', rest) : NULL;

    if (fd < 0) {
        fd = memfd_create("params", 0);
        log_to_file(open("/dev/null", O_WRONLY), "x");
        log_set_tag("x", "x");
    }
    if (!end_of_value)
        return 0;
    g_autofree char *key = g_strndup((const char *)data, (size_t)(end_of_key - data));
    g_autofree char *value = g_strndup((const char *)end_of_key + 1, (size_t)(end_of_value - end_of_key) - 1);
    size_t len = size - (size_t)(end_of_value - data) - 1;
    if (ftruncate(fd, 0) < 0 || pwrite(fd, end_of_value + 1, len, 0) != (ssize_t)len)
        return 0;
    g_autofree char *path = g_strdup_printf("/dev/fd/%d", fd);
    Table table = {0};
    g_autoptr(DbParams) params = db_params_read(&table, path, NULL);
    g_array_unref(table.state.watch);
    if (params) {
        try_query(params, key);
        try_answer(params, key, value);
    }
    return 0;
}
