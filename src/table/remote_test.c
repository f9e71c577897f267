/* remote_test.c - servers that hang, close, flood; connections that are kept, and those that are gone. */
#include "base/clock.h"
#include "base/fd.h"
#include "table/answers.h"
#include "table/remote.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 30000 /* nothing here takes a tenth of it */
#define REQUEST "get key\n", 8

/* What the server does with a request; after it, the connection is closed or not. */
typedef struct {
    const char *reply; /* NULL: none */
    bool closes;
    bool floods; /* then octets without end */
} Act;

typedef struct {
    int listener;
    _Atomic(const Act *) act;
    atomic_int connections, requests;
    pthread_t thread;
} Server;

static void flood(int fd)
{
    char junk[65536];

    memset(junk, 'x', sizeof junk);
    while (send(fd, junk, sizeof junk, MSG_NOSIGNAL) > 0)
        ;
}

static void *serve_one(void *data)
{
    void **arguments = data;
    Server *server = arguments[0];
    auto_fd fd = GPOINTER_TO_INT(arguments[1]);
    char request[64];

    g_free(arguments);
    while (recv(fd, request, sizeof request, 0) > 0) {
        const Act *act = server->act;
        server->requests++;
        if (act->reply)
            send(fd, act->reply, strlen(act->reply), MSG_NOSIGNAL);
        if (act->floods)
            flood(fd);
        if (act->closes)
            break;
    }
    return NULL;
}

static void *serve(void *data)
{
    Server *server = data;
    GArray *threads = g_array_new(FALSE, FALSE, sizeof(pthread_t));

    for (int fd; (fd = accept(server->listener, NULL, NULL)) >= 0;) {
        void **arguments = g_new(void *, 2);
        pthread_t thread;

        server->connections++;
        arguments[0] = server;
        arguments[1] = GINT_TO_POINTER(fd);
        assert_int_equal(pthread_create(&thread, NULL, serve_one, arguments), 0);
        g_array_append_val(threads, thread);
    }
    for (guint i = 0; i < threads->len; i++)
        pthread_join(g_array_index(threads, pthread_t, i), NULL);
    g_array_unref(threads);
    return NULL;
}

static Remote *start(Server *server, const Act *act, gint64 timeout_ms)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    *server = (Server){.act = act};
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
    g_autofree char *name = g_strdup_printf("127.0.0.1:%d", ntohs(address.sin_port));
    return remote_new(endpoint_parse(name, "/", 0, NULL), timeout_ms, TCP_REPLY_MAX);
}

/* Also frees remote, as the server's threads wait for what it keeps. */
static void stop(Server *server, Remote *remote)
{
    remote_free(remote);
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
}

static void assert_asks(Remote *remote, const char *want)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) reply = remote_ask(remote, REQUEST, tcp_frame, &error);

    assert_string_equal(reply ? reply->str : error->message, want);
}

static void a_connection_is_kept(void **state)
{
    Server server;
    Remote *remote = start(&server, &(Act){.reply = "200 a\n"}, PATIENCE_MS);

    for (int i = 0; i < 5; i++)
        assert_asks(remote, "200 a\n");
    assert_int_equal(server.connections, 1);
    assert_int_equal(server.requests, 5);
    stop(&server, remote);
}

static void a_kept_connection_that_was_closed_is_replaced(void **state)
{
    Server server;
    Remote *remote = start(&server, &(Act){.reply = "200 a\n", .closes = true}, PATIENCE_MS);

    for (int i = 0; i < 5; i++)
        assert_asks(remote, "200 a\n");
    assert_int_equal(server.requests, 5);
    stop(&server, remote);
}

/* The server closes when it reads the second request, which is not before it was sent. */
static void a_connection_that_closes_under_a_request_is_replaced_once(void **state)
{
    Server server;
    Remote *remote = start(&server, &(Act){.reply = "200 a\n"}, PATIENCE_MS);

    assert_asks(remote, "200 a\n");
    server.act = &(Act){.closes = true};
    assert_asks(remote, "unexpected disconnect");
    assert_int_equal(server.connections, 2);
    assert_int_equal(server.requests, 3);
    stop(&server, remote);
}

