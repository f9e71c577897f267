/* trace_find.c - which lines of the log are one message's. */
#include "cli/trace_find.h"

#define PASSES_MAX 8
#define CANDIDATES_MAX 20
#define SLACK_US G_USEC_PER_SEC /* stamps have whole seconds */

/* A session's number comes again in later sessions: a stretch is one of them, or in a filter that gets many messages in
 * one session, one message's. */
typedef struct {
    guint stretch;                      /* the one that the pass is in */
    GArray *wanted;                     /* of guint: stretches with a line of ours */
    enum { NOBODY, OURS, OTHER } named; /* whose message the stretch's last line with an id named */
} Session;

struct TraceFind {
    GHashTable *traces, *queue_ids; /* sets of char * */
    GHashTable *sessions;           /* char * to Session* */
    GPtrArray *events;
    size_t octets;
    guint passes, lines;
    bool grew, cut;
    GPtrArray *candidates;
};

static void session_free(gpointer data)
{
    Session *session = data;

    g_array_unref(session->wanted);
    g_free(session);
}

static void event_free(gpointer data)
{
    TraceEvent *event = data;

    g_free(event->raw);
    g_free(event);
}

TraceFind *trace_find_new(const char *id)
{
    TraceFind *find = g_new0(TraceFind, 1);

    find->traces = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    find->queue_ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    find->sessions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, session_free);
    find->events = g_ptr_array_new_with_free_func(event_free);
    find->candidates = g_ptr_array_new_with_free_func(g_free);
    g_hash_table_add(find->traces, g_strdup(id));
    g_hash_table_add(find->queue_ids, g_strdup(id));
    return find;
}

void trace_find_free(TraceFind *find)
{
    if (!find)
        return;
    g_hash_table_unref(find->traces);
    g_hash_table_unref(find->queue_ids);
    g_hash_table_unref(find->sessions);
    g_ptr_array_unref(find->events);
    g_ptr_array_unref(find->candidates);
    g_free(find);
}

bool trace_find_again(TraceFind *find)
{
    GHashTableIter iter;
    gpointer session;

    if (find->passes > 0 && (!find->grew || find->passes >= PASSES_MAX))
        return false;
    find->passes++;
    find->grew = false;
    find->lines = 0;
    find->octets = 0;
    g_ptr_array_set_size(find->events, 0);
    g_hash_table_iter_init(&iter, find->sessions);
    while (g_hash_table_iter_next(&iter, NULL, &session)) {
        ((Session *)session)->stretch = 0;
        ((Session *)session)->named = NOBODY;
    }
    return true;
}

/* ---- keys ---- */

static bool knows(GHashTable *ids, TraceText id)
{
    g_autofree char *text = NULL;

    if (id.len == 0)
        return false;
    text = trace_text_dup(id);
    return g_hash_table_contains(ids, text);
}

static void learn(TraceFind *find, GHashTable *ids, TraceText id)
{
    if (id.len == 0 || knows(ids, id))
        return;
    if (g_hash_table_size(ids) >= TRACE_IDS_MAX) {
        find->cut = true;
        return;
    }
    g_hash_table_add(ids, trace_text_dup(id));
    find->grew = true;
}

static bool is_front(const TraceLine *line)
{
    return !trace_text_is(line->program, "filter") && (line->kind == TRACE_CLIENT || line->kind == TRACE_REJECT ||
                                                       line->kind == TRACE_TROUBLE || line->kind == TRACE_PROXY);
}

static Session *session_of(const TraceFind *find, const TraceLine *line)
{
    g_autofree char *key = trace_text_dup(line->session);

    return g_hash_table_lookup(find->sessions, key);
}

static void learn_session(TraceFind *find, const TraceLine *line)
{
    if (g_hash_table_size(find->sessions) >= TRACE_IDS_MAX) {
        find->cut = true;
        return;
    }
    Session *session = g_new0(Session, 1);
    session->wanted = g_array_new(FALSE, FALSE, sizeof(guint));
    g_hash_table_insert(find->sessions, trace_text_dup(line->session), session);
    find->grew = true; /* where its stretches begin is known in the next pass */
}

