/* relay_verdict.c - what becomes of a message that was held back. */
#include "base/clock.h"
#include "base/log.h"
#include "filter/relay.h"

#include <string.h>

#define TRACE " trace=" /* before the id, at the end of the line */

/* One judgement. */
typedef struct {
    Relay *relay;
    const Stream *stream; /* to our client */
    gint64 deadline;
    GPtrArray *records; /* of InspectionRecord* */
    gint64 nexthop_ms;  /* -1: it was not given the message */
} Judgement;

/* --- the log --- */

void relay_log_verdict(const Relay *relay, const char *verdict, const Reply *reply, const char *details)
{
    const Message *message = &relay->message;
    const char *name = message->client.value[XF_NAME], *addr = message->client.value[XF_ADDR];
    const MessageRecipient *first = message->recipients->len > 0 ? message->recipients->pdata[0] : NULL;
    g_autofree char *trace = message_trace_note(message);
    g_autofree char *shown = reply_for_log(reply);

    log_info("filter-%s: END-OF-MESSAGE: %s; from=<%s> to=<%s> nrcpt=%u client=%s[%s]%s%s%s", verdict, shown,
             message->sender ? message->sender : "", first ? first->address : "", message->recipients->len,
             name && *name ? name : "unknown", addr && *addr ? addr : "unknown", details ? " " : "",
             details ? details : "", trace);
}

/* "delay=1.25 delays=checks:0.01/spamc:1.2/nexthop:0.04 reason=spamc: Gtube" */
static char *details_of(const Judgement *judgement)
{
    GString *text = g_string_new(NULL);
    const char *reason = NULL, *by = NULL;

    g_string_append_printf(text, "delay=%.3g delays=", (double)(clock_ms() - judgement->relay->ended_at) / 1000);
    for (guint i = 0; i < judgement->records->len; i++) {
        const InspectionRecord *record = judgement->records->pdata[i];
        g_string_append_printf(text, "%s%s:%.3g", i > 0 ? "/" : "", record->inspector, (double)record->ms / 1000);
        if (record->text) {
            reason = record->text;
            by = record->inspector;
        }
    }
    if (judgement->nexthop_ms >= 0)
        g_string_append_printf(text, "/nexthop:%.3g", (double)judgement->nexthop_ms / 1000);
    if (reason) {
        gsize start = text->len;
        g_string_append_printf(text, " reason=%s: %s", by, reason);
        for (char *fake = text->str + start; (fake = strstr(fake, TRACE)); fake++) /* whose text is a stranger's */
            fake[strlen(TRACE) - 1] = ':';
    }
    return g_string_free(text, FALSE);
}

/* --- passing on --- */

/* An envelope that inspectors changed is told from its beginning: RSET forgets XFORWARD too. NULL: all was taken. */
static Reply *tell_envelope(Judgement *judgement)
{
    const Message *message = &judgement->relay->message;
    g_autoptr(GPtrArray) lines = g_ptr_array_new();

    g_ptr_array_add(lines, (gpointer) "RSET");
    for (guint i = 0; i < message->xforward->len; i++)
        g_ptr_array_add(lines, message->xforward->pdata[i]);
    g_ptr_array_add(lines, message->mail);
    for (guint i = 0; i < message->recipients->len; i++)
        g_ptr_array_add(lines, ((MessageRecipient *)message->recipients->pdata[i])->line);
    for (guint i = 0; i < lines->len; i++) {
        g_autoptr(Reply) reply = relay_exchange(judgement->relay, lines->pdata[i]);
        if (reply_is(reply, 2))
            continue;
        g_autofree char *shown = reply_for_log(reply);
        g_autofree char *line = log_quote(lines->pdata[i], strlen(lines->pdata[i]));
        log_warning("next hop %s refuses the changed envelope: %s: %s", judgement->relay->service->nexthop->name, line,
                    shown);
        return reply_new(RELAY_FAILED);
    }
    return NULL;
}

static bool send_piece(void *user, const char *data, size_t len, bool ends_line)
{
    return client_content(user, data, len, ends_line, NULL);
}

