/* page.h - the page of counters that master and all services share. Each process has a row and writes that row only, and
 * the counts of clients that carry its number; limits read the sum over the rows of one line of master.cf, so that two
 * generations of a service are counted together. The master gives rows out and clears those of the dead. What clients did
 * within a time unit is nobody's row (base/rates.h). */
#pragma once
#include "base/rates.h"
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>

#define PAGE_ROWS 1024
#define PAGE_BUCKETS 2048 /* for the counts of clients */
#define PAGE_BUCKET 32    /* counts in each: of 20,000 different clients at once none should find its bucket full */

typedef struct {
    _Atomic guint32 service;    /* master.cf line's number in the page, from page_service_id(); 0: the row is free */
    _Atomic gint32 pid;
    _Atomic guint32 generation; /* of the reload that made the process, from 1 */
    _Atomic guint32 sessions;   /* client sessions */
    _Atomic guint32 slots;      /* filter slots held */
    _Atomic guint32 waiters;    /* sessions that wait for a filter slot */
    _Atomic gint32 refused_call; /* of the system, plus 1: it ended the process (base/sandbox.h); 0: none did */
} PageRow;

/* Sessions of one client of one line in one process. */
typedef struct {
    _Atomic guint64 key; /* hash of line and client, and the row's number in its last bits; 0: free */
    _Atomic guint32 sessions;
} PageClient;

typedef struct {
    _Atomic guint64 last_number; /* of a session; see page_next_number() */
    guint64 secret[2];           /* of the hash: clients choose their addresses */
    PageRow rows[PAGE_ROWS];
    PageClient clients[PAGE_BUCKETS][PAGE_BUCKET];
    RateTable rates;
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

/* One more session of client (any text) at the line of master.cf that row belongs to. Returns the number with it, over
 * all rows of the line. A full bucket counts nobody: 1. A row's own calls exclude each other (the caller's lock). */
guint32 page_client_enter(Page *page, const PageRow *row, const char *client);
void page_client_leave(Page *page, const PageRow *row, const char *client);

/* client at that line, as a key in the table of rates. */
guint64 page_client_key(const Page *page, guint32 service, const char *client);

/* Master only. page_take_row: -1 when all are taken. */
int page_take_row(Page *page, guint32 service, guint32 generation);
void page_clear_row(Page *page, int row);
