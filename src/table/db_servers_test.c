/* db_servers_test.c - which host is asked, over which connection, and what happens when it fails. The servers are
 * functions. */
#include "base/clock.h"
#include "table/backend.h"
#include "table/db_servers.h"
#include "table/testing.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- The servers, by their first letter ---- */

typedef struct {
    char behaviour; /* 'a' answers, 'd' cannot be reached, 'r' refuses queries, 'b' breaks off, 'f' says nonsense, 'w'
                       answers after a while */
    char *host;
    int generation; /* of the server when the connection was made */
} Connection;

static atomic_int made, ended, most;
static atomic_int generation; /* another one: all connections are broken */

static void *fake_connect(const void *settings, const DbHost *host, gint64 deadline, GError **error)
{
    assert_string_equal(settings, "settings");
    assert_true(deadline > clock_ms());
    if (*host->name == 'd') {
        g_set_error_literal(error, TABLE_ERROR, 0, "no way");
        return NULL;
    }
    Connection *connection = g_new0(Connection, 1);
    connection->behaviour = *host->name;
    connection->host = g_strdup(host->text);
    connection->generation = generation;
    int open = atomic_fetch_add(&made, 1) + 1 - ended;
    for (int before = most; open > before && !atomic_compare_exchange_weak(&most, &before, open);)
        ;
    return connection;
}

static DbOutcome fake_ask(void *data, const DbTemplate *query, gint64 deadline, DbAnswer *answer, GError **error)
{
    Connection *connection = data;
    g_autofree char *text = db_template_expand(query, answer->key, NULL, NULL, error);

    assert_string_equal(text, "SELECT 'key'");
    if (connection->generation != generation || connection->behaviour == 'b') {
        db_answer_add(answer, "half", NULL);
        g_set_error_literal(error, TABLE_ERROR, 0, "lost");
        return DB_BROKEN;
    }
    if (connection->behaviour == 'r') {
        g_set_error_literal(error, TABLE_ERROR, 0, "no such table");
        return DB_REFUSED;
    }
    if (connection->behaviour == 'f') {
        g_set_error_literal(error, TABLE_ERROR, 0, "nonsense");
        return DB_FAILED;
    }
    if (connection->behaviour == 'w')
        g_usleep(2000);
    db_answer_add(answer, connection->host, NULL);
    return DB_DONE;
}

static void fake_close(void *data)
{
    Connection *connection = data;

    ended++;
    g_free(connection->host);
    g_free(connection);
}

static const DbDriver driver = {"fake", fake_connect, fake_ask, fake_close};

/* ---- A table of them ---- */

static DbParams *params;

static DbServers *servers_of(const char *hosts)
{
    g_autofree char *text = g_strdup_printf("hosts = %s\nquery = SELECT '%%s'\n", hosts);
    g_autofree char *path = testing_file("db.cf", text);
    Table table = {0};

    made = ended = most = 0;
    params = db_params_read(&table, path, NULL);
    g_array_unref(table.state.watch);
    static char settings[] = "settings";
    return db_servers_new(&driver, settings, params, "fake:x", NULL);
}

/* The tests end here: all connections have ended, and this was logged. */
static void finish(DbServers *servers, const char *wanted_log)
{
    g_autofree char *logged = testing_logged();

    db_servers_free(servers);
    db_params_free(params);
    assert_int_equal(made, ended);
    if (wanted_log)
        assert_string_equal(logged, wanted_log);
}

/* wanted: the host that answered; NULL: the lookup failed, with this error (NULL: none but what was logged). */
static void assert_lookup(DbServers *servers, const char *wanted, const char *wanted_error)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *value = NULL;
    TableResult result = db_servers_lookup(servers, true, "key", &value, &error);

    assert_int_equal(result, wanted ? TABLE_FOUND : TABLE_FAILED);
    if (g_strcmp0(value, wanted) != 0 || g_strcmp0(error ? error->message : NULL, wanted_error) != 0)
        fail_msg("%s, error %s", value, error ? error->message : "none");
}

static void connections_are_kept(void **state)
{
    DbServers *servers = servers_of("a1");

    for (int i = 0; i < 10; i++)
        assert_lookup(servers, "a1", NULL);
    assert_int_equal(made, 1);
    finish(servers, "");
}