static Reply *tell_content(Relay *relay)
{
    g_autoptr(GError) error = NULL;
    Content *content = relay->message.content;
    Reply *reply = NULL;

    client_begin_content(relay->nexthop);
    content_replay(content, send_piece, relay->nexthop);
    if (content_failed(content)) {
        log_warning("content of a message: %s", g_strerror(content_failed(content)));
        relay_drop_nexthop(relay);
        return reply_new(RELAY_FAILED);
    }
    if (client_end_content(relay->nexthop, &reply, &error)) {
        if (client_content_failed(relay->nexthop)) /* it has answered before the dot */
            relay_drop_nexthop(relay);
        return reply;
    }
    relay_log_failure(relay, error);
    relay_drop_nexthop(relay);
    return reply_new(RELAY_FAILED);
}

/* Up to the final dot every step ends at the deadline; after it the next hop's reply alone decides. */
static Reply *pass_on(Judgement *judgement)
{
    Relay *relay = judgement->relay;
    Reply *refusal = NULL;

    if (relay->nexthop)
        client_set_deadline(relay->nexthop, judgement->deadline);
    if (relay->message.envelope_changed && (refusal = tell_envelope(judgement))) {
        relay_drop_nexthop(relay); /* its transaction is open still, and ours is over */
        return refusal;
    }
    g_autoptr(Reply) go_ahead = relay_exchange(relay, "DATA");
    if (reply_is(go_ahead, 3))
        return tell_content(relay);
    relay_drop_nexthop(relay);
    bool is_refusal = reply_is(go_ahead, 4) || reply_is(go_ahead, 5);
    return is_refusal ? g_steal_pointer(&go_ahead) : reply_new(RELAY_FAILED);
}

/* --- judging --- */

static Reply *accept_message(Judgement *judgement, const char **ret_verdict)
{
    gint64 start = clock_ms();
    Reply *reply = pass_on(judgement);

    judgement->nexthop_ms = clock_ms() - start;
    *ret_verdict = reply_is(reply, 2) ? "accept" : "reject";
    return reply;
}

static Reply *act(Judgement *judgement, const Verdict *verdict, const char **ret_verdict)
{
    Relay *relay = judgement->relay;

    *ret_verdict = verdict_name(verdict->kind);
    if (verdict->kind != VERDICT_TAKEN &&
        stream_is_over(judgement->stream)) { /* nobody hears the reply: who sent the message will send it again */
        log_warning("%s is gone before its message was judged: not passed on", relay->peer);
        *ret_verdict = verdict_name(VERDICT_TEMPFAIL);
        relay_drop_nexthop(relay);
        return reply_new(RELAY_FAILED);
    }
    if (verdict->kind == VERDICT_ACCEPT && relay->message.recipients->len > 0)
        return accept_message(judgement, ret_verdict);
    relay_drop_nexthop(relay);
    switch (verdict->kind) {
    case VERDICT_TAKEN:
    case VERDICT_REJECT:
    case VERDICT_TEMPFAIL:
        return reply_new(verdict->reply);
    case VERDICT_QUARANTINE:
        if (relay->message.recipients->len > 0)
            return relay_quarantine(relay, verdict, judgement->records);
        /* fallthrough */
    default: /* discarded, or for nobody */
        *ret_verdict = "discard";
        return reply_new("250 2.0.0 Ok");
    }
}

Reply *relay_judge(Relay *relay, const Stream *stream)
{
    const RelayService *service = relay->service;
    Message *message = &relay->message;
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)inspection_record_free);
    Judgement judgement = {.relay = relay,
                           .stream = stream,
                           .deadline = relay->ended_at + service->deadline_ms,
                           .records = records,
                           .nexthop_ms = -1};
    g_auto(Verdict) verdict = {0};
    const char *result;

    if (content_failed(message->content)) {
        log_warning("content of a message: %s", g_strerror(content_failed(message->content)));
        relay_drop_nexthop(relay);
        return reply_new("452 4.3.1 Insufficient system storage");
    }
    if (message->size > service->size_max) {
        relay_drop_nexthop(relay);
        Reply *refusal = reply_new("552 5.3.4 Error: message file too big");
        relay_log_verdict(relay, verdict_name(VERDICT_REJECT), refusal, NULL);
        return refusal;
    }
    inspectors_run(service->inspectors, message, &service->place, service->resolver, judgement.deadline, &verdict,
                   records);
    Reply *reply = act(&judgement, &verdict, &result);
    g_autofree char *details = details_of(&judgement);
    relay_log_verdict(relay, result, reply, details);
    return reply;
}
