/* trace_fuzz.c - any octets as a log: every part that is found lies in its line, and what is shown is printable. */
#include "cli/trace_list.h"
#include "cli/trace_show.h"

#include <stdint.h>

#define LINES_MAX 200

static void check_part(const char *raw, TraceText part)
{
    if (part.at) /* a stage's name may be a constant: not checked here */
        g_assert(part.at >= raw && part.at + part.len <= raw + strlen(raw));
}

static void check(const char *raw, const TraceLine *line)
{
    const TraceText parts[] = {line->stamp,    line->session,   line->program,  line->number,  line->queue_id,
                               line->trace,    line->queued_as, line->reply,    line->verdict, line->client,
                               line->original, line->sender,    line->recipient};
    TraceText name, seconds;

    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
        check_part(raw, parts[i]);
    for (guint i = 0; trace_line_stage(line, i, &name, &seconds); i++)
        check_part(raw, seconds);
    trace_line_time(line, 1795336928 * (gint64)G_USEC_PER_SEC);
}

static void take_row(void *user, const TraceRow *row)
{
    (*(guint *)user)++;
}

static void show(TraceFind *find)
{
    g_autoptr(GPtrArray) notes = trace_find_notes(find);
    g_autoptr(GString) text = g_string_new(NULL);

    trace_append_way(text, trace_find_events(find), notes, trace_find_candidates(find));
    trace_append_json_way(text, trace_find_events(find), notes, trace_find_candidates(find));
    for (gsize i = 0; i < text->len; i++)
        g_assert(text->str[i] == '\n' || (unsigned char)text->str[i] >= 0x20);
    g_assert(g_utf8_validate(text->str, (gssize)text->len, NULL));
}

/* The first line is the id. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", LINES_MAX);
    guint rows = 0;

    if (!lines[0])
        return 0;
    g_autoptr(TraceFind) find = trace_find_new(lines[0]);
    g_autoptr(TraceList) list = trace_list_new(NULL, take_row, &rows);
    for (bool first = true; trace_find_again(find); first = false)
        for (guint i = 1; lines[i]; i++) {
            TraceLine line;
            if (!trace_line_parse(lines[i], &line))
                continue;
            trace_find_feed(find, &line, lines[i], i);
            if (!first)
                continue;
            check(lines[i], &line);
            trace_list_feed(list, &line, i);
        }
    for (guint i = 1; lines[i]; i++) {
        TraceLine line;
        if (trace_line_parse(lines[i], &line))
            trace_find_feed_candidate(find, &line, i);
    }
    trace_list_finish(list);
    show(find);
    return 0;
}
