/* smtp_route_test.c - which addresses a next hop leads to, with a DNS of the test's own. */
#include "delivery/smtp_private.h"

#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define IS_TEMPORARY "?"
#define IS_MALFORMED "!"

/* MX: "10 a.test 20 b.test"; NULL: no such record; addresses: "192.0.2.1 2001:db8::1". */
static const struct {
    const char *name, *mx, *addresses;
} zone[] = {
    {"two.test", "10 a.test 20 b.test", NULL},
    {"equal.test", "10 a.test 10 b.test 10 c.test", NULL},
    {"a.test", NULL, "192.0.2.1 2001:db8::1"},
    {"b.test", NULL, "192.0.2.2 192.0.2.22"},
    {"c.test", NULL, "192.0.2.3"},
    {"plain.test", NULL, "192.0.2.4"},
    {"empty.test", NULL, NULL},
    {"null.test", "0 .", NULL},
    {"flaky.test", IS_TEMPORARY, "192.0.2.5"},
    {"odd.test", IS_MALFORMED, "192.0.2.6"},
    {"ghost.test", "10 gone.test 20 empty.test", NULL},
    {"half.test", "10 gone.test 20 c.test", NULL},
    {"slow.test", "10 wait.test 20 empty.test", NULL},
    {"wait.test", NULL, IS_TEMPORARY},
    {"ours.test", "10 me.test", NULL},
    {"spare.test", "10 c.test 20 me.test 30 b.test", NULL},
    {"alike.test", "10 c.test 10 me.test", NULL},
    {"me.test", NULL, "192.0.2.99"},
    {"first.test", "10 gone.test 20 me.test", NULL},
    {"sixes.test", "10 s.test 20 c.test", NULL},
    {"s.test", NULL, "2001:db8::2 2001:db8::3 2001:db8::4"},
    {"many.test", "10 b.test 20 c.test 30 a.test", NULL},
};

static unsigned lookups; /* of addresses */