static void all_hosts_are_used(void **state)
{
    bool used[3] = {false};

    for (int i = 0; i < 1000 && !(used[0] && used[1] && used[2]); i++) {
        g_autofree char *value = NULL;
        DbServers *servers = servers_of("a0, inet:a1:77 a2");
        assert_int_equal(db_servers_lookup(servers, true, "key", &value, NULL), TABLE_FOUND);
        used[strcmp(value, "a0") == 0 ? 0 : strcmp(value, "a2") == 0 ? 2 : 1] = true;
        finish(servers, "");
    }
    assert_true(used[0] && used[1] && used[2]);
}

static void a_host_that_is_down_is_passed_over(void **state)
{
    DbServers *servers = servers_of("d1 d2 a3");

    for (int i = 0; i < 5; i++)
        assert_lookup(servers, "a3", NULL);
    g_autofree char *logged = testing_logged();
    g_auto(GStrv) lines = g_strsplit(logged, "\n", -1);
    assert_true(g_strv_length(lines) <= 3); /* each at most once, and the empty one */
    finish(servers, "");
}

static void hosts_that_are_all_down(void **state)
{
    DbServers *servers = servers_of("d1 d2");

    assert_lookup(servers, NULL, NULL);
    assert_lookup(servers, NULL, "fake:x: no server can be asked: each was tried a moment ago");
    g_free(testing_logged());
    finish(servers, "");
    servers = servers_of("d1");
    assert_lookup(servers, NULL, NULL);
    assert_lookup(servers, NULL, "fake:x: no server can be asked: d1 was tried a moment ago");
    finish(servers, "warning: connect to fake server d1: no way\n");
}

static void a_host_that_refuses_keeps_its_connection(void **state)
{
    DbServers *servers = servers_of("r1");

    for (int i = 0; i < 3; i++)
        assert_lookup(servers, NULL, NULL);
    assert_int_equal(made, 1);
    finish(servers, "warning: fake:x: query failed: host r1: no such table\n"
                    "warning: fake:x: query failed: host r1: no such table\n"
                    "warning: fake:x: query failed: host r1: no such table\n");
    servers = servers_of("r1 a2");
    for (int i = 0; i < 10; i++)
        assert_lookup(servers, "a2", NULL);
    g_free(testing_logged());
    finish(servers, "");
}

static void a_host_that_breaks_off(void **state)
{
    DbServers *servers = servers_of("b1 a2");

    for (int i = 0; i < 10; i++)
        assert_lookup(servers, "a2", NULL); /* without the half of an answer that came before */
    g_free(testing_logged());
    finish(servers, "");
}

static void a_kept_connection_that_was_lost(void **state)
{
    DbServers *servers = servers_of("a1");

    assert_lookup(servers, "a1", NULL);
    generation++;
    assert_lookup(servers, "a1", NULL);
    assert_int_equal(made, 2);
    finish(servers, "");
}

static void an_answer_of_no_use(void **state)
{
    DbServers *servers = servers_of("f1");

    assert_lookup(servers, NULL, "nonsense");
    assert_int_equal(ended, 1);
    assert_lookup(servers, NULL, "nonsense"); /* the host is asked again at once */
    finish(servers, "");
}

static void *many_lookups(void *servers)
{
    for (int i = 0; i < 50; i++) {
        g_autofree char *value = NULL;
        if (i % 10 == 0)
            generation++;
        if (db_servers_lookup(servers, true, "key", &value, NULL) == TABLE_ABSENT)
            return servers;
    }
    return NULL;
}

static void *one_lookup(void *servers)
{
    g_autofree char *value = NULL;

    return db_servers_lookup(servers, true, "key", &value, NULL) == TABLE_FOUND ? NULL : servers;
}

static void many_threads(void **state)
{
    DbServers *servers = servers_of("w1 w2 b3 d4");
    pthread_t threads[20];

    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many_lookups, servers), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    assert_true(most <= DB_CONNECTIONS_MAX);
    g_free(testing_logged());
    finish(servers, NULL);
}