static bool is_wanted(const Session *session)
{
    for (guint i = 0; i < session->wanted->len; i++)
        if (g_array_index(session->wanted, guint, i) == session->stretch)
            return true;
    return false;
}

static void want(TraceFind *find, Session *session)
{
    if (is_wanted(session))
        return;
    if (session->wanted->len >= TRACE_IDS_MAX) {
        find->cut = true;
        return;
    }
    g_array_append_val(session->wanted, session->stretch);
    find->grew = true;
}

/* ---- lines ---- */

static bool is_ours(const TraceFind *find, const TraceLine *line)
{
    return knows(find->traces, line->trace) || knows(find->queue_ids, line->queue_id) ||
           knows(find->queue_ids, line->queued_as);
}

static bool names_somebody(const TraceLine *line)
{
    return line->trace.len > 0 || line->queued_as.len > 0 || line->queue_id.len > 0;
}

/* A line without an id of its own. */
static bool belongs(const Session *session, const TraceLine *line, bool in_filter)
{
    bool ends = line->kind == TRACE_CONNECT || line->kind == TRACE_DISCONNECT;

    if (!is_wanted(session) || names_somebody(line))
        return false;
    if (in_filter)
        return !ends; /* sessions there are the server's before it, one like another */
    return ends || session->named != OTHER;
}

static void keep(TraceFind *find, const char *raw, gint64 time_us)
{
    size_t len = strlen(raw);

    if (find->events->len >= TRACE_EVENTS_MAX || find->octets + len > TRACE_EVENT_OCTETS_MAX) {
        find->cut = true;
        return;
    }
    TraceEvent *event = g_new0(TraceEvent, 1);
    event->raw = g_strdup(raw);
    event->time_us = time_us;
    event->index = find->events->len;
    trace_line_parse(event->raw, &event->line);
    g_ptr_array_add(find->events, event);
    find->octets += len;
}

void trace_find_feed(TraceFind *find, const TraceLine *line, const char *raw, gint64 time_us)
{
    bool in_filter = trace_text_is(line->program, "filter");
    bool ours = is_ours(find, line);
    Session *session = session_of(find, line);

    if (session && line->kind == TRACE_CONNECT) {
        session->stretch++;
        session->named = NOBODY;
    }
    if (session && line->kind == TRACE_CLIENT && line->trace.len == 0 && session->named != NOBODY)
        session->named = OTHER; /* the next message, whose id is not known here */
    if (ours) {
        learn(find, find->traces, line->trace);
        learn(find, find->queue_ids, line->queue_id);
        learn(find, find->queue_ids, line->queued_as);
        if (is_front(line) || in_filter) {
            if (session)
                want(find, session);
            else
                learn_session(find, line);
        }
    }
    if (ours || (session && belongs(session, line, in_filter)))
        keep(find, raw, time_us);
    if (session && names_somebody(line))
        session->named = ours ? OURS : OTHER;
    if (session && line->kind == TRACE_FILTER)
        session->stretch++; /* what follows is the next message's */
}

static gint compare_events(gconstpointer a, gconstpointer b)
{
    const TraceEvent *first = *(const TraceEvent *const *)a, *second = *(const TraceEvent *const *)b;

    if (first->time_us != second->time_us)
        return first->time_us < second->time_us ? -1 : 1;
    return first->index < second->index ? -1 : first->index > second->index;
}

const GPtrArray *trace_find_events(TraceFind *find)
{
    g_ptr_array_sort(find->events, compare_events);
    return find->events;
}

bool trace_find_was_cut(const TraceFind *find)
{
    return find->cut;
}

/* ---- gaps ---- */

