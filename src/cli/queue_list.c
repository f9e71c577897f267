/* queue_list.c - the queue as text. Addresses and reasons are strangers' words: nothing in them reaches a terminal that
 * is not printable. */
#include "cli/queue_list.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "mail/address.h"
#include "spool/spool_scan.h"

#include <string.h>
#include <time.h>

#define REASON_COLUMN 76 /* the reason's last one; its parentheses are outside */

/* One message on its way into the list. */
typedef struct {
    const SpoolMessage *message;
    const char *queue; /* "active", ... */
} Entry;

/* A recipient that still waits, or failed for good in a message that is kept. */
static bool is_shown(const Result *result)
{
    return !result || result->status != RESULT_SENT;
}

static char *shown_address(const char *address)
{
    g_autofree char *quoted = address && address[0] ? address_quote(address) : g_strdup("MAILER-DAEMON");

    return log_quote(quoted, strlen(quoted));
}

static void append_time(GString *out, gint64 wall_us)
{
    time_t seconds = (time_t)(wall_us / G_USEC_PER_SEC);
    struct tm broken_down;
    char text[32];

    localtime_r(&seconds, &broken_down);
    strftime(text, sizeof text, "%a %b %e %H:%M:%S", &broken_down);
    g_string_append(out, text);
}

static void append_text(GString *out, const Entry *entry, bool long_ids)
{
    const Envelope *envelope = spool_message_envelope(entry->message);
    g_autofree char *sender = shown_address(envelope->sender);
    g_autofree char *id = g_strdup_printf("%s%s", spool_message_id(entry->message),
                                          g_str_equal(entry->queue, "active") ? "*"
                                          : g_str_equal(entry->queue, "hold") ? "!"
                                                                              : "");
    const char *last_reason = "";

    g_string_append_printf(out, long_ids ? "%-17s %8" G_GUINT64_FORMAT " " : "%-11s %7" G_GUINT64_FORMAT " ", id,
                           spool_message_wire_size(entry->message));
    append_time(out, envelope->arrival_us);
    g_string_append_printf(out, long_ids ? " %s\n" : "  %s\n", sender);
    for (guint i = 0; i < envelope->recipients->len; i++) {
        const Result *result = spool_message_result(entry->message, i);
        g_autofree char *address = shown_address(((Recipient *)g_ptr_array_index(envelope->recipients, i))->address);
        if (!is_shown(result))
            continue;
        if (result && strcmp(result->text, last_reason) != 0) {
            g_autofree char *reason = log_quote(result->text, strlen(result->text));
            g_string_append_printf(out, "%*s(%s)\n", MAX(0, REASON_COLUMN - (int)strlen(reason)), "", reason);
            last_reason = result->text;
        }
        g_string_append_printf(out, "%41s%s\n", "", address);
    }
    g_string_append_c(out, '\n');
}

static void append_json(GString *out, const Entry *entry)
{
    const Envelope *envelope = spool_message_envelope(entry->message);
    g_autofree char *sender = shown_address(envelope->sender);
    const char *separator = "";

    g_string_append_printf(out,
                           "{\"queue_name\": \"%s\", \"queue_id\": \"%s\", \"arrival_time\": %" G_GINT64_FORMAT
                           ", \"message_size\": %" G_GUINT64_FORMAT ", \"forced_expire\": false, \"sender\": ",
                           entry->queue, spool_message_id(entry->message), envelope->arrival_us / G_USEC_PER_SEC,
                           spool_message_wire_size(entry->message));
    json_append_string(out, sender);
    g_string_append(out, ", \"recipients\": [");
    for (guint i = 0; i < envelope->recipients->len; i++) {
        const Result *result = spool_message_result(entry->message, i);
        g_autofree char *address = address_quote(((Recipient *)g_ptr_array_index(envelope->recipients, i))->address);
        if (!is_shown(result))
            continue;
        g_string_append_printf(out, "%s{\"address\": ", separator);
        json_append_string(out, address);
        if (result) {
            g_string_append(out, result->status == RESULT_BOUNCED ? ", \"bounce_reason\": " : ", \"delay_reason\": ");
            json_append_string(out, result->text);
        }
        g_string_append_c(out, '}');
        separator = ", ";
    }
    g_string_append(out, "]}\n");
}

