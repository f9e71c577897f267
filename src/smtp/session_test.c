/* session_test.c - the engine with a small service of its own, over socket pairs. */
#include "base/clock.h"
#include "base/fd.h"
#include "smtp/session.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 10000

static Sched *sched;
static Gate *gate;
static pthread_t runner;
static Account account;
static _Atomic int closing;
static _Atomic int broken_count, ended_count;
static char broken_reason[64], broken_where[64];
static sem_t may_go;

static Outcome connected(Session *session)
{
    session->peer = "test[unix]";
    session_reply(session, "220 ready");
    return outcome_done();
}

static Outcome noop(Session *session, const char *line)
{
    session_replyf(session, "250 %s", line);
    return outcome_done();
}

static Outcome bad(Session *session, const char *line)
{
    session_reply(session, "500 bad");
    return outcome_done();
}

/* Needs a place at the gate, then an answer that comes by time. */
static Outcome slow(Session *session, const char *line)
{
    if (!session_at_gate(session, gate) && !session_timed_out(session))
        return outcome_gate(gate);
    if (!session_timed_out(session))
        return outcome_wait(clock_ms() + 50, true);
    session_reply(session, "250 slow");
    return outcome_done();
}

/* Blocks at the gate until the test lets it go. */
static Outcome block(Session *session, const char *line)
{
    if (!session_at_gate(session, gate))
        return outcome_gate(gate);
    sem_wait(&may_go);
    session_reply(session, "250 block");
    return outcome_done();
}

/* Asks for lines of up to 200 octets until one is "*". */
static Outcome more(Session *session, const char *line)
{
    if (session->more && g_strcmp0(line, "*") == 0) {
        session_reply(session, "250 more");
        return outcome_done();
    }
    session_replyf(session, "334 %s", line ? line : "too long");
    return outcome_line(200);
}

static Outcome ehlo(Session *session, const char *line)
{
    session->esmtp = true;
    return noop(session, line);
}

static Outcome data(Session *session, const char *line)
{
    session->service = g_string_new(NULL);
    session_reply(session, "354 go");
    session_begin_data(session, BARE_NEWLINE_NORMALIZE);
    return outcome_done();
}

static Outcome bdat(Session *session, const char *line)
{
    bool last = strstr(line, "LAST") != NULL;

    if (!session->service)
        session->service = g_string_new(NULL);
    session_begin_chunk(session, BARE_NEWLINE_NORMALIZE, g_ascii_strtoull(line + 5, NULL, 10),
                        ((GString *)session->service)->len == 0, last);
    return outcome_done();
}

static Outcome quit(Session *session, const char *line)
{
    session_reply(session, "221 bye");
    session_hang_up(session);
    return outcome_done();
}

/* Every other piece wants the gate first: it must come again unchanged. */
static Outcome content(Session *session, const char *piece, size_t len, bool ends_line)
{
    GString *text = session->service;

    if (!session_at_gate(session, gate))
        return outcome_gate(gate);
    g_string_append_len(text, piece, (gssize)len);
    if (ends_line)
        g_string_append_c(text, '|');
    return outcome_done();
}

static Outcome end(Session *session)
{
    GString *text = session->service;

    if (session->bdat && !session->bdat_last) {
        session_reply(session, "250 chunk");
        return outcome_done();
    }
    session_replyf(session, "250 got %s", text->str);
    g_string_free(text, TRUE);
    session->service = NULL;
    return outcome_done();
}

static bool early(Session *session, const char *after)
{
    session_reply(session, "554 wait for your turn");
    session_hang_up(session);
    return true;
}

static void broken(Session *session, const char *reason)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* sessions of one test may end at the same time */

    pthread_mutex_lock(&lock);
    g_strlcpy(broken_reason, reason, sizeof broken_reason);
    g_strlcpy(broken_where, session->where, sizeof broken_where);
    pthread_mutex_unlock(&lock);
    broken_count++;
}

static void disconnect(Session *session)
{
    if (session->service)
        g_string_free(session->service, TRUE);
    ended_count++;
}

