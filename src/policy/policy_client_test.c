/* Each test runs a scheduler with one or more tasks that ask, and a server of threads, one for each connection, that
 * follow a script. cmocka's assertions work in the first thread only. */
#include "base/clock.h"
#include "policy/policy_client.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_S 120
#define HANG "hang"   /* says nothing until the other side is gone */
#define CLOSE "close" /* after the request */
#define REPLIES_MAX 8
#define CONNECTIONS_MAX 8

/* What each connection in turn answers to each of its requests; NULL: closes without a request. */
typedef struct {
    const char *replies[CONNECTIONS_MAX][REPLIES_MAX];
    int listener, port;
    _Atomic int connections, requests;
    pthread_t thread, serving[CONNECTIONS_MAX];
    pthread_mutex_t lock;
    GString *heard; /* "CONNECTION:INSTANCE " of each request */
} Server;

typedef struct {
    Server *server;
    int fd, number;
} Serving;

static bool read_request(Serving *serving)
{
    g_autoptr(GString) request = g_string_new(NULL);
    char octet;

    while (!g_str_has_suffix(request->str, "\n\n")) {
        if (read(serving->fd, &octet, 1) != 1)
            return false;
        g_string_append_c(request, octet);
    }
    pthread_mutex_lock(&serving->server->lock);
    g_string_append_printf(serving->server->heard, "%d:%.*s ", serving->number, (int)request->len - 2, request->str);
    pthread_mutex_unlock(&serving->server->lock);
    serving->server->requests++;
    return true;
}

static void *serve(void *data)
{
    Serving *serving = data;
    const char **replies = serving->server->replies[serving->number];
    char octet;

    for (; *replies && read_request(serving); replies++) {
        if (strcmp(*replies, CLOSE) == 0)
            break;
        if (strcmp(*replies, HANG) == 0) {
            while (read(serving->fd, &octet, 1) == 1)
                ;
            break;
        }
        if (send(serving->fd, *replies, strlen(*replies), MSG_NOSIGNAL) < 0)
            break;
    }
    close(serving->fd);
    g_free(serving);
    return NULL;
}