static void connections_that_no_host_wants_make_room(void **state)
{
    DbServers *servers = servers_of("r1 w2");
    pthread_t threads[20];

    for (int round = 0; round < 2; round++) { /* all connections may be to one of them after the first */
        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, one_lookup, servers), 0);
        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
            void *result;
            pthread_join(threads[i], &result);
            assert_null(result);
        }
    }
    g_free(testing_logged());
    finish(servers, "");
}

static void hosts_are_parsed(void **state)
{
    static const char *const wrong[] = {"hosts = a\nquery = %x", "hosts = a\nquery = x\nretry_interval = soon",
                                        "hosts = a\nquery = x\nidle_interval = 0"};

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *path = testing_file("db.cf", wrong[i]);
        g_autoptr(GError) error = NULL;
        Table table = {0};
        g_autoptr(DbParams) bad = db_params_read(&table, path, NULL);
        g_array_unref(table.state.watch);
        assert_null(db_servers_new(&driver, NULL, bad, "fake:x", &error));
        assert_non_null(error);
    }
    g_free(testing_logged());
    DbServers *servers = servers_of("postgresql://a, postgres://b");
    assert_true(db_servers_are_uris(servers));
    finish(servers, "");
    servers = servers_of("postgresql://a, b");
    assert_false(db_servers_are_uris(servers));
    finish(servers, "");
}

static DbHost seen;

static void *look_at_host(const void *settings, const DbHost *host, gint64 deadline, GError **error)
{
    seen = (DbHost){.name = g_strdup(host->name), .port = g_strdup(host->port), .is_path = host->is_path};
    g_set_error_literal(error, TABLE_ERROR, 0, "x");
    return NULL;
}

static void parts_of_hosts(void **state)
{
    static const struct {
        const char *text, *name, *port;
        bool is_path;
    } rows[] = {
        {"h.test", "h.test", NULL, false},
        {"inet:h.test:55", "h.test", "55", false},
        {"h.test:55", "h.test", "55", false},
        {"[::1]:55", "::1", "55", false},
        {"inet:[::1]", "::1", NULL, false},
        {"::1", "::1", NULL, false},
        {"unix:/a:b/c", "/a:b/c", NULL, true},
        {"/a", "/a", NULL, true},
        {"inet:h.test:", "h.test", NULL, false},
        {"postgresql://u@h/d?x=y:z", "postgresql://u@h/d?x=y:z", NULL, false},
        {"192.0.2.1:55", "192.0.2.1", "55", false},
    };
    static const DbDriver looking = {"fake", look_at_host, fake_ask, fake_close};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = g_strdup_printf("hosts = %s\nquery = x\n", rows[i].text);
        g_autofree char *path = testing_file("db.cf", text);
        Table table = {0};
        g_autoptr(DbParams) own = db_params_read(&table, path, NULL);
        g_array_unref(table.state.watch);
        g_autoptr(DbServers) servers = db_servers_new(&looking, NULL, own, "fake:x", NULL);
        g_autofree char *value = NULL;
        assert_int_equal(db_servers_lookup(servers, true, "key", &value, NULL), TABLE_FAILED);
        if (g_strcmp0(seen.name, rows[i].name) != 0 || g_strcmp0(seen.port, rows[i].port) != 0 ||
            seen.is_path != rows[i].is_path)
            fail_msg("%s: %s, %s", rows[i].text, seen.name, seen.port);
        g_free(seen.name);
        g_free(seen.port);
    }
    g_free(testing_logged());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(all_hosts_are_used),
        cmocka_unit_test(a_host_that_is_down_is_passed_over),
        cmocka_unit_test(hosts_that_are_all_down),
        cmocka_unit_test(a_host_that_refuses_keeps_its_connection),
        cmocka_unit_test(a_host_that_breaks_off),
        cmocka_unit_test(a_kept_connection_that_was_lost),
        cmocka_unit_test(an_answer_of_no_use),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(connections_that_no_host_wants_make_room),
        cmocka_unit_test(hosts_are_parsed),
        cmocka_unit_test(parts_of_hosts),
    };

    testing_begin();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    testing_end();
    return failed;
}
