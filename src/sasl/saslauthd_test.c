#include "base/clock.h"
#include "sasl/saslauthd.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    int listener;
    const char *reply;
    size_t reply_len;
    char heard[SASLAUTHD_REQUEST_MAX];
    size_t heard_len;
} Daemon;

static void *serve(void *data)
{
    Daemon *daemon = data;
    int fd = accept(daemon->listener, NULL, NULL);

    ssize_t count = recv(fd, daemon->heard, sizeof daemon->heard, 0);
    daemon->heard_len = count > 0 ? (size_t)count : 0;
    if (daemon->reply && send(fd, daemon->reply, daemon->reply_len, MSG_NOSIGNAL) < 0)
        daemon->heard_len = 0;
    if (!daemon->reply) /* until the other side is tired of it */
        while (recv(fd, (char[1]){0}, 1, 0) > 0)
            continue;
    close(fd);
    return NULL;
}

static SaslauthdAnswer ask(Daemon *daemon, const SaslauthdLogin *login, gint64 time_ms, GError **error)
{
    g_autofree char *path = g_strdup_printf("/tmp/saslauthd-test-%d", (int)getpid());
    g_autofree char *place = g_strconcat("unix:", path, NULL);
    g_autoptr(Endpoint) endpoint = endpoint_parse(place, "/", 0, NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pthread_t thread;

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    unlink(path);
    daemon->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(daemon->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(daemon->listener, 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, serve, daemon), 0);
    SaslauthdAnswer answer = saslauthd_ask(endpoint, login, clock_ms() + time_ms, error);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(daemon->listener);
    unlink(path);
    return answer;
}

static void test_requests(void **state)
{
    static const struct {
        const char *user, *realm;
        const char *wanted;
        size_t wanted_len;
    } rows[] = {
#define TEXT(text) text, sizeof text - 1
        {"joe", NULL, TEXT("\0\3joe\0\2pw\0\4smtp\0\0")},
        {"joe", "r.test", TEXT("\0\3joe\0\2pw\0\4smtp\0\6r.test")},
        {"joe@x", "r.test", TEXT("\0\3joe\0\2pw\0\4smtp\0\1x")},
        {"a@b@", NULL, TEXT("\0\3a@b\0\2pw\0\4smtp\0\0")},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Daemon daemon = {.reply = "\0\2OK", .reply_len = 4};
        const SaslauthdLogin login = {rows[i].user, "smtp", rows[i].realm, "pw", 2};
        assert_int_equal(ask(&daemon, &login, 10000, NULL), SASLAUTHD_YES);
        assert_int_equal(daemon.heard_len, rows[i].wanted_len);
        assert_memory_equal(daemon.heard, rows[i].wanted, rows[i].wanted_len);
    }
}

static void test_answers(void **state)
{
    static const struct {
        const char *reply;
        size_t len;
        SaslauthdAnswer wanted;
    } rows[] = {
        {TEXT("\0\2OK"), SASLAUTHD_YES},      {TEXT("\0\24OK and other words .."), SASLAUTHD_YES},
        {TEXT("\0\2NO"), SASLAUTHD_NO},       {TEXT("\0\2no"), SASLAUTHD_AWAY},
        {TEXT("\0\1OK"), SASLAUTHD_AWAY},     {TEXT("\0\0OK"), SASLAUTHD_AWAY},
        {TEXT("\377\377OO"), SASLAUTHD_AWAY}, {TEXT("\0\2O"), SASLAUTHD_AWAY},
        {TEXT("\0"), SASLAUTHD_AWAY},         {TEXT(""), SASLAUTHD_AWAY},
    };
    const SaslauthdLogin login = {"joe", "smtp", NULL, "pw", 2};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Daemon daemon = {.reply = rows[i].reply, .reply_len = rows[i].len};
        g_autoptr(GError) error = NULL;
        assert_int_equal(ask(&daemon, &login, 10000, &error), rows[i].wanted);
        assert_int_equal(error != NULL, rows[i].wanted == SASLAUTHD_AWAY);
    }
}

static void test_no_answer(void **state)
{
    const SaslauthdLogin login = {"joe", "smtp", NULL, "pw", 2};
    Daemon daemon = {.reply = NULL};
    g_autoptr(GError) error = NULL;

    assert_int_equal(ask(&daemon, &login, 50, &error), SASLAUTHD_AWAY);
    assert_non_null(error);
}

static void test_too_long(void **state)
{
    g_autofree char *password = g_strnfill(SASLAUTHD_REQUEST_MAX, 'x');
    const SaslauthdLogin login = {"joe", "smtp", NULL, password, strlen(password)};
    g_autoptr(Endpoint) nobody = endpoint_parse("unix:/nonexistent/mux", "/", 0, NULL);
    g_autoptr(GError) error = NULL;

    assert_int_equal(saslauthd_ask(nobody, &login, clock_ms() + 1000, &error), SASLAUTHD_NO);
    assert_int_equal(saslauthd_ask(nobody, &(SaslauthdLogin){"joe", "smtp", NULL, "pw", 2}, clock_ms() + 1000, &error),
                     SASLAUTHD_AWAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
