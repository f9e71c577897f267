/* session.c - the engine of an SMTP server: one client session as a task of the scheduler. */
#include "base/clock.h"
#include "base/log.h"
#include "smtp/session_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define TURNS_MAX 64         /* commands in one run, then others have their turn */
#define CONTENT_TURNS 16     /* what one buffer of content counts for: 64 kB in one run */
#define SKIPPED_MAX 2048     /* octets of an over-long command that may come, however short a line is */
#define CLOSING_TIME_MS 5000 /* for the last reply to a client that does not read */

/* --- replies --- */

static void note_reply(Session *session, int code)
{
    session->reply_code = code >= 200 ? code : 500; /* a filter's 1xx or garbage is no success */
    if (code == 421 || code == 521)
        session->phase = PHASE_CLOSING;
}

void session_reply(Session *session, const char *text)
{
    if (text[0] == '4' || text[0] == '5') {
        session_reply_take(session, reply_new(text));
        return;
    }
    stream_put(&session->stream, text, strlen(text));
    stream_put(&session->stream, "\r\n", 2);
    note_reply(session, atoi(text));
}

void session_replyf(Session *session, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    session_reply(session, text);
}

void session_reply_take(Session *session, Reply *reply)
{
    g_autoptr(Reply) owned = reply;
    g_autoptr(GString) wire = g_string_new(NULL);
    bool refuses = reply_is(owned, 4) || reply_is(owned, 5);
    g_autofree char *footer = refuses && session->class->footer ? session->class->footer(session, owned) : NULL;

    if (footer)
        reply_append(owned, footer);
    reply_write(owned, session->limits->soft_bounce, wire);
    stream_put(&session->stream, wire->str, wire->len);
    note_reply(session, atoi(wire->str));
}

void session_forgive(Session *session)
{
    session->forgive = true;
}

void session_uncounted(Session *session)
{
    session->uncounted = true;
}

void session_hang_up(Session *session)
{
    session->phase = PHASE_CLOSING;
}

bool session_at_gate(const Session *session, const Gate *gate)
{
    return session->gate == gate;
}

bool session_timed_out(const Session *session)
{
    return (session->reasons & WAKE_TIMER) != 0;
}

/* --- waiting --- */

static CommandCount *count_of(Session *session)
{
    return &session->counts[session->command - session->class->commands];
}

/* Ends the session without QUIT. A command under way counts as failed. */
static void break_off(Session *session, const char *reason)
{
    session->class->broken(session, reason);
    if (session->phase == PHASE_RUN || session->phase == PHASE_LINE || session->phase == PHASE_CONTENT ||
        session->phase == PHASE_END)
        count_of(session)->all++;
    session->phase = PHASE_CLOSING;
    session->deadline = 0;
}

/* Sends what is to be sent. False: *step says how to go on. */
static bool flush(Session *session, Step *step)
{
    if (stream_unsent(&session->stream) == 0)
        return true;
    StreamStatus status = stream_flush(&session->stream);
    if (status == STREAM_OK) {
        session->reply_at = 0;
        if (!session->limits->request_deadline)
            session->deadline = 0;
        return true;
    }
    gint64 now = clock_ms();
    if (!session->deadline)
        session->deadline = now + (session->phase == PHASE_CLOSING ? CLOSING_TIME_MS : session->limits->timeout_ms);
    if (status == STREAM_LOST || now >= session->deadline) {
        if (session->phase != PHASE_CLOSING)
            break_off(session, status == STREAM_LOST ? "lost connection" : "timeout");
        *step = step_end();
        return false;
    }
    *step = step_park(stream_write_events(&session->stream), session->deadline);
    return false;
}

static bool client_is_gone(Session *session)
{
    return session->stream.in_len == 0 && !stream_has_more(&session->stream);
}