static const Command commands[] = {
    {"EHLO", "ehlo", COMMAND_LAST, ehlo},
    {"NOOP", "noop", COMMAND_JUNK, noop},
    {"SLOW", "slow", 0, slow},
    {"BLOCK", "block", 0, block},
    {"MORE", "more", 0, more},
    {"BAD", "bad", 0, bad},
    {"DATA", "data", COMMAND_LAST, data},
    {"BDAT", "bdat", 0, bdat},
    {"QUIT", "quit", 0, quit},
    {NULL, "unknown", 0, NULL},
};

static const char *footer_text;

static char *footer(const Session *session, const Reply *reply)
{
    return g_strdup(footer_text);
}

static const ServerClass class = {
    .commands = commands,
    .connect = connected,
    .unknown = bad,
    .early_talker = early,
    .content = content,
    .end = end,
    .footer = footer,
    .broken = broken,
    .disconnect = disconnect,
};

static SessionLimits limits = {
    .hostname = "mx",
    .timeout_ms = 5000,
    .line_max = 100,
    .soft_error_limit = 100,
    .hard_error_limit = 5,
    .junk_limit = 100,
};

static int open_session(const SessionLimits *with)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fd_set_nonblock(pair[1], true);
    session_start(sched, pair[1], &class, with, &account, &closing, 1, NULL);
    return pair[0];
}

static void say(int fd, const char *text)
{
    assert_true(fd_write_all(fd, text, strlen(text)));
}

static void say_slowly(int fd, const char *text)
{
    for (; *text; text++) {
        assert_true(fd_write_all(fd, text, 1));
        poll(NULL, 0, 0);
    }
}

/* Reads exactly want. */
static void hear(int fd, const char *want)
{
    char got[4096] = "";
    size_t len = 0;

    while (len < strlen(want)) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
        ssize_t count = read(fd, got + len, strlen(want) - len);
        if (count <= 0)
            break;
        len += (size_t)count;
    }
    got[len] = '\0';
    assert_string_equal(got, want);
}

static void hear_end(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char octet;

    assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
    assert_true(read(fd, &octet, 1) <= 0);
    close(fd);
}

static void await_count(_Atomic int *count, int want)
{
    for (gint64 deadline = clock_ms() + DEADLINE_MS; *count < want && clock_ms() < deadline;)
        poll(NULL, 0, 1);
    assert_int_equal(*count, want);
}

static void commands_run_in_order(void **state)
{
    int fd = open_session(&limits);

    hear(fd, "220 ready\r\n");
    say(fd, "EHLO x\r\n");
    hear(fd, "250 EHLO x\r\n");
    say(fd, "noop 1\r\nSLOW\r\nnoop 2\nBAD\r\n");
    hear(fd, "250 noop 1\r\n250 slow\r\n250 noop 2\r\n500 bad\r\n");
    say_slowly(fd, "NOOP slowly\r\nQUIT\r\n");
    hear(fd, "250 NOOP slowly\r\n221 bye\r\n");
    hear_end(fd);
}

static void lines_that_a_command_asks_for_are_no_commands(void **state)
{
    int fd = open_session(&limits);
    g_autofree char *fits = g_strnfill(200, 'x');
    g_autofree char *answer = g_strdup_printf("334 %s\r\n", fits);

    hear(fd, "220 ready\r\n");
    say(fd, "EHLO x\r\n");
    hear(fd, "250 EHLO x\r\n");
    say(fd, "MORE 1\r\nQUIT\r\n\r\n*\r\nNOOP\r\n");
    hear(fd, "334 MORE 1\r\n334 QUIT\r\n334 \r\n250 more\r\n250 NOOP\r\n");
    say(fd, "MORE 2\r\n");
    hear(fd, "334 MORE 2\r\n");
    say(fd, fits);
    say(fd, "\r\n");
    hear(fd, answer);
    say(fd, fits);
    say(fd, "x\r\n");
    hear(fd, "334 too long\r\n");
    say_slowly(fd, "QUIT\r\n*\r\nQUIT\r\n");
    hear(fd, "334 QUIT\r\n250 more\r\n221 bye\r\n");
    hear_end(fd);
    fd = open_session(&limits);
    hear(fd, "220 ready\r\n");
    say(fd, "MORE\r\n");
    hear(fd, "334 MORE\r\n");
    for (int i = 0; i < 40; i++)
        if (!fd_write_all(fd, fits, strlen(fits)))
            break;
    hear_end(fd);
    assert_string_equal(broken_where, "MORE");
}

