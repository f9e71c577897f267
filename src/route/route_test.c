/* route_test.c - completion, classes, existence and transports. */
#include "base/log.h"
#include "route/route.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char settings[] =
    "compatibility_level = 3.6\nmyhostname = mx.example.test\nmydomain = example.test\n"
    "mydestination = $myhostname, localhost, .dot.test\ninet_interfaces = 127.0.0.1, [::1]\n"
    "proxy_interfaces = 192.0.2.9\nmynetworks = 127.0.0.0/8\nalias_maps =\nrecipient_delimiter = +\n"
    "virtual_alias_domains = al.test\nvirtual_alias_maps = inline:{yes@al.test=foo@x.test}\n"
    "virtual_mailbox_domains = virt.test, catch.test, flaky.test\n"
    "virtual_mailbox_maps = inline:{known@virt.test=x, {\"a b\"@virt.test = y}, @catch.test=z}\n"
    "local_recipient_maps = inline:{root=x}\nrelay_domains = rel.test, open.test\n"
    "relay_recipient_maps = inline:{r1@rel.test=x, @open.test=x}\n"
    "canonical_maps = inline:{canon@virt.test=zz@virt.test}\n"
    "transport_maps = inline:{ {err1@virt.test=error:mailbox is full}, {err2@virt.test=error:5.7.9 go away},"
    " err3@x.test=error:, {err4@x.test=retry:4.2.1 later}, {err5@x.test=retry:later}, {err6@virt.test=error:4.5.6 odd},"
    " {.dot2.test=error:subdomain}, {err1@al.test=error:never}, {err1@mx.example.test=error:local err},"
    " u+x@key.test=ext:1, u@key.test=plain:2, key.test=dom:3, .key.test=sub:4, nh.test=:[127.0.0.1]:25, "
    "tp.test=smtp:,"
    " local@mx.example.test=lmtp:unix:/x }\n";

static char *directory;

/* extra: more lines of main.cf */
static Route *make_route(const char *extra)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(directory, "main.cf", NULL);
    g_autofree char *text = g_strconcat(settings, extra, NULL);

    assert_true(g_file_set_contents(path, text, -1, NULL));
    g_autoptr(MainCf) main_cf = main_cf_read(directory, &error);
    g_autoptr(Config) config =
        main_cf ? config_new(main_cf, &(ConfigScope){.process_name = "smtpd", .stress = ""}, &error) : NULL;
    Route *route = config ? route_new(config, &error) : NULL;
    if (!route)
        fail_msg("%s", error->message);
    return route;
}

static void addresses_are_completed(void **state)
{
    static const struct {
        const char *address, *wanted, *with_mydomain;
    } rows[] = {
        {"", "", ""},
        {"joe", "joe@mx.example.test", "joe@mx.example.test"},
        {"joe@x.test", "joe@x.test", "joe@x.test"},
        {"joe@host", "joe@host", "joe@host.example.test"},
        {"joe@x.test.", "joe@x.test", "joe@x.test"},
        {"joe@[1.2.3.4]", "joe@[1.2.3.4]", "joe@[1.2.3.4]"},
        {"site!joe", "joe@site", "joe@site.example.test"},
        {"a!b!joe", "b!joe@a", "b!joe@a.example.test"},
        {"joe%x.test", "joe@x.test", "joe@x.test"},
        {"a%b%c.test", "a%b@c.test", "a%b@c.test"},
        {"a!b@x.test", "a!b@x.test", "a!b@x.test"},
        {"a%b@x.test", "a%b@x.test", "a%b@x.test"},
    };
    g_autoptr(Route) route = make_route("");
    g_autoptr(Route) with_mydomain = make_route("append_dot_mydomain = yes\n");
    g_autoptr(Route) plain = make_route("append_at_myorigin = no\nswap_bangpath = no\nallow_percent_hack = no\n");

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *got = route_complete(route, rows[i].address);
        g_autofree char *long_form = route_complete(with_mydomain, rows[i].address);
        assert_string_equal(got, rows[i].wanted);
        assert_string_equal(long_form, rows[i].with_mydomain);
    }
    g_autofree char *bang = route_complete(plain, "a!b%c");
    assert_string_equal(bang, "a!b%c");
}

