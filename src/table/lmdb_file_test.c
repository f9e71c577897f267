/* The reader of LMDB files beside the library that makes them: it finds what that has put there, and survives what
 * nobody has. */
#include "base/clock.h"
#include "base/fd.h"
#include "table/lmdb_file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char *path;

/* ---- The library ---- */

static MDB_env *open_library(void)
{
    MDB_env *env;

    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_mapsize(env, (size_t)1 << 30), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0644), 0);
    return env;
}

static MDB_txn *begin(MDB_env *env, MDB_dbi *dbi)
{
    MDB_txn *txn;

    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, dbi), 0);
    return txn;
}

static void put(MDB_txn *txn, MDB_dbi dbi, const char *key, size_t key_len, const char *value, size_t value_len)
{
    MDB_val name = {key_len, (void *)(uintptr_t)key}, data = {value_len, (void *)(uintptr_t)value};

    assert_int_equal(mdb_put(txn, dbi, &name, &data, 0), 0);
}

/* ---- Whole tables ---- */

static guint32 seed;

static guint32 draw(guint32 below)
{
    seed = seed * 1664525 + 1013904223;
    return (guint32)(((guint64)(seed >> 8) * below) >> 24);
}

static char *make_text(guint32 len)
{
    char *text = g_malloc(len + 1);

    for (guint32 i = 0; i < len; i++)
        text[i] = (char)(1 + draw(255));
    text[len] = '\0';
    return text;
}

/* Lengths around those where LMDB puts values elsewhere, and longer ones. */
static guint32 draw_value_len(void)
{
    switch (draw(20)) {
    case 0:
        return 1900 + draw(300);
    case 1:
        return draw(20000);
    default:
        return draw(60);
    }
}

static GHashTable *make_table(guint count, bool with_nul)
{
    GHashTable *pairs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    MDB_dbi dbi;

    unlink(path);
    MDB_env *env = open_library();
    MDB_txn *txn = begin(env, &dbi);
    for (guint i = 0; i < count; i++) {
        char *key = make_text(1 + (draw(10) == 0 ? draw(LMDB_KEY_MAX - 1) : draw(12)));
        char *value = make_text(draw_value_len());
        put(txn, dbi, key, strlen(key) + with_nul, value, strlen(value) + with_nul);
        g_hash_table_replace(pairs, key, value);
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    return pairs;
}

static bool count_pair(void *context, const char *key, const char *value)
{
    void **state = context;
    GHashTable *pairs = state[0];
    guint *count = state[1];
    GString *last = state[2];

    assert_true(*count == 0 || strcmp(last->str, key) < 0);
    g_string_assign(last, key);
    const char *wanted = g_hash_table_lookup(pairs, key);
    assert_true(wanted != NULL);
    assert_string_equal(value, wanted);
    ++*count;
    return true;
}

static void assert_has(const LmdbFile *file, GHashTable *pairs)
{
    GHashTableIter iter;
    gpointer key, value;
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) last = g_string_new(NULL);
    guint count = 0;
    void *state[] = {pairs, &count, last};

    g_hash_table_iter_init(&iter, pairs);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        g_autofree char *found = NULL;
        assert_int_equal(lmdb_file_get(file, key, &found, &error), TABLE_FOUND);
        assert_string_equal(found, value);
    }
    for (int i = 0; i < 1000; i++) {
        g_autofree char *other = make_text(1 + draw(4)), *found = NULL;
        TableResult wanted = g_hash_table_contains(pairs, other) ? TABLE_FOUND : TABLE_ABSENT;
        assert_int_equal(lmdb_file_get(file, other, &found, &error), wanted);
    }
    if (!lmdb_file_walk(file, count_pair, state, &error))
        fail_msg("%s", error->message);
    assert_int_equal(count, g_hash_table_size(pairs));
}

static void tables_are_read_as_the_library_made_them(void **state)
{
    static const guint counts[] = {0, 1, 2, 100, 3000, 40000};

    for (size_t i = 0; i < G_N_ELEMENTS(counts) * 2; i++) {
        seed = (guint32)i + 1;
        g_autoptr(GHashTable) pairs = make_table(counts[i / 2], i % 2 == 1);
        g_autoptr(GError) error = NULL;
        g_autoptr(LmdbFile) file = lmdb_file_open(path, &error);
        if (!file)
            fail_msg("%s", error->message);
        assert_has(file, pairs);
    }
}

/* ---- A table that changes in place ---- */

#define KEYS 2000

