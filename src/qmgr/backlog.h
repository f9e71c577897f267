/* backlog.h - the messages that the queue manager knows of and does not work on now. A deferred one costs its id and a
 * time. No I/O here.
 *
 * A message is in one state: waiting (to be looked at as soon as there is room), soon (locked by somebody else: to be
 * looked at again), deferred (until a time), or active (given out by backlog_next(), until it is deferred again or
 * forgotten). */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct Backlog Backlog;

Backlog *backlog_new(guint waiting_max); /* how many may wait; the others are left for the next scan */
void backlog_free(Backlog *backlog);

/* A message to look at now. When it is known already nothing happens, but that one locked by its writer need not wait
 * any longer when that one tells. False: no room (scan again when backlog_has_room()). */
typedef enum {
    BACKLOG_FOUND,     /* by a scan; it may have been tried, by an earlier queue manager */
    BACKLOG_FOUND_NEW, /* by a scan after one that left no message unknown */
    BACKLOG_TOLD       /* by its writer */
} BacklogSource;
bool backlog_add(Backlog *backlog, const char *id, BacklogSource source);
void backlog_add_deferred(Backlog *backlog, const char *id, gint64 wall_s); /* the same, for its time */
bool backlog_knows(const Backlog *backlog, const char *id);
bool backlog_has_room(const Backlog *backlog);
bool backlog_has_next(const Backlog *backlog);

enum {
    BACKLOG_UNTRIED = 1, /* nobody looked at it before, as far as scans can tell */
    BACKLOG_FLUSHED = 2  /* a person asked for it */
};

/* The next one to look at, new ones and those deferred in turn. It is active now; *ret_id is the backlog's, until it is
 * forgotten. */
bool backlog_next(Backlog *backlog, const char **ret_id, unsigned *ret_flags);
void backlog_defer(Backlog *backlog, const char *id, gint64 wall_s); /* active -> deferred */
void backlog_look_again(Backlog *backlog, const char *id,
                        gint64 at_ms);                 /* active -> soon; clock_ms(), not before that of others */
void backlog_forget(Backlog *backlog, const char *id); /* active -> unknown */

/* Deferred ones become waiting: whose time has come, all, one. */
void backlog_run(Backlog *backlog, gint64 now_wall_s);
void backlog_flush(Backlog *backlog);
void backlog_try(Backlog *backlog, const char *id);
void backlog_tick(Backlog *backlog, gint64 now_ms); /* those of "soon" whose time has come become waiting */
gint64 backlog_tick_time(const Backlog *backlog);   /* when the next one's comes; CLOCK_NEVER without one */

guint backlog_active(const Backlog *backlog);
char *backlog_list_active(const Backlog *backlog, gsize *ret_len); /* ids, a line each; caller frees */
