/* access_test.c - lists, restrictions, tables and their actions: the reply, and what is logged. */
#include "access/access.h"
#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static Account account;

static const char settings[] =
    "compatibility_level = 3.6\nmyhostname = mx.example.test\nmydomain = example.test\nmydestination = $myhostname, "
    "localhost\n"
    "inet_interfaces = 127.0.0.1\nmynetworks = 127.0.0.0/8\nalias_maps =\nrecipient_delimiter = +\n"
    "virtual_mailbox_domains = virt.test\nvirtual_mailbox_maps = inline:{known@virt.test=x}\n"
    "virtual_alias_maps = inline:{moved@localhost=known@virt.test}\n"
    "local_recipient_maps = inline:{root=x}\nrelay_domains = r.test\nsmtpd_relay_restrictions =\n"
    "smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\n"
    "smtpd_restriction_classes = myclass, other, loop\nmyclass = reject\nother = myclass\n"
    "loop = loop\n";

static char *directory;

typedef struct {
    Config *config;
    Route *route;
    Access *access;
} Rules;

static void rules_clear(Rules *rules)
{
    access_free(rules->access);
    route_free(rules->route);
    config_free(rules->config);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Rules, rules_clear)

/* extra: more lines of main.cf. access is NULL when error is set. */
static Rules make_rules(const char *extra, GError **error)
{
    g_autofree char *path = g_build_filename(directory, "main.cf", NULL);
    g_autofree char *text = g_strconcat(settings, extra, NULL);
    Rules rules = {0};

    assert_true(g_file_set_contents(path, text, -1, NULL));
    g_autoptr(MainCf) main_cf = main_cf_read(directory, NULL);
    assert_non_null(main_cf);
    rules.config = config_new(main_cf, &(ConfigScope){.process_name = "smtpd", .stress = ""}, error);
    assert_non_null(rules.config);
    rules.route = route_new(rules.config, error);
    assert_non_null(rules.route);
    rules.access = access_new(rules.config, rules.route, error);
    return rules;
}

static AccessFacts stranger(const char *sender, const char *recipient)
{
    return (AccessFacts){.state = "RCPT",
                         .protocol = "ESMTP",
                         .client_name = "mail.friend.test",
                         .client_addr = "192.0.2.66",
                         .client_port = "4711",
                         .helo = "c.test",
                         .sender = sender,
                         .recipient = recipient};
}

static char *joined_log(const Decision *decision)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < decision->log->len; i++)
        g_string_append_printf(text, "%s%s", i ? "\n" : "", (char *)g_ptr_array_index(decision->log, i));
    return g_strdup(text->str);
}

/* reply NULL: permitted. log NULL: not looked at. */
static void assert_decision(const Rules *rules, AccessStage stage, const AccessFacts *facts, const char *reply,
                            const char *log)
{
    g_autoptr(Decision) decision = access_check(rules->access, stage, facts);
    g_autofree char *logged = joined_log(decision);

    if (g_strcmp0(decision->reply, reply) != 0 || (decision->kind == DECISION_REJECT) != (reply != NULL))
        fail_msg("%s: reply \"%s\", wanted \"%s\"; log: %s", facts->recipient, decision->reply, reply, logged);
    if (log && strcmp(logged, log) != 0)
        fail_msg("%s: log \"%s\", wanted \"%s\"", facts->recipient, logged, log);
}

#define TAIL "; from=<Joe+x@S.Test> to=<x@r.test> proto=ESMTP helo=<c.test>"
#define RCPT "RCPT from mail.friend.test[192.0.2.66]: "
#define REJECTED " <x@r.test>: Recipient address rejected: "
#define TABLE "inline:{{x@r.test="

