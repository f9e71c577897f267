/* endpoint_test.c - endpoints as text, and dialling loopback ones. */
#include "base/clock.h"
#include "base/fd.h"
#include "net/endpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* "127.0.0.1:25 ::1:25" */
static char *show_addresses(const Endpoint *endpoint)
{
    GString *out = g_string_new(NULL);

    for (guint i = 0; i < endpoint->addresses->len; i++) {
        const struct sockaddr_storage *address = &g_array_index(endpoint->addresses, struct sockaddr_storage, i);
        char text[INET6_ADDRSTRLEN] = "unix";
        guint16 port = 0;
        if (address->ss_family == AF_INET) {
            inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof text);
            port = ntohs(((const struct sockaddr_in *)address)->sin_port);
        } else if (address->ss_family == AF_INET6) {
            inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
            port = ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
        }
        g_string_append_printf(out, "%s%s:%u", i > 0 ? " " : "", text, port);
    }
    return g_string_free(out, FALSE);
}

static void endpoints_are_parsed(void **state)
{
    static const struct {
        const char *text;
        guint16 default_port;
        const char *host, *path, *addresses, *error;
    } rows[] = {
        {"127.0.0.1:10025", 0, "127.0.0.1", NULL, "127.0.0.1:10025", NULL},
        {"inet:127.0.0.1:10025", 0, "127.0.0.1", NULL, "127.0.0.1:10025", NULL},
        {"INET:[127.0.0.1]:smtp", 0, "127.0.0.1", NULL, "127.0.0.1:25", NULL},
        {":10025", 0, "localhost", NULL, "127.0.0.1:10025 ::1:10025", NULL},
        {"10025", 0, "localhost", NULL, "127.0.0.1:10025 ::1:10025", NULL},
        {"LOCALHOST:1", 0, "LOCALHOST", NULL, "127.0.0.1:1 ::1:1", NULL},
        {"smtp", 0, "localhost", NULL, "127.0.0.1:25 ::1:25", NULL},
        {"[::1]:65535", 0, "::1", NULL, "::1:65535", NULL},
        {"[ipv6:::1]:25", 0, "::1", NULL, "::1:25", NULL},
        {"::1:25", 0, "::1", NULL, "::1:25", NULL},
        {"no-such-host.invalid:25", 0, "no-such-host.invalid", NULL, "", NULL},
        {"mx.invalid", 24, "mx.invalid", NULL, "", NULL},
        {"[127.0.0.1]", 24, "127.0.0.1", NULL, "127.0.0.1:24", NULL},
        {":26", 24, "localhost", NULL, "127.0.0.1:26 ::1:26", NULL},
        {"unix:/run/filter", 0, NULL, "/run/filter", "unix:0", NULL},
        {"Unix:private/filter", 0, NULL, "/queue/private/filter", "unix:0", NULL},
        {"unix:", 0, NULL, NULL, NULL, "missing path in \"unix:\" (unix:PATH is right)"},
        {"", 0, NULL, NULL, NULL, "missing service information in \"\" (HOST:PORT is right)"},
        {"host:", 0, NULL, NULL, NULL, "missing service information in \"host:\" (HOST:PORT is right)"},
        {"inet:", 0, NULL, NULL, NULL, "missing service information in \"\" (HOST:PORT is right)"},
        {"[127.0.0.1]", 0, NULL, NULL, NULL, "missing service information in \"[127.0.0.1]\" (HOST:PORT is right)"},
        {"[::1:25", 0, NULL, NULL, NULL, "missing \"]\" in \"[::1:25\""},
        {"[::1]x:25", 0, NULL, NULL, NULL, "garbage after \"]\" in \"[::1]x:25\""},
        {"[]:25", 0, NULL, NULL, NULL, "valid hostname or network address required in \"[]:25\""},
        {"[ipv6:]:25", 0, NULL, NULL, NULL, "valid hostname or network address required in \"[ipv6:]:25\""},
        {"[ipv6:1.2.3.4]:25", 0, NULL, NULL, NULL, "malformed IPv6 address in \"[ipv6:1.2.3.4]:25\""},
        {"[::g]:25", 0, NULL, NULL, NULL, "valid hostname or network address required in \"[::g]:25\""},
        {"256.1.1.1:25", 0, NULL, NULL, NULL, "valid hostname or network address required in \"256.1.1.1:25\""},
        {"a b:25", 0, NULL, NULL, NULL, "valid hostname or network address required in \"a b:25\""},
        {"-a:25", 0, NULL, NULL, NULL, "valid hostname or network address required in \"-a:25\""},
        {"127.0.0.1:25x", 0, NULL, NULL, NULL, "garbage after numerical service in \"127.0.0.1:25x\""},
        {"127.0.0.1:0", 0, NULL, NULL, NULL, "bad port number in \"127.0.0.1:0\": 1 to 65535 is right"},
        {"127.0.0.1:65536", 0, NULL, NULL, NULL, "bad port number in \"127.0.0.1:65536\": 1 to 65535 is right"},
        {"h:no-such", 0, NULL, NULL, NULL, "unknown service \"no-such\" in \"h:no-such\""},
        {"127.0.0.1", 0, NULL, NULL, NULL, "garbage after numerical service in \"127.0.0.1\""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Endpoint) endpoint = endpoint_parse(rows[i].text, "/queue", rows[i].default_port, &error);
        if (rows[i].error) {
            assert_null(endpoint);
            assert_string_equal(error->message, rows[i].error);
            continue;
        }
        assert_null(error);
        g_autofree char *addresses = show_addresses(endpoint);
        assert_string_equal(endpoint->name, rows[i].text);
        assert_string_equal(endpoint->host ? endpoint->host : "-", rows[i].host ? rows[i].host : "-");
        assert_string_equal(endpoint->path ? endpoint->path : "-", rows[i].path ? rows[i].path : "-");
        assert_string_equal(addresses, rows[i].addresses);
    }
}