bool session_settled(Session *session, Outcome outcome, Step *step)
{
    session->waiting = outcome.kind != OUTCOME_DONE;
    session->finished += !session->waiting;
    if (!session->waiting)
        return true;
    session->waiting_for_client_too = outcome.until_hangup;
    if (!flush(session, step))
        return false;
    if (outcome.kind == OUTCOME_GATE) {
        session->gate_wanted = outcome.gate;
        *step = step_gate(outcome.gate, CLOCK_NEVER);
        return false;
    }
    if (outcome.kind == OUTCOME_INPUT) {
        *step = step_park(stream_read_events(&session->stream), outcome.deadline);
        return false;
    }
    *step = step_park(outcome.until_hangup && !session->hangup_seen ? EPOLLRDHUP : 0, outcome.deadline);
    return false;
}

bool session_read_more(Session *session, size_t limit, Step *step)
{
    if (!flush(session, step))
        return false;

    gint64 now = clock_ms();
    if (!session->deadline)
        session->deadline = now + session->limits->timeout_ms;
    bool try = !session->stream.drained || now >= session->deadline;
    switch (try ? stream_fill(&session->stream, limit) : STREAM_WAIT) {
    case STREAM_OK:
        if (!session->limits->request_deadline)
            session->deadline = 0;
        return true;
    case STREAM_WAIT:
        if (session->gate) /* the time that we took to pass things on is not the client's */
            session->deadline = now + session->limits->timeout_ms;
        if (now < session->deadline) {
            *step = step_park(stream_read_events(&session->stream), session->deadline);
            return false;
        }
        break_off(session, "timeout");
        session_replyf(session, "421 4.4.2 %s Error: timeout exceeded", session->limits->hostname);
        break;
    case STREAM_END:
    case STREAM_LOST:
        break_off(session, "lost connection");
        break;
    }
    *step = step_again();
    return false;
}

/* --- commands --- */

static const Command *find_command(const Session *session, const char *line)
{
    size_t len = strcspn(line, " \t");
    const Command *command = session->class->commands;

    for (; command->verb; command++)
        if (strlen(command->verb) == len && g_ascii_strncasecmp(command->verb, line, len) == 0)
            break;
    return command;
}

/* Clients that make many errors get every reply late. An error delays those that follow it, not its own. */
static void delay_reply(Session *session)
{
    if (session->errors >= session->limits->soft_error_limit && session->limits->error_sleep_ms > 0)
        session->reply_at = clock_ms() + session->limits->error_sleep_ms;
}

/* It may have held a password. */
static void drop_line(Session *session)
{
    if (!session->line)
        return;
    explicit_bzero(session->line->str, session->line->allocated_len);
    g_string_free(g_steal_pointer(&session->line), TRUE);
}

void session_command_finished(Session *session)
{
    CommandCount *count = count_of(session);
    bool good = session->reply_code < 400 || session->forgive;

    delay_reply(session);
    count->all += !session->uncounted;
    if ((good || session->forgive) && session->command->verb && !(session->command->flags & COMMAND_RESTARTS))
        count->good++;
    if (!good)
        session->errors++;
    if ((session->command->flags & COMMAND_JUNK) && session->junk++ > session->limits->junk_limit)
        session->errors++;
    session->forgive = session->uncounted = false;
    session->deadline = 0;
    if (session->phase == PHASE_RUN || session->phase == PHASE_END)
        session->phase = session->tls.context ? PHASE_TLS : PHASE_COMMAND;
    session->more = false;
    drop_line(session);
}

/* A line is complete: finds its command. What can be answered without running one is answered here. */
static void start_command(Session *session)
{
    session->phase = PHASE_RUN;
    session->reply_code = 0;
    session->command = find_command(session, "");
    if (session->class->line_filter && session->class->line_filter(session, session->line)) {
        session_command_finished(session);
        return;
    }
    session->command = find_command(session, session->line->str);
    if (!session->command->verb)
        session->where = "UNKNOWN";
    if (session->class->deny && session->class->deny(session, session->command)) {
        session_command_finished(session);
        return;
    }
    if (session->command->verb)
        session->where = session->command->verb;
    if (!session->command->verb || session->early_talked ||
        (session->esmtp && !(session->command->flags & COMMAND_LAST)) || !stream_has_more(&session->stream))
        return;
    session->early_talked = true;
    if (session->class->early_talker(session, session->command->verb))
        session_command_finished(session);
}