static void write_version(MDB_env *env, int version)
{
    MDB_dbi dbi;
    MDB_txn *txn = begin(env, &dbi);
    g_autofree char *value = g_strdup_printf("%d", version);

    if (version % 7 == 0)
        assert_int_equal(mdb_drop(txn, dbi, 0), 0);
    for (int i = 0; i < KEYS; i++) {
        g_autofree char *key = g_strdup_printf("key%d", i);
        put(txn, dbi, key, strlen(key), value, strlen(value));
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
}

static void changes_in_place_are_seen_whole_and_in_order(void **state)
{
    int last = 0;
    gint64 end = clock_ms() + 2000;

    unlink(path);
    MDB_env *env = open_library();
    write_version(env, 1);
    mdb_env_close(env);
    g_autoptr(LmdbFile) file = lmdb_file_open(path, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        env = open_library();
        for (int version = 2;; version++)
            write_version(env, version);
    }
    for (int i = 0; clock_ms() < end; i++) {
        g_autofree char *key = g_strdup_printf("key%d", i * 7 % KEYS), *value = NULL;
        g_autoptr(GError) error = NULL;

        TableResult result = lmdb_file_get(file, key, &value, &error);
        if (result != TABLE_FOUND)
            fail_msg("%s: %s", key, error ? error->message : "absent");
        assert_true(atoi(value) >= last);
        last = atoi(value);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(last > 3);
}

/* ---- What is no table, or not whole ---- */

static bool ignore(void *context, const char *key, const char *value)
{
    return true;
}

/* It may find anything, but must end. */
static void use(void)
{
    g_autoptr(LmdbFile) file = lmdb_file_open(path, NULL);

    for (int i = 0; file && i < 50; i++) {
        g_autofree char *key = make_text(1 + draw(6)), *value = NULL;
        lmdb_file_get(file, key, &value, NULL);
    }
    if (file)
        lmdb_file_walk(file, ignore, NULL, NULL);
}

static void write_octets(const char *octets, gsize len)
{
    auto_fd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0 && fd_write_all(fd, octets, len));
}

static void damaged_files_are_survived(void **state)
{
    g_autofree char *octets = NULL;
    gsize len;

    seed = 1;
    g_hash_table_unref(make_table(600, false));
    assert_true(g_file_get_contents(path, &octets, &len, NULL));
    for (gsize cut = 0; cut < len; cut += 1 + cut / 7) {
        write_octets(octets, cut);
        use();
    }
    for (int i = 0; i < 1000; i++) {
        g_autofree char *copy = g_memdup2(octets, len);
        for (int j = 0; j < 20; j++)
            copy[draw(2) ? draw((guint32)len) : draw(16) + draw((guint32)len / 4096) * 4096] = (char)draw(256);
        write_octets(copy, len);
        use();
    }
}

static void what_is_no_table_is_named(void **state)
{
    static const char *const junk[] = {"", "x", "nonsense"};
    g_autofree char *zeros = g_malloc0(8192);

    for (size_t i = 0; i <= G_N_ELEMENTS(junk); i++) {
        g_autoptr(GError) error = NULL;

        if (i < G_N_ELEMENTS(junk))
            write_octets(junk[i], strlen(junk[i]));
        else
            write_octets(zeros, 8192);
        assert_null(lmdb_file_open(path, &error));
        g_autofree char *wanted = g_strdup_printf("open database %s: it is no LMDB file, or damaged", path);
        assert_string_equal(error->message, wanted);
    }
}

/* Its file is made shorter while it is open. */
static void a_file_that_shrinks_is_an_error(void **state)
{
    g_autofree char *value = NULL;
    g_autoptr(GError) error = NULL;

    seed = 1;
    g_hash_table_unref(make_table(3000, false));
    g_autoptr(LmdbFile) file = lmdb_file_open(path, NULL);
    assert_int_equal(truncate(path, 8192), 0);
    assert_int_equal(lmdb_file_get(file, "key", &value, &error), TABLE_FAILED);
    assert_true(g_str_has_prefix(error->message, "error reading "));
    g_clear_error(&error);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(lmdb_file_get(file, "key", &value, &error), TABLE_FAILED);
}

static int make_path(void **state)
{
    g_autofree char *directory = g_dir_make_tmp("lmdb.XXXXXX", NULL);

    path = g_build_filename(directory, "table.lmdb", NULL);
    return 0;
}

static int remove_path(void **state)
{
    g_autofree char *directory = g_path_get_dirname(path);

    unlink(path);
    g_free(path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_read_as_the_library_made_them),
        cmocka_unit_test(changes_in_place_are_seen_whole_and_in_order),
        cmocka_unit_test(damaged_files_are_survived),
        cmocka_unit_test(what_is_no_table_is_named),
        cmocka_unit_test(a_file_that_shrinks_is_an_error),
    };

    return cmocka_run_group_tests(tests, make_path, remove_path);
}
