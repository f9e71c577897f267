/* client_test.c - the client against a peer at the other end of a socketpair. Where it matters when the peer acts, the
 * peer is a thread; else its octets lie there beforehand. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "smtp/client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A client, and its peer's descriptor (blocking) with input in it. */
static Client *client_with_peer(const char *input, gint64 timeout_ms, int *ret_peer)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_true(fd_write_all(ends[1], input, strlen(input)));
    *ret_peer = ends[1];
    return client_new(ends[0], "proxy 127.0.0.1:10025", timeout_ms);
}

/* What has come to the peer so far, or until the end. */
static char *sent_to(int peer, bool until_end)
{
    GString *text = g_string_new(NULL);
    char chunk[65536];
    ssize_t count;

    while ((count = recv(peer, chunk, sizeof chunk, until_end ? 0 : MSG_DONTWAIT)) > 0)
        g_string_append_len(text, chunk, count);
    return g_string_free(text, FALSE);
}

/* The log since the last call; log_pipe[0] is non-blocking. */
static int log_pipe[2];

static char *logged(void)
{
    GString *text = g_string_new(NULL);
    char chunk[4096];
    ssize_t count;

    while ((count = read(log_pipe[0], chunk, sizeof chunk)) > 0)
        g_string_append_len(text, chunk, count);
    return g_string_free(text, FALSE);
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

static void a_dialogue_reads_one_reply_for_each_command(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client =
        client_with_peer("220 hi\r\n250-f\r\n250-XFORWARD NAME\n250 DSN\r\r\n550 5.1.1 \001no\r\n", 5000, &peer);
    g_autoptr(Reply) reply = NULL;
    g_autoptr(GError) error = NULL;
    gint64 before = clock_ms();

    assert_true(client_read_reply(client, &reply, &error));
    assert_string_equal(reply_text(reply), "220 hi");
    assert_true(client_command(client, &reply, &error, "EHLO %s", "mx.test"));
    assert_string_equal(reply_text(reply), "250-f\n250-XFORWARD NAME\n250 DSN");
    assert_true(client_command_line(client, &reply, &error, "mail  FROM:<%s\xff>\rDATA\r\n.\r"));
    assert_string_equal(reply_text(reply), "550 5.1.1 ?no");
    g_autofree char *sent = sent_to(peer, false);
    assert_string_equal(sent, "EHLO mx.test\r\nmail  FROM:<%s\xff> DATA  . \r\n");
    assert_in_range(client_idle_since(client), before, clock_ms());
}

static void odd_lines_are_logged_and_bounded(void **state)
{
    g_autofree char *filler = g_strnfill(3000, 'x');
    g_autofree char *exact = g_strnfill(REPLY_LINE_MAX - 4, 'y');
    g_autofree char *input =
        g_strdup_printf("hello\tthere %.200s\r\n\r\n250-%s\r\n250 end\r\n250-%s\r\n250 ok\r\n", filler, filler, exact);
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer(input, 5000, &peer);
    g_autoptr(Reply) reply = NULL;

    assert_true(client_read_reply(client, &reply, NULL));
    g_autofree char *log = logged();
    g_autofree char *garbage =
        g_strdup_printf("warning: received garbage from proxy 127.0.0.1:10025: hello?there %.88s\n", filler);
    g_autofree char *longer =
        g_strdup_printf("warning: 127.0.0.1:10025: response longer than 2048: 250-%.26s...\n", filler);
    assert_non_null(strstr(log, garbage));
    assert_non_null(strstr(log, "warning: received garbage from proxy 127.0.0.1:10025: \n"));
    assert_non_null(strstr(log, longer));
    assert_int_equal(count_of(log, "\n"), 3);
    assert_int_equal(reply_code(reply), 250);
    assert_false(reply_is(reply, 2)); /* the first line decides */

    assert_true(client_read_reply(client, &reply, NULL));
    g_autofree char *more = logged();
    assert_int_equal(count_of(more, "response longer than 2048"), 1); /* by its CR alone */
    assert_int_equal(strlen(reply_text(reply)), REPLY_LINE_MAX);      /* nothing is lost; the next line is dropped */
}

static void a_lost_peer_stays_lost(void **state)
{
    static const char *const inputs[] = {"", "250-a\r\n250", "250-a\r\n"};

    for (size_t i = 0; i < G_N_ELEMENTS(inputs); i++) {
        auto_fd peer = -1;
        g_autoptr(Client) client = client_with_peer(inputs[i], 5000, &peer);
        g_autoptr(Reply) reply = reply_new("250 old");
        g_autoptr(GError) error = NULL, again = NULL;

        shutdown(peer, SHUT_WR);
        assert_false(client_command(client, &reply, &error, "NOOP"));
        assert_null(reply);
        assert_true(g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_LOST));
        fd_clear(&peer);
        assert_false(client_command(client, &reply, &again, "NOOP"));
        assert_true(g_error_matches(again, CLIENT_ERROR, CLIENT_ERROR_LOST));
    }
}

