/* trace_show.c - the way of a message for eyes and programs. */
#include "cli/trace_show.h"
#include "base/json.h"
#include "base/log.h"

#include <time.h>

#define IDS_SHOWN 100

void trace_append_quoted(GString *out, TraceText text)
{
    g_autofree char *shown = log_quote(text.len ? text.at : "", text.len);

    g_string_append(out, shown);
}

void trace_append_json_text(GString *out, const char *name, TraceText text)
{
    g_autofree char *value = trace_text_dup(text);

    if (!text.at)
        return;
    g_string_append_printf(out, ", \"%s\": ", name);
    json_append_string(out, value);
}

void trace_append_time(GString *out, gint64 time_us)
{
    time_t seconds = (time_t)(time_us / G_USEC_PER_SEC);
    struct tm broken_down;
    char text[32];

    if (time_us < 0 || !localtime_r(&seconds, &broken_down)) {
        g_string_append_printf(out, "%-19s", "?");
        return;
    }
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &broken_down);
    g_string_append(out, text);
}

/* Whose line it is. */
static const char *hop_of(const TraceLine *line)
{
    if (trace_text_is(line->program, "filter"))
        return "filter";
    if (trace_text_is(line->program, "smtpd"))
        return line->queue_id.len > 0 ? "after" : "front";
    if (line->kind == TRACE_DELIVERY)
        return "delivery";
    return "queue";
}

/* ---- what all lines together say ---- */

typedef struct {
    GPtrArray *traces, *queue_ids; /* of char *, in the order in which they come */
    TraceText client, sender, recipient;
    GString *verdicts;
} Summary;

static void take_id(GPtrArray *ids, TraceText id)
{
    g_autofree char *text = trace_text_dup(id);

    if (id.len > 0 && ids->len < IDS_SHOWN && !g_ptr_array_find_with_equal_func(ids, text, g_str_equal, NULL))
        g_ptr_array_add(ids, g_steal_pointer(&text));
}

static void take_first(TraceText *to, TraceText from)
{
    if (!to->at)
        *to = from;
}

static void take_verdict(GString *verdicts, const TraceLine *line)
{
    TraceText verdict = line->kind == TRACE_REJECT ? (TraceText){"reject", strlen("reject")} : line->verdict;

    if (verdict.len == 0)
        return;
    g_string_append_printf(verdicts, "%s%s ", verdicts->len > 0 ? ", " : "", hop_of(line));
    trace_append_quoted(verdicts, verdict);
}

static void summarize(const GPtrArray *events, Summary *summary)
{
    summary->traces = g_ptr_array_new_with_free_func(g_free);
    summary->queue_ids = g_ptr_array_new_with_free_func(g_free);
    summary->verdicts = g_string_new(NULL);
    for (guint i = 0; i < events->len; i++) {
        const TraceLine *line = &((const TraceEvent *)events->pdata[i])->line;
        take_id(summary->traces, line->trace);
        take_id(summary->queue_ids, line->queue_id);
        if (line->kind == TRACE_CLIENT || line->kind == TRACE_REJECT)
            take_first(&summary->client, line->client);
        take_first(&summary->client, line->original);
        take_first(&summary->sender, line->sender);
        take_first(&summary->recipient, line->recipient);
        take_verdict(summary->verdicts, line);
    }
    for (guint i = 0; i < events->len; i++) /* who connected, or brought it to the queue */
        take_first(&summary->client, ((const TraceEvent *)events->pdata[i])->line.client);
}

static void clear_summary(Summary *summary)
{
    g_ptr_array_unref(summary->traces);
    g_ptr_array_unref(summary->queue_ids);
    g_string_free(summary->verdicts, TRUE);
}

/* ---- text ---- */

static void append_ids(GString *out, const char *name, const GPtrArray *ids)
{
    if (ids->len == 0)
        return;
    g_string_append_printf(out, "%-9s", name);
    for (guint i = 0; i < ids->len; i++) {
        g_string_append_c(out, ' ');
        trace_append_quoted(out, (TraceText){ids->pdata[i], strlen(ids->pdata[i])});
    }
    g_string_append_c(out, '\n');
}

static void append_field(GString *out, const char *name, TraceText value, const char *before, const char *after)
{
    if (!value.at)
        return;
    g_string_append_printf(out, "%-9s %s", name, before);
    trace_append_quoted(out, value);
    g_string_append_printf(out, "%s\n", after);
}