static void a_long_unix_path_is_refused(void **state)
{
    g_autofree char *name = g_strnfill(300, 'x');
    g_autofree char *text = g_strconcat("unix:", name, NULL);
    g_autoptr(GError) error = NULL;

    assert_null(endpoint_parse(text, "/queue", 0, &error));
    assert_true(g_str_has_prefix(error->message, "socket path is longer than 107 octets: /queue/xxx"));
}

/* A listener on a free port of 127.0.0.1. */
static int listen_inet(int backlog, guint16 *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void a_connection_is_ready_for_use(void **state)
{
    guint16 port;
    auto_fd listener = listen_inet(5, &port);
    g_autofree char *text = g_strdup_printf("127.0.0.1:%u", port);
    g_autoptr(GError) error = NULL;
    g_autoptr(Endpoint) endpoint = endpoint_parse(text, NULL, 0, &error);
    auto_fd fd = endpoint_connect(endpoint, clock_ms() + 5000, &error);
    int nodelay = 0;
    socklen_t len = sizeof nodelay;

    assert_true(listener >= 0 && fd >= 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len), 0);
    assert_int_not_equal(nodelay, 0);
}

static void the_next_address_is_tried(void **state)
{
    guint16 port;
    auto_fd listener = listen_inet(5, &port);
    g_autofree char *text = g_strdup_printf("127.0.0.2:%u", port);
    g_autoptr(GError) error = NULL;
    g_autoptr(Endpoint) endpoint = endpoint_parse(text, NULL, 0, &error);

    endpoint_add_address(endpoint, "not-numeric.invalid");
    endpoint_add_address(endpoint, "127.0.0.1");
    endpoint_add_address(endpoint, "127.0.0.1");
    assert_int_equal(endpoint->addresses->len, 2);
    auto_fd fd = endpoint_connect(endpoint, clock_ms() + 5000, &error);
    assert_true(listener >= 0 && fd >= 0);
}

static void refusal_and_silence_are_told(void **state)
{
    guint16 port;
    auto_fd listener = listen_inet(0, &port);
    g_autofree char *text = g_strdup_printf("127.0.0.1:%u", port);
    g_autoptr(Endpoint) endpoint = endpoint_parse(text, NULL, 0, NULL);
    g_autoptr(Endpoint) nowhere = endpoint_parse("no-such-host.invalid:25", NULL, 0, NULL);
    g_autoptr(GError) error = NULL, refused = NULL, unknown = NULL;
    int fds[64], count = 0;

    do /* fill the backlog: then SYNs are dropped */
        fds[count] = endpoint_connect(endpoint, clock_ms() + 100, &error);
    while (fds[count] >= 0 && ++count < 64);
    assert_non_null(error);
    assert_string_equal(error->message, "Connection timed out");
    assert_int_equal(error->code, ETIMEDOUT);
    while (count > 0)
        close(fds[--count]);

    fd_clear(&listener);
    assert_int_equal(endpoint_connect(endpoint, clock_ms() + 5000, &refused), -1);
    assert_string_equal(refused->message, "Connection refused");
    assert_int_equal(endpoint_connect(nowhere, clock_ms() + 5000, &unknown), -1);
    assert_string_equal(unknown->message, g_strerror(EADDRNOTAVAIL));
}

static void unix_sockets_are_dialled_within_the_deadline(void **state)
{
    g_autofree char *dir = g_strdup("/tmp/endpoint_test.XXXXXX");
    assert_non_null(mkdtemp(dir));
    g_autoptr(Endpoint) endpoint = endpoint_parse("unix:s", dir, 0, NULL);
    g_autoptr(GError) missing = NULL, full = NULL;
    auto_fd listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fds[64], count = 0;

    assert_int_equal(endpoint_connect(endpoint, clock_ms() + 5000, &missing), -1);
    assert_string_equal(missing->message, "No such file or directory");
    snprintf(address.sun_path, sizeof address.sun_path, "%s", endpoint->path);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    do
        fds[count] = endpoint_connect(endpoint, clock_ms() + 100, &full);
    while (fds[count] >= 0 && ++count < 64);
    assert_in_range(count, 1, 10);
    assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
    assert_string_equal(full->message, "Connection timed out");
    while (count > 0)
        close(fds[--count]);
    unlink(endpoint->path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_parsed),          cmocka_unit_test(a_long_unix_path_is_refused),
        cmocka_unit_test(a_connection_is_ready_for_use), cmocka_unit_test(the_next_address_is_tried),
        cmocka_unit_test(refusal_and_silence_are_told),  cmocka_unit_test(unix_sockets_are_dialled_within_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