size_t session_shown_len(const char *data, size_t len)
{
    static const char verb[] = "AUTH ";
    const size_t verb_len = sizeof verb - 1;

    for (size_t at = 0; at + verb_len <= len; at++)
        if (g_ascii_strncasecmp(data + at, verb, verb_len) == 0)
            return at + verb_len;
    return len;
}

/* Octets are at hand without a line end. Over-long: says so once and drops what there is. */
static void drop_overlong(Session *session, const char *data, size_t len)
{
    if (!session->skipping_line) {
        bool after_auth = strcmp(session->where, "AUTH") == 0; /* who was refused may go on with a password all the same */
        g_autofree char *shown = log_quote(data, after_auth ? 0 : session_shown_len(data, MIN(len, 30)));
        log_warning("%s: request longer than %zu: %s...", session->peer, session->limits->line_max, shown);
        session->skipping_line = true;
        session->skipped = 0;
    } else {
        session->skipped += len;
    }
}

static void refuse_overlong(Session *session)
{
    session->skipping_line = false;
    session->phase = PHASE_RUN;
    session->command = find_command(session, "");
    session_replyf(session, "500 5.5.2 %s Error: command too long", session->limits->hostname);
    session_command_finished(session);
}

/* No command, and not counted as one. */
static void refuse_bare_newline(Session *session)
{
    session->class->bare_newline(session);
    session_hang_up(session);
    session->deadline = 0;
}

/* Takes len octets and the line end behind them. True: that was LF alone. */
static bool cut_line(Session *session, const char *data, size_t len)
{
    size_t line_len = len;
    bool bare = len == 0 || data[len - 1] != '\r';

    while (line_len > 0 && data[line_len - 1] == '\r') {
        line_len--;
        if (session->bare_newline != BARE_NEWLINE_NO)
            break;
    }
    session->line = g_string_new_len(data, (gssize)line_len);
    g_string_truncate(session->line, strlen(session->line->str)); /* a NUL ends the command */
    g_strdelimit(session->line->str, "\r", ' '); /* a CR in it is a blank, and nothing else behind us */
    stream_consume(&session->stream, len + 1);
    session->saw_bare_lf |= bare;
    return bare;
}

/* Takes a line out of the buffer. True: session->line is a command, or the over-long one was answered. */
static bool take_line(Session *session)
{
    size_t len;
    const char *data = stream_peek(&session->stream, &len);
    const char *end = len ? memchr(data, '\n', len) : NULL;
    size_t line_len = end ? (size_t)(end - data) : len;

    if (line_len > session->limits->line_max || (session->skipping_line && !end)) {
        drop_overlong(session, data, line_len);
        if (!end) {
            stream_consume(&session->stream, len);
            return false;
        }
        session->skipping_line = true;
    }
    if (!end)
        return false;
    bool bare = cut_line(session, data, line_len);
    if (session->skipping_line)
        refuse_overlong(session);
    else if (bare && session->bare_newline == BARE_NEWLINE_REJECT)
        refuse_bare_newline(session);
    else
        start_command(session);
    return true;
}
static bool in_transaction(const Session *session)
{
    return session->class->in_transaction && session->class->in_transaction(session);
}

/* Between commands. True: *step is set. */
static bool await_command(Session *session, Step *step)
{
    if (session->errors >= session->limits->hard_error_limit) {
        session_replyf(session, "421 4.7.0 %s Error: too many errors", session->limits->hostname);
        session->class->broken(session, "too many errors");
        return false;
    }
    if (take_line(session))
        return false;
    if (session->skipped > MAX(session->limits->line_max, SKIPPED_MAX)) {
        log_warning("disabling input from %s", session->peer);
        break_off(session, "lost connection");
        return false;
    }
    if (*session->closing && !in_transaction(session)) {
        session_replyf(session, "421 4.3.2 %s Service shutting down", session->limits->hostname);
        return false;
    }
    return !session_read_more(session, session->limits->line_max + 512, step) && session->phase != PHASE_CLOSING;
}