static void a_write_to_a_closed_peer_is_a_failure_and_no_signal(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("", 5000, &peer);
    g_autoptr(Reply) reply = NULL;
    g_autoptr(GError) error = NULL;

    fd_clear(&peer);
    assert_false(client_command(client, &reply, &error, "NOOP"));
    assert_true(g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_LOST));
    client_quit(g_steal_pointer(&client));
}

static void a_silent_peer_times_out(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("250-a\r\n", 100000, &peer);
    g_autoptr(Reply) reply = NULL;
    g_autoptr(GError) error = NULL, again = NULL;

    client_set_timeout(client, 30);
    assert_false(client_command(client, &reply, &error, "NOOP"));
    assert_true(g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT));
    assert_false(client_read_reply(client, &reply, &again));
    assert_true(g_error_matches(again, CLIENT_ERROR, CLIENT_ERROR_LOST));
}

/* Writes text over and over, with pauses, until the client is gone. */
typedef struct {
    int fd;
    const char *text;
    int pause_ms;
} Chatter;

static void *chatter(void *data)
{
    const Chatter *what = data;
    struct pollfd gone = {.fd = what->fd, .events = POLLRDHUP};

    while (send(what->fd, what->text, strlen(what->text), MSG_NOSIGNAL) > 0)
        if (poll(&gone, 1, what->pause_ms) > 0 && (gone.revents & (POLLRDHUP | POLLHUP | POLLERR)))
            break;
    return NULL;
}

static void an_endless_reply_ends(void **state)
{
    const struct {
        const char *text;
        int pause_ms;
        ClientError code;
    } rows[] = {
        {"250-still alive\r\n", 5, CLIENT_ERROR_TIMEOUT}, /* each read in time, the whole never */
        {"2", 5, CLIENT_ERROR_TIMEOUT},
        {"250-a\r\n250-b\r\n250-c\r\n250-d\r\n250-e\r\n250-f\r\n250-g\r\n250-h\r\n", 0, CLIENT_ERROR_LOST},
        {"x\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\n", 0, CLIENT_ERROR_LOST},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        auto_fd peer = -1;
        g_autoptr(Client) client = client_with_peer("", rows[i].pause_ms > 0 ? 30 : 3000, &peer);
        g_autoptr(Reply) reply = NULL;
        g_autoptr(GError) error = NULL;
        Chatter what = {.fd = peer, .text = rows[i].text, .pause_ms = rows[i].pause_ms};
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, chatter, &what), 0);
        assert_false(client_read_reply(client, &reply, &error));
        assert_int_equal(error->code, rows[i].code);
        client_free(g_steal_pointer(&client));
        pthread_join(thread, NULL);
        g_autofree char *log = logged();
        assert_in_range(count_of(log, "\n"), 0, 10);
    }
}

