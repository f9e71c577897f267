/* sched_timer.c - the scheduler's deadlines.
 *
 * A session parks after each command, nearly always with a later deadline than before, and is nearly always woken by
 * its client. So a wake leaves the entry in the heap and parking with a later deadline leaves it too: an entry's time
 * is only a lower bound. When it comes up, it is moved to where the task's deadline is by then, once per time limit
 * instead of twice per command. */
#include "base/clock.h"
#include "net/sched_private.h"

#include <sys/timerfd.h>

static void place(TimerHeap *heap, guint32 at, TimerEntry entry)
{
    heap->entries[at] = entry;
    entry.task->timer = at + 1;
}

static void sift_up(TimerHeap *heap, guint32 at, TimerEntry entry)
{
    while (at > 0) {
        guint32 parent = (at - 1) / 4;
        if (heap->entries[parent].at <= entry.at)
            break;
        place(heap, at, heap->entries[parent]);
        at = parent;
    }
    place(heap, at, entry);
}

static void sift_down(TimerHeap *heap, guint32 at, TimerEntry entry)
{
    for (;;) {
        guint64 first = (guint64)at * 4 + 1;
        if (first >= heap->len)
            break;
        guint32 least = (guint32)first;
        for (guint32 child = least + 1; child < heap->len && child < first + 4; child++)
            if (heap->entries[child].at < heap->entries[least].at)
                least = child;
        if (heap->entries[least].at >= entry.at)
            break;
        place(heap, at, heap->entries[least]);
        at = least;
    }
    place(heap, at, entry);
}

void timers_set(TimerHeap *heap, Task *task, gint64 deadline)
{
    TimerEntry entry = {.at = deadline, .task = task};

    if (task->timer) {
        if (deadline < heap->entries[task->timer - 1].at)
            sift_up(heap, task->timer - 1, entry);
        return;
    }
    if (deadline == CLOCK_NEVER)
        return;
    if (heap->len == heap->size) {
        heap->size = heap->size ? heap->size * 2 : 64;
        heap->entries = g_renew(TimerEntry, heap->entries, heap->size);
    }
    sift_up(heap, heap->len++, entry);
}

void timers_remove(TimerHeap *heap, Task *task)
{
    if (!task->timer)
        return;
    guint32 at = task->timer - 1;
    TimerEntry last = heap->entries[--heap->len];

    task->timer = 0;
    if (last.task == task)
        return;
    if (at > 0 && last.at < heap->entries[(at - 1) / 4].at)
        sift_up(heap, at, last);
    else
        sift_down(heap, at, last);
}

Task *timers_take_due(TimerHeap *heap, gint64 now)
{
    while (heap->len > 0 && heap->entries[0].at <= now) {
        Task *task = heap->entries[0].task;
        bool waits = task->state == TASK_PARKED || task->state == TASK_AT_GATE;

        if (!waits || task->deadline == CLOCK_NEVER) {
            timers_remove(heap, task);
        } else if (task->deadline <= now) {
            timers_remove(heap, task);
            return task;
        } else {
            sift_down(heap, 0, (TimerEntry){.at = task->deadline, .task = task});
        }
    }
    return NULL;
}

gint64 timers_next(const TimerHeap *heap)
{
    return heap->len > 0 ? heap->entries[0].at : CLOCK_NEVER;
}

void timers_arm(Sched *sched)
{
    gint64 next = timers_next(&sched->timers);

    if (next >= sched->timer_armed)
        return;
    sched->timer_armed = next;
    /* clock_ms() is one more than the milliseconds since boot. All zero would disarm: a deadline long gone becomes 1
     * ns. */
    gint64 ms = MAX(next - 1, 0);
    struct itimerspec spec = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 + (ms == 0)}};
    timerfd_settime(sched->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void timers_run(Sched *sched)
{
    gint64 now = clock_ms();
    Task *task;

    for (int i = 0; i < SCHED_EXPIRE_MAX && (task = timers_take_due(&sched->timers, now)); i++)
        task_wake(sched, task, task->unarmed ? WAKE_INPUT | WAKE_OUTPUT : WAKE_TIMER);
    sched->timer_armed = CLOCK_NEVER;
    timers_arm(sched);
}