/* The running command wants one more line. True: *step is set. */
static bool await_more(Session *session, Step *step)
{
    size_t len;
    const char *data = stream_peek(&session->stream, &len);
    const char *end = len ? memchr(data, '\n', len) : NULL;
    size_t line_len = end ? (size_t)(end - data) : len;

    session->skipping_line |= line_len > session->more_max + 1; /* the CR */
    if (!end && session->skipping_line) {
        session->skipped += len;
        stream_consume(&session->stream, len);
        if (session->skipped > session->more_max + SKIPPED_MAX) {
            log_warning("disabling input from %s", session->peer);
            break_off(session, "lost connection");
            return false;
        }
    }
    if (!end && *session->closing && !in_transaction(session)) {
        session_replyf(session, "421 4.3.2 %s Service shutting down", session->limits->hostname);
        return false;
    }
    if (!end)
        return !session_read_more(session, session->more_max + 512, step) && session->phase != PHASE_CLOSING;
    bool bare = cut_line(session, data, line_len);
    if (session->skipping_line)
        drop_line(session);
    session->skipping_line = false;
    session->skipped = 0;
    session->phase = PHASE_RUN;
    session->deadline = 0;
    if (bare && session->bare_newline == BARE_NEWLINE_REJECT)
        refuse_bare_newline(session);
    return false;
}

static void ask_for_more(Session *session, size_t limit)
{
    session->phase = PHASE_LINE;
    session->waiting = false;
    session->more = true;
    session->more_max = limit;
    session->skipped = 0;
    session->deadline = 0;
    drop_line(session);
}

static bool run_command(Session *session, Step *step)
{
    const char *line = session->line ? session->line->str : NULL;
    Outcome outcome =
        session->command->verb ? session->command->run(session, line) : session->class->unknown(session, line);

    if (outcome.kind == OUTCOME_LINE) {
        ask_for_more(session, outcome.limit);
        return false;
    }

    if (!session_settled(session, outcome, step))
        return true;
    if (session->phase != PHASE_CONTENT)
        session_command_finished(session);
    else if (stream_unsent(&session->stream) > 0) /* the 354 */
        delay_reply(session);
    return false;
}

/* --- TLS --- */

size_t session_start_tls(Session *session, TlsContext *context, gint64 time_ms)
{
    bool wraps = session->phase == PHASE_CONNECT;
    size_t dropped = wraps ? 0 : stream_discard(&session->stream);

    session->tls.context = tls_context_ref(context);
    session->tls.next = wraps ? PHASE_CONNECT : PHASE_COMMAND;
    session->tls.time_ms = time_ms;
    session->skipping_line = false;
    return dropped;
}

const TlsFacts *session_tls(Session *session)
{
    Tls *tls = session->stream.tls;

    return tls && tls_is_established(tls) ? tls_facts(tls) : NULL;
}

static void fail_handshake(Session *session, TlsStatus status)
{
    tls_log_failure(session->stream.tls, status);
    if (session->tls.next == PHASE_COMMAND) /* the command did not succeed after all */
        count_of(session)->good--;
    break_off(session, "lost connection");
}

/* True: *step says what to wait for. */
static bool shake_hands(Session *session, Step *step)
{
    gint64 now = clock_ms();

    if (session->tls.context) {
        if (!flush(session, step)) /* the 220 goes out as it is */
            return true;
        stream_begin_tls(&session->stream, session->tls.context, session->peer);
        g_clear_pointer(&session->tls.context, tls_context_unref);
        session->deadline = now + session->tls.time_ms;
        tls_log_begin(session->stream.tls);
    }
    TlsStatus status = stream_handshake(&session->stream);
    if ((status == TLS_WANT_READ || status == TLS_WANT_WRITE) && now < session->deadline) {
        *step = step_park(stream_read_events(&session->stream), session->deadline);
        return true;
    }
    if (status != TLS_DONE) {
        fail_handshake(session, status == TLS_WANT_READ || status == TLS_WANT_WRITE ? TLS_DONE : status);
        return false;
    }
    session->deadline = 0;
    session->phase = session->tls.next;
    tls_log_established(session->stream.tls);
    session->class->secured(session);
    return false;
}

