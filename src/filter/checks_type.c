/* checks_type.c - types of data by libmagic. */
#include "filter/checks_type.h"
#include "base/fail.h"

#include <magic.h>
#include <pthread.h>
#include <unistd.h>

/* Asking costs processor time alone, so that more of them than there are processors are of no use. All are loaded at
 * the start: later the database may be out of reach. */
#define LOADED_MIN 2
#define LOADED_MAX 32

struct TypePool {
    pthread_mutex_t lock;
    pthread_cond_t given;
    GPtrArray *idle; /* of magic_t */
};

/* Nothing is unpacked and no program is run. */
static magic_t load(GError **error)
{
    magic_t magic = magic_open(MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS);

    if (magic && magic_load(magic, NULL) == 0)
        return magic;
    fail(error, "libmagic: %s", magic && magic_error(magic) ? magic_error(magic) : "no database");
    if (magic)
        magic_close(magic);
    return NULL;
}

static void close_magic(gpointer magic)
{
    magic_close(magic);
}

TypePool *type_pool_new(GError **error)
{
    long count = CLAMP(sysconf(_SC_NPROCESSORS_ONLN), LOADED_MIN, LOADED_MAX);
    TypePool *pool = g_new0(TypePool, 1);

    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->given, NULL);
    pool->idle = g_ptr_array_new_with_free_func(close_magic);
    for (long i = 0; i < count; i++) {
        magic_t magic = load(error);
        if (!magic) {
            type_pool_free(pool);
            return NULL;
        }
        g_ptr_array_add(pool->idle, magic);
    }
    return pool;
}

void type_pool_free(TypePool *pool)
{
    if (!pool)
        return;
    g_ptr_array_unref(pool->idle);
    pthread_cond_destroy(&pool->given);
    pthread_mutex_destroy(&pool->lock);
    g_free(pool);
}

static magic_t take(TypePool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->idle->len == 0)
        pthread_cond_wait(&pool->given, &pool->lock);
    magic_t magic = g_ptr_array_steal_index_fast(pool->idle, pool->idle->len - 1);
    pthread_mutex_unlock(&pool->lock);
    return magic;
}

static void give_back(TypePool *pool, magic_t magic)
{
    pthread_mutex_lock(&pool->lock);
    g_ptr_array_add(pool->idle, magic);
    pthread_cond_signal(&pool->given);
    pthread_mutex_unlock(&pool->lock);
}

char *type_pool_ask(TypePool *pool, const char *data, size_t len, GError **error)
{
    magic_t magic = take(pool);
    const char *type = magic_buffer(magic, data, MIN(len, TYPE_OCTETS_MAX));
    char *copy = g_strdup(type);
    if (!type)
        fail(error, "libmagic: %s", magic_error(magic) ? magic_error(magic) : "no answer");
    give_back(pool, magic);
    return copy;
}