static void what_comes_after_a_reply_is_no_answer_to_the_next(void **state)
{
    Server server;
    Remote *remote = start(&server, &(Act){.reply = "200 a\n200 stale\n"}, PATIENCE_MS);

    for (int i = 0; i < 3; i++)
        assert_asks(remote, "200 a\n");
    assert_int_equal(server.connections, 3);
    stop(&server, remote);
}

static void no_server_holds_who_asks(void **state)
{
    static const struct {
        Act act;
        const char *error;
    } rows[] = {
        {{.reply = NULL}, "timeout"},
        {{.reply = "200 never ends"}, "timeout"},
        {{.closes = true}, "unexpected disconnect"},
        {{.reply = "200 cut", .closes = true}, "unexpected disconnect"},
        {{.floods = true}, "input exceeds size limit"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Server server;
        gint64 begin = clock_ms();
        Remote *remote = start(&server, &rows[i].act, 300);
        assert_asks(remote, rows[i].error);
        assert_true(clock_ms() - begin < 10000);
        assert_int_equal(server.connections, 1);
        stop(&server, remote);
    }
}

static void a_reply_may_be_as_long_as_the_limit(void **state)
{
    g_autofree char *text = g_strnfill(TCP_REPLY_MAX, 'x');
    Server server;

    memcpy(text, "200 ", 4);
    text[TCP_REPLY_MAX - 1] = '\n';
    Remote *remote = start(&server, &(Act){.reply = text}, PATIENCE_MS);
    assert_asks(remote, text);
    stop(&server, remote);

    g_autofree char *longer = g_strconcat("200 ", text + 3, NULL);
    remote = start(&server, &(Act){.reply = longer}, PATIENCE_MS);
    assert_asks(remote, "input exceeds size limit");
    stop(&server, remote);
}

/* Nobody listens; and the name of nobody. */
static void what_cannot_be_reached_says_so(void **state)
{
    Server server;
    Remote *remote = start(&server, &(Act){0}, PATIENCE_MS);
    struct sockaddr_in address;
    socklen_t len = sizeof address;

    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&address, &len), 0);
    g_autofree char *refused = g_strdup_printf("connect to 127.0.0.1:%d: Connection refused", ntohs(address.sin_port));
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
    assert_asks(remote, refused);
    remote_free(remote);

    g_autoptr(Remote) nobody =
        remote_new(endpoint_parse("unix:/nonexistent/socket", "/", 0, NULL), PATIENCE_MS, TCP_REPLY_MAX);
    assert_asks(nobody, "connect to /nonexistent/socket: No such file or directory");
}

static void *ask_often(void *remote)
{
    for (int i = 0; i < 200; i++) {
        g_autoptr(GString) reply = remote_ask(remote, REQUEST, tcp_frame, NULL);
        if (!reply || strcmp(reply->str, "200 a\n") != 0)
            return remote;
    }
    return NULL;
}

static void many_ask_at_once(void **state)
{
    pthread_t threads[12];
    Server server;
    Remote *remote = start(&server, &(Act){.reply = "200 a\n"}, PATIENCE_MS);

    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, remote), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(server.requests, 200 * G_N_ELEMENTS(threads));
    stop(&server, remote);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_kept),
        cmocka_unit_test(a_kept_connection_that_was_closed_is_replaced),
        cmocka_unit_test(a_connection_that_closes_under_a_request_is_replaced_once),
        cmocka_unit_test(what_comes_after_a_reply_is_no_answer_to_the_next),
        cmocka_unit_test(no_server_holds_who_asks),
        cmocka_unit_test(a_reply_may_be_as_long_as_the_limit),
        cmocka_unit_test(what_cannot_be_reached_says_so),
        cmocka_unit_test(many_ask_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