/* --- the task --- */

static bool connect_client(Session *session, Step *step)
{
    if (!session_settled(session, session->class->connect(session), step))
        return true;
    if (session->tls.context)
        session->phase = PHASE_TLS;
    else if (session->phase == PHASE_CONNECT)
        session->phase = PHASE_COMMAND;
    return false;
}

/* One step further. True: *step says what to wait for. */
static bool advance(Session *session, Step *step)
{
    if (session->reply_at > clock_ms()) {
        *step = step_park(0, session->reply_at);
        return true;
    }
    /* With a place at a gate what comes next may block: what was said must be out before. */
    bool must_send = session->phase == PHASE_CLOSING || session->reply_at || session->gate ||
                     stream_unsent(&session->stream) > STREAM_OUT_MAX;
    if (must_send && !flush(session, step))
        return true;
    switch (session->phase) {
    case PHASE_CONNECT:
        return connect_client(session, step);
    case PHASE_TLS:
        return shake_hands(session, step);
    case PHASE_COMMAND:
        return await_command(session, step);
    case PHASE_RUN:
        return run_command(session, step);
    case PHASE_LINE:
        return await_more(session, step);
    case PHASE_CONTENT:
        return session_take_content(session, step);
    case PHASE_END:
        return session_finish_content(session, step);
    case PHASE_CLOSING:
        break;
    }
    *step = step_end();
    return true;
}

static Step session_run(void *data, TaskRef self, unsigned reasons)
{
    Session *session = data;
    Step step = step_again();

    log_set_number(session->number);
    session->self = self;
    session->reasons = reasons;
    session->gate = reasons & WAKE_GATE ? session->gate_wanted : NULL;
    session->stream.drained &= !(reasons & ~(unsigned)(WAKE_GATE | WAKE_ANSWER)); /* they say nothing of the client */
    if (session->waiting && session->waiting_for_client_too && (reasons & WAKE_HANGUP)) {
        session->hangup_seen = true;
        if (client_is_gone(session)) { /* or it only said that it is done, and reads on: it is told to come again */
            break_off(session, "lost connection");
            session_replyf(session, "421 4.3.2 %s Error: try again later", session->limits->hostname);
        }
    }
    for (int turns = 0; turns < TURNS_MAX; turns += session->phase == PHASE_CONTENT ? CONTENT_TURNS : 1)
        if (advance(session, &step))
            return step;
    return flush(session, &step) ? step_again() : step;
}

/* The process ends before the session: whatever its client waits for, it learns that it shall come again. */
static void say_that_it_ends(Session *session)
{
    session_replyf(session, "421 4.3.2 %s Service shutting down", session->limits->hostname);
    stream_flush(&session->stream);
}

static void session_free(void *data)
{
    Session *session = data;

    log_set_number(session->number);
    if (session->phase != PHASE_CLOSING && session->phase != PHASE_TLS)
        say_that_it_ends(session);
    session->class->disconnect(session);
    tls_context_unref(session->tls.context);
    stream_clear(&session->stream);
    drop_line(session);
    g_free(session);
}

TaskRef session_start(Sched *sched, int fd, const ServerClass *class, const SessionLimits *limits, Account *account,
                      _Atomic int *closing, guint64 number, void *service)
{
    Session *session = g_new0(Session, 1);

    session->class = class;
    session->limits = limits;
    session->sched = sched;
    session->service = service;
    session->number = number;
    session->closing = closing;
    session->where = "CONNECT";
    stream_init(&session->stream, fd, account);
    return sched_add(sched, fd, session_run, session_free, session);
}
