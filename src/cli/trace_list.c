/* trace_list.c - one row for each message. */
#include "cli/trace_list.h"

/* A message in front of the filter that has no verdict yet. */
typedef struct {
    gint64 time_us; /* -1: there is none */
    char *id, *text;
} Pending;

typedef struct {
    char *key;
    char *client;
    Pending pending;
    GList *link; /* in TraceList.order */
} Session;

struct TraceList {
    char *wanted;
    TraceRowFunc *func;
    void *user;
    GHashTable *sessions; /* key to Session* */
    GQueue order;         /* of Session*, the oldest at the head */
};

static void forget_pending(Pending *pending)
{
    g_clear_pointer(&pending->id, g_free);
    g_clear_pointer(&pending->text, g_free);
    pending->time_us = -1;
}

static void session_free(gpointer data)
{
    Session *session = data;

    forget_pending(&session->pending);
    g_free(session->key);
    g_free(session->client);
    g_free(session);
}

TraceList *trace_list_new(const char *client, TraceRowFunc *func, void *user)
{
    TraceList *list = g_new0(TraceList, 1);

    list->wanted = g_strdup(client);
    list->func = func;
    list->user = user;
    list->sessions = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, session_free);
    g_queue_init(&list->order);
    return list;
}

void trace_list_free(TraceList *list)
{
    if (!list)
        return;
    g_queue_clear(&list->order);
    g_hash_table_unref(list->sessions);
    g_free(list->wanted);
    g_free(list);
}

/* client: "name[addr]" or "name[addr]:port". */
static bool is_wanted(const TraceList *list, const char *client)
{
    const char *bracket = client ? strchr(client, '[') : NULL;

    if (!list->wanted)
        return true;
    if (!bracket)
        return false;
    size_t name = (size_t)(bracket - client), address = strcspn(bracket + 1, "]"), len = strlen(list->wanted);
    return (len == name && g_ascii_strncasecmp(client, list->wanted, len) == 0) ||
           (len == address && g_ascii_strncasecmp(bracket + 1, list->wanted, len) == 0);
}

static void emit(const TraceList *list, const TraceRow *row)
{
    if (is_wanted(list, row->client))
        list->func(list->user, row);
}

static void flush_pending(const TraceList *list, Session *session)
{
    TraceRow row = {.time_us = session->pending.time_us,
                    .id = session->pending.id,
                    .client = session->client,
                    .verdict = "none",
                    .text = session->pending.text};

    if (session->pending.time_us >= 0)
        emit(list, &row);
    forget_pending(&session->pending);
}

static void forget(TraceList *list, Session *session)
{
    flush_pending(list, session);
    g_queue_delete_link(&list->order, session->link);
    g_hash_table_remove(list->sessions, session->key);
}

static Session *session_of(TraceList *list, const TraceLine *line)
{
    g_autofree char *key = trace_text_dup(line->session);
    Session *session = g_hash_table_lookup(list->sessions, key);

    if (session)
        return session;
    if (list->order.length >= TRACE_SESSIONS_MAX)
        forget(list, list->order.head->data);
    session = g_new0(Session, 1);
    session->key = g_steal_pointer(&key);
    session->pending.time_us = -1;
    g_queue_push_tail(&list->order, session);
    session->link = list->order.tail;
    g_hash_table_insert(list->sessions, session->key, session);
    return session;
}

static void set_client(Session *session, TraceText client)
{
    g_free(session->client);
    session->client = trace_text_dup(client);
}

/* ---- lines ---- */

/* A message is under way; an id that is another's ends what was. */
static void begin(TraceList *list, Session *session, const TraceLine *line, gint64 time_us)
{
    Pending *pending = &session->pending;

    if (pending->time_us >= 0 &&
        (line->trace.len == 0 ? line->kind == TRACE_CLIENT : !pending->id || !trace_text_is(line->trace, pending->id)))
        flush_pending(list, session);
    if (pending->time_us < 0)
        pending->time_us = MAX(time_us, 0);
    if (line->trace.len > 0 && !pending->id)
        pending->id = trace_text_dup(line->trace);
    if (line->kind != TRACE_CLIENT) {
        g_free(pending->text);
        pending->text = g_strdup(line->text);
    }
}

static void emit_verdict(TraceList *list, Session *session, const TraceLine *line, gint64 time_us)
{
    g_autofree char *id = trace_text_dup(line->trace.len > 0 ? line->trace : line->queued_as);
    g_autofree char *sender = line->sender.at ? trace_text_dup(line->sender) : NULL;
    g_autofree char *recipient = line->recipient.at ? trace_text_dup(line->recipient) : NULL;
    g_autofree char *verdict = line->kind == TRACE_PROXY ? trace_text_dup(line->verdict) : g_strdup("reject");
    g_autofree char *text = line->kind == TRACE_PROXY ? trace_text_dup(line->reply) : g_strdup(line->text);
    TraceRow row = {.time_us = time_us,
                    .id = *id ? id : NULL,
                    .client = session->client,
                    .sender = sender,
                    .recipient = recipient,
                    .verdict = verdict,
                    .text = text};

    emit(list, &row);
}

/* What a server before the filter sent has its row there. */
static void emit_queued(TraceList *list, const TraceLine *line, gint64 time_us)
{
    g_autofree char *id = trace_text_dup(line->queue_id);
    g_autofree char *client = trace_text_dup(line->client);
    TraceRow row = {.time_us = time_us, .id = id, .client = client, .verdict = "queued"};

    if (line->trace.len == 0 && line->original.len == 0)
        emit(list, &row);
}

void trace_list_feed(TraceList *list, const TraceLine *line, gint64 time_us)
{
    if (!trace_text_is(line->program, "smtpd"))
        return;
    if (line->kind == TRACE_QUEUED) {
        emit_queued(list, line, time_us);
        return;
    }
    if (line->kind == TRACE_OTHER || line->kind == TRACE_QUEUE)
        return;
    Session *session = session_of(list, line);
    switch (line->kind) {
    case TRACE_CONNECT:
        flush_pending(list, session); /* its disconnect is missing */
        set_client(session, line->client);
        break;
    case TRACE_CLIENT:
        set_client(session, line->client); /* another one since XCLIENT */
        begin(list, session, line, time_us);
        break;
    case TRACE_TROUBLE:
        begin(list, session, line, time_us);
        break;
    case TRACE_REJECT:
        set_client(session, line->client);
        emit_verdict(list, session, line, time_us);
        break;
    case TRACE_PROXY:
        emit_verdict(list, session, line, time_us);
        forget_pending(&session->pending);
        break;
    case TRACE_BROKEN:
        if (session->pending.time_us >= 0 && !session->pending.text)
            session->pending.text = g_strdup(line->text);
        break;
    case TRACE_DISCONNECT:
        set_client(session, line->client);
        forget(list, session);
        break;
    default:
        break;
    }
}

void trace_list_finish(TraceList *list)
{
    while (list->order.head)
        forget(list, list->order.head->data);
}