/* Reads lines and answers each "250 ok N" at once, with buffers that hold next to nothing. */
static void *answer_each_line(void *data)
{
    int fd = *(int *)data;
    unsigned count = 0;
    char chunk[512];
    ssize_t len;

    while ((len = recv(fd, chunk, sizeof chunk, 0)) > 0)
        for (ssize_t i = 0; i < len; i++)
            if (chunk[i] == '\n') {
                g_autofree char *reply = g_strdup_printf("250 %0200u\r\n", ++count);
                if (send(fd, reply, strlen(reply), MSG_NOSIGNAL) < 0)
                    return NULL;
            }
    return NULL;
}

static void pipelined_commands_do_not_deadlock(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("", 5000, &peer);
    g_autoptr(Reply) reply = NULL;
    g_autofree char *filler = g_strnfill(900, 'x');
    g_autofree char *line = g_strdup_printf("RCPT TO:<%s>", filler);
    int small = 4096;
    pthread_t thread;

    assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_int_equal(pthread_create(&thread, NULL, answer_each_line, &peer), 0);
    for (int i = 0; i < 1000; i++)
        client_queue_line(client, line);
    for (unsigned i = 1; i <= 1000; i++) {
        assert_true(client_read_reply(client, &reply, NULL));
        assert_int_equal(g_ascii_strtoull(reply_text(reply) + 4, NULL, 10), i);
    }
    client_quit(g_steal_pointer(&client));
    pthread_join(thread, NULL);
}

static void content_goes_out_gathered_and_ends_with_the_dot(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("", 5000, &peer);
    g_autoptr(Reply) reply = NULL;
    g_autoptr(GError) error = NULL;

    client_begin_content(client);
    assert_false(client_content_would_write(client, 1000));
    assert_true(client_content(client, "Subject", 7, false, &error));
    assert_true(client_content(client, ": x", 3, true, &error));
    assert_true(client_content(client, ".", 1, true, &error));
    assert_true(client_content(client, "end", 3, false, &error));
    g_autofree char *early = sent_to(peer, false);
    assert_string_equal(early, ""); /* gathered */
    client_set_timeout(client, 20);
    assert_false(client_end_content(client, &reply, &error)); /* nobody answers */
    assert_true(g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT));
    g_autofree char *sent = sent_to(peer, false);
    assert_string_equal(sent, "Subject: x\r\n..\r\nend\r\n.\r\n");
}

typedef struct {
    int fd;
    GString *got;
} Reader;

/* Takes content, answers its end. */
static void *read_content(void *data)
{
    Reader *reader = data;
    char chunk[8192];
    ssize_t len;

    while ((len = recv(reader->fd, chunk, sizeof chunk, 0)) > 0) {
        g_string_append_len(reader->got, chunk, len);
        if (g_str_has_suffix(reader->got->str, "\r\n.\r\n"))
            send(reader->fd, "250 queued\r\n", 12, MSG_NOSIGNAL);
    }
    return NULL;
}

static void much_content_arrives_whole(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("", 5000, &peer);
    g_autoptr(Reply) reply = NULL;
    g_autofree char *huge = g_strnfill(200000, 'h');
    g_autoptr(GString) wanted = g_string_new(NULL);
    Reader reader = {.fd = peer, .got = g_string_new(NULL)};
    pthread_t thread;
    unsigned writes = 0;

    assert_int_equal(pthread_create(&thread, NULL, read_content, &reader), 0);
    for (int i = 0; i < 10000; i++) {
        g_autofree char *line = g_strdup_printf(".line %d of a message that is longer than what is gathered", i);
        writes += client_content_would_write(client, strlen(line));
        assert_true(client_content(client, line, strlen(line), true, NULL));
        g_string_append_printf(wanted, ".%s\r\n", line);
    }
    assert_in_range(writes, wanted->len / 65536, wanted->len / 65000 + 1);
    assert_true(client_content(client, huge, 200000, true, NULL));
    g_string_append_printf(wanted, "%s\r\n.\r\n", huge);
    assert_true(client_end_content(client, &reply, NULL));
    assert_string_equal(reply_text(reply), "250 queued");
    client_quit(g_steal_pointer(&client));
    pthread_join(thread, NULL);
    assert_true(g_str_has_suffix(reader.got->str, "\r\n.\r\nQUIT\r\n"));
    assert_int_equal(reader.got->len, wanted->len + 6);
    assert_memory_equal(reader.got->str, wanted->str, wanted->len);
    g_string_free(reader.got, TRUE);
}