static void append_stages(GString *out, const TraceLine *line)
{
    TraceText name, seconds;
    guint i = 0;

    for (; i < 100 && trace_line_stage(line, i, &name, &seconds); i++) {
        g_string_append_printf(out, i == 0 ? "%31s" : "%s", i == 0 ? "" : ", ");
        trace_append_quoted(out, name);
        g_string_append_c(out, ' ');
        trace_append_quoted(out, seconds);
        g_string_append(out, " s");
    }
    if (i > 0)
        g_string_append_c(out, '\n');
}

void trace_append_way(GString *out, const GPtrArray *events, const GPtrArray *notes, const GPtrArray *candidates)
{
    Summary summary = {0};

    summarize(events, &summary);
    append_ids(out, "trace", summary.traces);
    append_ids(out, "queue", summary.queue_ids);
    append_field(out, "client", summary.client, "", "");
    append_field(out, "from", summary.sender, "<", ">");
    append_field(out, "to", summary.recipient, "<", ">");
    append_field(out, "verdicts", (TraceText){summary.verdicts->str, summary.verdicts->len}, "", "");
    g_string_append_c(out, '\n');
    for (guint i = 0; i < events->len; i++) {
        const TraceEvent *event = events->pdata[i];
        trace_append_time(out, event->time_us);
        g_string_append_printf(out, "  %-8s  ", hop_of(&event->line));
        trace_append_quoted(out, (TraceText){event->line.text, strlen(event->line.text)});
        g_string_append_c(out, '\n');
        append_stages(out, &event->line);
    }
    for (guint i = 0; i < notes->len; i++)
        append_field(out, i == 0 ? "\nnote" : "note", (TraceText){notes->pdata[i], strlen(notes->pdata[i])}, "", "");
    if (candidates->len > 0)
        append_ids(out, "perhaps", candidates);
    clear_summary(&summary);
}

/* ---- JSON ---- */

static void append_json_list(GString *out, const char *name, const GPtrArray *texts)
{
    g_string_append_printf(out, "\"%s\": [", name);
    for (guint i = 0; i < texts->len; i++) {
        g_string_append(out, i > 0 ? ", " : "");
        json_append_string(out, texts->pdata[i]);
    }
    g_string_append_c(out, ']');
}

static void append_json_event(GString *out, const TraceEvent *event)
{
    const TraceLine *line = &event->line;
    TraceText name, seconds;
    guint i = 0;

    g_string_append_printf(out, "{\"time\": ");
    if (event->time_us < 0)
        g_string_append(out, "null");
    else
        g_string_append_printf(out, "%" G_GINT64_FORMAT, event->time_us / G_USEC_PER_SEC);
    g_string_append_printf(out, ", \"hop\": \"%s\"", hop_of(line));
    trace_append_json_text(out, "program", line->program);
    trace_append_json_text(out, "session", line->number);
    trace_append_json_text(out, "queue_id", line->queue_id);
    trace_append_json_text(out, "verdict", line->verdict);
    trace_append_json_text(out, "text", (TraceText){line->text, strlen(line->text)});
    for (; i < 100 && trace_line_stage(line, i, &name, &seconds); i++) {
        g_autofree char *value = trace_text_dup(seconds);
        char number[G_ASCII_DTOSTR_BUF_SIZE];
        g_string_append(out, i == 0 ? ", \"stages\": [" : ", ");
        g_ascii_formatd(number, sizeof number, "%.3f", CLAMP(g_ascii_strtod(value, NULL), 0, 1e9));
        g_string_append_printf(out, "{\"seconds\": %s", number);
        trace_append_json_text(out, "name", name);
        g_string_append_c(out, '}');
    }
    g_string_append(out, i > 0 ? "]}" : "}");
}

void trace_append_json_way(GString *out, const GPtrArray *events, const GPtrArray *notes, const GPtrArray *candidates)
{
    Summary summary = {0};

    summarize(events, &summary);
    g_string_append_c(out, '{');
    append_json_list(out, "trace", summary.traces);
    g_string_append(out, ", ");
    append_json_list(out, "queue_ids", summary.queue_ids);
    trace_append_json_text(out, "client", summary.client);
    trace_append_json_text(out, "sender", summary.sender);
    trace_append_json_text(out, "recipient", summary.recipient);
    g_string_append(out, ", \"events\": [");
    for (guint i = 0; i < events->len; i++) {
        g_string_append(out, i > 0 ? ", " : "");
        append_json_event(out, events->pdata[i]);
    }
    g_string_append(out, "], ");
    append_json_list(out, "notes", notes);
    g_string_append(out, ", ");
    append_json_list(out, "perhaps", candidates);
    g_string_append(out, "}\n");
    clear_summary(&summary);
}
