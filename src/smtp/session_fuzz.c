/* session_fuzz.c - whole sessions with the engine: whatever a client sends, in whatever portions, the service sees the
 * same commands and the same messages, and the client the same replies. The first octet chooses what a bare LF is, and
 * the portions. */
#include "base/clock.h"
#include "base/fd.h"
#include "smtp/session.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static BareNewline policy;
static GString *seen;    /* commands and whole messages */
static GString *message; /* the present one */

static Outcome answer(Session *session, const char *line, const char *reply)
{
    if (strpbrk(line, "\r\n"))
        abort();
    g_string_append_printf(seen, "command %s\n", line);
    session_reply(session, reply);
    return outcome_done();
}

static Outcome connected(Session *session)
{
    session->peer = "fuzz[unix]";
    session->bare_newline = policy;
    session->esmtp = true;
    session_reply(session, "220 ready");
    return outcome_done();
}

static Outcome noop(Session *session, const char *line)
{
    return answer(session, line, "250 noop");
}

static Outcome bad(Session *session, const char *line)
{
    return answer(session, line, "500 bad");
}

static Outcome quit(Session *session, const char *line)
{
    session_hang_up(session);
    return answer(session, line, "221 bye");
}

/* Depends on when the octets come. */
static bool early_talker(Session *session, const char *after)
{
    return false;
}

static Outcome data_command(Session *session, const char *line)
{
    g_string_truncate(message, 0);
    session_begin_data(session, policy);
    return answer(session, line, "354 go");
}

static Outcome bdat(Session *session, const char *line)
{
    guint64 count = g_ascii_strtoull(line + 4, NULL, 10);

    session_begin_chunk(session, policy, count, message->len == 0, strstr(line, "LAST") != NULL);
    g_string_append_printf(seen, "command %s\n", line);
    return outcome_done();
}

static Outcome content(Session *session, const char *piece, size_t len, bool ends_line)
{
    if (memchr(piece, '\r', len) || memchr(piece, '\n', len))
        abort();
    g_string_append_len(message, piece, (gssize)len);
    if (ends_line)
        g_string_append_c(message, '\n');
    return outcome_done();
}

static Outcome end(Session *session)
{
    session_reply(session, "250 got it");
    if (session->bdat && !session->bdat_last)
        return outcome_done();
    g_string_append_printf(seen, "message of %zu octets: ", message->len);
    g_string_append_len(seen, message->str, (gssize)message->len);
    g_string_truncate(message, 0);
    return outcome_done();
}

static void bare_newline(Session *session)
{
    g_string_append(seen, "bare newline\n");
    session_reply(session, "521 bare LF");
}

static void broken(Session *session, const char *reason)
{
    g_string_append_printf(seen, "broken: %s after %s\n", reason, session->where);
}

static void disconnect(Session *session)
{
    g_string_append_printf(seen, "end, %d errors\n", session->errors);
}

static const Command commands[] = {
    {"NOOP", "noop", COMMAND_JUNK, noop},
    {"MAIL", "mail", 0, noop},
    {"RCPT", "rcpt", 0, noop},
    {"DATA", "data", 0, data_command},
    {"BDAT", "bdat", 0, bdat},
    {"EHLO", "ehlo", COMMAND_LAST, noop},
    {"QUIT", "quit", 0, quit},
    {NULL, "unknown", 0, NULL},
};

static const ServerClass class = {
    .commands = commands,
    .connect = connected,
    .unknown = bad,
    .early_talker = early_talker,
    .content = content,
    .end = end,
    .bare_newline = bare_newline,
    .broken = broken,
    .disconnect = disconnect,
};

static const SessionLimits limits = {
    .hostname = "mx",
    .timeout_ms = 60000,
    .line_max = 64,
    .soft_error_limit = 100,
    .hard_error_limit = 5,
    .junk_limit = 100,
};

typedef struct {
    int fd;
    const char *at;
    size_t left, portion;
} Client;

/* A portion each time the session has had its turn. */
static Step client_run(void *data, TaskRef self, unsigned reasons)
{
    Client *client = data;
    ssize_t sent = send(client->fd, client->at, MIN(client->left, client->portion), MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0) /* it has hung up */
        return step_end();
    client->at += sent;
    client->left -= (size_t)sent;
    if (client->left > 0)
        return step_again();
    shutdown(client->fd, SHUT_WR);
    return step_end();
}

static void client_free(void *data)
{
}

/* What the service saw and, behind it, what the client heard. */
static GString *talk(const char *text, size_t len, size_t portion)
{
    static _Atomic int closing;
    Account account = {0};
    int pair[2];
    char heard[4096];
    ssize_t count;

    seen = g_string_new(NULL);
    message = g_string_new(NULL);
    Sched *sched = sched_new(1, NULL);
    if (!sched || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    fd_set_nonblock(pair[1], true);
    Client client = {pair[0], text, len, portion};
    session_start(sched, pair[1], &class, &limits, &account, &closing, 1, NULL);
    sched_add(sched, -1, client_run, client_free, &client);
    sched_run(sched);
    sched_free(sched);
    while ((count = read(pair[0], heard, sizeof heard)) > 0)
        g_string_append_len(seen, heard, count);
    close(pair[0]);
    g_string_free(message, TRUE);
    if (account.used != 0)
        abort();
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    policy = data[0] & 3;
    g_autoptr(GString) whole = talk((const char *)data + 1, size - 1, size);
    g_autoptr(GString) parts = talk((const char *)data + 1, size - 1, (data[0] >> 2) + 1u);
    if (!g_string_equal(whole, parts))
        abort();
    return 0;
}
