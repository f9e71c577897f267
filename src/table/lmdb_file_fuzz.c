/* lmdb_file_fuzz.c - damaged and hostile files of the Lightning database. Its library makes two of them, one with
 * branches and long values; the input says which, what to look for, and what to change:
 *
 *     octet           0: the small file
 *     key, "\n"
 *     octet * 4096    how much to cut off
 *     any number of   page, offset (2 octets, the high one first), length, so many octets that go there */
#include "base/log.h"
#include "table/lmdb_file.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define PAIRS 300
#define LONG_VALUE 6000 /* octets, of every hundredth */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    char *octets;
    gsize len;
} Image;

static char *key_of(int number)
{
    return g_strdup_printf("user%03d@example.com", number);
}

static char *value_of(int number)
{
    return number % 100 == 99 ? g_strnfill(LONG_VALUE, 'v') : g_strdup_printf("value %d", number);
}

static void must(int code)
{
    if (code != 0)
        abort();
}

static void fill(MDB_env *env, int pairs)
{
    MDB_txn *txn;
    MDB_dbi dbi;

    must(mdb_txn_begin(env, NULL, 0, &txn));
    must(mdb_dbi_open(txn, NULL, 0, &dbi));
    for (int i = 0; i < pairs; i++) {
        g_autofree char *key = key_of(i);
        g_autofree char *value = value_of(i);
        MDB_val name = {strlen(key) + i % 2, key},
                content = {strlen(value) + i % 2, value}; /* with a NUL and without */
        must(mdb_put(txn, dbi, &name, &content, 0));
    }
    must(mdb_txn_commit(txn));
}

static Image make_image(int pairs)
{
    g_autofree char *directory = g_dir_make_tmp("lmdb-fuzz-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(directory, "table", NULL);
    Image image;
    MDB_env *env;

    must(mdb_env_create(&env));
    must(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600));
    fill(env, pairs);
    mdb_env_close(env);
    must(!g_file_get_contents(path, &image.octets, &image.len, NULL));
    unlink(path);
    rmdir(directory);
    return image;
}

/* What of data are changes; they stay within the file. */
static bool change(char *octets, size_t len, const uint8_t *data, size_t size)
{
    bool any = false;

    while (size > 4) {
        size_t at = data[0] * (size_t)PAGE + ((data[1] << 8 | data[2]) & (PAGE - 1));
        size_t count = MIN(data[3], size - 4);
        data += 4;
        size -= 4;
        if (at < len) {
            memcpy(octets + at, data, MIN(count, len - at));
            any = true;
        }
        data += count;
        size -= count;
    }
    return any;
}

static bool count_pairs(void *context, const char *key, const char *value)
{
    return ++*(int *)context < 10 * PAIRS;
}

static void check_get(const LmdbFile *file, const char *key, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *value = NULL;
    TableResult result = lmdb_file_get(file, key, &value, &error);

    if ((result == TABLE_FOUND) != (value != NULL) || (result == TABLE_FAILED) != (error != NULL))
        abort();
    if (expected && g_strcmp0(value, expected) != 0)
        abort();
}

static void read_all(const char *path, const char *key, int whole_pairs)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) walk_error = NULL;
    g_autoptr(LmdbFile) file = lmdb_file_open(path, &error);
    int pairs = 0;

    if (!file != (error != NULL))
        abort();
    if (!file)
        return;
    check_get(file, key, NULL);
    for (int i = 0; i < PAIRS; i += 33) {
        g_autofree char *name = key_of(i);
        g_autofree char *expected = i < whole_pairs ? value_of(i) : NULL;
        check_get(file, name, expected);
    }
    bool is_good = lmdb_file_walk(file, count_pairs, &pairs, &walk_error);
    if (is_good != (walk_error == NULL) || (whole_pairs > 0 && pairs != whole_pairs))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Image small, large;
    static int fd = -1;
    const uint8_t *end = size > 0 ? memchr(data + 1, '\n', size - 1) : NULL;

    if (fd < 0) {
        fd = memfd_create("table", 0);
        log_to_file(open("/dev/null", O_WRONLY), "x");
        small = make_image(3);
        large = make_image(PAIRS);
    }
    if (!end || (size_t)(end + 1 - data) == size)
        return 0;
    const Image *image = data[0] ? &large : &small;
    g_autofree char *path = g_strdup_printf("/dev/fd/%d", fd);
    g_autofree char *key = g_strndup((const char *)data + 1, (size_t)(end - data) - 1);
    g_autofree char *octets = g_memdup2(image->octets, image->len);
    size_t cut = end[1] * (size_t)PAGE, len = cut < image->len ? image->len - cut : 0;
    bool is_whole = !change(octets, len, end + 2, size - (size_t)(end + 2 - data)) && cut == 0;

    if (ftruncate(fd, 0) < 0 || pwrite(fd, octets, len, 0) != (ssize_t)len)
        return 0;
    read_all(path, key, !is_whole ? 0 : data[0] ? PAIRS : 3);
    return 0;
}