static void *listen_loop(void *data)
{
    Server *server = data;

    for (;;) {
        int fd = accept(server->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        Serving *serving = g_new0(Serving, 1);
        *serving = (Serving){.server = server, .fd = fd, .number = server->connections++};
        g_assert(serving->number < CONNECTIONS_MAX);
        g_assert(pthread_create(&server->serving[serving->number], NULL, serve, serving) == 0);
    }
}

static void server_start(Server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(server->listener, 50), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
    server->port = ntohs(address.sin_port);
    server->heard = g_string_new(NULL);
    pthread_mutex_init(&server->lock, NULL);
    assert_int_equal(pthread_create(&server->thread, NULL, listen_loop, server), 0);
}

static void server_stop(Server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    for (int i = 0; i < server->connections; i++)
        pthread_join(server->serving[i], NULL);
    pthread_mutex_destroy(&server->lock);
    close(server->listener);
    g_string_free(server->heard, TRUE);
}

static PolicyService *make_service(const char *place)
{
    PolicyService *service = g_new0(PolicyService, 1);

    service->endpoint = endpoint_parse(place, NULL, 0, NULL);
    assert_non_null(service->endpoint);
    service->name = g_strdup(strchr(place, ':') + 1);
    service->timeout_ms = 20000;
    service->max_idle_ms = service->max_ttl_ms = 60000;
    service->retry_delay_ms = 20;
    service->try_limit = 2;
    return service;
}

/* Asks about instances, one after the other, and collects the actions: "-" for none. */
typedef struct {
    Sched *sched;
    PolicyClient *client;
    const PolicyService *service;
    const char *instances; /* one letter each; '-': releases the one before first */
    GString *actions;
    guint64 number;
    _Atomic int *left; /* askers */
    bool gives_up;     /* cancels its first request at once */
} Asker;

static Step asker_run(void *data, TaskRef self, unsigned reasons)
{
    Asker *asker = data;

    for (;;) {
        char *action;
        if (asker->number && !policy_client_take(asker->client, asker->number, &action))
            return step_park(0, CLOCK_NEVER);
        if (asker->number) {
            g_string_append_printf(asker->actions, "%s ", action ? action : "-");
            g_free(action);
            asker->number = 0;
        }
        if (!*asker->instances)
            break;
        char instance[2] = {*asker->instances++, '\0'};
        if (*asker->instances == '-') {
            policy_client_release(asker->client, instance);
            asker->instances++;
            continue;
        }
        char line[3] = {instance[0], '\n', '\0'};
        asker->number = policy_client_ask(asker->client, asker->service, line, instance, self);
        if (asker->gives_up) {
            policy_client_cancel(asker->client, asker->number);
            asker->number = 0;
            asker->gives_up = false;
        }
    }
    if (--*asker->left == 0)
        sched_quit(asker->sched);
    return step_end();
}

static void asker_free(void *data)
{
}

/* Runs askers at once, with the instances that each of them names. */
static void run(const PolicyService *service, Asker *askers, int count)
{
    Sched *sched = sched_new(2, NULL);
    PolicyClient *client = policy_client_new(sched, NULL, "all");
    _Atomic int left = count;

    alarm(WATCHDOG_S);
    for (int i = 0; i < count; i++) {
        askers[i].sched = sched;
        askers[i].client = client;
        askers[i].service = service;
        askers[i].left = &left;
        askers[i].actions = g_string_new(NULL);
        sched_add(sched, -1, asker_run, asker_free, &askers[i]);
    }
    sched_run(sched);
    sched_free(sched);
    policy_client_free(client);
}

static char *place_of(const Server *server)
{
    return g_strdup_printf("inet:127.0.0.1:%d", server->port);
}

/* One asker; instances and the actions that it must get. change: made to the service, may be NULL. */
static void ask(Server *server, const char *instances, const char *actions, void (*change)(PolicyService *))
{
    Asker asker = {.instances = instances};

    server_start(server);
    g_autofree char *place = place_of(server);
    g_autoptr(PolicyService) service = make_service(place);
    if (change)
        change(service);
    run(service, &asker, 1);
    assert_string_equal(asker.actions->str, actions);
    g_string_free(asker.actions, TRUE);
}

static void keeps_a_connection(void **state)
{
    Server server = {.replies = {{"action=A\n\n", "action=B\n\n", "action=C\n\n"}}};

    ask(&server, "xxx", "A B C ", NULL);
    assert_int_equal(server.connections, 1);
    server_stop(&server);
}

static void gives_each_message_its_own(void **state)
{
    Server server = {.replies = {{"action=A\n\n", "action=B\n\n", "action=C\n\n"}, {"action=D\n\n"}}};

    /* x has the first one until it is released; then z gets it */
    ask(&server, "xyxx-z", "A D B C ", NULL);
    assert_string_equal(server.heard->str, "0:x 1:y 0:x 0:z ");
    server_stop(&server);
}

static void replaces_a_closed_connection(void **state)
{
    Server server = {.replies = {{"action=A\n\n"}, {"action=B\n\n", CLOSE}, {"action=C\n\n"}}};

    ask(&server, "xxx", "A B C ", NULL);
    assert_int_equal(server.connections, 3);
    server_stop(&server);
}

static void limit_requests(PolicyService *service)
{
    service->request_limit = 1;
}

static void counts_requests(void **state)
{
    Server server = {.replies = {{"action=A\n\n", "action=x\n\n"}, {"action=B\n\n", "action=x\n\n"}}};

    ask(&server, "xx", "A B ", limit_requests);
    assert_int_equal(server.connections, 2);
    server_stop(&server);
}

static void shorten_life(PolicyService *service)
{
    service->max_ttl_ms = 0;
}

static void ends_with_its_time(void **state)
{
    Server server = {.replies = {{"action=A\n\n", "action=x\n\n"}, {"action=B\n\n", "action=x\n\n"}}};

    ask(&server, "xx", "A B ", shorten_life);
    assert_int_equal(server.connections, 2);
    server_stop(&server);
}

static void tries_again(void **state)
{
    static const char *const bad[] = {CLOSE, "\n", "action\n\n", "action=REJ", "action=x\n", "garbage\n\n"};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        Server server = {.replies = {{bad[i]}, {"action=B\n\n"}}};

        ask(&server, "x", "B ", NULL);
        assert_int_equal(server.connections, 2);
        server_stop(&server);
    }
}