static void a_peer_that_stops_reading_fails_the_content_once(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("", 30, &peer);
    g_autoptr(Reply) reply = NULL;
    g_autoptr(GError) error = NULL, end = NULL;
    g_autofree char *line = g_strnfill(10000, 'x');
    bool is_good = true;

    for (int i = 0; i < 1000 && is_good; i++)
        is_good = client_content(client, line, 10000, true, &error);
    assert_false(is_good);
    assert_true(g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT));
    assert_true(client_content_failed(client));
    assert_false(client_content_would_write(client, 1000000));
    assert_true(client_content(client, line, 10000, true, NULL)); /* dropped */
    assert_false(client_end_content(client, &reply, &end));
    assert_true(g_error_matches(end, CLIENT_ERROR, CLIENT_ERROR_LOST));
    assert_false(client_command(client, &reply, NULL, "RSET"));
    client_quit(g_steal_pointer(&client));
    g_autofree char *sent = sent_to(peer, true);
    assert_null(strstr(sent, "QUIT"));
    assert_null(strstr(sent, "\r\n.\r\n"));
}

static void quit_in_content_never_sends_a_dot(void **state)
{
    static const struct {
        const char *lines; /* '|': end of a piece, '\n': of a line */
        const char *sent;
    } rows[] = {
        {"", "QUIT\r\n"},   {"a\n.\n", "a\r\n..\r\nQUIT\r\n"}, {"a\nb|", "a\r\nQUIT\r\n"}, /* only complete lines */
        {"b|", "QUIT\r\n"}, {"a|b\n.|", "ab\r\nQUIT\r\n"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        auto_fd peer = -1;
        g_autoptr(Client) client = client_with_peer("", 5000, &peer);
        client_begin_content(client);
        for (const char *at = rows[i].lines; *at;) {
            size_t len = strcspn(at, "|\n");
            assert_true(client_content(client, at, len, at[len] == '\n', NULL));
            at += len + 1;
        }
        client_quit(g_steal_pointer(&client));
        g_autofree char *sent = sent_to(peer, true);
        assert_string_equal(sent, rows[i].sent);
    }
}

static void quit_ends_a_line_that_went_out_in_part(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("250 unread\r\n", 5000, &peer);
    g_autofree char *piece = g_strnfill(40000, 'x');

    assert_true(client_content(client, piece, 40000, false, NULL));
    assert_true(client_content(client, piece, 40000, false, NULL)); /* the first one is written before it */
    client_quit(g_steal_pointer(&client));
    g_autofree char *sent = sent_to(peer, true);
    assert_int_equal(strspn(sent, "x"), 80000);
    assert_string_equal(sent + 80000, "\r\nQUIT\r\n");
}

static void quit_without_content_is_a_command(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("250 ok\r\n", 5000, &peer);
    g_autoptr(Reply) reply = NULL;

    assert_true(client_command(client, &reply, NULL, "MAIL FROM:<>"));
    client_quit(g_steal_pointer(&client));
    g_autofree char *sent = sent_to(peer, true);
    assert_string_equal(sent, "MAIL FROM:<>\r\nQUIT\r\n");
    client_quit(NULL);
}

static void a_reply_before_the_dot_never_accepts(void **state)
{
    static const struct {
        const char *early, *text; /* NULL: a failure */
    } rows[] = {
        {"250 2.0.0 queued\r\n", NULL}, {"354 again\r\n", NULL},
        {"hello\r\n250 ok\r\n", NULL},  {"554-5.7.1 spam\r\n554 go\r\n", "554-5.7.1 spam\n554 go"},
        {"421 bye\r\n", "421 bye"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        auto_fd peer = -1;
        g_autofree char *input = g_strconcat("354 go\r\n", rows[i].early, NULL);
        g_autoptr(Client) client = client_with_peer(input, 5000, &peer);
        g_autoptr(Reply) reply = NULL;
        g_autoptr(GError) error = NULL;

        assert_true(client_command(client, &reply, NULL, "DATA"));
        assert_true(client_content(client, "x", 1, true, NULL));
        assert_int_equal(client_end_content(client, &reply, &error), rows[i].text != NULL);
        if (rows[i].text)
            assert_string_equal(reply_text(reply), rows[i].text);
        else
            assert_true(g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_LOST));
        assert_false(client_command(client, &reply, NULL, "MAIL FROM:<>")); /* of no more use, and no harm */
        client_quit(g_steal_pointer(&client));
        g_autofree char *sent = sent_to(peer, true);
        assert_null(strstr(sent, "\r\n.\r\n"));
    }
    g_free(logged());
}

static void a_connect_error_is_the_bare_reason(void **state)
{
    g_autoptr(Endpoint) endpoint = endpoint_parse("unix:no/such", "/nowhere", 0, NULL);
    g_autoptr(GError) error = NULL;

    assert_null(client_connect(endpoint, "proxy x", 1000, &error));
    assert_true(g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_CONNECT));
    assert_string_equal(error->message, "No such file or directory");
}

