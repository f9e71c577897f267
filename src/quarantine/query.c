/* query.c - looking for messages in quarantine, and at one of them. */
#include "base/fail.h"
#include "base/fd.h"
#include "mail/address.h"
#include "mail/envelope_text.h"
#include "quarantine/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* ---- states ---- */

static const char *const state_names[] = {"quarantined", "releasing", "uncertain", "released"};
G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == QUARANTINE_STATES);

const char *quarantine_state_name(QuarantineState state)
{
    return state_names[state];
}

bool quarantine_state_parse(const char *name, QuarantineState *ret_state)
{
    for (int i = 0; i < QUARANTINE_STATES; i++)
        if (strcmp(name, state_names[i]) == 0) {
            *ret_state = (QuarantineState)i;
            return true;
        }
    return false;
}

/* ---- finding ---- */

/* What an address is compared with; NULL: with anything. */
static char *fold_pattern(const char *pattern)
{
    return !pattern ? NULL : g_str_equal(pattern, "<>") ? g_strdup("") : address_fold(pattern);
}

static bool ends_with_domain(const char *pattern)
{
    return pattern[0] == '@';
}

bool quarantine_matches(const char *pattern, const char *address)
{
    g_autofree char *folded = address_fold(address);
    g_autofree char *wanted = fold_pattern(pattern);

    return ends_with_domain(wanted) ? g_str_has_suffix(folded, wanted) : g_str_equal(folded, wanted);
}

/* ?1.. are bound in this order; one that is NULL does not narrow. An address beginning with '@' is a domain. */
#define ADDRESS_MATCHES(column, n)                                                                                     \
    "(" n " IS NULL OR " column " = " n " OR (substr(" n ", 1, 1) = '@' AND length(" column ") >= length(" n           \
    ") AND substr(" column ", -length(" n ")) = " n "))"

static const char find_sql[] = "SELECT id, stored FROM message WHERE " ADDRESS_MATCHES(
    "sender", "?1") " AND (?2 IS NULL OR EXISTS(SELECT 1 FROM recipient WHERE recipient.id = message.id "
                    "AND " ADDRESS_MATCHES("recipient.address",
                                           "?2") "))"
                                                 " AND (?3 IS NULL OR EXISTS(SELECT 1 FROM client WHERE client.id = "
                                                 "message.id AND attribute IN (?4, ?5)"
                                                 "  AND lower(value) = lower(?3)))"
                                                 " AND (?6 IS NULL OR instr(lower(reason), lower(?6)) > 0)"
                                                 " AND (?7 IS NULL OR trace = ?7)"
                                                 " AND (?8 = 0 OR stored >= ?8) AND (?9 = 0 OR stored <= ?9)"
                                                 " AND (?10 = 0 OR ?10 & (1 << state))"
                                                 " ORDER BY stored DESC, id LIMIT ?11";

GPtrArray *quarantine_find(Quarantine *quarantine, const QuarantineFilter *filter, GError **error)
{
    g_autofree char *sender = fold_pattern(filter->sender);
    g_autofree char *recipient = fold_pattern(filter->recipient);
    g_autoptr(GPtrArray) newest_first = g_ptr_array_new();
    GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);
    GError *why = NULL;

    if (!db_enter(quarantine, error)) {
        g_ptr_array_unref(ids);
        return NULL;
    }
    {
        auto_statement *statement =
            db_prepare(quarantine, &why, find_sql, "tttiittiiii", sender, recipient, filter->client, (gint64)XF_NAME,
                       (gint64)XF_ADDR, filter->reason, filter->trace, filter->since_us, filter->until_us,
                       (gint64)filter->states, filter->limit ? (gint64)filter->limit : (gint64)-1);
        while (statement && db_next(quarantine, statement, &why))
            g_ptr_array_add(newest_first, db_text(statement, 0));
    }
    db_leave(quarantine);
    for (guint i = newest_first->len; i-- > 0;)
        g_ptr_array_add(ids, g_ptr_array_index(newest_first, i));
    if (why) {
        g_propagate_error(error, why);
        g_clear_pointer(&ids, g_ptr_array_unref);
    }
    return ids;
}

/* ---- loading ---- */

static void verdict_free(void *data)
{
    QuarantineRecordVerdict *verdict = data;

    g_free(verdict->inspector);
    g_free(verdict->action);
    g_free(verdict->text);
    g_free(verdict);
}

static void event_free(void *data)
{
    QuarantineEvent *event = data;

    g_free(event->who);
    g_free(event->what);
    g_free(event);
}

void quarantine_record_free(QuarantineRecord *record)
{
    if (!record)
        return;
    g_free(record->id);
    g_free(record->reason);
    g_free(record->trace);
    g_free(record->nexthop);
    envelope_free(record->envelope);
    g_array_unref(record->states);
    xf_attrs_clear(&record->client);
    g_ptr_array_unref(record->verdicts);
    g_ptr_array_unref(record->events);
    g_free(record);
}

