/* list_fuzz.c - restriction lists as hostile text: of main.cf, and of an access table. Nothing is evaluated. */
#include "access/private.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The defaults of all parameters, and one class. */
static Access *make_access(void)
{
    g_autofree char *directory = g_dir_make_tmp("list-fuzz-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(directory, "main.cf", NULL);
    Access *access = g_new0(Access, 1);

    if (!g_file_set_contents(path, "myhostname = mx.gate.test\n", -1, NULL))
        abort();
    g_autoptr(MainCf) main_cf = main_cf_read(directory, NULL);
    access->config = config_new(main_cf, &(ConfigScope){.process_name = "smtpd", .stress = ""}, NULL);
    if (!access->config)
        abort();
    access->classes = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(access->classes, (gpointer) "strict", list_new());
    unlink(path);
    rmdir(directory);
    return access;
}

/* Tables of other systems, and files that never end, are left alone. */
static bool leads_elsewhere(const char *text)
{
    static const char *const words[] = {"/dev", "/proc", "/sys",  "hash", "btree", "lmdb",    "cdb", "sqlite",  "sql",
                                        "ldap", "unix",  "proxy", "tcp",  "sock",  "environ", "nis", "pipemap", NULL};
    g_autofree char *lower = g_ascii_strdown(text, -1);

    for (int i = 0; words[i]; i++)
        if (strstr(lower, words[i]))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Access *access;
    g_autofree char *text = g_strndup(size > 0 ? (const char *)data : "", size);
    g_autoptr(GPtrArray) words = config_split(text);

    if (!access) {
        log_set_tag("x", "x");
        log_to_file(open("/dev/null", O_WRONLY), "x");
        access = make_access();
    }
    if (leads_elsewhere(text))
        return 0;
    for (int in_table = 0; in_table < 2; in_table++) {
        g_autoptr(GError) error = NULL;
        List *list = list_new();
        bool ok = list_compile(list, access, text, in_table, &error);
        if (ok != !error || list->rules->len > words->len || (ok && words->len > 0 && list->rules->len == 0))
            abort();
        for (guint i = 0; i < list->rules->len; i++)
            if (!g_array_index(list->rules, Rule, i).word)
                abort();
        list_free(list);
    }
    return 0;
}
