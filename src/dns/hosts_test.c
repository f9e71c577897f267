#include "dns/hosts.h"
#include "dns/name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_addresses(const Hosts *hosts, const char *name, const char *wanted)
{
    const GPtrArray *addresses = hosts_addresses(hosts, name);
    g_autoptr(GString) got = g_string_new(NULL);

    for (guint i = 0; addresses && i < addresses->len; i++)
        g_string_append_printf(got, "%s ", (char *)g_ptr_array_index(addresses, i));
    assert_string_equal(got->str, wanted);
}

static void hosts_are_found_both_ways(void **state)
{
    static const char text[] = "# comment\n"
                               "127.0.0.1\tlocalhost\n"
                               "::1 localhost ip6-localhost # more\n"
                               "192.0.2.1 Mail.Example.test mail\r\n"
                               "192.0.2.1 second.example.test\n"
                               "2001:DB8:0::1 mail.example.test\n"
                               "::ffff:192.0.2.9 mapped.test\n"
                               "192.0.2.300 no.such.test\n"
                               "192.0.2.2\n"
                               "192.0.2.3 10.0.0.1 bad..test -bad.test\n"
                               "192.0.2.4 a\0b.test\n"
                               "192.0.2.5 last.test";
    g_autoptr(Hosts) hosts = hosts_new_from_text(text, sizeof text - 1);

    assert_addresses(hosts, "localhost", "127.0.0.1 ::1 ");
    assert_addresses(hosts, "mail.EXAMPLE.test", "192.0.2.1 2001:db8::1 ");
    assert_addresses(hosts, "mapped.test", "192.0.2.9 ");
    assert_addresses(hosts, "no.such.test", "");
    assert_addresses(hosts, "10.0.0.1", "");
    assert_addresses(hosts, "last.test", "192.0.2.5 ");
    assert_string_equal(hosts_name(hosts, "192.0.2.1"), "Mail.Example.test");
    assert_string_equal(hosts_name(hosts, "2001:db8::1"), "mail.example.test");
    assert_string_equal(hosts_name(hosts, "127.0.0.1"), "localhost");
    assert_string_equal(hosts_name(hosts, "192.0.2.9"), "mapped.test");
    assert_null(hosts_name(hosts, "192.0.2.2"));
    assert_null(hosts_name(hosts, "192.0.2.3"));
}

static void files_are_read(void **state)
{
    g_autoptr(Hosts) missing = hosts_new("/nonexistent/hosts", NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("hosts-XXXXXX", &path, NULL);

    assert_non_null(missing);
    assert_null(hosts_name(missing, "127.0.0.1"));
    assert_null(hosts_new("/", &error));
    assert_non_null(error);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "192.0.2.1 a.test\n", 17), 17);
    g_autoptr(Hosts) hosts = hosts_new(path, NULL);
    assert_string_equal(hosts_name(hosts, "192.0.2.1"), "a.test");
    assert_int_equal(ftruncate(fd, HOSTS_FILE_MAX + 1), 0);
    assert_null(hosts_new(path, NULL));
    close(fd);
    unlink(path);
}

static void addresses_are_written_one_way(void **state)
{
    static const struct {
        const char *text, *wanted;
        int family;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", AF_INET},
        {"::FFFF:192.0.2.1", "192.0.2.1", AF_INET},
        {"2001:DB8::0", "2001:db8::", AF_INET6},
        {"192.0.2", NULL, 0},
        {"", NULL, 0},
        {"unknown", NULL, 0},
        {"fe80::1%eth0", NULL, 0},
        {"[::1]", NULL, 0},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        int family = 0;
        g_autofree char *got = hosts_canonical_address(rows[i].text, &family, NULL);
        if (rows[i].wanted)
            assert_string_equal(got, rows[i].wanted);
        else
            assert_null(got);
        assert_int_equal(family, rows[i].family);
    }
}

static void only_host_names_are_valid(void **state)
{
    static const struct {
        const char *name;
        bool valid;
    } rows[] = {
        {"a", true},       {"a.b", true},     {"A-1.b_c.example", true},
        {"1.2.3.a", true}, {"", false},       {".", false},
        {"a.", false},     {".a", false},     {"a..b", false},
        {"-a.b", false},   {"a-.b", false},   {"a b", false},
        {"a\nb", false},   {"a\xe9", false},  {"1.2.3.4", false},
        {"12345", false},  {"a.b[1]", false}, {"xn--bcher-kva.example", true},
    };
    g_autofree char *label = g_strnfill(63, 'a'), *longer = g_strnfill(64, 'a'), *name = NULL, *long_name = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        if (dns_name_is_valid(rows[i].name) != rows[i].valid)
            fail_msg("%s", rows[i].name);
    assert_true(dns_name_is_valid(label));
    assert_false(dns_name_is_valid(longer));
    name = g_strjoin(".", label, label, label, label, NULL);
    assert_int_equal(strlen(name), 255);
    assert_true(dns_name_is_valid(name));
    long_name = g_strconcat(name, "a", NULL);
    assert_false(dns_name_is_valid(long_name));
}

static void wire_names_become_text(void **state)
{
    static const struct {
        const char *wire;
        size_t len;
        const char *wanted;
    } rows[] = {
        {"\4mail\7example\0", 14, "mail.example"},
        {"\4mail\7example", 13, NULL}, /* no end */
        {"\4mail\7exam", 10, NULL},    /* cut */
        {"\0", 1, NULL},
        {"", 0, NULL},
        {"\4a.cd\0", 6, NULL},
        {"\4a\0cd\0", 6, NULL},
        {"\4a\ncd\0", 6, NULL},
        {"\1"
         "1\1"
         "2\0",
         5, "1.2"},           /* for others to judge */
        {"\300\14", 2, NULL}, /* compression */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *got = dns_name_from_wire(rows[i].wire, rows[i].len);
        if (g_strcmp0(got, rows[i].wanted) != 0)
            fail_msg("row %zu: %s", i, got ? got : "NULL");
    }
    g_autofree char *v4 = dns_name_of_address(AF_INET, "\xc0\0\2\1");
    assert_string_equal(v4, "1.2.0.192.in-addr.arpa.");
    g_autofree char *v6 = dns_name_of_address(AF_INET6, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x0a");
    assert_string_equal(v6, "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_found_both_ways),     cmocka_unit_test(files_are_read),
        cmocka_unit_test(addresses_are_written_one_way), cmocka_unit_test(only_host_names_are_valid),
        cmocka_unit_test(wire_names_become_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
