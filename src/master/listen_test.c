#include "config/main_cf.h"
#include "master/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static Config *parse(const char *text)
{
    const ConfigScope scope = {.process_name = "master", .stress = ""};
    g_autoptr(MainCf) main_cf = main_cf_parse("/conf", "/conf/main.cf", text, strlen(text), NULL);
    Config *config = config_new(main_cf, &scope, NULL);

    assert_non_null(config);
    return config;
}

static void addresses_are_those_of_host_or_interfaces(void **state)
{
    static const struct {
        const char *main_cf;
        const char *host;
        const char *wanted; /* NULL: refused */
    } rows[] = {
        {"inet_protocols = ipv4\n", NULL, "0.0.0.0"},
        {"inet_protocols = ipv4\ninet_interfaces = loopback-only\n", NULL, "127.0.0.1"},
        {"inet_protocols = ipv4\ninet_interfaces = 127.0.0.2, 127.0.0.3 127.0.0.2\n", NULL, "127.0.0.2 127.0.0.3"},
        {"inet_protocols = ipv4\ninet_interfaces = 127.0.0.2, all\n", NULL, "0.0.0.0"},
        {"inet_protocols = ipv4\ninet_interfaces = loopback-only\n", "127.0.0.9", "127.0.0.9"},
        {"inet_protocols = ipv4\n", "::1", NULL},
        {"inet_protocols = ipv4\n", "no host of this name", NULL},
        {"inet_protocols = ipv4\ninet_interfaces = [::1]\n", NULL, NULL},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Config) config = parse(rows[i].main_cf);
        const Service line = {.type = SERVICE_INET, .host = (char *)rows[i].host};
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) addresses = listen_addresses(&line, config, &error);

        if ((addresses == NULL) != (rows[i].wanted == NULL))
            fail_msg("row %zu: %s", i, error ? error->message : "not refused");
        if (!addresses)
            continue;
        g_ptr_array_add(addresses, NULL);
        g_autofree char *joined = g_strjoinv(" ", (char **)addresses->pdata);
        assert_string_equal(joined, rows[i].wanted);
    }
}

static const Owner nobody_else = {.root = false};

static guint16 port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static void a_port_is_bound_once(void **state)
{
    g_autoptr(Config) config = parse("inet_protocols = ipv4\n");
    Service line = {.type = SERVICE_INET, .name = (char *)"x", .host = (char *)"127.0.0.1", .maxproc = 5};
    const Program *smtpd = program_find("smtpd");
    g_autoptr(GError) error = NULL;
    Listeners *first = listeners_open(&line, smtpd, config, &nobody_else, 0, &error);

    assert_non_null(first);
    assert_true(first->confined);
    line.port = port_of(g_array_index(first->fds, int, 0));
    assert_null(listeners_open(&line, smtpd, config, &nobody_else, 60, &error));
    g_autofree char *wanted = g_strdup_printf("bind 127.0.0.1 port %u: Address already in use", line.port);
    assert_string_equal(error->message, wanted);
    listeners_unref(first);
    g_clear_error(&error);
    Listeners *second = listeners_open(&line, smtpd, config, &nobody_else, 0, &error);
    assert_non_null(second);
    listeners_unref(second);
}

static int connect_to(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    int failed = connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? errno : 0;
    close(fd);
    return failed;
}

static void unix_sockets_have_their_kind_and_go_with_it(void **state)
{
    static const struct {
        const char *command;
        int type;
    } rows[] = {{"smtpd", SOCK_STREAM}, {"filter", SOCK_STREAM}, {"virtual", SOCK_SEQPACKET}, {"qmgr", SOCK_DGRAM}};
    g_autoptr(Config) config = parse("");

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const Service line = {.type = SERVICE_UNIX, .name = (char *)"name", .is_private = true};
        const Program *program = program_find(rows[i].command);
        Listeners *stale = listeners_open(&line, program, config, &nobody_else, 0, NULL);
        struct stat status;

        assert_non_null(stale);
        Listeners *listeners = listeners_open(&line, program, config, &nobody_else, 0, NULL);
        assert_non_null(listeners); /* what an earlier run left is in nobody's way */
        assert_int_equal(stat("private/name", &status), 0);
        assert_int_equal(status.st_mode & 0777, 0666);
        assert_int_equal(connect_to("private/name", rows[i].type), 0);
        assert_int_equal(connect_to("private/name", rows[i].type == SOCK_DGRAM ? SOCK_STREAM : SOCK_DGRAM), EPROTOTYPE);
        listeners_unref(listeners_ref(listeners));
        assert_int_equal(access("private/name", F_OK), 0);
        listeners_unref(listeners);
        assert_int_equal(access("private/name", F_OK), -1);
        listeners_unref(stale);
    }
}

static void what_is_no_socket_stays(void **state)
{
    g_autoptr(Config) config = parse("");
    const Service line = {.type = SERVICE_UNIX, .name = (char *)"name"},
                  bad = {.type = SERVICE_UNIX, .name = (char *)"../x"};
    g_autoptr(GError) error = NULL;

    assert_true(g_file_set_contents("public/name", "precious", -1, NULL));
    assert_null(listeners_open(&line, program_find("smtpd"), config, &nobody_else, 0, &error));
    assert_string_equal(error->message, "bind public/name: Address already in use");
    assert_int_equal(access("public/name", F_OK), 0);
    assert_null(listeners_open(&bad, program_find("smtpd"), config, &nobody_else, 0, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_those_of_host_or_interfaces),
        cmocka_unit_test(a_port_is_bound_once),
        cmocka_unit_test(unix_sockets_have_their_kind_and_go_with_it),
        cmocka_unit_test(what_is_no_socket_stays),
    };
    g_autofree char *directory = g_dir_make_tmp("listen-XXXXXX", NULL);
    if (chdir(directory) < 0 || mkdir("private", 0700) < 0 || mkdir("public", 0700) < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    g_autofree char *remove = g_strdup_printf("rm -r '%s'", directory);
    return failed + (chdir("/") < 0 || system(remove) != 0);
}
