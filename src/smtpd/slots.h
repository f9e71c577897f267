/* slots.h - filter slots: how many dialogues a line of master.cf holds with its filter at once, counted over all
 * generations of the line; and who waits for one, in order. Thread-safe.
 *
 * A connection that is kept for the next message occupies a process of the filter, so its slot stays taken; whoever
 * takes a slot gets the connection with it, and nobody waits while one is kept. */
#pragma once
#include "base/service.h"
#include "net/sched.h"

typedef struct Slots Slots;

/* wait_limit: how many may wait. wait_ms: how long. */
Slots *slots_new(ServiceProcess *process, Sched *sched, unsigned limit, unsigned wait_limit, gint64 wait_ms);
void slots_free(Slots *slots);
/* Before the first slot is taken: from now on things can be kept. forget() ends one that nobody took. */
void slots_keep(Slots *slots, gint64 idle_ms, void (*forget)(void *kept));

typedef enum {
    SLOT_TAKEN,
    SLOT_WAIT, /* in line: run again with WAKE_ANSWER or at *ret_deadline and ask again */
    SLOT_BUSY, /* the line is full, the wait would be or was too long: the client gets its 451 now */
} SlotAnswer;

/* A place in line: zeroed before the first call, kept between calls. */
typedef struct {
    TaskRef task;      /* 0: not in line */
    gint64 give_up_at; /* clock_ms() */
    gint64 taken_at;   /* clock_ms() when the slot was taken; 0: none held */
    void *kept;        /* what came with the slot; the holder's from then on. NULL: nothing */
} SlotPlace;

SlotAnswer slots_take(Slots *slots, SlotPlace *place, TaskRef task, gint64 *ret_deadline);
/* Gives back what the place stands for, a slot or a place in line. Nothing when there is none. */
void slots_leave(Slots *slots, SlotPlace *place);
/* Gives back the slot with what is to be kept, for idle_ms at most. False: nothing is kept any more (the process ends);
 * the slot is still held. */
bool slots_leave_kept(Slots *slots, SlotPlace *place, void *kept);
bool slots_line_is_full(Slots *slots);
bool slots_has_waiters(Slots *slots);
/* Somebody was refused: whether that is to be logged. True at most once a minute. */
bool slots_refusal_is_news(Slots *slots);