static void put(int peer, const char *text)
{
    assert_true(fd_write_all(peer, text, strlen(text)));
}

static void a_step_goes_on_where_it_waited(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("", 5000, &peer);
    g_autoptr(Reply) reply = NULL;

    assert_int_equal(client_try_command(client, "EHLO x", &reply, NULL), CLIENT_WAIT);
    assert_in_range(client_wait_until(client), clock_ms(), clock_ms() + 5000);
    put(peer, "250-o");
    assert_int_equal(client_try_command(client, "EHLO x", &reply, NULL), CLIENT_WAIT);
    assert_false(client_heard_too_much(client));
    put(peer, "ne\r\n250 two\r\n");
    assert_int_equal(client_try_command(client, "EHLO x", &reply, NULL), CLIENT_DONE);
    assert_string_equal(reply_text(reply), "250-one\n250 two");

    client_begin_content(client);
    client_add_content(client, ".", 1, true);
    assert_int_equal(client_try_end_content(client, &reply, NULL), CLIENT_WAIT);
    assert_null(reply);
    put(peer, "250 taken\r\n");
    assert_int_equal(client_try_end_content(client, &reply, NULL), CLIENT_DONE);
    assert_string_equal(reply_text(reply), "250 taken");
    g_autofree char *sent = sent_to(peer, false);
    assert_string_equal(sent, "EHLO x\r\n..\r\n.\r\n"); /* each once */
}

static void a_step_does_not_wait_for_ever(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("", 20, &peer);
    g_autoptr(Reply) reply = NULL;
    g_autoptr(GError) error = NULL;
    gint64 start = clock_ms();
    ClientStatus status;

    while ((status = client_try_command(client, "NOOP", &reply, &error)) == CLIENT_WAIT)
        assert_true(clock_ms() < start + 10000);
    assert_int_equal(status, CLIENT_FAILED);
    assert_int_equal(error->code, CLIENT_ERROR_TIMEOUT);
}

/* A dot that only waits to be sent would turn what was given up into a message. */
static void quit_does_not_send_a_dot_that_waits(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("", 5000, &peer);
    g_autoptr(Reply) reply = NULL;
    g_autofree char *line = g_strnfill(1000, 'x');
    ClientStatus status;

    client_begin_content(client);
    while ((status = client_try_room(client, 1000, NULL)) == CLIENT_DONE)
        client_add_content(client, line, 1000, true);
    assert_int_equal(status, CLIENT_WAIT); /* the peer does not read */
    assert_int_equal(client_try_end_content(client, &reply, NULL), CLIENT_WAIT);
    client_quit(g_steal_pointer(&client));
    g_autofree char *sent = sent_to(peer, true);
    assert_null(strstr(sent, "\r\n.\r\n"));
}

