/* slots.c - filter slots. The line is in order: only its head may take a slot that becomes free. */
#include "smtpd/slots.h"
#include "base/clock.h"

#include <pthread.h>

#define NEWS_MS 60000
#define POLL_MS 100 /* another generation of the line gives slots back without telling us */

struct Slots {
    ServiceProcess *process;
    Sched *sched;
    unsigned limit, wait_limit;
    gint64 wait_ms;
    pthread_mutex_t lock;
    GQueue line; /* of SlotPlace*, in order */
    gint64 next_news_ms;
    gint64 holding_ms; /* how long a slot is held: moving mean, 0 while unknown */

    GQueue kept; /* of Kept*, the newest first: it is the likeliest to be alive, and the rest may expire */
    gint64 idle_ms;
    void (*forget)(void *kept);
    TaskRef keeper;
    bool keeper_sleeps; /* until it is woken; else it looks when the oldest expires */
    bool ends;          /* nothing is kept any more */
};

typedef struct {
    void *thing;
    gint64 until;
} Kept;

Slots *slots_new(ServiceProcess *process, Sched *sched, unsigned limit, unsigned wait_limit, gint64 wait_ms)
{
    Slots *slots = g_new0(Slots, 1);

    slots->process = process;
    slots->sched = sched;
    slots->limit = limit;
    slots->wait_limit = wait_limit;
    slots->wait_ms = wait_ms;
    pthread_mutex_init(&slots->lock, NULL);
    g_queue_init(&slots->line);
    g_queue_init(&slots->kept);
    return slots;
}

/* Without the lock. */
static void forget(Slots *slots, Kept *kept)
{
    slots->forget(kept->thing);
    g_free(kept);
    atomic_fetch_sub(&slots->process->row->slots, 1);
}

void slots_free(Slots *slots)
{
    if (!slots)
        return;
    for (Kept *kept; (kept = g_queue_pop_tail(&slots->kept));)
        forget(slots, kept);
    g_queue_clear(&slots->line);
    pthread_mutex_destroy(&slots->lock);
    g_free(slots);
}

/* Under the lock. */
static bool one_is_free(const Slots *slots)
{
    return page_sum_slots(slots->process->page, slots->process->service_id) < slots->limit;
}

/* Counts first and looks then, so that two generations cannot both take the last one. */
static bool take_one(Slots *slots, SlotPlace *place)
{
    Kept *kept = g_queue_pop_head(&slots->kept);

    if (kept) {
        place->kept = kept->thing;
        place->taken_at = clock_ms();
        g_free(kept);
        return true;
    }
    atomic_fetch_add(&slots->process->row->slots, 1);
    if (page_sum_slots(slots->process->page, slots->process->service_id) > slots->limit) {
        atomic_fetch_sub(&slots->process->row->slots, 1);
        return false;
    }
    place->taken_at = clock_ms();
    return true;
}

static void wake_head(Slots *slots)
{
    SlotPlace *head = g_queue_peek_head(&slots->line);

    if (head && (slots->kept.length > 0 || one_is_free(slots)))
        sched_wake(slots->sched, head->task, WAKE_ANSWER);
}

static void leave_line(Slots *slots, SlotPlace *place)
{
    bool was_head = g_queue_peek_head(&slots->line) == place;

    g_queue_remove(&slots->line, place);
    place->task = 0;
    atomic_fetch_sub(&slots->process->row->waiters, 1);
    SlotPlace *head = g_queue_peek_head(&slots->line);
    if (was_head && head) /* it looks for other generations' slots from now on */
        sched_wake(slots->sched, head->task, WAKE_ANSWER);
}

/* Would the last in line wait longer than it may, by what is known of the filter? */
static bool hopeless(const Slots *slots)
{
    gint64 place = (gint64)slots->line.length + 1;

    return place * slots->holding_ms / slots->limit > slots->wait_ms;
}

static SlotAnswer join_line(Slots *slots, SlotPlace *place, TaskRef task)
{
    if (slots->line.length >= slots->wait_limit || hopeless(slots))
        return SLOT_BUSY;
    place->task = task;
    place->give_up_at = clock_ms() + slots->wait_ms;
    g_queue_push_tail(&slots->line, place);
    atomic_fetch_add(&slots->process->row->waiters, 1);
    return SLOT_WAIT;
}