static const TraceEvent *find_event(const TraceFind *find, TraceKind kind, const char *verdict)
{
    for (guint i = 0; i < find->events->len; i++) {
        const TraceEvent *event = find->events->pdata[i];
        if (event->line.kind == kind && (!verdict || trace_text_is(event->line.verdict, verdict)))
            return event;
    }
    return NULL;
}

static bool front_was_seen(const TraceFind *find)
{
    for (guint i = 0; i < find->events->len; i++)
        if (is_front(&((const TraceEvent *)find->events->pdata[i])->line))
            return true;
    return false;
}

/* It ends in the filter, and the filter says so. */
static bool ends_in_filter(const TraceFind *find)
{
    return find_event(find, TRACE_FILTER, "quarantine") || find_event(find, TRACE_FILTER, "discard");
}

bool trace_find_lost_sight(TraceFind *find)
{
    return find_event(find, TRACE_PROXY, "accept") && !ends_in_filter(find) && !find_event(find, TRACE_QUEUED, NULL);
}

static void note(GPtrArray *notes, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void note(GPtrArray *notes, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_ptr_array_add(notes, g_strdup_vprintf(format, args));
    va_end(args);
}

GPtrArray *trace_find_notes(TraceFind *find)
{
    GPtrArray *notes = g_ptr_array_new_with_free_func(g_free);
    const TraceEvent *accepted = find_event(find, TRACE_PROXY, "accept");
    const TraceEvent *queued = find_event(find, TRACE_QUEUED, NULL);

    if (find->cut)
        note(notes, "too many lines or ids: some are left out");
    if (find->events->len == 0)
        return notes;
    if (!front_was_seen(find) && queued && queued->line.trace.len > 0)
        note(notes, "nothing of the server before the filter is in these logs");
    else if (!front_was_seen(find) && queued)
        note(notes, "no server before a filter names this message: it came without one, or the filter hid it");
    if (accepted && queued && queued->line.trace.len == 0)
        note(notes, "the filter did not pass on XFORWARD IDENT: joined by the queue id in its reply");
    if (trace_find_lost_sight(find) && accepted->line.queued_as.len > 0)
        note(notes,
             "lost sight behind the filter: it says that the message was queued as %.*s, of which these logs know "
             "nothing",
             (int)accepted->line.queued_as.len, accepted->line.queued_as.at);
    else if (trace_find_lost_sight(find))
        note(notes, "lost sight behind the filter: it passed on no XFORWARD IDENT, and its reply names no queue id");
    return notes;
}

/* ---- perhaps ---- */

static bool in_window(const TraceFind *find, gint64 time_us)
{
    const TraceEvent *verdict = find_event(find, TRACE_PROXY, "accept");

    if (!verdict || time_us < 0)
        return false;
    gint64 from = verdict->time_us;
    for (guint i = 0; i < find->events->len; i++) {
        const TraceEvent *event = find->events->pdata[i];
        if (event->line.kind == TRACE_CLIENT && event->line.trace.len > 0) /* another message's has no id */
            from = MIN(from, event->time_us);
    }
    return time_us >= from - SLACK_US && time_us <= verdict->time_us + SLACK_US;
}

void trace_find_feed_candidate(TraceFind *find, const TraceLine *line, gint64 time_us)
{
    const TraceEvent *verdict = find_event(find, TRACE_PROXY, "accept");

    if (line->kind != TRACE_QUEUE || line->sender.at == NULL || !verdict || verdict->line.sender.at == NULL ||
        find->candidates->len >= CANDIDATES_MAX || !in_window(find, time_us))
        return;
    g_autofree char *sender = trace_text_dup(verdict->line.sender);
    g_autofree char *id = trace_text_dup(line->queue_id);
    if (trace_text_is(line->sender, sender) &&
        !g_ptr_array_find_with_equal_func(find->candidates, id, g_str_equal, NULL))
        g_ptr_array_add(find->candidates, g_steal_pointer(&id));
}

const GPtrArray *trace_find_candidates(const TraceFind *find)
{
    return find->candidates;
}