static void gives_up(void **state)
{
    Server server = {.replies = {{CLOSE}, {"\n"}, {"action=A\n\n"}}};

    ask(&server, "x", "- ", NULL);
    assert_int_equal(server.connections, 2);
    server_stop(&server);
}

static void hurry(PolicyService *service)
{
    service->timeout_ms = 100;
}

static void does_not_wait_for_ever(void **state)
{
    Server server = {.replies = {{HANG}, {"action=DUN", HANG}}};

    ask(&server, "x", "- ", hurry);
    assert_int_equal(server.connections, 2);
    server_stop(&server);
}

static void does_not_keep_who_says_too_much(void **state)
{
    Server server = {.replies = {{"action=A\n\naction=x\n\n", "action=x\n\n"}, {"action=B\n\n"}}};

    ask(&server, "xx", "A B ", NULL);
    server_stop(&server);
}

static void serves_many_at_once(void **state)
{
    Server server = {.replies = {{"action=A\n\n", "action=A\n\n", "action=A\n\n"},
                                 {"action=A\n\n", "action=A\n\n", "action=A\n\n"},
                                 {"action=A\n\n", "action=A\n\n", "action=A\n\n"}}};
    Asker askers[] = {{.instances = "aaa"}, {.instances = "bbb"}, {.instances = "ccc"}};

    server_start(&server);
    g_autofree char *place = place_of(&server);
    g_autoptr(PolicyService) service = make_service(place);
    run(service, askers, G_N_ELEMENTS(askers));
    for (size_t i = 0; i < G_N_ELEMENTS(askers); i++) {
        assert_string_equal(askers[i].actions->str, "A A A ");
        g_string_free(askers[i].actions, TRUE);
    }
    assert_int_equal(server.connections, 3);
    server_stop(&server);
}

static void forgets_who_gave_up(void **state)
{
    Server server = {.replies = {{HANG}, {"action=A\n\n"}}};
    Asker asker = {.instances = "xy", .gives_up = true};

    server_start(&server);
    g_autofree char *place = place_of(&server);
    g_autoptr(PolicyService) service = make_service(place);
    run(service, &asker, 1);
    g_string_free(asker.actions, TRUE);
    server_stop(&server);
}

static void fails_where_nobody_listens(void **state)
{
    static const char *const places[] = {"inet:127.0.0.1:1", "unix:/nonexistent/policy"};

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autoptr(PolicyService) service = make_service(places[i]);
        Asker asker = {.instances = "xy"};
        run(service, &asker, 1);
        assert_string_equal(asker.actions->str, "- - ");
        g_string_free(asker.actions, TRUE);
    }
}

/* Nobody accepts, and nobody reads: the whole backlog is taken, or the request stays in it. */
static void does_not_wait_for_who_does_not_accept(void **state)
{
    g_autofree char *path = g_strdup_printf("/tmp/policy-test-%d", (int)getpid());
    g_autofree char *place = g_strconcat("unix:", path, NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    g_autoptr(PolicyService) service = make_service(place);
    Asker askers[] = {{.instances = "a"}, {.instances = "b"}, {.instances = "c"}};

    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    service->timeout_ms = 100;
    run(service, askers, G_N_ELEMENTS(askers));
    for (size_t i = 0; i < G_N_ELEMENTS(askers); i++) {
        assert_string_equal(askers[i].actions->str, "- ");
        g_string_free(askers[i].actions, TRUE);
    }
    close(listener);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_a_connection),
        cmocka_unit_test(gives_each_message_its_own),
        cmocka_unit_test(replaces_a_closed_connection),
        cmocka_unit_test(counts_requests),
        cmocka_unit_test(ends_with_its_time),
        cmocka_unit_test(tries_again),
        cmocka_unit_test(gives_up),
        cmocka_unit_test(does_not_wait_for_ever),
        cmocka_unit_test(does_not_keep_who_says_too_much),
        cmocka_unit_test(serves_many_at_once),
        cmocka_unit_test(forgets_who_gave_up),
        cmocka_unit_test(fails_where_nobody_listens),
        cmocka_unit_test(does_not_wait_for_who_does_not_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
