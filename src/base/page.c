/* page.c - the shared page of counters. */
#include "base/page.h"
#include "base/fd.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define NUMBER_MAX 4194303 /* the largest process id of Linux: log tools expect no more digits */

Page *page_map(int fd)
{
    void *page = mmap(NULL, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return page == MAP_FAILED ? NULL : page;
}

Page *page_create(int *ret_fd)
{
    auto_fd fd = memfd_create("gatepost-page", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, sizeof(Page)) < 0)
        return NULL;
    Page *page = page_map(fd);
    if (!page)
        return NULL;
    while (getrandom(page->secret, sizeof page->secret, 0) != (ssize_t)sizeof page->secret)
        ;
    *ret_fd = fd_steal(&fd);
    return page;
}

guint64 page_next_number(Page *page)
{
    return atomic_fetch_add_explicit(&page->last_number, 1, memory_order_relaxed) % NUMBER_MAX + 1;
}

guint32 page_service_id(const char *identity)
{
    guint32 hash = 2166136261u; /* FNV-1a: lines that differ in one character must not meet, as ports often do */

    for (const char *at = identity; *at; at++)
        hash = (hash ^ (guint8)*at) * 16777619u;
    return hash ? hash : 1;
}

#define SUM(field)                                                                                                     \
    guint32 sum = 0;                                                                                                   \
    for (int i = 0; i < PAGE_ROWS; i++)                                                                                \
        if (atomic_load_explicit(&page->rows[i].service, memory_order_relaxed) == service)                             \
            sum += atomic_load_explicit(&page->rows[i].field, memory_order_relaxed);                                   \
    return sum

guint32 page_sum_sessions(const Page *page, guint32 service)
{
    SUM(sessions);
}

guint32 page_sum_slots(const Page *page, guint32 service)
{
    SUM(slots);
}

guint32 page_sum_waiters(const Page *page, guint32 service)
{
    SUM(waiters);
}

/* --- sessions per client --- */

#define ROW_BITS 10
G_STATIC_ASSERT(PAGE_ROWS == 1 << ROW_BITS);

/* Multiply and add, with a secret, so that nobody can fill one bucket. The row's bits are 0, the others are not all. */
guint64 page_client_key(const Page *page, guint32 service, const char *client)
{
    guint64 hash = page->secret[0] ^ service;

    for (const char *at = client; *at; at++) {
        hash = (hash ^ (guint64)(unsigned char)*at) * (page->secret[1] | 1);
        hash ^= hash >> 29;
    }
    return ((hash >> ROW_BITS) | 1) << ROW_BITS;
}

static PageClient *bucket_of(Page *page, guint64 hash)
{
    return page->clients[(hash >> 32) % PAGE_BUCKETS];
}

static PageClient *find_client(PageClient *bucket, guint64 key)
{
    for (int i = 0; i < PAGE_BUCKET; i++)
        if (atomic_load(&bucket[i].key) == key)
            return &bucket[i];
    return NULL;
}

static PageClient *claim_client(PageClient *bucket, guint64 key)
{
    for (int i = 0; i < PAGE_BUCKET; i++) {
        guint64 free = 0;
        if (atomic_compare_exchange_strong(&bucket[i].key, &free, key))
            return &bucket[i];
    }
    return NULL;
}

static void give_back(PageClient *client)
{
    atomic_store(&client->sessions, 0);
    atomic_store(&client->key, 0); /* last: from now on it may be another row's */
}

guint32 page_client_enter(Page *page, const PageRow *row, const char *client)
{
    guint64 hash = page_client_key(page, row->service, client), key = hash | (guint64)(row - page->rows);
    PageClient *bucket = bucket_of(page, hash);
    PageClient *mine = find_client(bucket, key);
    guint32 sum = 0;

    if (!mine)
        mine = claim_client(bucket, key);
    if (!mine)
        return 1;
    atomic_fetch_add(&mine->sessions, 1); /* first: two processes cannot both overlook each other */
    for (int i = 0; i < PAGE_BUCKET; i++)
        if ((atomic_load(&bucket[i].key) & ~(guint64)(PAGE_ROWS - 1)) == hash)
            sum += atomic_load(&bucket[i].sessions);
    return sum;
}

void page_client_leave(Page *page, const PageRow *row, const char *client)
{
    guint64 hash = page_client_key(page, row->service, client);
    PageClient *mine = find_client(bucket_of(page, hash), hash | (guint64)(row - page->rows));

    if (mine && atomic_fetch_sub(&mine->sessions, 1) == 1)
        give_back(mine);
}

static void forget_clients(Page *page, guint64 row)
{
    PageClient *client = page->clients[0];

    for (size_t i = 0; i < (size_t)PAGE_BUCKETS * PAGE_BUCKET; i++, client++) {
        guint64 key = atomic_load(&client->key);
        if (key != 0 && (key & (PAGE_ROWS - 1)) == row)
            give_back(client);
    }
}

/* --- rows --- */

int page_take_row(Page *page, guint32 service, guint32 generation)
{
    for (int i = 0; i < PAGE_ROWS; i++) {
        PageRow *row = &page->rows[i];
        if (row->service != 0)
            continue;
        row->pid = row->refused_call = 0;
        row->generation = generation;
        row->sessions = row->slots = row->waiters = 0;
        row->service = service;
        return i;
    }
    return -1;
}

void page_clear_row(Page *page, int row)
{
    PageRow *dead = &page->rows[row];

    forget_clients(page, (guint64)row);
    rates_forget_row(&page->rates, (guint32)row);
    dead->service = 0;
    dead->pid = 0;
    dead->sessions = dead->slots = dead->waiters = 0;
}