static void domains_have_classes(void **state)
{
    static const struct {
        const char *address;
        AddressClass class;
        bool routed;
    } rows[] = {
        {"joe", CLASS_LOCAL, false},
        {"joe@MX.example.test", CLASS_LOCAL, false},
        {"joe@[127.0.0.1]", CLASS_LOCAL, false},
        {"joe@[IPv6:::1]", CLASS_LOCAL, false},
        {"joe@[192.0.2.9]", CLASS_LOCAL, false},
        {"joe@[192.0.2.8]", CLASS_DEFAULT, false},
        {"joe@x.dot.test", CLASS_DEFAULT, false},
        {"joe@al.test", CLASS_VIRTUAL_ALIAS, false},
        {"joe@virt.test", CLASS_VIRTUAL_MAILBOX, false},
        {"joe@sub.virt.test", CLASS_DEFAULT, false},
        {"joe@rel.test", CLASS_RELAY, false},
        {"joe@sub.rel.test", CLASS_RELAY, false},
        {"joe%x.test@localhost", CLASS_DEFAULT, false},
        {"x.test!joe@localhost", CLASS_DEFAULT, false},
        {"joe@x.test@localhost", CLASS_DEFAULT, false},
        {"joe%virt.test@localhost", CLASS_VIRTUAL_MAILBOX, false},
        {"joe%localhost%localhost@localhost", CLASS_LOCAL, false},
        {"joe%x.test@virt.test", CLASS_VIRTUAL_MAILBOX, true},
        {"x.test!joe@virt.test", CLASS_VIRTUAL_MAILBOX, true},
        {"joe@x.test@rel.test", CLASS_RELAY, true},
        {"joe%x.test@y.test", CLASS_DEFAULT, true},
    };
    g_autoptr(Route) route = make_route("");
    g_autoptr(Route) failing = make_route("virtual_alias_domains = fail:x\n");
    g_autofree char *long_address = g_strnfill(5000, '%');
    g_autofree char *reply = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        if (route_class(route, rows[i].address) != rows[i].class ||
            route_has_sender_routing(route, rows[i].address) != rows[i].routed)
            fail_msg("%s: class %d", rows[i].address, (int)route_class(route, rows[i].address));
    assert_int_equal(route_class(failing, "joe@localhost"), CLASS_LOCAL);
    assert_int_equal(route_class(failing, "joe@x.test"), CLASS_FAILED);
    assert_int_equal(route_recipient_exists(failing, "joe@x.test", "", &reply), EXISTS_FAILED);
    route_class(route, long_address); /* ends */
    assert_true(route_is_own_address(route, "::1"));
    assert_true(route_is_own_address(route, "0:0:0:0:0:0:0:1"));
    assert_false(route_is_own_address(route, "127.0.0.2"));
    assert_false(route_is_own_address(route, "unknown"));
}

static void domains_of_two_classes_are_warned_of(void **state)
{
    g_autoptr(Route) route = make_route("mydestination = a.test, b.test\nvirtual_alias_domains = a.test, c.test\n"
                                        "virtual_mailbox_domains = B.test, d.test\nrelay_domains = test\n");
    g_autofree char *path = g_build_filename(directory, "log", NULL);
    g_autofree char *logged = NULL;

    log_to_file(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), "host");
    for (int times = 0; times < 2; times++)
        for (char domain = 'a'; domain <= 'e'; domain++) {
            char address[] = {'x', '@', domain, '.', 't', 'e', 's', 't', '\0'};
            route_class(route, address);
        }
    route_class(route, "joe");
    log_to_file(open("/dev/null", O_WRONLY), "host");
    assert_true(g_file_get_contents(path, &logged, NULL, NULL));
    g_unlink(path);
    static const char *const wanted[] = {"a.test in BOTH mydestination and virtual_alias_domains",
                                         "b.test in BOTH mydestination and virtual_mailbox_domains",
                                         "c.test in BOTH virtual_alias_domains and relay_domains",
                                         "d.test in BOTH virtual_mailbox_domains and relay_domains"};
    g_auto(GStrv) lines = g_strsplit(g_strchomp(logged), "\n", 0);
    assert_int_equal(g_strv_length(lines), G_N_ELEMENTS(wanted));
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
        assert_non_null(strstr(lines[i], ": warning: do not list domain "));
        assert_true(g_str_has_suffix(lines[i], wanted[i]));
    }
}