/* -1: none. */
static int find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(zone); i++)
        if (g_ascii_strcasecmp(zone[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* In /etc/hosts, of which DNS does not know. */
#define HOSTS_NAME "etc.test"
#define HOSTS_ADDRESS "192.0.2.77"

static void add_addresses(DnsAnswer *answer, const char *addresses, DnsType type)
{
    g_auto(GStrv) words = g_strsplit(addresses, " ", 0);

    for (guint i = 0; words[i]; i++) {
        if (type != DNS_ADDRESSES && (type == DNS_AAAA) != (strchr(words[i], ':') != NULL))
            continue;
        dns_answer_add_text(answer, 0, words[i]);
        answer->status = DNS_OK;
    }
}

DnsAnswer *resolver_records(Resolver *resolver, const char *name, DnsType type, gint64 deadline)
{
    int at = find(name);
    const char *mx = at < 0 ? NULL : zone[at].mx, *addresses = at < 0 ? NULL : zone[at].addresses;
    const char *data = type == DNS_MX ? mx : addresses;
    DnsAnswer *answer = dns_answer_new(DNS_NOT_FOUND);

    lookups += type == DNS_A || type == DNS_ADDRESSES;
    answer->no_such_name = at < 0;
    if (type == DNS_ADDRESSES && strcmp(name, HOSTS_NAME) == 0)
        add_addresses(answer, HOSTS_ADDRESS, type);
    else if (g_strcmp0(data, IS_TEMPORARY) == 0)
        answer->status = DNS_TEMPORARY;
    else if (g_strcmp0(data, IS_MALFORMED) == 0)
        answer->status = DNS_MALFORMED;
    else if (data && type != DNS_MX)
        add_addresses(answer, data, type);
    else if (data) {
        g_auto(GStrv) words = g_strsplit(data, " ", 0);
        answer->status = DNS_OK;
        for (guint i = 0; words[i] && words[i + 1]; i += 2)
            dns_answer_add_text(answer, (unsigned)atoi(words[i]), strcmp(words[i + 1], ".") == 0 ? "" : words[i + 1]);
    }
    return answer;
}

typedef struct {
    char *directory;
    MainCf *main_cf;
    Config *config;
    Smtp smtp;
} Fixture;

static void begin(Fixture *fixture, const char *settings, const char *families)
{
    bool randomizes = strstr(settings, "smtp_randomize_addresses") != NULL;
    g_autofree char *text = g_strconcat(randomizes ? "" : "smtp_randomize_addresses = no\n", settings, NULL);
    g_autoptr(GError) error = NULL;

    fixture->directory = g_dir_make_tmp("route-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(fixture->directory, "main.cf", NULL);
    assert_true(g_file_set_contents(path, text, -1, NULL));
    fixture->main_cf = main_cf_read(fixture->directory, &error);
    fixture->config = config_new(fixture->main_cf, &(ConfigScope){.process_name = "smtp"}, &error);
    assert_non_null(fixture->config);
    fixture->smtp = (Smtp){.config = fixture->config, .port = 25, .families = families};
    fixture->smtp.asks_mx = !config_bool(fixture->config, "disable_dns_lookups");
    fixture->smtp.asks_dns = strstr(config_string(fixture->config, "smtp_host_lookup"), "dns") != NULL;
    fixture->smtp.asks_system = strstr(config_string(fixture->config, "smtp_host_lookup"), "native") != NULL;
    fixture->smtp.own = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_add(fixture->smtp.own, (gpointer) "192.0.2.99");
    g_hash_table_add(fixture->smtp.own, (gpointer) "127.0.0.1");
    unlink(path);
    rmdir(fixture->directory);
}

static void end(Fixture *fixture)
{
    g_hash_table_unref(fixture->smtp.own);
    config_free(fixture->config);
    main_cf_free(fixture->main_cf);
    g_free(fixture->directory);
}

/* "a.test[192.0.2.1]:25 ...", or "DSN text", after the letter of the result: F, B, N, T. */
static char *show(const Fixture *fixture, const char *nexthop)
{
    SmtpRoute route;
    SmtpRouteResult result = smtp_route(&fixture->smtp, nexthop, &route);
    GString *out = g_string_new(NULL);

    g_string_append_c(out, "FBNT"[result]);
    for (guint i = 0; result == ROUTE_FOUND && i < route.targets->len; i++) {
        const SmtpTarget *target = &g_array_index(route.targets, SmtpTarget, i);
        char numeric[NI_MAXHOST], port[NI_MAXSERV];
        getnameinfo((const struct sockaddr *)&target->address, sizeof target->address, numeric, sizeof numeric, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
        g_string_append_printf(out, " %s[%s]:%s", target->host, numeric, port);
    }
    if (result != ROUTE_FOUND)
        g_string_append_printf(out, " %s %s", route.dsn, route.text);
    smtp_route_clear(&route);
    return g_string_free(out, FALSE);
}

#define NO_RECORD "Host found but no data record of requested type"
#define NAME_ERROR "Host or domain name not found. Name service error for name="

static void next_hops_have_addresses(void **state)
{
    static const struct {
        const char *nexthop, *wanted, *settings, *families;
    } rows[] = {
        {"two.test", "F a.test[192.0.2.1]:25 a.test[2001:db8::1]:25 b.test[192.0.2.2]:25 b.test[192.0.2.22]:25", NULL,
         NULL},
        {"two.test:26", "F a.test[192.0.2.1]:26 a.test[2001:db8::1]:26 b.test[192.0.2.2]:26 b.test[192.0.2.22]:26",
         NULL, NULL},
        {"two.test", "F a.test[2001:db8::1]:25 a.test[192.0.2.1]:25 b.test[192.0.2.2]:25 b.test[192.0.2.22]:25",
         "smtp_address_preference = ipv6\n", NULL},
        {"two.test", "F a.test[192.0.2.1]:25 b.test[192.0.2.2]:25 b.test[192.0.2.22]:25", NULL, "ipv4"},
        {"[a.test]", "F a.test[192.0.2.1]:25 a.test[2001:db8::1]:25", NULL, NULL},
        {"[two.test]", "N 5.4.4 " NAME_ERROR "two.test type=AAAA: " NO_RECORD, NULL, NULL},
        {"plain.test", "F plain.test[192.0.2.4]:25", NULL, NULL},
        {"192.0.2.7", "F 192.0.2.7[192.0.2.7]:25", NULL, NULL},
        {"[192.0.2.7]:2525", "F 192.0.2.7[192.0.2.7]:2525", NULL, NULL},
        {"localhost:2525", "F localhost[127.0.0.1]:2525 localhost[::1]:2525", NULL, NULL},
        {"nosuch.test", "N 5.4.4 " NAME_ERROR "nosuch.test type=AAAA: Host not found", NULL, NULL},
        {"empty.test", "N 5.4.4 " NAME_ERROR "empty.test type=A: " NO_RECORD, NULL, "ipv4"},
        {"null.test", "N 5.1.0 Domain null.test does not accept mail (nullMX)", NULL, NULL},
        {"flaky.test", "T 4.4.3 " NAME_ERROR "flaky.test type=MX: Host not found, try again", NULL, NULL},
        {"odd.test", "N 5.4.4 Name service error for name=odd.test type=MX: Malformed or unexpected name server reply",
         NULL, NULL},
        {"ghost.test", "N 5.4.4 " NAME_ERROR "empty.test type=A: " NO_RECORD, NULL, "ipv4"},
        {"ghost.test", "N 5.4.4 " NAME_ERROR "empty.test type=AAAA: " NO_RECORD, NULL, "ipv6"},
        {"half.test", "F c.test[192.0.2.3]:25", NULL, NULL},
        {"slow.test", "T 4.4.3 " NAME_ERROR "wait.test type=AAAA: Host not found, try again", NULL, NULL},
        {"[wait.test]", "T 4.4.3 " NAME_ERROR "wait.test type=AAAA: Host not found, try again", NULL, NULL},
        {"ours.test", "N 5.4.6 mail for ours.test loops back to myself", NULL, NULL},
        {"ours.test:26", "F me.test[192.0.2.99]:26", NULL, NULL},
        {"[me.test]", "N 5.4.6 mail for me.test loops back to myself", NULL, NULL},
        {"spare.test", "F c.test[192.0.2.3]:25", NULL, NULL},
        {"alike.test", "N 5.4.6 mail for alike.test loops back to myself", NULL, NULL},
        {"first.test", "T 4.4.4 unable to find primary relay for first.test", NULL, NULL},
        {"ghost.test", "T 4.4.4 " NAME_ERROR "empty.test type=A: " NO_RECORD,
         "smtp_defer_if_no_mx_address_found = yes\n", "ipv4"},
        {"flaky.test", "F flaky.test[192.0.2.5]:25", "ignore_mx_lookup_error = yes\n", NULL},
        {"odd.test", "F odd.test[192.0.2.6]:25", "ignore_mx_lookup_error = yes\n", NULL},
        {"a.test", "F a.test[192.0.2.1]:25", "disable_dns_lookups = yes\nsmtp_host_lookup = native\n", "ipv4"},
        {"two.test", "N 5.3.0 unable to look up host two.test: No address associated with hostname",
         "disable_dns_lookups = yes\nsmtp_host_lookup = native\n", NULL},
        {"etc.test", "F etc.test[192.0.2.77]:25", "smtp_host_lookup = dns, native\n", NULL},
        {"etc.test", "N 5.4.4 " NAME_ERROR "etc.test type=A: Host not found", NULL, "ipv4"},
        {"gone.test", "N 5.4.4 unable to look up host gone.test: Name or service not known",
         "smtp_host_lookup = native\n", NULL},
        {"[wait.test]", "T 4.4.4 unable to look up host wait.test: Temporary failure in name resolution",
         "smtp_host_lookup = native\n", NULL},
        {"many.test", "F b.test[192.0.2.2]:25 b.test[192.0.2.22]:25 a.test[2001:db8::1]:25",
         "smtp_mx_address_limit = 3\n", NULL},
        {"many.test", "F b.test[192.0.2.2]:25 b.test[192.0.2.22]:25 c.test[192.0.2.3]:25",
         "smtp_mx_address_limit = 3\nsmtp_balance_inet_protocols = no\n", NULL},
        {"sixes.test", "F s.test[2001:db8::2]:25 s.test[2001:db8::3]:25 c.test[192.0.2.3]:25",
         "smtp_mx_address_limit = 3\n", NULL},
        {"sixes.test", "F s.test[2001:db8::2]:25", "smtp_mx_address_limit = 1\n", NULL},
        {"[a.test]:nowhere", "B 4.3.5 bad next hop: ", NULL, NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Fixture fixture;
        begin(&fixture, rows[i].settings ? rows[i].settings : "", rows[i].families ? rows[i].families : "all");
        g_autofree char *got = show(&fixture, rows[i].nexthop);
        if (strcmp(got, rows[i].wanted) != 0 && !(got[0] == 'B' && g_str_has_prefix(got, rows[i].wanted)))
            fail_msg("%s: wanted %s\ngot %s", rows[i].nexthop, rows[i].wanted, got);
        end(&fixture);
    }
}

/* Not a hundred hosts for five addresses. */
static void enough_is_enough(void **state)
{
    Fixture fixture;

    begin(&fixture, "smtp_mx_address_limit = 2\n", "ipv4");
    lookups = 0;
    g_autofree char *got = show(&fixture, "many.test");
    assert_string_equal(got, "F b.test[192.0.2.2]:25 b.test[192.0.2.22]:25");
    assert_int_equal(lookups, 1);
    end(&fixture);
}

static void equals_take_turns(void **state)
{
    g_autoptr(GHashTable) firsts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Fixture fixture;

    begin(&fixture, "smtp_randomize_addresses = yes\n", "ipv4");
    for (int i = 0; i < 1000 && g_hash_table_size(firsts) < 4; i++) {
        SmtpRoute route;
        assert_int_equal(smtp_route(&fixture.smtp, "equal.test", &route), ROUTE_FOUND);
        assert_int_equal(route.targets->len, 4);
        const SmtpTarget *first = &g_array_index(route.targets, SmtpTarget, 0);
        g_hash_table_add(firsts, g_strdup(first->host));
        smtp_route_clear(&route);
        if (g_hash_table_size(firsts) == 3)
            break;
    }
    assert_int_equal(g_hash_table_size(firsts), 3);
    for (int i = 0; i < 50; i++) { /* but never before who is preferred */
        g_autofree char *got = show(&fixture, "two.test");
        assert_true(g_str_has_prefix(got, "F a.test[192.0.2.1]:25 b.test["));
    }
    end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_hops_have_addresses),
        cmocka_unit_test(enough_is_enough),
        cmocka_unit_test(equals_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
