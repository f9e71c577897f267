/* page.h - the page of counters that master and all services share. Each process has a row and writes that row only; limits
 * read the sum over the rows of one line of master.cf, so that two generations of a service are counted together. The master
 * gives rows out and clears those of the dead. */
#pragma once
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>

#define PAGE_ROWS 1024

typedef struct {
    _Atomic guint32 service;    /* master.cf line's number in the page, from page_service_id(); 0: the row is free */
    _Atomic gint32 pid;
    _Atomic guint32 generation; /* of the reload that made the process, from 1 */
    _Atomic guint32 sessions;   /* client sessions */
    _Atomic guint32 slots;      /* filter slots held */
    _Atomic guint32 waiters;    /* sessions that wait for a filter slot */
} PageRow;

typedef struct {
    _Atomic guint64 last_number; /* of a session; see page_next_number() */
    PageRow rows[PAGE_ROWS];
} Page;

/* A new page behind a descriptor that children inherit (memfd), or the page behind that descriptor. NULL: errno tells why. */
Page *page_create(int *ret_fd);
Page *page_map(int fd);

/* The number in brackets of a session's log lines: 1 to 4194303, as process ids are, then again from 1. */
guint64 page_next_number(Page *page);

/* A line of master.cf, by its identity "type/canonical-name", as a number that stays the same over reloads. Never 0. */
guint32 page_service_id(const char *identity);

guint32 page_sum_sessions(const Page *page, guint32 service);
guint32 page_sum_slots(const Page *page, guint32 service);
guint32 page_sum_waiters(const Page *page, guint32 service);

/* Master only. page_take_row: -1 when all are taken. */
int page_take_row(Page *page, guint32 service, guint32 generation);
void page_clear_row(Page *page, int row);
