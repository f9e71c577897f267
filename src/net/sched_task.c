/* sched_task.c - slots of tasks, the run queue, and the lines at gates. Everything here runs under the scheduler's
 * lock. */
#include "base/clock.h"
#include "net/sched_private.h"

static void list_append(TaskList *list, Task *task)
{
    task->next = NULL;
    task->prev = list->last;
    if (list->last)
        list->last->next = task;
    else
        list->first = task;
    list->last = task;
    list->len++;
}

static void list_remove(TaskList *list, Task *task)
{
    if (task->prev)
        task->prev->next = task->next;
    else
        list->first = task->next;
    if (task->next)
        task->next->prev = task->prev;
    else
        list->last = task->prev;
    task->next = task->prev = NULL;
    list->len--;
}

static void list_prepend(TaskList *list, Task *task)
{
    task->prev = NULL;
    task->next = list->first;
    if (list->first)
        list->first->prev = task;
    else
        list->last = task;
    list->first = task;
    list->len++;
}

Task *task_at(Sched *sched, guint32 index)
{
    return (Task *)g_ptr_array_index(sched->chunks, index / SCHED_CHUNK) + index % SCHED_CHUNK;
}

Task *task_new(Sched *sched)
{
    Task *task = sched->free_tasks;

    if (task) {
        sched->free_tasks = task->next;
        task->next = NULL;
    } else {
        if (sched->slots % SCHED_CHUNK == 0)
            g_ptr_array_add(sched->chunks, g_new0(Task, SCHED_CHUNK));
        task = task_at(sched, sched->slots);
        task->index = sched->slots++;
        task->generation = 1;
    }
    sched->tasks++;
    return task;
}

void task_release(Sched *sched, Task *task)
{
    if (task->state == TASK_QUEUED)
        list_remove(&sched->queue, task);
    else if (task->state == TASK_AT_GATE)
        list_remove(&task->gate->line, task);
    timers_remove(&sched->timers, task);
    if (++task->generation == 0)
        task->generation = 1;
    task->state = TASK_FREE;
    task->run = NULL;
    task->free = NULL;
    task->data = NULL;
    task->reasons = 0;
    task->next = sched->free_tasks;
    sched->free_tasks = task;
    sched->tasks--;
}

TaskRef task_ref(const Task *task)
{
    return (TaskRef)task->generation << 32 | task->index;
}

Task *task_find(Sched *sched, TaskRef ref)
{
    guint32 index = (guint32)ref;

    if (index >= sched->slots)
        return NULL;
    Task *task = task_at(sched, index);
    return task->generation == ref >> 32 && task->state != TASK_FREE ? task : NULL;
}

void task_queue(Sched *sched, Task *task)
{
    task->state = TASK_QUEUED;
    /* Who has a place at a gate keeps others from it: it goes first. */
    if (task->gate)
        list_prepend(&sched->queue, task);
    else
        list_append(&sched->queue, task);
}

Task *task_dequeue(Sched *sched)
{
    Task *task = sched->queue.first;

    if (task)
        list_remove(&sched->queue, task);
    return task;
}

bool task_wake(Sched *sched, Task *task, unsigned reasons)
{
    task->reasons |= reasons;
    if (task->state == TASK_AT_GATE && (reasons & WAKE_TIMER)) {
        list_remove(&task->gate->line, task);
        task->gate = NULL;
    } else if (task->state != TASK_PARKED) {
        return false; /* a queued one will see it, a running one when it parks, one in line when its turn comes */
    }
    task->unarmed = false;
    task_queue(sched, task);
    return true;
}

void task_park(Sched *sched, Task *task, gint64 deadline)
{
    if (task->reasons) {
        task->unarmed = false;
        task_queue(sched, task);
        return;
    }
    task->state = TASK_PARKED;
    task->deadline = deadline;
    timers_set(&sched->timers, task, deadline);
    timers_arm(sched);
}

static void give_place(Sched *sched, Gate *gate, Task *task)
{
    task->gate = gate;
    task->reasons |= WAKE_GATE;
    task_queue(sched, task);
}

void gate_enter(Sched *sched, Gate *gate, Task *task, gint64 deadline)
{
    if (gate->taken < gate->places) {
        gate->taken++;
        give_place(sched, gate, task);
        return;
    }
    task->state = TASK_AT_GATE;
    task->gate = gate;
    task->deadline = deadline;
    list_append(&gate->line, task);
    timers_set(&sched->timers, task, deadline);
    timers_arm(sched);
}

void gate_leave(Sched *sched, Gate *gate)
{
    Task *next = gate->line.first;

    if (!next) {
        gate->taken--;
        return;
    }
    list_remove(&gate->line, next);
    give_place(sched, gate, next);
}