static void connecting_goes_in_steps(void **state)
{
    auto_fd listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    g_autoptr(GError) error = NULL;

    assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    g_autofree char *name = g_strdup_printf("127.0.0.1:%u", ntohs(addr.sin_port));
    g_autoptr(Endpoint) endpoint = endpoint_parse(name, NULL, 0, NULL);
    for (int listens = 0; listens <= 1; listens++) {
        g_autoptr(Client) client = client_begin(endpoint, "proxy x", 5000);
        ClientStatus status;
        if (listens)
            assert_int_equal(listen(listener, 5), 0);
        while ((status = client_try_connect(client, &error)) == CLIENT_WAIT)
            assert_true(clock_ms() < client_wait_until(client));
        if (listens) {
            assert_int_equal(status, CLIENT_DONE);
            assert_true(client_new_fd(client) >= 0);
            assert_int_equal(client_new_fd(client), -1);
        } else {
            assert_int_equal(status, CLIENT_FAILED);
            assert_string_equal(error->message, "Connection refused");
        }
    }
}

static void a_quiet_peer_is_told_from_one_that_speaks_or_is_gone(void **state)
{
    auto_fd peer = -1;
    g_autoptr(Client) client = client_with_peer("250 ok\r\n", 5000, &peer);
    g_autoptr(Reply) reply = NULL;

    assert_true(client_command(client, &reply, NULL, "NOOP"));
    assert_true(client_is_quiet(client));
    assert_false(client_heard_garbage(client));
    assert_true(fd_write_all(peer, "what\r\n250 ok\r\n", 14));
    assert_false(client_is_quiet(client));
    assert_true(client_read_reply(client, &reply, NULL));
    assert_true(client_heard_garbage(client));
    assert_true(client_is_quiet(client));
    fd_clear(&peer);
    assert_false(client_is_quiet(client));
    g_autofree char *log = logged();
    assert_non_null(strstr(log, "received garbage"));
}

/* ---- TLS: without certificates, as only anonymous ciphers of TLSv1.2 have it ---- */

static TlsContext *anonymous(TlsRole role)
{
    const TlsOptions options = {
        .role = role, .ciphers = "aNULL", .digest = "sha256", .verify_depth = 9, .protocols = {.max = 0x303}};
    g_autoptr(GError) error = NULL;
    TlsContext *context = tls_context_new(&options, NULL, &error);

    assert_non_null(context);
    return context;
}

/* Answers one command inside TLS; then something comes that nobody asked for. */
static void *serve_tls(void *data)
{
    int peer = *(int *)data;
    g_autoptr(TlsContext) context = anonymous(TLS_SERVER);
    g_autoptr(Tls) tls = tls_new(context, peer, "client[]");
    char line[10];
    size_t len;

    if (tls_handshake(tls) != TLS_DONE || tls_read(tls, line, sizeof line, &len) != TLS_DONE)
        return NULL;
    tls_write(tls, "250 inside\r\n", 12, &len);
    if (tls_read(tls, line, sizeof line, &len) == TLS_DONE)
        tls_write(tls, "250 two\r\n250 too many\r\n", 23, &len);
    tls_read(tls, line, sizeof line, &len); /* until the client is gone */
    return NULL;
}

