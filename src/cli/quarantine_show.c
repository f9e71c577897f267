/* quarantine_show.c - messages in quarantine for eyes and programs. */
#include "cli/quarantine_show.h"
#include "base/json.h"
#include "base/log.h"
#include "mail/address.h"

#include <string.h>
#include <time.h>

static const struct {
    XfAttr attribute;
    const char *name;
} client_fields[] = {{XF_NAME, "name"},      {XF_ADDR, "address"}, {XF_PORT, "port"},    {XF_HELO, "helo"},
                     {XF_PROTO, "protocol"}, {XF_IDENT, "ident"},  {XF_SOURCE, "source"}};

/* ---- text ---- */

static void append_quoted(GString *out, const char *text)
{
    g_autofree char *shown = log_quote(text, strlen(text));

    g_string_append(out, shown);
}

static void append_address(GString *out, const char *address)
{
    g_autofree char *external = address_quote(address ? address : "");

    g_string_append_c(out, '<');
    append_quoted(out, external);
    g_string_append_c(out, '>');
}

static void append_time(GString *out, gint64 wall_us)
{
    time_t seconds = (time_t)(wall_us / G_USEC_PER_SEC);
    struct tm broken_down;
    char text[32];

    localtime_r(&seconds, &broken_down);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &broken_down);
    g_string_append(out, text);
}

static const Recipient *recipient_at(const QuarantineRecord *record, guint i)
{
    return g_ptr_array_index(record->envelope->recipients, i);
}

static const char *client_value(const QuarantineRecord *record, XfAttr attribute)
{
    const char *value = record->client.value[attribute];

    return value && *value ? value : "unknown";
}

void quarantine_append_line(GString *out, const QuarantineRecord *record)
{
    guint more = record->envelope->recipients->len - 1;

    g_string_append_printf(out, "%s  ", record->id);
    append_time(out, record->stored_us);
    g_string_append_printf(out, "  %8" G_GUINT64_FORMAT "  %-11s  ", record->size,
                           quarantine_state_name(record->state));
    append_address(out, record->envelope->sender);
    g_string_append(out, " -> ");
    append_address(out, recipient_at(record, 0)->address);
    if (more > 0)
        g_string_append_printf(out, " (+%u)", more);
    g_string_append(out, "  [");
    append_quoted(out, client_value(record, XF_ADDR));
    g_string_append(out, "]  ");
    append_quoted(out, record->reason);
    g_string_append_c(out, '\n');
}

static void append_field(GString *out, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    g_string_append_printf(out, "%-11s ", name);
    append_quoted(out, value);
    g_string_append_c(out, '\n');
}

static void append_recipients(GString *out, const QuarantineRecord *record)
{
    for (guint i = 0; i < record->states->len; i++) {
        g_string_append_printf(out, "%-11s ", "recipient");
        append_address(out, recipient_at(record, i)->address);
        g_string_append_printf(out, "  %s\n", quarantine_state_name(g_array_index(record->states, QuarantineState, i)));
    }
}

static void append_client(GString *out, const QuarantineRecord *record)
{
    g_string_append_printf(out, "%-11s ", "client");
    append_quoted(out, client_value(record, XF_NAME));
    g_string_append_c(out, '[');
    append_quoted(out, client_value(record, XF_ADDR));
    g_string_append_c(out, ']');
    for (size_t i = 2; i < G_N_ELEMENTS(client_fields); i++) {
        const char *value = record->client.value[client_fields[i].attribute];
        if (!value || !*value)
            continue;
        g_string_append_printf(out, " %s=", client_fields[i].name);
        append_quoted(out, value);
    }
    g_string_append_c(out, '\n');
}

static void append_history(GString *out, const QuarantineRecord *record)
{
    for (guint i = 0; i < record->verdicts->len; i++) {
        const QuarantineRecordVerdict *verdict = g_ptr_array_index(record->verdicts, i);
        g_string_append_printf(out, "%-11s ", "verdict");
        append_quoted(out, verdict->inspector);
        g_string_append(out, ": ");
        append_quoted(out, verdict->action);
        g_string_append_printf(out, " (%" G_GINT64_FORMAT " ms) ", verdict->milliseconds);
        append_quoted(out, verdict->text);
        g_string_append_c(out, '\n');
    }
    for (guint i = 0; i < record->events->len; i++) {
        const QuarantineEvent *event = g_ptr_array_index(record->events, i);
        g_string_append_printf(out, "%-11s ", "history");
        append_time(out, event->at_us);
        g_string_append(out, " by ");
        append_quoted(out, event->who);
        g_string_append(out, ": ");
        append_quoted(out, event->what);
        g_string_append_c(out, '\n');
    }
}