static void passwords_are_not_shown(void **state)
{
    assert_int_equal(session_shown_len("NOOP x", 6), 6);
    assert_int_equal(session_shown_len("EHLO x\r\nauth PLAIN c2VjcmV0", 26), 13);
    assert_int_equal(session_shown_len("AUTH", 4), 4);
}

static void content_comes_in_canonical_lines(void **state)
{
    int fd = open_session(&limits);

    say(fd, "");
    hear(fd, "220 ready\r\n");
    say(fd, "EHLO x\r\n");
    hear(fd, "250 EHLO x\r\n");
    say(fd, "DATA\r\n");
    hear(fd, "354 go\r\n");
    say_slowly(fd, "one\r\n..two\r\n\nthree\r\n.\r\n");
    hear(fd, "250 got one|.two||three|\r\n");
    say(fd, "BDAT 5\r\nab\r\ncBDAT 2 LAST\r\nd.NOOP\r\n");
    hear(fd, "250 chunk\r\n250 got ab|cd.|\r\n250 NOOP\r\n");
    close(fd);
}

static void overlong_line_is_refused_whole(void **state)
{
    int fd = open_session(&limits);
    g_autofree char *line = g_strnfill(130, 'x');

    hear(fd, "220 ready\r\n");
    say(fd, "EHLO x\r\n");
    hear(fd, "250 EHLO x\r\n");
    say(fd, line);
    say(fd, "\r\nNOOP\r\n");
    hear(fd, "500 5.5.2 mx Error: command too long\r\n250 NOOP\r\n");
    for (int i = 0; i < 40; i++)
        if (!fd_write_all(fd, line, strlen(line)))
            break;
    hear_end(fd);
}

static void errors_end_the_session(void **state)
{
    int fd = open_session(&limits);

    hear(fd, "220 ready\r\n");
    say(fd, "EHLO x\r\n");
    hear(fd, "250 EHLO x\r\n");
    say(fd, "BAD\r\nBAD\r\nBAD\r\nBAD\r\nBAD\r\nNOOP\r\n");
    hear(fd, "500 bad\r\n500 bad\r\n500 bad\r\n500 bad\r\n500 bad\r\n421 4.7.0 mx Error: too many errors\r\n");
    hear_end(fd);
    assert_string_equal(broken_reason, "too many errors");
    assert_string_equal(broken_where, "BAD");
}

static void early_talker_is_caught(void **state)
{
    int fd = open_session(&limits);

    hear(fd, "220 ready\r\n");
    say(fd, "EHLO x\r\nNOOP\r\n");
    hear(fd, "554 wait for your turn\r\n");
    hear_end(fd);
}

static void silence_and_leaving_end_the_session(void **state)
{
    static SessionLimits hasty; /* its session may outlive the test */
    hasty = limits;
    hasty.timeout_ms = 30;
    int fd = open_session(&hasty);

    hear(fd, "220 ready\r\n421 4.4.2 mx Error: timeout exceeded\r\n");
    hear_end(fd);
    assert_string_equal(broken_reason, "timeout");

    int before = broken_count;
    fd = open_session(&limits);
    hear(fd, "220 ready\r\n");
    say(fd, "SLOW\r\n");
    close(fd); /* while it waits for an answer */
    await_count(&broken_count, before + 1);
    assert_string_equal(broken_reason, "lost connection");

    fd = open_session(&limits);
    hear(fd, "220 ready\r\n");
    say(fd, "NOOP\r\n");
    shutdown(fd, SHUT_WR); /* half-closed clients are served */
    hear(fd, "250 NOOP\r\n");
    hear_end(fd);
}

static void error_delays_the_replies_behind_it(void **state)
{
    static SessionLimits strict;
    strict = limits;
    strict.soft_error_limit = 1;
    strict.error_sleep_ms = 500;
    int fd = open_session(&strict), before = broken_count;

    hear(fd, "220 ready\r\n");
    gint64 start = clock_ms();
    say(fd, "BAD\r\n");
    hear(fd, "500 bad\r\n");
    assert_true(clock_ms() - start < 500);
    start = clock_ms();
    say(fd, "DATA\r\n");
    hear(fd, "354 go\r\n");
    assert_true(clock_ms() - start >= 500);
    close(fd);
    await_count(&broken_count, before + 1);
}