static void plaintext_ends_where_tls_begins(void **state)
{
    int peer;
    pthread_t thread;
    g_autoptr(TlsContext) context = anonymous(TLS_CLIENT);
    g_autoptr(Client) client = client_with_peer("220 go on\r\n250 not inside\r\n", 5000, &peer);
    g_autoptr(Reply) reply = NULL;

    assert_true(client_read_reply(client, &reply, NULL));
    assert_null(client_tls(client));
    pthread_create(&thread, NULL, serve_tls, &peer);
    assert_true(client_start_tls(client, tls_new(context, client_fd(client), "peer[]"), NULL));
    assert_string_equal(tls_facts(client_tls(client))->protocol, "TLSv1.2");
    assert_true(client_is_quiet(client));
    assert_true(client_command(client, &reply, NULL, "NOOP"));
    assert_string_equal(reply_text(reply), "250 inside");
    assert_false(client_heard_too_much(client));
    assert_true(client_command(client, &reply, NULL, "NOOP"));
    assert_string_equal(reply_text(reply), "250 two");
    assert_true(client_heard_too_much(client));
    assert_false(client_is_quiet(client));
    client_free(g_steal_pointer(&client));
    pthread_join(thread, NULL);
    close(peer);
}

static void a_handshake_that_does_not_come_about_is_a_failure(void **state)
{
    static const char *const inputs[] = {"", "this is no TLS, whatever else it is\r\n"};

    for (size_t i = 0; i < G_N_ELEMENTS(inputs); i++) {
        int peer;
        g_autoptr(TlsContext) context = anonymous(TLS_CLIENT);
        g_autoptr(Client) client = client_with_peer(inputs[i], 50, &peer);
        g_autoptr(Reply) reply = NULL;
        g_autoptr(GError) error = NULL;

        assert_false(client_start_tls(client, tls_new(context, client_fd(client), "peer[]"), &error));
        assert_true(g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TLS));
        assert_null(client_tls(client));
        assert_false(client_command(client, &reply, NULL, "NOOP")); /* never in plaintext */
        g_autofree char *text = logged();
        assert_non_null(
            strstr(text, i ? "SSL_connect error to peer[]: -1" : "SSL_connect error to peer[]: Connection timed out"));
        close(peer);
    }
}

static int start_log(void **state)
{
    if (pipe(log_pipe) != 0)
        return -1;
    fd_set_nonblock(log_pipe[0], true);
    log_set_tag("postfix", "smtpd");
    log_to_file(log_pipe[1], "mx");
    return 0;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as in every service process */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dialogue_reads_one_reply_for_each_command),
        cmocka_unit_test(odd_lines_are_logged_and_bounded),
        cmocka_unit_test(a_lost_peer_stays_lost),
        cmocka_unit_test(a_write_to_a_closed_peer_is_a_failure_and_no_signal),
        cmocka_unit_test(a_silent_peer_times_out),
        cmocka_unit_test(an_endless_reply_ends),
        cmocka_unit_test(pipelined_commands_do_not_deadlock),
        cmocka_unit_test(content_goes_out_gathered_and_ends_with_the_dot),
        cmocka_unit_test(much_content_arrives_whole),
        cmocka_unit_test(a_peer_that_stops_reading_fails_the_content_once),
        cmocka_unit_test(quit_in_content_never_sends_a_dot),
        cmocka_unit_test(quit_ends_a_line_that_went_out_in_part),
        cmocka_unit_test(quit_without_content_is_a_command),
        cmocka_unit_test(a_reply_before_the_dot_never_accepts),
        cmocka_unit_test(a_connect_error_is_the_bare_reason),
        cmocka_unit_test(a_step_goes_on_where_it_waited),
        cmocka_unit_test(a_step_does_not_wait_for_ever),
        cmocka_unit_test(quit_does_not_send_a_dot_that_waits),
        cmocka_unit_test(connecting_goes_in_steps),
        cmocka_unit_test(plaintext_ends_where_tls_begins),
        cmocka_unit_test(a_handshake_that_does_not_come_about_is_a_failure),
        cmocka_unit_test(a_quiet_peer_is_told_from_one_that_speaks_or_is_gone),
    };
    return cmocka_run_group_tests(tests, start_log, NULL);
}