/* New ones were never tried and may be tried now. */
static bool is_incoming(const SpoolMessage *message)
{
    for (guint i = 0; i < spool_message_envelope(message)->recipients->len; i++)
        if (spool_message_result(message, i))
            return false;
    return spool_message_mtime(message) <= clock_wall_us() / G_USEC_PER_SEC;
}

static GString *choose_queue(QueueList *list, SpoolPlace place, bool active, Entry *entry)
{
    if (place == SPOOL_HOLD) {
        entry->queue = "hold";
        return list->hold;
    }
    if (active) {
        entry->queue = "active";
        return list->active;
    }
    bool incoming = is_incoming(entry->message);
    entry->queue = incoming ? "incoming" : "deferred";
    return incoming ? list->incoming : list->deferred;
}

typedef struct {
    const Spool *spool;
    GHashTable *active;
    QueueListForm form;
    bool long_ids;
} Reader;

static void add_message(const Reader *reader, SpoolPlace place, const char *id, QueueList *list)
{
    g_autoptr(SpoolMessage) message = spool_message_open(reader->spool, place, id, SPOOL_LOOK, NULL);
    Entry entry = {.message = message};

    if (!message)
        return;
    GString *out = choose_queue(list, place, g_hash_table_contains(reader->active, id), &entry);
    if (reader->form == QUEUE_LIST_JSON)
        append_json(out, &entry);
    else
        append_text(out, &entry, reader->long_ids);
    list->messages++;
    list->octets += spool_message_wire_size(message);
}

static bool read_place(const Reader *reader, SpoolPlace place, QueueList *list, GError **error)
{
    g_autoptr(SpoolScan) scan = spool_scan_new(reader->spool, place);
    GPtrArray *ids;
    g_autoptr(GError) why = NULL;

    while (spool_scan_next(scan, &ids, &why)) {
        for (guint i = 0; i < ids->len; i++)
            add_message(reader, place, g_ptr_array_index(ids, i), list);
        g_ptr_array_unref(ids);
    }
    if (!why)
        return true;
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

bool queue_list_read(const Spool *spool, const GPtrArray *active, QueueListForm form, bool long_ids,
                     QueueList *ret_list, GError **error)
{
    g_autoptr(GHashTable) ids = g_hash_table_new(g_str_hash, g_str_equal);
    const Reader reader = {spool, ids, form, long_ids};
    QueueList list = {.active = g_string_new(NULL),
                      .incoming = g_string_new(NULL),
                      .deferred = g_string_new(NULL),
                      .hold = g_string_new(NULL)};

    for (guint i = 0; active && i < active->len; i++)
        g_hash_table_add(ids, g_ptr_array_index(active, i));
    if (!read_place(&reader, SPOOL_QUEUE, &list, error) || !read_place(&reader, SPOOL_HOLD, &list, error)) {
        queue_list_clear(&list);
        return false;
    }
    *ret_list = list;
    return true;
}

void queue_list_clear(QueueList *list)
{
    GString *parts[] = {list->active, list->incoming, list->deferred, list->hold};

    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
        g_string_free(parts[i], TRUE);
}

GString *queue_list_text(const QueueList *list, QueueListForm form, bool long_ids)
{
    const GString *parts[] = {list->active, list->incoming, list->deferred, list->hold};
    GString *out = g_string_new(NULL);

    if (form == QUEUE_LIST_TEXT && list->messages == 0)
        return g_string_append(out, "Mail queue is empty\n");
    if (form == QUEUE_LIST_TEXT)
        g_string_append(out, long_ids ? "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
                                      : "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n");
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
        g_string_append_len(out, parts[i]->str, (gssize)parts[i]->len);
    if (form == QUEUE_LIST_TEXT)
        g_string_append_printf(out, "-- %" G_GUINT64_FORMAT " Kbytes in %" G_GUINT64_FORMAT " Request%s.\n",
                               list->octets / 1024, list->messages, list->messages == 1 ? "" : "s");
    return out;
}