static void recipients_exist_or_not(void **state)
{
    static const struct {
        const char *address, *reply;
    } rows[] = {
        {"known@virt.test", NULL},
        {"KNOWN+x@Virt.Test", NULL},
        {"a b@virt.test", NULL},
        {"a@virt.test", "550 5.1.1 <t>: Recipient address rejected: User unknown in virtual mailbox table"},
        {"postmaster@virt.test", "550 5.1.1 <t>: Recipient address rejected: User unknown in virtual mailbox table"},
        {"canon@virt.test", NULL},
        {"any@catch.test", NULL},
        {"a@al.test", "550 5.1.1 <t>: Recipient address rejected: User unknown in virtual alias table"},
        {"yes@al.test", NULL},
        {"root@localhost", NULL},
        {"root+x", NULL},
        {"root@[127.0.0.1]", NULL},
        {"nobodyx", "550 5.1.1 <t>: Recipient address rejected: User unknown in local recipient table"},
        {"nobodyx%localhost@localhost",
         "550 5.1.1 <t>: Recipient address rejected: User unknown in local recipient table"},
        {"POSTMASTER@localhost", NULL},
        {"mailer-daemon@localhost", NULL},
        {"double-bounce@localhost", NULL},
        {"@localhost", NULL},
        {"a@rel.test", "550 5.1.1 <t>: Recipient address rejected: User unknown in relay recipient table"},
        {"r1@rel.test", NULL},
        {"any@open.test", NULL},
        {"any@x.test", NULL},
        {"err1@virt.test", "550 5.1.1 <t>: Recipient address rejected: mailbox is full"},
        {"err2@virt.test", "550 5.7.9 <t>: Recipient address rejected: go away"},
        {"err3@x.test", "550 5.1.1 <t>: Recipient address rejected: Address is undeliverable"},
        {"err4@x.test", "450 4.2.1 <t>: Recipient address rejected: later"},
        {"err5@x.test", "450 4.1.1 <t>: Recipient address rejected: later"},
        {"err6@virt.test", "550 5.5.6 <t>: Recipient address rejected: odd"},
        {"a@sub.dot2.test", "550 5.1.1 <t>: Recipient address rejected: subdomain"},
        {"a@dot2.test", NULL},
        {"err1@al.test", "550 5.1.1 <t>: Recipient address rejected: User unknown in virtual alias table"},
        {"err1%mx.example.test@localhost", "550 5.1.1 <t>: Recipient address rejected: local err"},
    };
    g_autoptr(Route) route = make_route("");

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *reply = NULL;
        Existence got = route_recipient_exists(route, rows[i].address, "t", &reply);
        if (got != (rows[i].reply ? EXISTS_NO : EXISTS_YES) || g_strcmp0(reply, rows[i].reply) != 0)
            fail_msg("%s: %d %s", rows[i].address, (int)got, reply);
    }
}

