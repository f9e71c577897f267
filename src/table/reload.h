/* reload.h - what is made from files, and made anew when they change, under the hands of many threads.
 *
 * Who uses it takes the state of the moment and gives it back. Now and then one of them looks at the files; when they
 * are others than they were, he makes a new state while the rest go on with the old one, which ends with its last user.
 * A file that is gone, or cannot be read any more (it has a mistake, or the master does not answer), changes nothing:
 * what was read stays. Files are those of base/source.h: root is not needed, and of all states one is looked at a time.
 *
 * A file is read when it is whole. One that took another's place by rename is, at once: its status is younger than its
 * content. One that is written in place is when nobody has written for REST_MS. Should it change while it is read, what
 * was read is thrown away. */
#pragma once
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>

#define RELOAD_REST_MS 1000

/* Begins what is made: the files as they were once. */
typedef struct {
    atomic_uint refs; /* 1 at the start */
    GArray *watch;    /* the files that it was made from, or would have been; NULL: none */
} State;

/* Names a file whose change makes the state another. To be called before the file is opened. */
void state_watch(State *state, const char *path);
void state_watch_as(State *state, const State *part); /* the files of part, too */
void state_clear(State *state);                       /* for free() below */

typedef struct {
    /* In place of old; NULL: there is none, which was logged. */
    State *(*renew)(const State *old, void *context);
    void (*free)(State *state);
} ReloadKind;

typedef struct Reload Reload;
Reload *reload_new(const ReloadKind *kind, void *context, State *state); /* takes the reference over */
void reload_free(Reload *reload);                                        /* NULL is fine */
State *reload_take(Reload *reload);                                      /* of now; to be given back */
void reload_give(Reload *reload, State *state);
