/* inquiry.c - questions by key, each under way or answered. */
#include "access/inquiry.h"
#include "base/clock.h"

#include <string.h>

struct Inquiry {
    TaskRef task;
    Account *account;
    GHashTable *entries; /* of Entry, by key */
};

typedef struct {
    const InquiryKind *kind; /* NULL: a timer */
    void *source;
    guint64 number; /* under way; 0: not */
    void *answer;
    gint64 until; /* of a timer */
    Account *account;
    size_t held; /* octets, taken from the account */
} Entry;

static void entry_free(gpointer data)
{
    Entry *entry = data;

    if (entry->number)
        entry->kind->cancel(entry->source, entry->number);
    if (entry->answer)
        entry->kind->free(entry->answer);
    account_return(entry->account, entry->held);
    g_free(entry);
}

static void hold(Entry *entry, size_t octets)
{
    account_take_anyway(entry->account, octets);
    entry->held += octets;
}

static Entry *add_entry(Inquiry *inquiry, const char *key)
{
    Entry *entry = g_new0(Entry, 1);

    entry->account = inquiry->account;
    hold(entry, sizeof *entry + strlen(key) + 1);
    g_hash_table_insert(inquiry->entries, g_strdup(key), entry);
    return entry;
}

Inquiry *inquiry_new(TaskRef task, Account *account)
{
    Inquiry *inquiry = g_new0(Inquiry, 1);

    inquiry->task = task;
    inquiry->account = account;
    inquiry->entries = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, entry_free);
    return inquiry;
}

void inquiry_free(Inquiry *inquiry)
{
    if (!inquiry)
        return;
    g_hash_table_unref(inquiry->entries);
    g_free(inquiry);
}

const void *inquiry_answer(Inquiry *inquiry, const InquiryKind *kind, void *source, const char *key,
                           const void *question)
{
    Entry *entry = g_hash_table_lookup(inquiry->entries, key);

    bool was_there = entry && entry->answer;

    if (!entry) {
        entry = add_entry(inquiry, key);
        entry->kind = kind;
        entry->source = source;
        entry->number = kind->ask(source, question, inquiry->task, &entry->answer);
    } else if (entry->number && (entry->answer = kind->take(source, entry->number))) {
        entry->number = 0;
    }
    if (!was_there && entry->answer && kind->size)
        hold(entry, kind->size(entry->answer));
    return entry->answer;
}

bool inquiry_slept(Inquiry *inquiry, const char *key, gint64 ms)
{
    Entry *entry = g_hash_table_lookup(inquiry->entries, key);

    if (!entry) {
        entry = add_entry(inquiry, key);
        entry->until = clock_ms() + ms;
    }
    return clock_ms() >= entry->until;
}

gint64 inquiry_deadline(const Inquiry *inquiry)
{
    gint64 now = clock_ms(), deadline = CLOCK_NEVER;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, inquiry->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Entry *entry = value;
        if (!entry->kind && entry->until > now)
            deadline = MIN(deadline, entry->until);
    }
    return deadline;
}

static gboolean is_over(gpointer key, gpointer value, gpointer user)
{
    const Entry *entry = value;

    return !entry->answer || !entry->kind->lasts || !entry->kind->lasts(entry->answer);
}

void inquiry_settled(Inquiry *inquiry)
{
    g_hash_table_foreach_remove(inquiry->entries, is_over, NULL);
    if (g_hash_table_size(inquiry->entries) > INQUIRY_ANSWERS_MAX)
        g_hash_table_remove_all(inquiry->entries);
}