SlotAnswer slots_take(Slots *slots, SlotPlace *place, TaskRef task, gint64 *ret_deadline)
{
    SlotAnswer answer = SLOT_WAIT;

    if (place->taken_at)
        return SLOT_TAKEN;
    pthread_mutex_lock(&slots->lock);
    bool my_turn = place->task ? g_queue_peek_head(&slots->line) == place : slots->line.length == 0;
    if (my_turn && take_one(slots, place)) {
        if (place->task)
            leave_line(slots, place);
        answer = SLOT_TAKEN;
        wake_head(slots);
    } else if (!place->task) {
        answer = join_line(slots, place, task);
    } else if (clock_ms() >= place->give_up_at) {
        leave_line(slots, place);
        wake_head(slots);
        answer = SLOT_BUSY;
    }
    bool first = answer == SLOT_WAIT && g_queue_peek_head(&slots->line) == place;
    pthread_mutex_unlock(&slots->lock);
    *ret_deadline = first ? MIN(place->give_up_at, clock_ms() + POLL_MS) : place->give_up_at;
    return answer;
}

/* Under the lock. The slot is not held any more; whether it is free is another matter. */
static void end_holding(Slots *slots, SlotPlace *place)
{
    gint64 held = MIN(clock_ms() - place->taken_at, slots->wait_ms); /* so the first in line may always wait */

    slots->holding_ms = slots->holding_ms ? (slots->holding_ms * 7 + held) / 8 : held;
    place->taken_at = 0;
}

void slots_leave(Slots *slots, SlotPlace *place)
{
    if (!place->task && !place->taken_at)
        return;
    pthread_mutex_lock(&slots->lock);
    if (place->task)
        leave_line(slots, place);
    if (place->taken_at) {
        end_holding(slots, place);
        atomic_fetch_sub(&slots->process->row->slots, 1);
    }
    wake_head(slots);
    pthread_mutex_unlock(&slots->lock);
}

bool slots_leave_kept(Slots *slots, SlotPlace *place, void *thing)
{
    Kept *kept = g_new0(Kept, 1);

    kept->thing = thing;
    kept->until = clock_ms() + slots->idle_ms;
    pthread_mutex_lock(&slots->lock);
    bool keeps = slots->forget && !slots->ends;
    bool wake = keeps && slots->keeper_sleeps;
    if (keeps) {
        end_holding(slots, place);
        g_queue_push_head(&slots->kept, kept);
        slots->keeper_sleeps = false;
        wake_head(slots);
    }
    pthread_mutex_unlock(&slots->lock);
    if (wake)
        sched_wake(slots->sched, slots->keeper, WAKE_ANSWER);
    if (!keeps)
        g_free(kept);
    return keeps;
}

/* The task that ends what nobody took. */
static Step keeper_run(void *data, TaskRef self, unsigned reasons)
{
    Slots *slots = data;
    GQueue expired = G_QUEUE_INIT;
    gint64 now = clock_ms();

    pthread_mutex_lock(&slots->lock);
    slots->ends |= (reasons & WAKE_STOP) != 0;
    for (Kept *oldest; (oldest = g_queue_peek_tail(&slots->kept)) && (slots->ends || now >= oldest->until);)
        g_queue_push_tail(&expired, g_queue_pop_tail(&slots->kept));
    const Kept *next = g_queue_peek_tail(&slots->kept);
    gint64 until = next ? next->until : CLOCK_NEVER;
    slots->keeper_sleeps = !next;
    pthread_mutex_unlock(&slots->lock);
    if (expired.length == 0)
        return step_park(0, until);
    for (Kept *kept; (kept = g_queue_pop_head(&expired));)
        forget(slots, kept);
    pthread_mutex_lock(&slots->lock);
    wake_head(slots);
    pthread_mutex_unlock(&slots->lock);
    return step_park(0, until);
}

static void keeper_free(void *data)
{
}

void slots_keep(Slots *slots, gint64 idle_ms, void (*forget_kept)(void *kept))
{
    slots->idle_ms = idle_ms;
    slots->forget = forget_kept;
    slots->keeper = sched_add(slots->sched, -1, keeper_run, keeper_free, slots);
}

bool slots_line_is_full(Slots *slots)
{
    pthread_mutex_lock(&slots->lock);
    bool full = slots->line.length >= slots->wait_limit;
    pthread_mutex_unlock(&slots->lock);
    return full && slots->wait_limit > 0;
}

bool slots_has_waiters(Slots *slots)
{
    return atomic_load(&slots->process->row->waiters) > 0;
}

bool slots_refusal_is_news(Slots *slots)
{
    gint64 now = clock_ms();

    pthread_mutex_lock(&slots->lock);
    bool news = now >= slots->next_news_ms;
    if (news)
        slots->next_news_ms = now + NEWS_MS;
    pthread_mutex_unlock(&slots->lock);
    return news;
}