void quarantine_append_text(GString *out, const QuarantineRecord *record)
{
    append_field(out, "id", record->id);
    append_field(out, "state", quarantine_state_name(record->state));
    append_field(out, "reason", record->reason);
    g_string_append_printf(out, "%-11s ", "stored");
    append_time(out, record->stored_us);
    g_string_append_printf(out, "\n%-11s %" G_GUINT64_FORMAT "\n%-11s ", "size", record->size, "sender");
    append_address(out, record->envelope->sender);
    g_string_append_c(out, '\n');
    append_recipients(out, record);
    append_client(out, record);
    append_field(out, "trace", record->trace);
    append_field(out, "next hop", record->nexthop);
    append_history(out, record);
}

void quarantine_append_content(GString *out, const char *data, size_t len, bool ends_line)
{
    while (len > 0) {
        const char *tab = memchr(data, '\t', len);
        size_t part = tab ? (size_t)(tab - data) : len;
        g_autofree char *shown = log_quote(data, part);
        g_string_append(out, shown);
        if (tab)
            g_string_append_c(out, '\t');
        data += part + (tab ? 1 : 0);
        len -= part + (tab ? 1 : 0);
    }
    if (ends_line)
        g_string_append_c(out, '\n');
}

/* ---- JSON ---- */

static void append_json_field(GString *out, const char *name, const char *value)
{
    g_string_append_printf(out, ", \"%s\": ", name);
    json_append_string(out, value);
}

static void append_json_address(GString *out, const char *name, const char *address)
{
    g_autofree char *external = address_quote(address ? address : "");

    g_string_append_printf(out, "\"%s\": ", name);
    json_append_string(out, external);
}

static void append_json_seconds(GString *out, const char *name, gint64 wall_us)
{
    g_string_append_printf(out, "\"%s\": %" G_GINT64_FORMAT ".%06d", name, wall_us / G_USEC_PER_SEC,
                           (int)(wall_us % G_USEC_PER_SEC));
}

static void append_json_recipients(GString *out, const QuarantineRecord *record)
{
    g_string_append(out, ", \"recipients\": [");
    for (guint i = 0; i < record->states->len; i++) {
        g_string_append(out, i > 0 ? ", {" : "{");
        append_json_address(out, "address", recipient_at(record, i)->address);
        append_json_field(out, "state", quarantine_state_name(g_array_index(record->states, QuarantineState, i)));
        g_string_append_c(out, '}');
    }
    g_string_append_c(out, ']');
}

static void append_json_client(GString *out, const QuarantineRecord *record)
{
    const char *separator = "";

    g_string_append(out, ", \"client\": {");
    for (size_t i = 0; i < G_N_ELEMENTS(client_fields); i++) {
        const char *value = record->client.value[client_fields[i].attribute];
        if (!value)
            continue;
        g_string_append_printf(out, "%s\"%s\": ", separator, client_fields[i].name);
        json_append_string(out, value);
        separator = ", ";
    }
    g_string_append_c(out, '}');
}

static void append_json_history(GString *out, const QuarantineRecord *record)
{
    g_string_append(out, ", \"verdicts\": [");
    for (guint i = 0; i < record->verdicts->len; i++) {
        const QuarantineRecordVerdict *verdict = g_ptr_array_index(record->verdicts, i);
        g_string_append_printf(out, "%s{\"milliseconds\": %" G_GINT64_FORMAT, i > 0 ? ", " : "", verdict->milliseconds);
        append_json_field(out, "inspector", verdict->inspector);
        append_json_field(out, "action", verdict->action);
        append_json_field(out, "text", verdict->text);
        g_string_append_c(out, '}');
    }
    g_string_append(out, "], \"history\": [");
    for (guint i = 0; i < record->events->len; i++) {
        const QuarantineEvent *event = g_ptr_array_index(record->events, i);
        g_string_append(out, i > 0 ? ", {" : "{");
        append_json_seconds(out, "time", event->at_us);
        append_json_field(out, "who", event->who);
        append_json_field(out, "what", event->what);
        g_string_append_c(out, '}');
    }
    g_string_append_c(out, ']');
}

void quarantine_append_json(GString *out, const QuarantineRecord *record)
{
    g_string_append_printf(out, "{\"id\": \"%s\"", record->id);
    append_json_field(out, "state", quarantine_state_name(record->state));
    append_json_field(out, "reason", record->reason);
    g_string_append_printf(out, ", \"size\": %" G_GUINT64_FORMAT ", ", record->size);
    append_json_seconds(out, "stored", record->stored_us);
    g_string_append(out, ", ");
    append_json_seconds(out, "arrival", record->envelope->arrival_us);
    g_string_append(out, ", ");
    append_json_address(out, "sender", record->envelope->sender);
    append_json_recipients(out, record);
    append_json_client(out, record);
    append_json_field(out, "trace", record->trace);
    append_json_field(out, "nexthop", record->nexthop);
    append_json_history(out, record);
}