static void variants_of_existence(void **state)
{
    g_autoptr(Route) all = make_route("local_recipient_maps =\nrelay_recipient_maps =\n");
    g_autoptr(Route) soft =
        make_route("unknown_local_recipient_reject_code = 450\nshow_user_unknown_table_name = no\n");
    g_autoptr(Route) failing = make_route("virtual_mailbox_maps = fail:x\n");
    g_autofree char *reply = NULL;
    g_autofree char *sender = NULL;

    assert_int_equal(route_recipient_exists(all, "anybody", "t", &reply), EXISTS_YES);
    assert_int_equal(route_recipient_exists(all, "a@rel.test", "t", &reply), EXISTS_YES);
    assert_int_equal(route_recipient_exists(soft, "nobodyx", "t", &reply), EXISTS_NO);
    assert_string_equal(reply, "450 4.1.1 <t>: Recipient address rejected: User unknown");
    g_clear_pointer(&reply, g_free);
    assert_int_equal(route_recipient_exists(failing, "a@virt.test", "t", &reply), EXISTS_FAILED);
    assert_null(reply);
    assert_int_equal(route_sender_exists(soft, "", "", &sender), EXISTS_YES);
    assert_int_equal(route_sender_exists(all, "a@virt.test", "t", &sender), EXISTS_NO);
    assert_string_equal(sender, "550 5.1.0 <t>: Sender address rejected: User unknown in virtual mailbox table");
}

static void mail_has_a_transport(void **state)
{
    static const struct {
        const char *address, *transport, *nexthop, *with_relayhost;
    } rows[] = {
        {"root", "local", "mx.example.test", "mx.example.test"},
        {"known@virt.test", "virtual", "virt.test", "virt.test"},
        {"yes@al.test", "error", "5.1.1 User unknown in virtual alias table",
         "5.1.1 User unknown in virtual alias table"},
        {"a@rel.test", "relay", "rel.test", "[127.0.0.1]:2525"},
        {"a@x.test", "smtp", "x.test", "[127.0.0.1]:2525"},
        {"a%x.test@localhost", "smtp", "x.test", "[127.0.0.1]:2525"},
        {"u+x@key.test", "ext", "1", "1"},
        {"u+y@key.test", "plain", "2", "2"},
        {"v@KEY.test", "dom", "3", "3"},
        {"v@a.b.key.test", "sub", "4", "4"},
        {"a@nh.test", "smtp", "[127.0.0.1]:25", "[127.0.0.1]:25"},
        {"a@tp.test", "smtp", "tp.test", "tp.test"},
        {"local@mx.example.test", "lmtp", "unix:/x", "unix:/x"},
        {"err3@x.test", "error", "Address is undeliverable", "Address is undeliverable"},
    };
    g_autoptr(Route) route = make_route("");
    g_autoptr(Route) relaying = make_route("relayhost = [127.0.0.1]:2525\n");
    g_autoptr(Route) wild = make_route("transport_maps = inline:{*=wild:w}\n");
    g_autoptr(Route) parents = make_route(
        "transport_maps = inline:{key.test=dom:3}\nparent_domain_matches_subdomains = relay_domains, transport_maps\n");
    g_autoptr(Route) failing = make_route("transport_maps = fail:x\n");
    char *transport = NULL;
    char *nexthop = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        assert_true(route_resolve(route, "", rows[i].address, &transport, &nexthop));
        if (strcmp(transport, rows[i].transport) != 0 || strcmp(nexthop, rows[i].nexthop) != 0)
            fail_msg("%s: %s:%s", rows[i].address, transport, nexthop);
        g_free(transport);
        g_free(nexthop);
        assert_true(route_resolve(relaying, "", rows[i].address, &transport, &nexthop));
        assert_string_equal(nexthop, rows[i].with_relayhost);
        g_free(transport);
        g_free(nexthop);
    }
    assert_true(route_resolve(wild, "", "a@x.test", &transport, &nexthop));
    assert_string_equal(transport, "wild");
    g_free(transport);
    g_free(nexthop);
    assert_true(route_resolve(parents, "", "a@sub.key.test", &transport, &nexthop));
    assert_string_equal(transport, "dom");
    g_free(transport);
    g_free(nexthop);
    assert_false(route_resolve(failing, "", "a@x.test", &transport, &nexthop));
}