static bool load_message(Quarantine *quarantine, QuarantineRecord *record, GError **error)
{
    GError *why = NULL;
    auto_statement *statement = db_prepare(
        quarantine, error, "SELECT stored, size, state, reason, trace, nexthop, envelope FROM message WHERE id = ?",
        "t", record->id);

    if (!statement)
        return false;
    if (!db_next(quarantine, statement, &why)) {
        if (why)
            g_propagate_error(error, why);
        else
            g_set_error(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND, "%s: not in quarantine", record->id);
        return false;
    }
    record->stored_us = sqlite3_column_int64(statement, 0);
    record->size = (guint64)sqlite3_column_int64(statement, 1);
    record->state = (QuarantineState)(sqlite3_column_int64(statement, 2) & 3);
    record->reason = db_text(statement, 3);
    record->trace = db_text(statement, 4);
    record->nexthop = db_text(statement, 5);
    const char *text = sqlite3_column_blob(statement, 6);
    record->envelope = envelope_from_text(text ? text : "", (size_t)sqlite3_column_bytes(statement, 6), error);
    return record->envelope != NULL;
}

static bool load_states(Quarantine *quarantine, QuarantineRecord *record, GError **error)
{
    GError *why = NULL;
    auto_statement *statement =
        db_prepare(quarantine, error, "SELECT state FROM recipient WHERE id = ? ORDER BY number", "t", record->id);

    if (!statement)
        return false;
    while (db_next(quarantine, statement, &why)) {
        QuarantineState state = (QuarantineState)(sqlite3_column_int64(statement, 0) & 3);
        g_array_append_val(record->states, state);
    }
    if (why) {
        g_propagate_error(error, why);
        return false;
    }
    return record->states->len == record->envelope->recipients->len ||
           fail(error, "%s: the quarantine's index is damaged", record->id);
}

static bool load_client(Quarantine *quarantine, QuarantineRecord *record, GError **error)
{
    GError *why = NULL;
    auto_statement *statement =
        db_prepare(quarantine, error, "SELECT attribute, value FROM client WHERE id = ?", "t", record->id);

    if (!statement)
        return false;
    while (db_next(quarantine, statement, &why)) {
        gint64 attribute = sqlite3_column_int64(statement, 0);
        g_autofree char *value = db_text(statement, 1);
        if (attribute >= 0 && attribute < XF_COUNT)
            xf_attrs_set(&record->client, (XfAttr)attribute, value);
    }
    if (why)
        g_propagate_error(error, why);
    return !why;
}

static bool load_verdicts(Quarantine *quarantine, QuarantineRecord *record, GError **error)
{
    GError *why = NULL;
    auto_statement *statement = db_prepare(
        quarantine, error, "SELECT inspector, action, text, milliseconds FROM verdict WHERE id = ? ORDER BY number",
        "t", record->id);

    if (!statement)
        return false;
    while (db_next(quarantine, statement, &why)) {
        QuarantineRecordVerdict *verdict = g_new0(QuarantineRecordVerdict, 1);
        verdict->inspector = db_text(statement, 0);
        verdict->action = db_text(statement, 1);
        verdict->text = db_text(statement, 2);
        verdict->milliseconds = sqlite3_column_int64(statement, 3);
        g_ptr_array_add(record->verdicts, verdict);
    }
    if (why)
        g_propagate_error(error, why);
    return !why;
}

static bool load_events(Quarantine *quarantine, QuarantineRecord *record, GError **error)
{
    GError *why = NULL;
    auto_statement *statement =
        db_prepare(quarantine, error, "SELECT at, who, what FROM event WHERE id = ? ORDER BY number", "t", record->id);

    if (!statement)
        return false;
    while (db_next(quarantine, statement, &why)) {
        QuarantineEvent *event = g_new0(QuarantineEvent, 1);
        event->at_us = sqlite3_column_int64(statement, 0);
        event->who = db_text(statement, 1);
        event->what = db_text(statement, 2);
        g_ptr_array_add(record->events, event);
    }
    if (why)
        g_propagate_error(error, why);
    return !why;
}

QuarantineRecord *quarantine_load(Quarantine *quarantine, const char *typed, GError **error)
{
    g_autofree char *id = quarantine_id_parse(typed, error);

    if (!id || !db_enter(quarantine, error))
        return NULL;
    g_autoptr(QuarantineRecord) record = g_new0(QuarantineRecord, 1);
    record->id = g_steal_pointer(&id);
    record->states = g_array_new(FALSE, FALSE, sizeof(QuarantineState));
    record->verdicts = g_ptr_array_new_with_free_func(verdict_free);
    record->events = g_ptr_array_new_with_free_func(event_free);
    /* one transaction: all of one moment */
    bool loaded = db_run(quarantine, error, "BEGIN", "") && load_message(quarantine, record, error) &&
                  load_states(quarantine, record, error) && load_client(quarantine, record, error) &&
                  load_verdicts(quarantine, record, error) && load_events(quarantine, record, error);
    db_leave(quarantine);
    return loaded ? g_steal_pointer(&record) : NULL;
}

int quarantine_open_content(Quarantine *quarantine, const char *typed, GError **error)
{
    g_autofree char *id = quarantine_id_parse(typed, error);

    if (!id)
        return -1;
    g_autofree char *path = quarantine_content_path(quarantine, id);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        fail_errno(error, "open %s", path);
    return fd;
}
