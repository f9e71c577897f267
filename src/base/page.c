/* page.c - the shared page of counters. */
#include "base/page.h"
#include "base/fd.h"

#include <sys/mman.h>
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
    if (page)
        *ret_fd = fd_steal(&fd);
    return page;
}

guint64 page_next_number(Page *page)
{
    return atomic_fetch_add_explicit(&page->last_number, 1, memory_order_relaxed) % NUMBER_MAX + 1;
}

guint32 page_service_id(const char *identity)
{
    return g_str_hash(identity) | 1;
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

int page_take_row(Page *page, guint32 service, guint32 generation)
{
    for (int i = 0; i < PAGE_ROWS; i++) {
        PageRow *row = &page->rows[i];
        if (row->service != 0)
            continue;
        row->pid = 0;
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

    dead->service = 0;
    dead->pid = 0;
    dead->sessions = dead->slots = dead->waiters = 0;
}