/* The action that the table gives for the recipient x@r.test, as Postfix 3.7.11 takes it. */
static void actions_of_tables(void **state)
{
    static const struct {
        const char *action, *reply, *log; /* log: '@' stands for the table */
    } rows[] = {
        {"450", NULL, ""},
        {"1", NULL, ""},
        {"450 some text", "450 4.7.1" REJECTED "some text", ""},
        {"45 text", "451 4.3.5 Server configuration error", "warning: unknown smtpd restriction: \"45\""},
        {"600 text", "451 4.3.5 Server configuration error", "warning: unknown smtpd restriction: \"600\""},
        {"550 4.7.9 dsn text", "550 5.7.9" REJECTED "dsn text", ""},
        {"521 bye", "521 5.7.1" REJECTED "bye", ""},
        {"REJECT", "554 5.7.1" REJECTED "Access denied", ""},
        {"reject go away", "554 5.7.1" REJECTED "go away", ""},
        {"REJECT 4.1.2 dsn", "554 5.1.2" REJECTED "dsn", ""},
        {"REJECT 5.1.8 dsn", "554 5.1.2" REJECTED "dsn", ""},
        {"REJECT 5.1.7", "554 5.1.3" REJECTED "Access denied", ""},
        {"REJECT 5.1.7x", "554 5.7.1" REJECTED "5.1.7x", ""},
        {"DEFER", "450 4.7.1" REJECTED "Access denied", ""},
        {"DEFER_IF_PERMIT", "450 4.7.1" REJECTED "Service unavailable", ""},
        {"DEFER_IF_PERMIT 5.3.1 text", "450 4.3.1" REJECTED "text", ""},
        {"DEFER_IF_REJECT", NULL, ""},
        {"WARN hello", NULL, "warn: " RCPT "hello" TAIL},
        {"WARN", NULL, "warn: " RCPT TAIL},
        {"INFO hello", NULL, "info: " RCPT "hello" TAIL},
        {"HOLD", NULL, "hold: " RCPT "<x@r.test>: Recipient address triggers HOLD action" TAIL},
        {"DISCARD", NULL, "discard: " RCPT "<x@r.test>: Recipient address triggers DISCARD action" TAIL},
        {"FILTER smtp:[::1]:9", NULL,
         "filter: " RCPT "<x@r.test>: Recipient address triggers FILTER smtp:[::1]:9" TAIL},
        {"FILTER nocolon", NULL, "warning: access table @ entry \"x@r.test\" requires transport:destination"},
        {"REDIRECT x@y.test", NULL, "redirect: " RCPT "<x@r.test>: Recipient address triggers REDIRECT x@y.test" TAIL},
        {"REDIRECT noat", NULL, "warning: access table @ entry \"x@r.test\" requires user@domain target"},
        {"BCC b@c.test", NULL, "bcc: " RCPT "<x@r.test>: Recipient address triggers BCC b@c.test" TAIL},
        {"BCC", NULL, "warning: access table @ entry \"x@r.test\" requires user@domain target"},
        {"PREPEND X-Foo: bar", NULL, ""},
        {"PREPEND no header", NULL, "warning: access table @ entry \"x@r.test\" requires header: text"},
        {"OK", NULL, ""},
        {"ok some text", NULL, ""},
        {"RELAY", NULL, ""},
        {"DUNNO text", NULL, ""},
        {"myclass", "554 5.7.1" REJECTED "Access denied", ""},
        {"other", "554 5.7.1" REJECTED "Access denied", ""},
        {"loop", "451 4.3.5 Server configuration error",
         "warning: SMTPD access map, restriction class or policy nesting level exceeds 100"},
        {"nosuch thing", "451 4.3.5 Server configuration error", "warning: unknown smtpd restriction: \"nosuch\""},
        {"reject_rbl_client x=1.2.3", "451 4.3.5 Server configuration error",
         "warning: restriction reject_rbl_client: need \".\" at \"1.2.3><\""},
        {"reject_rbl_client", NULL, "warning: restriction reject_rbl_client requires domain name argument"},
        {"inline:{a=b}", "451 4.3.5 Server configuration error",
         "warning: access table @ has entry with lookup table: inline:{a=b}\n"
         "warning: do not specify lookup tables inside SMTPD access maps\n"
         "warning: define a restriction class and specify its name instead."},
        {"permit, reject", NULL, "warning: restriction `reject' after `permit' is ignored"},
        {"warn_if_reject reject", NULL, "reject_warning: " RCPT "554 5.7.1" REJECTED "Access denied" TAIL},
        {"warn_if_reject other", NULL, "reject_warning: " RCPT "554 5.7.1" REJECTED "Access denied" TAIL},
        {"warn_if_reject nosuch", "451 4.3.5 Server configuration error", NULL},
        {"warn_if_reject permit_mynetworks reject", "554 5.7.1" REJECTED "Access denied", ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *table = g_strdup_printf(TABLE "%s}}", rows[i].action);
        g_autofree char *extra = g_strdup_printf(
            "smtpd_recipient_restrictions = check_recipient_access %s, reject_unauth_destination\n", table);
        g_auto(Rules) rules = make_rules(extra, NULL);
        AccessFacts facts = stranger("Joe+x@S.Test", "x@r.test");
        g_auto(GStrv) parts = g_strsplit(rows[i].log ? rows[i].log : "", "access table @", -1);
        g_autofree char *name = g_strconcat("access table ", table, NULL);
        g_autofree char *log = g_strjoinv(name, parts);
        assert_decision(&rules, ACCESS_RCPT, &facts, rows[i].reply, rows[i].log ? log : NULL);
    }
}

static void actions_have_effects(void **state)
{
    g_auto(Rules) rules =
        make_rules("smtpd_client_restrictions = check_client_access inline:{{192.0.2=FILTER a:b}}\n"
                   "smtpd_helo_restrictions = check_helo_access inline:{{test=PREPEND X-A: b}}\n"
                   "smtpd_sender_restrictions = check_sender_access inline:{{s.test=BCC b@c.test}}\n"
                   "smtpd_recipient_restrictions = check_recipient_access inline:{{hold@r.test=HOLD why},"
                   " {disc@r.test=DISCARD}, {redir@r.test=REDIRECT x@y.test}}, reject_unauth_destination\n",
                   NULL);
    AccessFacts facts = stranger("a@s.test", "hold@r.test");
    g_autoptr(Decision) decision = access_check(rules.access, ACCESS_RCPT, &facts);

    assert_int_equal(decision->kind, DECISION_PERMIT);
    assert_true(decision->hold);
    assert_false(decision->discard);
    assert_string_equal(decision->filter, "a:b");
    assert_string_equal(g_ptr_array_index(decision->prepend, 0), "X-A: b");
    assert_string_equal(g_ptr_array_index(decision->bcc, 0), "b@c.test");
    assert_int_equal(decision->log->len, 3);
    facts.recipient = "disc@r.test";
    g_autoptr(Decision) discarded = access_check(rules.access, ACCESS_RCPT, &facts);
    assert_true(discarded->discard);
    facts.recipient = "redir@r.test";
    g_autoptr(Decision) redirected = access_check(rules.access, ACCESS_RCPT, &facts);
    assert_string_equal(redirected->redirect, "x@y.test");

    facts.behind_proxy_filter = true;
    facts.recipient = "hold@r.test";
    g_autoptr(Decision) proxied = access_check(rules.access, ACCESS_RCPT, &facts);
    assert_false(proxied->hold);
    assert_null(proxied->filter);
    assert_int_equal(proxied->prepend->len, 1);
    assert_string_equal(
        g_ptr_array_index(proxied->log, 0),
        "warning: access table inline:{{192.0.2=FILTER a:b}}: with smtpd_proxy_filter specified, action "
        "FILTER is unavailable");
}

typedef struct {
    const char *extra; /* lines of main.cf */
    const char *sender, *recipient;
    const char *reply; /* NULL: permitted */
} Row;

/* What comes before RCPT: with smtpd_delay_reject=no it has a say, and doubts. */
static void go_through_earlier(const Rules *rules, const AccessFacts *facts, char *doubts[ACCESS_DOUBTS])
{
    AccessFacts earlier = *facts;

    earlier.recipient = NULL;
    earlier.doubts = doubts;
    for (AccessStage stage = ACCESS_CONNECT; stage < ACCESS_DOUBTS; stage++) {
        g_autoptr(Decision) decision = access_check(rules->access, stage, &earlier);
        doubts[stage] = g_steal_pointer(&decision->doubt);
    }
}

static void assert_rows(const Row *rows, size_t count, AccessStage stage)
{
    for (size_t i = 0; i < count; i++) {
        g_autoptr(GError) error = NULL;
        g_auto(Rules) rules = make_rules(rows[i].extra, &error);
        AccessFacts facts = stranger(rows[i].sender, rows[i].recipient);
        if (!rules.access)
            fail_msg("%s: %s", rows[i].extra, error->message);
        char *doubts[ACCESS_DOUBTS] = {NULL};
        facts.doubts = doubts;
        go_through_earlier(&rules, &facts, doubts);
        assert_decision(&rules, stage, &facts, rows[i].reply, NULL);
        for (size_t j = 0; j < ACCESS_DOUBTS; j++)
            g_free(doubts[j]);
    }
}

static void restrictions_at_rcpt(void **state)
{
    static const Row rows[] = {
        {"", "a@s.test", "x@r.test", NULL},
        {"", "a@s.test", "x@elsewhere.test", "554 5.7.1 <x@elsewhere.test>: Relay access denied"},
        {"", "a@s.test", "x%elsewhere.test@virt.test", "554 5.7.1 <x%elsewhere.test@virt.test>: Relay access denied"},
        {"", "a@s.test", "elsewhere.test!x@virt.test", "554 5.7.1 <elsewhere.test!x@virt.test>: Relay access denied"},
        {"", "a@s.test", "x%elsewhere.test@localhost", "554 5.7.1 <x%elsewhere.test@localhost>: Relay access denied"},
        {"allow_untrusted_routing = yes\nsmtpd_reject_unlisted_recipient = no\n", "a@s.test", "x%y.test@virt.test",
         NULL},
        {"", "a@s.test", "x@sub.r.test", NULL},
        {"", "a@s.test", "no@virt.test",
         "550 5.1.1 <no@virt.test>: Recipient address rejected: User unknown in virtual mailbox table"},
        {"smtpd_reject_unlisted_recipient = no\n", "a@s.test", "no@virt.test", NULL},
        {"receive_override_options = no_unknown_recipient_checks\n", "a@s.test", "no@virt.test", NULL},
        {"", "a@s.test", "root@localhost",
         "450 4.3.0 <root@localhost>: Recipient address rejected: local delivery is not available"},
        {"", "a@s.test", "postmaster",
         "450 4.3.0 <postmaster>: Recipient address rejected: local delivery is not available"},
        {"local_transport = lmtp:unix:/x\n", "a@s.test", "root@localhost", NULL},
        {"", "a@s.test", "moved@localhost", NULL},
        {"virtual_mailbox_maps = fail:x\n", "a@s.test", "a@virt.test",
         "451 4.3.0 <a@virt.test>: Temporary lookup failure"},
        {"virtual_mailbox_domains = fail:x\n", "a@s.test", "a@x.test",
         "451 4.3.0 <a@x.test>: Temporary lookup failure"},
        {"mynetworks = 10.0.0.1/8\n", "a@s.test", "x@r.test", "451 4.3.0 <x@r.test>: Temporary lookup failure"},
        {"mynetworks = 192.0.2.0/24\n", "a@s.test", "x@elsewhere.test", NULL},
        {"mynetworks = friend.test\n", "a@s.test", "x@elsewhere.test", NULL},
        {"smtpd_relay_restrictions = defer_unauth_destination\n", "a@s.test", "x@e.test",
         "454 4.7.1 <x@e.test>: Relay access denied"},
        {"relay_domains_reject_code = 550\n", "a@s.test", "x@e.test", "550 5.7.1 <x@e.test>: Relay access denied"},
        {"relay_domains_reject_code = 250\n", "a@s.test", "x@e.test", "450 4.7.1 Service unavailable"},
        {"unknown_virtual_mailbox_reject_code = 250\n", "a@s.test", "nobody@virt.test",
         "450 4.7.1 Service unavailable"},
        {"smtpd_relay_restrictions = permit_auth_destination, reject\n", "a@s.test", "x@e.test",
         "554 5.7.1 <x@e.test>: Recipient address rejected: Access denied"},
        {"smtpd_client_restrictions = reject\n", "a@s.test", "x@r.test",
         "554 5.7.1 <mail.friend.test[192.0.2.66]>: Client host rejected: Access denied"},
        {"smtpd_client_restrictions = reject\nsmtpd_delay_reject = no\n", "a@s.test", "x@r.test", NULL},
        {"smtpd_client_restrictions = permit, reject\nsmtpd_helo_restrictions = defer\n", "a@s.test", "x@r.test",
         "450 4.3.2 <c.test>: Helo command rejected: Try again later"},
        {"smtpd_sender_restrictions = reject\n", "", "x@r.test",
         "554 5.7.1 <>: Sender address rejected: Access denied"},
        {"smtpd_sender_restrictions = reject\n", "a@s.test", "PostMaster",
         "450 4.3.0 <PostMaster>: Recipient address rejected: local delivery is not available"},
        {"smtpd_client_restrictions = cidr:{{192.0.2.0/24 REJECT 5.1.8 no}}\n", "a@s.test", "x@r.test",
         "554 5.0.0 <mail.friend.test[192.0.2.66]>: Client host rejected: no"},
        {"smtpd_client_restrictions = fail:x\n", "a@s.test", "x@r.test",
         "451 4.3.5 <mail.friend.test[192.0.2.66]>: Client host rejected: Server configuration error"},
        {"smtpd_client_restrictions = warn_if_reject fail:x\n", "a@s.test", "x@r.test",
         "451 4.3.5 <mail.friend.test[192.0.2.66]>: Client host rejected: Server configuration error"},
        {"smtpd_client_restrictions = inline:{friend.test=REJECT}\n", "a@s.test", "x@r.test",
         "554 5.7.1 <mail.friend.test[192.0.2.66]>: Client host rejected: Access denied"},
        {"smtpd_client_restrictions = inline:{.friend.test=REJECT}\n", "a@s.test", "x@r.test", NULL},
        {"smtpd_client_restrictions = inline:{.friend.test=REJECT}\nparent_domain_matches_subdomains =\n", "a@s.test",
         "x@r.test", "554 5.7.1 <mail.friend.test[192.0.2.66]>: Client host rejected: Access denied"},
        {"smtpd_client_restrictions = inline:{192.0=REJECT, friend.test=OK}\n", "a@s.test", "x@r.test", NULL},
        {"smtpd_client_restrictions = regexp:{{/^friend/ REJECT}}\n", "a@s.test", "x@r.test", NULL},
        {"smtpd_client_restrictions = check_client_access\n", "a@s.test", "x@r.test",
         "451 4.3.5 Server configuration error"},
        {"smtpd_sender_restrictions = inline:{{<>=REJECT null}}\n", "", "x@r.test",
         "554 5.7.1 <>: Sender address rejected: null"},
        {"smtpd_sender_restrictions = inline:{joe@mx.example.test=REJECT}\n", "joe", "x@r.test",
         "554 5.7.1 <joe>: Sender address rejected: Access denied"},
        {"smtpd_sender_restrictions = regexp:{{/^(.*)@s/ REJECT $$1}}\n", "Joe@s.test", "x@r.test",
         "554 5.7.1 <Joe@s.test>: Sender address rejected: joe"},
        {"smtpd_sender_restrictions = inline:{joe@s.test=REJECT}\n", "joe+ext@s.test", "x@r.test",
         "554 5.7.1 <joe+ext@s.test>: Sender address rejected: Access denied"},
        {"smtpd_sender_restrictions = inline:{joe@=REJECT}\n", "joe+ext@s.test", "x@r.test",
         "554 5.7.1 <joe+ext@s.test>: Sender address rejected: Access denied"},
        {"smtpd_sender_restrictions = inline:{joe+ext@=REJECT}\n", "joe+ext@s.test", "x@r.test",
         "554 5.7.1 <joe+ext@s.test>: Sender address rejected: Access denied"},
        {"smtpd_sender_restrictions = inline:{test=REJECT}\n", "joe+ext@s.test", "x@r.test",
         "554 5.7.1 <joe+ext@s.test>: Sender address rejected: Access denied"},
        {"smtpd_sender_restrictions = inline:{s.test=REJECT, joe@=OK}\n", "joe+ext@s.test", "x@r.test",
         "554 5.7.1 <joe+ext@s.test>: Sender address rejected: Access denied"},
        {"smtpd_sender_restrictions = reject_non_fqdn_sender\n", "joe", "x@r.test",
         "504 5.5.2 <joe>: Sender address rejected: need fully-qualified address"},
        {"smtpd_sender_restrictions = reject_non_fqdn_sender\n", "joe@host", "x@r.test",
         "504 5.5.2 <joe@host>: Sender address rejected: need fully-qualified address"},
        {"smtpd_sender_restrictions = reject_non_fqdn_sender\n", "joe@[1.2.3.4]", "x@r.test", NULL},
        {"smtpd_sender_restrictions = reject_non_fqdn_sender\n", "", "x@r.test", NULL},
        {"smtpd_recipient_restrictions = reject_non_fqdn_recipient, reject_unauth_destination\n", "", "joe@host",
         "504 5.5.2 <joe@host>: Recipient address rejected: need fully-qualified address"},
        {"smtpd_sender_restrictions = reject_unlisted_sender\n", "no@virt.test", "x@r.test",
         "550 5.1.0 <no@virt.test>: Sender address rejected: User unknown in virtual mailbox table"},
        {"smtpd_reject_unlisted_sender = yes\n", "no@virt.test", "x@r.test",
         "550 5.1.0 <no@virt.test>: Sender address rejected: User unknown in virtual mailbox table"},
        {"smtpd_reject_unlisted_sender = yes\n", "", "x@r.test", NULL},
        {"smtpd_recipient_restrictions = warn_if_reject reject_unlisted_recipient, reject_unauth_destination\n", "",
         "no@virt.test", "550 5.1.1 <no@virt.test>: Recipient address rejected: User unknown in virtual mailbox table"},
        {"smtpd_sender_restrictions = defer_if_permit\n", "a@s.test", "x@r.test",
         "450 4.7.0 <a@s.test>: Sender address rejected: defer_if_permit requested"},
        {"smtpd_sender_restrictions = defer_if_permit\nsmtpd_delay_reject = no\n", "a@s.test", "x@r.test",
         "450 4.7.0 <a@s.test>: Sender address rejected: defer_if_permit requested"},
        {"smtpd_sender_restrictions = defer_if_permit\n", "a@s.test", "no@virt.test",
         "450 4.7.0 <a@s.test>: Sender address rejected: defer_if_permit requested"},
        {"smtpd_sender_restrictions = defer_if_permit\n", "a@s.test", "x@e.test",
         "554 5.7.1 <x@e.test>: Relay access denied"},
        {"smtpd_sender_restrictions = defer_if_reject\n", "a@s.test", "x@e.test",
         "554 5.7.1 <x@e.test>: Relay access denied"},
        {"smtpd_relay_restrictions = defer_if_reject\n", "a@s.test", "x@e.test",
         "450 4.7.0 <x@e.test>: Recipient address rejected: defer_if_reject requested"},
        {"smtpd_relay_restrictions = defer_if_reject\nsmtpd_relay_before_recipient_restrictions = no\n", "a@s.test",
         "x@e.test", "554 5.7.1 <x@e.test>: Relay access denied"},
        {"smtpd_relay_restrictions = permit\n", "a@s.test", "x@e.test", "554 5.7.1 <x@e.test>: Relay access denied"},
        {"smtpd_relay_restrictions = permit\nsmtpd_recipient_restrictions = other\n", "a@s.test", "x@e.test",
         "554 5.7.1 <x@e.test>: Recipient address rejected: Access denied"},
        {"smtpd_client_restrictions = nosuch\n", "a@s.test", "x@r.test", "451 4.3.5 Server configuration error"},
        {"smtpd_client_restrictions = permit_inet_interfaces, reject\n", "a@s.test", "x@r.test",
         "554 5.7.1 <mail.friend.test[192.0.2.66]>: Client host rejected: Access denied"},
        {"smtpd_client_restrictions = permit_inet_interfaces, reject\nproxy_interfaces = 192.0.2.66\n", "a@s.test",
         "x@r.test", NULL},
    };

    assert_rows(rows, G_N_ELEMENTS(rows), ACCESS_RCPT);
}

static void names_in_helo(void **state)
{
    static const struct {
        const char *helo, *invalid, *non_fqdn;
    } rows[] = {
        {"c.test", NULL, NULL},
        {"c.test.", NULL, NULL},
        {"my_host.test", NULL, NULL},
        {"192.0.2.1", NULL, "need fully-qualified hostname"},
        {"[192.0.2.1]", NULL, NULL},
        {"[IPv6:2001:db8::1]", NULL, NULL},
        {"[192.0.2]", "invalid ip address", "invalid ip address"},
        {"[::1]", "invalid ip address", "invalid ip address"},
        {"localhost", NULL, "need fully-qualified hostname"},
        {"a..b", "Invalid name", "need fully-qualified hostname"},
        {"-a.test", "Invalid name", "need fully-qualified hostname"},
        {"a b.test", "Invalid name", "need fully-qualified hostname"},
        {"", "Invalid name", "need fully-qualified hostname"},
        {NULL, NULL, NULL},
    };
    g_auto(Rules) invalid = make_rules("smtpd_helo_restrictions = reject_invalid_helo_hostname\n", NULL);
    g_auto(Rules) non_fqdn = make_rules("smtpd_helo_restrictions = reject_non_fqdn_helo_hostname\n", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        AccessFacts facts = stranger("a@s.test", "x@r.test");
        facts.helo = rows[i].helo;
        g_autofree char *first =
            rows[i].invalid ? g_strdup_printf("501 5.5.2 <%s>: Helo command rejected: %s", facts.helo, rows[i].invalid)
                            : NULL;
        bool is_literal = rows[i].invalid && *facts.helo == '[';
        g_autofree char *second = rows[i].non_fqdn
                                      ? g_strdup_printf("%d 5.5.2 <%s>: Helo command rejected: %s",
                                                        is_literal ? 501 : 504, facts.helo, rows[i].non_fqdn)
                                      : NULL;
        assert_decision(&invalid, ACCESS_RCPT, &facts, first, NULL);
        assert_decision(&non_fqdn, ACCESS_RCPT, &facts, second, NULL);
    }
}

static void other_stages(void **state)
{
    g_auto(Rules) early = make_rules("smtpd_delay_reject = no\nsmtpd_client_restrictions = reject\n"
                                     "smtpd_helo_restrictions = reject\nsmtpd_sender_restrictions = reject\n",
                                     NULL);
    g_auto(Rules) late = make_rules("smtpd_client_restrictions = reject\n", NULL);
    g_auto(Rules) content =
        make_rules("smtpd_data_restrictions = reject_unauth_pipelining, reject_multi_recipient_bounce\n"
                   "smtpd_end_of_data_restrictions = reject\nsmtpd_etrn_restrictions = reject\n",
                   NULL);
    g_auto(Rules) bare = make_rules("smtpd_data_restrictions = inline:{a=b}\n", NULL);
    g_auto(Rules) prepends =
        make_rules("smtpd_end_of_data_restrictions = check_sender_access inline:{{s.test=PREPEND a: b}}\n", NULL);
    AccessFacts facts = stranger(NULL, NULL);

    facts.state = "CONNECT";
    facts.helo = NULL;
    assert_decision(&early, ACCESS_CONNECT, &facts,
                    "554 5.7.1 <mail.friend.test[192.0.2.66]>: Client host rejected: Access denied", "");
    assert_decision(&late, ACCESS_CONNECT, &facts, NULL, "");
    facts.helo = "c.test";
    assert_decision(&early, ACCESS_HELO, &facts, "554 5.7.1 <c.test>: Helo command rejected: Access denied", "");
    assert_decision(&late, ACCESS_HELO, &facts, NULL, "");
    facts.sender = "a@s.test";
    assert_decision(&early, ACCESS_MAIL, &facts, "554 5.7.1 <a@s.test>: Sender address rejected: Access denied", "");
    assert_decision(&late, ACCESS_MAIL, &facts, NULL, "");
    facts.state = "DATA";
    facts.recipient = "x@r.test";
    facts.recipient_count = 1;
    assert_decision(&content, ACCESS_DATA, &facts, NULL, "");
    facts.improper_pipelining = true;
    assert_decision(&content, ACCESS_DATA, &facts,
                    "503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining", "");
    facts.improper_pipelining = false;
    facts.sender = "";
    facts.recipient = NULL;
    facts.recipient_count = 2;
    assert_decision(&content, ACCESS_DATA, &facts, "550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce",
                    "");
    assert_decision(&bare, ACCESS_DATA, &facts, "451 4.3.5 Server configuration error",
                    "warning: specify one of (check_client_access, check_reverse_client_hostname_access, "
                    "check_helo_access, check_sender_access, check_recipient_access, check_etrn_access) before Data "
                    "command restriction \"inline:{a=b}\"");
    facts.state = "END-OF-MESSAGE";
    assert_decision(&content, ACCESS_END_OF_DATA, &facts,
                    "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied", "");
    facts.sender = "a@s.test";
    g_autoptr(Decision) decision = access_check(prepends.access, ACCESS_END_OF_DATA, &facts);
    assert_int_equal(decision->prepend->len, 0);
    assert_int_equal(decision->log->len, 1);
    facts.state = "ETRN";
    facts.etrn_domain = "e.test";
    assert_decision(&content, ACCESS_ETRN, &facts, "554 5.7.1 <e.test>: Etrn command rejected: Access denied", "");
    assert_decision(&late, ACCESS_ETRN, &facts,
                    "554 5.7.1 <mail.friend.test[192.0.2.66]>: Client host rejected: Access denied", "");
    facts.state = "VRFY";
    facts.sender = NULL;
    facts.recipient = "x@e.test";
    assert_decision(&content, ACCESS_VRFY, &facts, "554 5.7.1 <x@e.test>: Relay access denied", "");
    facts.discarded = true;
    assert_decision(&content, ACCESS_VRFY, &facts, NULL, "");
}

static void bad_lists_do_not_start(void **state)
{
    static const char relaying[] =
        "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance "
        "of: "
        "reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains";
    static const struct {
        const char *extra, *error; /* NULL: starts */
    } rows[] = {
        {"smtpd_recipient_restrictions =\n", relaying},
        {"smtpd_recipient_restrictions = permit_mynetworks\n", relaying},
        {"smtpd_recipient_restrictions = permit, reject\n", relaying},
        {"smtpd_recipient_restrictions = warn_if_reject reject_unauth_destination\n", relaying},
        {"smtpd_recipient_restrictions = loop\n", relaying},
        {"smtpd_recipient_restrictions = check_recipient_access inline:{reject=reject}\n", relaying},
        {"smtpd_recipient_restrictions = other\n", NULL},
        {"smtpd_recipient_restrictions =\nsmtpd_relay_restrictions = Defer_Unauth_Destination\n", NULL},
        {"myclass = check_policy_service tcp:127.0.0.1:1\n",
         "myclass: restriction check_policy_service: invalid transport name: tcp in service: tcp:127.0.0.1:1"},
        {"myclass = check_policy_service\n", NULL},
        {"smtpd_client_restrictions = reject_plaintext_session\n", NULL},
        {"smtpd_client_restrictions = reject_rbl_client bl.test=127.0.0.[4..1]\n",
         "smtpd_client_restrictions: restriction reject_rbl_client: numeric range error at \"127.0.0.[4..>1<]\""},
        {"smtpd_client_restrictions = reject_rbl_client bl.test=127.0.0.[1..4]\n", NULL},
        {"smtpd_client_restrictions = check_client_access mongodb:/x\n",
         "smtpd_client_restrictions: restriction check_client_access: mongodb:/x: lookup tables of type mongodb are "
         "not "
         "supported"},
        {"smtpd_client_restrictions = check_ccert_access { inline:{a=b}, { search_order = name } }\n",
         "smtpd_client_restrictions: restriction check_ccert_access: unknown search_order name: \"name\""},
        {"smtpd_client_restrictions = check_ccert_access { inline:{a=b}, { search_order = } }\n",
         "smtpd_client_restrictions: restriction check_ccert_access: empty search_order"},
        {"smtpd_client_restrictions = check_ccert_access { inline:{a=b}, { order = cert_fingerprint } }\n",
         "smtpd_client_restrictions: restriction check_ccert_access: bad option: \"{ order = cert_fingerprint }\": "
         "need "
         "search_order = name..."},
        {"smtpd_restriction_classes = undefined\n", "restriction class `undefined' needs a definition"},
        {"smtpd_client_restrictions = texthash:/nonexistent\n", NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_auto(Rules) rules = make_rules(rows[i].extra, &error);
        if ((rules.access == NULL) != (rows[i].error != NULL))
            fail_msg("%s: %s", rows[i].extra, error ? error->message : "starts");
        if (error)
            assert_string_equal(error->message, rows[i].error);
    }
}

/* What TLS and the client's certificate decide. */
static void tls_decides(void **state)
{
    static const TlsFacts bare = {
        .cert_fingerprint = (char *)"", .key_fingerprint = (char *)"", .peer_name = (char *)""};
    static const TlsFacts untrusted = {.cert_fingerprint = (char *)"AA:BB",
                                       .key_fingerprint = (char *)"CC:DD",
                                       .peer_name = (char *)"a.test",
                                       .peer = TLS_PEER_UNTRUSTED};
    static const TlsFacts trusted = {.cert_fingerprint = (char *)"11:22",
                                     .key_fingerprint = (char *)"33:44",
                                     .peer_name = (char *)"b.test",
                                     .peer = TLS_PEER_TRUSTED};
    const struct {
        const char *rules;
        const TlsFacts *tls;
        const char *reply; /* NULL: permitted */
    } rows[] = {
        {"reject_plaintext_session, permit", NULL, "450 4.7.1 Session encryption is required"},
        {"reject_plaintext_session, permit", &bare, NULL},
        {"permit_tls_clientcerts, reject", NULL, "554 5.7.1"},
        {"permit_tls_clientcerts, reject", &bare, "554 5.7.1"},
        {"permit_tls_clientcerts, reject", &untrusted, NULL}, /* by its key */
        {"permit_tls_clientcerts, reject", &trusted, "554 5.7.1"},
        {"permit_tls_all_clientcerts, reject", &bare, "554 5.7.1"},
        {"permit_tls_all_clientcerts, reject", &trusted, NULL},
        {"permit_tls_all_clientcerts, reject", &untrusted, NULL},
        {"check_ccert_access inline:{{33:44=REJECT no},{AA:BB=OK}}, reject", NULL, "554 5.7.1"},
        {"check_ccert_access inline:{{33:44=REJECT no},{AA:BB=OK}}, reject", &untrusted, NULL},
        {"check_ccert_access inline:{{33:44=REJECT no}}, permit", &trusted,
         "554 5.7.1 <b.test>: Client certificate rejected: no"},
        {"check_ccert_access { inline:{{11:22=REJECT cert},{33:44=REJECT key}} }, permit", &trusted,
         "554 5.7.1 <b.test>: Client certificate rejected: cert"},
        {"check_ccert_access { inline:{{11:22=REJECT cert},{33:44=REJECT key}}, "
         "{ search_order = pubkey_fingerprint cert_fingerprint } }, permit",
         &trusted, "554 5.7.1 <b.test>: Client certificate rejected: key"},
        {"check_ccert_access { inline:{{11:22=REJECT cert}}, { search_order=pubkey_fingerprint } }, permit", &trusted,
         NULL},
        {"check_ccert_access { inline:{{11:22=REJECT cert}} search_order=cert_fingerprint }, permit", &trusted,
         "554 5.7.1 <b.test>"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *extra =
            g_strdup_printf("relay_clientcerts = inline:{{CC:DD=known}}\nrelay_domains = mine.test\n"
                            "smtpd_client_restrictions = %s\n"
                            "smtpd_delay_reject = yes\n",
                            rows[i].rules);
        g_autoptr(GError) error = NULL;
        g_auto(Rules) rules = make_rules(extra, &error);
        AccessFacts facts = stranger("a@s.test", "x@mine.test");
        if (error)
            fail_msg("%s: %s", rows[i].rules, error->message);
        facts.tls = rows[i].tls;
        g_autoptr(Decision) decision = access_check(rules.access, ACCESS_RCPT, &facts);
        if ((decision->kind == DECISION_REJECT) != (rows[i].reply != NULL) ||
            (rows[i].reply && !g_str_has_prefix(decision->reply, rows[i].reply)))
            fail_msg("%s: %s", rows[i].rules, decision->reply);
    }
}

/* Whose address a login may use. */
static void logins_own_addresses(void **state)
{
    static const char stranger_said[] = "553 5.7.1 <joe+x@mine.test>: Sender address rejected: not logged in";
    static const char not_ann[] = "553 5.7.1 <joe+x@mine.test>: Sender address rejected: not owned by user ann";
    const struct {
        const char *rule, *sender, *login;
        const char *reply; /* NULL: permitted */
    } rows[] = {
        {"reject_sender_login_mismatch", "joe+x@mine.test", NULL, stranger_said},
        {"reject_sender_login_mismatch", "joe+x@mine.test", "ann", not_ann},
        {"reject_sender_login_mismatch", "joe+x@mine.test", "JOE", NULL},
        {"reject_sender_login_mismatch", "joe@MINE.test", "boss", NULL},
        {"reject_sender_login_mismatch", "local@here.test", "ann", NULL},
        {"reject_sender_login_mismatch", "any@all.test", "ann", NULL},
        {"reject_sender_login_mismatch", "any@all.test", "joe",
         "553 5.7.1 <any@all.test>: Sender address rejected: not owned by user joe"},
        {"reject_sender_login_mismatch", "", "ann", NULL},
        {"reject_sender_login_mismatch", "nobody@s.test", NULL, NULL},
        {"reject_sender_login_mismatch", "nobody@s.test", "ann",
         "553 5.7.1 <nobody@s.test>: Sender address rejected: not owned by user ann"},
        {"reject_known_sender_login_mismatch", "nobody@s.test", "ann", NULL},
        {"reject_known_sender_login_mismatch", "joe+x@mine.test", "ann", not_ann},
        {"reject_known_sender_login_mismatch", "joe+x@mine.test", NULL, stranger_said},
        {"reject_authenticated_sender_login_mismatch", "joe+x@mine.test", "ann", not_ann},
        {"reject_authenticated_sender_login_mismatch", "joe+x@mine.test", NULL, NULL},
        {"reject_unauthenticated_sender_login_mismatch", "joe+x@mine.test", "ann", NULL},
        {"reject_unauthenticated_sender_login_mismatch", "joe+x@mine.test", NULL, stranger_said},
        {"check_sasl_access inline:{{ann=REJECT go}}", "", "ann", "554 5.7.1 <ann>: SASL login name rejected: go"},
        {"check_sasl_access inline:{{ann=REJECT go}}", "", "joe", NULL},
        {"check_sasl_access inline:{{ann=REJECT go}}", "", NULL, NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *extra =
            g_strdup_printf("smtpd_sender_login_maps = inline:{{joe@mine.test=joe, boss},{local=ann},{@all.test=ann}}\n"
                            "relay_domains = mine.test\nmydestination = here.test\nrecipient_delimiter = +\n"
                            "smtpd_client_restrictions = %s\n",
                            rows[i].rule);
        g_autoptr(GError) error = NULL;
        g_auto(Rules) rules = make_rules(extra, &error);
        AccessFacts facts = stranger(rows[i].sender, "x@mine.test");
        if (error)
            fail_msg("%s: %s", rows[i].rule, error->message);
        facts.sasl_enabled = true;
        facts.sasl_username = rows[i].login;
        g_autoptr(Decision) decision = access_check(rules.access, ACCESS_RCPT, &facts);
        if ((decision->kind == DECISION_REJECT) != (rows[i].reply != NULL) ||
            (rows[i].reply && strcmp(decision->reply, rows[i].reply) != 0))
            fail_msg("%s, %s, %s: %s", rows[i].rule, rows[i].sender, rows[i].login ? rows[i].login : "nobody",
                     decision->reply);
    }
}

static void replies_are_clean_and_short(void **state)
{
    g_autofree char *noise = g_strnfill(2000, 'n');
    g_autofree char *recipient = g_strconcat(noise, "\r\n@e.test", NULL);
    g_auto(Rules) rules = make_rules("", NULL);
    AccessFacts facts = stranger("a\n@s.test", recipient);
    g_autoptr(Decision) decision = access_check(rules.access, ACCESS_RCPT, &facts);

    assert_int_equal(strlen(decision->reply), 510);
    facts.recipient = "a\r\nb@e.test";
    g_autoptr(Decision) other = access_check(rules.access, ACCESS_RCPT, &facts);
    assert_null(strpbrk(other->reply, "\r\n"));
}

static void log_lines(void **state)
{
    AccessFacts facts = stranger("", "a b@r.test");
    g_autofree char *line = access_log_line("reject", &facts, "ESMTP", "554 no");
    AccessFacts early = {.state = "CONNECT", .client_name = "unknown", .client_addr = "::1"};
    g_autofree char *short_line = access_log_line("reject", &early, "SMTP", "554 no");

    assert_string_equal(line, "reject: RCPT from mail.friend.test[192.0.2.66]: 554 no; from=<> to=<\"a b\"@r.test> "
                              "proto=ESMTP helo=<c.test>");
    assert_string_equal(short_line, "reject: CONNECT from unknown[::1]: 554 no; proto=SMTP");
}

static int begin(void **state)
{
    g_autofree char *template = g_build_filename(g_get_tmp_dir(), "access-test-XXXXXX", NULL);

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

/* ---- Probes ---- */

/* Addresses are what their local part says; those that say nothing have no answer. */
static guint64 ask_probe(void *source, const void *question, TaskRef task, void **ret_answer)
{
    static const char *const kinds[] = {"ok", "later", "bad"}; /* by AddressStatus */
    const char *address = question;

    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (!g_str_has_prefix(address, kinds[i]))
            continue;
        AddressAnswer *answer = g_new0(AddressAnswer, 1);
        *answer = (AddressAnswer){(AddressStatus)i, g_strconcat("why of ", address, NULL)};
        *ret_answer = answer;
        return 0;
    }
    return 1;
}

static void *take_probe(void *source, guint64 number)
{
    return NULL;
}

static void cancel_probe(void *source, guint64 number)
{
}

static void free_probe(void *answer)
{
    g_free(((AddressAnswer *)answer)->text);
    g_free(answer);
}

static void unverified_addresses(void **state)
{
    static const struct {
        const char *recipient_list, *settings, *sender, *recipient, *reply, *log;
    } rows[] = {
        {"reject_unverified_recipient", "", "s@e.test", "ok@r.test", NULL, ""},
        {"reject_unverified_recipient", "", "s@e.test", "bad@r.test",
         "450 4.1.1 <bad@r.test>: Recipient address rejected: unverified address: why of bad@r.test", ""},
        {"reject_unverified_recipient", "unverified_recipient_reject_code = 550\n", "s@e.test", "bad@r.test",
         "550 5.1.1 <bad@r.test>: Recipient address rejected: undeliverable address: why of bad@r.test", ""},
        {"reject_unverified_recipient", "unverified_recipient_reject_code = 550\n", "s@e.test", "later@r.test",
         "450 4.1.1 <later@r.test>: Recipient address rejected: unverified address: why of later@r.test", ""},
        {"reject_unverified_recipient, reject", "unverified_recipient_reject_code = 550\n", "s@e.test", "later@r.test",
         "554 5.7.1 <later@r.test>: Recipient address rejected: Access denied", ""},
        {"reject_unverified_recipient, reject", "unverified_recipient_tempfail_action = defer\n", "s@e.test",
         "later@r.test",
         "450 4.1.1 <later@r.test>: Recipient address rejected: unverified address: why of later@r.test", ""},
        {"reject_unverified_recipient",
         "unverified_recipient_reject_code = 250\nunverified_recipient_defer_code = 250\n", "s@e.test", "later@r.test",
         NULL, ""},
        {"reject_unverified_recipient", "unverified_recipient_reject_code = 250\n", "s@e.test", "bad@r.test", NULL, ""},
        {"warn_if_reject, reject_unverified_recipient", "", "s@e.test", "later@r.test", NULL,
         "reject_warning: RCPT from mail.friend.test[192.0.2.66]: 450 4.1.1 <later@r.test>: Recipient address "
         "rejected: "
         "unverified address: why of later@r.test; from=<s@e.test> to=<later@r.test> proto=ESMTP helo=<c.test>"},
        {"reject_unverified_sender", "unverified_sender_reject_code = 550\nunverified_sender_reject_reason = no\n",
         "bad@e.test", "x@r.test", "550 5.1.7 <bad@e.test>: Sender address rejected: undeliverable address: no", ""},
        {"reject_unverified_sender", "", "", "x@r.test", NULL, ""},
        {"reject_unverified_sender", "", "double-bounce@mx.example.test", "x@r.test", NULL, ""},
        {"reject_unverified_recipient", "address_verify_poll_count = 1\n", "s@e.test", "unknown@r.test",
         "450 4.1.1 <unknown@r.test>: Recipient address rejected: unverified address: Address verification in progress",
         ""},
        {"reject", "", "s@e.test", "Double-Bounce@mx.example.test", NULL, ""},
    };
    static const InquiryKind kind = {ask_probe, take_probe, cancel_probe, free_probe, NULL, NULL};
    int source;
    const Prober prober = {&kind, &source};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *extra = g_strdup_printf(
            "smtpd_relay_restrictions = reject_unauth_destination\nsmtpd_recipient_restrictions = %s\n%s",
            rows[i].recipient_list, rows[i].settings);
        g_auto(Rules) rules = make_rules(extra, &error);
        g_autoptr(Inquiry) inquiry = inquiry_new(0, &account);
        AccessFacts facts = stranger(rows[i].sender, rows[i].recipient);
        assert_null(error);
        assert_int_equal(access_may_probe(rules.access), strstr(rows[i].recipient_list, "unverified") != NULL);
        facts.prober = &prober;
        facts.inquiry = inquiry;
        assert_decision(&rules, ACCESS_RCPT, &facts, rows[i].reply, rows[i].log);
    }
}

/* It is waited for, and looked for again and again meanwhile. */
static void an_unknown_address_is_waited_for(void **state)
{
    static const InquiryKind kind = {ask_probe, take_probe, cancel_probe, free_probe, NULL, NULL};
    int source;
    const Prober prober = {&kind, &source};
    g_autoptr(GError) error = NULL;
    g_auto(Rules) rules = make_rules("smtpd_recipient_restrictions = reject_unauth_destination, "
                                     "reject_unverified_recipient\naddress_verify_poll_delay = 1s\n"
                                     "address_verify_poll_count = 2\n",
                                     &error);
    g_autoptr(Inquiry) inquiry = inquiry_new(0, &account);
    AccessFacts facts = stranger("s@e.test", "unknown@r.test");
    gint64 began = clock_ms();
    int looks = 0;

    facts.prober = &prober;
    facts.inquiry = inquiry;
    for (;; looks++) {
        g_autoptr(Decision) decision = access_check(rules.access, ACCESS_RCPT, &facts);
        if (decision->kind != DECISION_NEED) {
            assert_non_null(strstr(decision->reply, "Address verification in progress"));
            break;
        }
        gint64 deadline = inquiry_deadline(inquiry);
        assert_true(deadline <= began + 10000);
        while (clock_ms() < deadline)
            g_usleep(1000);
    }
    assert_true(looks >= 3);
    assert_true(clock_ms() - began >= 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actions_of_tables),
        cmocka_unit_test(actions_have_effects),
        cmocka_unit_test(restrictions_at_rcpt),
        cmocka_unit_test(names_in_helo),
        cmocka_unit_test(other_stages),
        cmocka_unit_test(bad_lists_do_not_start),
        cmocka_unit_test(tls_decides),
        cmocka_unit_test(logins_own_addresses),
        cmocka_unit_test(replies_are_clean_and_short),
        cmocka_unit_test(log_lines),
        cmocka_unit_test(unverified_addresses),
        cmocka_unit_test(an_unknown_address_is_waited_for),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