static int begin(void **state)
{
    g_autofree char *template = g_build_filename(g_get_tmp_dir(), "route-test-XXXXXX", NULL);

    directory = g_strdup(g_mkdtemp(template));
    log_set_tag("postfix", "test");
    log_to_file(open("/dev/null", O_WRONLY), "host");
    return 0;
}

static int end(void **state)
{
    g_autofree char *path = g_build_filename(directory, "main.cf", NULL);

    g_unlink(path);
    g_rmdir(directory);
    g_free(directory);
    return 0;
}

/* Probes go their own way where the configuration says so. */
static void probes_have_routes_of_their_own(void **state)
{
    g_autoptr(Route) mail = make_route("relayhost = [relay.test]\naddress_verify_relayhost =\n"
                                       "address_verify_transport_maps = inline:{probed.test=smtp:[192.0.2.1]}\n"
                                       "address_verify_default_transport = direct\n");
    g_autoptr(GError) error = NULL;
    g_autoptr(MainCf) main_cf = main_cf_read(directory, &error);
    g_autoptr(Config) config = config_new(main_cf, &(ConfigScope){.process_name = "qmgr", .stress = ""}, &error);
    g_autoptr(Route) probes = route_new_for_probes(config, &error);
    static const struct {
        const char *address, *mail, *probe;
    } rows[] = {{"u@any.test", "smtp:[relay.test]", "direct:any.test"},
                {"u@probed.test", "smtp:[relay.test]", "smtp:[192.0.2.1]"},
                {"u@virt.test", "virtual:virt.test", "virtual:virt.test"}};

    assert_non_null(probes);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const Route *routes[] = {mail, probes};
        const char *wanted[] = {rows[i].mail, rows[i].probe};
        for (int way = 0; way < 2; way++) {
            g_autofree char *transport = NULL, *nexthop = NULL;
            assert_true(route_resolve(routes[way], "", rows[i].address, &transport, &nexthop));
            g_autofree char *got = g_strconcat(transport, ":", nexthop, NULL);
            assert_string_equal(got, wanted[way]);
        }
    }
}

static void the_sender_of_probes_is_known(void **state)
{
    g_autoptr(Route) plain = make_route("");
    g_autoptr(Route) null = make_route("address_verify_sender = <>\n");
    g_autoptr(Route) changing = make_route("address_verify_sender = p@x.test\naddress_verify_sender_ttl = 100d\n");
    g_autofree char *of_plain = route_probe_sender(plain);
    g_autofree char *of_null = route_probe_sender(null);
    g_autofree char *of_changing = route_probe_sender(changing);

    assert_string_equal(of_plain, "double-bounce@mx.example.test");
    assert_true(route_is_probe_sender(plain, "Double-Bounce@MX.example.test"));
    assert_false(route_is_probe_sender(plain, "double-bounce"));
    assert_false(route_is_probe_sender(plain, "double-bounce@x.test"));
    assert_string_equal(of_null, "");
    assert_false(route_is_probe_sender(null, ""));
    assert_true(g_str_has_prefix(of_changing, "p") && g_str_has_suffix(of_changing, "@x.test"));
    assert_true(strlen(of_changing) > strlen("p@x.test"));
    assert_true(route_is_probe_sender(changing, of_changing));
    assert_false(route_is_probe_sender(changing, "p@x.test"));
    assert_false(route_is_probe_sender(changing, "p0@x.test"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_completed),
        cmocka_unit_test(domains_have_classes),
        cmocka_unit_test(domains_of_two_classes_are_warned_of),
        cmocka_unit_test(recipients_exist_or_not),
        cmocka_unit_test(variants_of_existence),
        cmocka_unit_test(mail_has_a_transport),
        cmocka_unit_test(probes_have_routes_of_their_own),
        cmocka_unit_test(the_sender_of_probes_is_known),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