static void replies_are_out_before_a_command_blocks(void **state)
{
    int fd = open_session(&limits);

    hear(fd, "220 ready\r\n");
    say(fd, "EHLO x\r\n");
    hear(fd, "250 EHLO x\r\n");
    sem_post(&may_go);
    say(fd, "BLOCK\r\nBLOCK\r\n");
    hear(fd, "250 block\r\n"); /* while the second one blocks */
    sem_post(&may_go);
    hear(fd, "250 block\r\n");
    say(fd, "QUIT\r\n");
    hear(fd, "221 bye\r\n");
    hear_end(fd);
}

static void complete_lines_of_lost_content_are_counted(void **state)
{
    int before = broken_count;
    int fd = open_session(&limits);

    hear(fd, "220 ready\r\n");
    say(fd, "DATA\r\n");
    hear(fd, "354 go\r\n");
    say(fd, "abc\r\nde");
    close(fd);
    await_count(&broken_count, before + 1);
    assert_string_equal(broken_where, "DATA");
}

static void every_refusal_has_the_footer(void **state)
{
    footer_text = "write to us";
    int fd = open_session(&limits);

    hear(fd, "220 ready\r\n");
    say(fd, "BAD\r\n");
    hear(fd, "500-bad\r\n500 write to us\r\n");
    say(fd, "QUIT\r\n");
    hear(fd, "221 bye\r\n");
    hear_end(fd);
    footer_text = NULL;
}

static void shutting_down_says_421(void **state)
{
    int fd = open_session(&limits);

    hear(fd, "220 ready\r\n");
    closing = 1;
    sched_wake_all(sched, WAKE_STOP);
    hear(fd, "421 4.3.2 mx Service shutting down\r\n");
    hear_end(fd);
    closing = 0;
}

/* A session that is still there when the scheduler has ended. */
static void a_process_that_ends_says_421(void **state)
{
    Sched *ending = sched_new(1, NULL);
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fd_set_nonblock(pair[1], true);
    session_start(ending, pair[1], &class, &limits, &account, &closing, 1, NULL);
    sched_free(ending);
    hear(pair[0], "421 4.3.2 mx Service shutting down\r\n");
    hear_end(pair[0]);
}

static void *run(void *unused)
{
    sched_run(sched);
    return NULL;
}

static Step keep(void *data, TaskRef self, unsigned reasons)
{
    return step_park(0, CLOCK_NEVER);
}

static void nothing(void *data)
{
}

static int start(void **state)
{
    sched = sched_new(2, NULL);
    gate = sched_gate_new(sched, 2);
    sem_init(&may_go, 0, 0);
    sched_add(sched, -1, keep, nothing, NULL);
    return pthread_create(&runner, NULL, run, NULL);
}

static int stop(void **state)
{
    sched_quit(sched);
    pthread_join(runner, NULL);
    sched_free(sched);
    return account.used == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_run_in_order),
        cmocka_unit_test(lines_that_a_command_asks_for_are_no_commands),
        cmocka_unit_test(passwords_are_not_shown),
        cmocka_unit_test(content_comes_in_canonical_lines),
        cmocka_unit_test(overlong_line_is_refused_whole),
        cmocka_unit_test(errors_end_the_session),
        cmocka_unit_test(early_talker_is_caught),
        cmocka_unit_test(silence_and_leaving_end_the_session),
        cmocka_unit_test(error_delays_the_replies_behind_it),
        cmocka_unit_test(replies_are_out_before_a_command_blocks),
        cmocka_unit_test(complete_lines_of_lost_content_are_counted),
        cmocka_unit_test(every_refusal_has_the_footer),
        cmocka_unit_test(shutting_down_says_421),
        cmocka_unit_test(a_process_that_ends_says_421),
    };
    signal(SIGPIPE, SIG_IGN); /* a flood may meet a session that has hung up */
    return cmocka_run_group_tests(tests, start, stop);
}
