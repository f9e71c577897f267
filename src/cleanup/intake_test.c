#include "base/fd.h"
#include "base/log.h"
#include "cleanup/cleanup.h"
#include "mail/envelope_text.h"
#include "spool/spool_message.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define BASE "myhostname = mx.test\nmyorigin = mx.test\nmydestination = mx.test\nrecipient_delimiter = +\n"
#define OWN "Received: from x\n\tby mx.test"

/* One message and what came of it. */
typedef struct {
    const char *config;     /* main.cf, after BASE */
    const char *sender;     /* NULL: a@b.test */
    const char *recipients; /* between blanks; NULL: u@v.test */
    bool remote;            /* not a client whose headers are completed */
    bool no_mappings;
    const char *content; /* lines end with '\n' */
    const char *reply;   /* NULL: accepted */
    const char *stored; /* content behind our Received: header; QID for the queue id, TIME for its time, DATE. NULL: not
                           looked at */
    const char *envelope; /* "sender recipient<original recipient..."; NULL: not looked at */
    bool requiretls;      /* the envelope asks for it */
    const char *log;      /* lines without what stands before the id; NULL: not looked at */
} Case;

static char *directory; /* of the present test */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static int make_directory(void **state)
{
    directory = g_strdup("/tmp/gatepost-intake-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_clear_pointer(&directory, g_free);
    return 0;
}

static Config *read_config(const char *extra)
{
    const ConfigScope scope = {.process_name = "smtpd"};
    g_autofree char *path = g_strdup_printf("%s/main.cf", directory);
    g_autofree char *text = g_strconcat(BASE, extra, "\n", NULL);
    g_autoptr(GError) error = NULL;

    assert_true(g_file_set_contents(path, text, -1, NULL));
    g_autoptr(MainCf) main_cf = main_cf_read(directory, &error);
    assert_non_null(main_cf);
    Config *config = config_new(main_cf, &scope, &error);
    if (!config)
        fail_msg("%s", error->message);
    return config;
}

static Envelope *make_envelope(const Case *row)
{
    Envelope *envelope = envelope_new();
    g_auto(GStrv) recipients = g_strsplit(row->recipients ? row->recipients : "u@v.test", " ", -1);

    envelope->sender = g_strdup(row->sender ? row->sender : "a@b.test");
    envelope->origin.is_local = !row->remote;
    for (char **recipient = recipients; *recipient; recipient++)
        envelope_add(envelope, *recipient);
    return envelope;
}

static void feed(Intake *intake, const char *text, size_t portion)
{
    while (*text) {
        size_t line = strcspn(text, "\n");
        size_t len = MIN(line, portion);
        bool ends_line = len == line && text[len] == '\n';
        intake_content(intake, text, len, ends_line);
        text += len + ends_line;
    }
}

/* Replaces all of what by with. */
static char *replaced(const char *text, const char *what, const char *with)
{
    g_auto(GStrv) parts = g_strsplit(text, what, -1);

    return g_strjoinv(with, parts);
}

static char *stored_content(const SpoolMessage *message, const char *id)
{
    g_autoptr(GString) out = g_string_new(NULL);
    SpoolContent content = {.message = message};
    char buffer[100];
    ssize_t len;

    while ((len = spool_content_read(&content, buffer, sizeof buffer, NULL)) > 0)
        g_string_append_len(out, buffer, len);
    assert_int_equal(len, 0);
    assert_memory_equal(out->str, OWN "\n", strlen(OWN "\n"));
    g_autofree char *without_id = replaced(out->str + strlen(OWN "\n"), id, "QID");
    /* "Date: " of today; the message id begins with 14 digits */
    g_autoptr(GString) clean = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(without_id, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *dot = strstr(*line, ".QID@");
        const char *date = strstr(*line, "Date: ");
        if (dot && dot - *line > 14)
            g_string_append_printf(clean, "%.*sTIME%s", (int)(dot - *line - 14), *line, dot);
        else if (date && strstr(date, "+0000 (UTC)"))
            g_string_append_printf(clean, "%.*sDate: DATE", (int)(date - *line), *line);
        else
            g_string_append(clean, *line);
        if (line[1])
            g_string_append_c(clean, '\n');
    }
    return g_string_free(g_steal_pointer(&clean), FALSE);
}

static char *stored_envelope(const Envelope *envelope)
{
    GString *out = g_string_new(envelope->sender);

    for (guint i = 0; i < envelope->recipients->len; i++) {
        const Recipient *recipient = g_ptr_array_index(envelope->recipients, i);
        g_string_append_printf(out, " %s%s%s", recipient->address, *recipient->original ? "<" : "",
                               recipient->original);
    }
    return g_string_free(out, FALSE);
}

static char *read_log(const char *path, const char *id)
{
    g_autofree char *text = fd_read_file(path, 1 << 20, NULL, NULL);
    GString *out = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line; line++) {
        const char *tag = strstr(*line, "/cleanup[");
        const char *message = tag ? strstr(tag, "]: ") : NULL;
        if (!message)
            continue;
        g_autofree char *clean = replaced(message + 3, id, "QID");
        char *dot = strstr(clean, ".QID@");
        if (dot && dot - clean > 14)
            g_string_append_printf(out, "%.*sTIME%s\n", (int)(dot - clean - 14), clean, dot);
        else
            g_string_append_printf(out, "%s\n", clean);
    }
    return g_string_free(out, FALSE);
}

static void expect(const char *what, size_t row, const char *got, const char *want)
{
    if (want && strcmp(got, want) != 0)
        fail_msg("row %zu: %s:\n%s\n--- wanted:\n%s\n---", row, what, got, want);
}

static void run_in_portions(const Case *row, size_t number, size_t portion)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Config) config = read_config(row->config ? row->config : "");
    g_autofree char *spool_directory = g_strdup_printf("%s/spool", directory);
    g_autofree char *log_path = g_strdup_printf("%s/log", directory);
    auto_fd log_fd = open(log_path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    g_autoptr(Spool) spool =
        spool_open(&(SpoolOptions){spool_directory, config_bool(config, "enable_long_queue_ids")}, &error);
    assert_non_null(spool);
    log_set_tag("postfix", "smtpd");
    log_to_file(log_fd, "mx");
    g_autoptr(Cleanup) cleanup = cleanup_new(config, &error);
    if (!cleanup)
        fail_msg("%s", error->message);
    cleanup_use_spool(cleanup, spool);
    g_autoptr(Envelope) envelope = make_envelope(row);

    Intake *intake = intake_new(cleanup, envelope, &(IntakeOptions){.address_mappings = !row->no_mappings}, &error);
    assert_non_null(intake);
    g_autofree char *id = g_strdup(intake_id(intake));
    intake_prepend(intake, OWN);
    feed(intake, row->content, portion);
    g_autoptr(Reply) reply = intake_finish(intake, envelope);
    expect("reply", number, reply ? reply_text(reply) : "accepted", row->reply ? row->reply : "accepted");
    if (reply) {
        intake_abort(intake);
        assert_null(spool_message_open(spool, SPOOL_QUEUE, id, SPOOL_LOOK, NULL));
    } else {
        assert_null(intake_commit(intake, envelope, false));
        g_autoptr(SpoolMessage) message = spool_message_open(spool, SPOOL_QUEUE, id, SPOOL_LOOK, &error);
        assert_non_null(message);
        g_autofree char *content = stored_content(message, id);
        g_autofree char *people = stored_envelope(spool_message_envelope(message));
        expect("content", number, content, row->stored);
        expect("envelope", number, people, row->envelope);
        assert_int_equal(spool_message_envelope(message)->requiretls, row->requiretls);
    }
    g_autofree char *log = read_log(log_path, id);
    expect("log", number, log, row->log);
    log_to_stderr();
}

static void run_all(const Case *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        run_in_portions(&rows[i], i, 100000);
        run_in_portions(&rows[i], i, 3);
    }
}

static void headers_are_completed_for_local_clients(void **state)
{
    static const Case rows[] = {
        {.content = "Subject: x\n\nbody\n",
         .stored = "Subject: x\nMessage-Id: <TIME.QID@mx.test>\nDate: DATE\nFrom: a@b.test\n\nbody\n",
         .log = "QID: message-id=<TIME.QID@mx.test>\n"},
        {.sender = "",
         .content = "\n",
         .stored = "Message-Id: <TIME.QID@mx.test>\nDate: DATE\nFrom: MAILER-DAEMON\n\n"},
        {.sender = "two words",
         .content = "Date: x\nMessage-Id:\n <m@x>\n",
         .stored = "Date: x\nMessage-Id:\n <m@x>\nFrom: \"two words\"@mx.test\n",
         .log = "QID: message-id=<m@x>\n"},
        {.remote = true, .content = "From: joe\n\nb", .stored = "From: joe\n\nb\n", .log = "QID: message-id=<>\n"},
        {.remote = true,
         .config = "always_add_missing_headers = yes",
         .content = "From: joe\n\nb\n",
         .stored = "From: joe\nMessage-Id: <TIME.QID@mx.test>\nDate: DATE\n\nb\n"},
        {.content = "Resent-To: q\n\nb\n",
         .stored = "Resent-To: q@mx.test\nResent-Message-Id: <TIME.QID@mx.test>\nResent-Date: DATE\nResent-From: "
                   "a@b.test\n\nb\n",
         .log = "QID: resent-message-id=<TIME.QID@mx.test>\nQID: message-id=<>\n"},
        {.content = "Resent-Bcc: q\nMessage-Id: <>\n\nb\n",
         .stored =
             "Message-Id: <>\nResent-Message-Id: <TIME.QID@mx.test>\nResent-Date: DATE\nResent-From: a@b.test\n\nb\n",
         .log = "QID: message-id=<>\nQID: resent-message-id=<TIME.QID@mx.test>\n"},
        {.config = "undisclosed_recipients_header = To: u:;",
         .content = "From: a\nDate: d\nMessage-Id: m\n\nb\n",
         .stored = "From: a@mx.test\nDate: d\nMessage-Id: m\nTo: u:;\n\nb\n"},
        {.config = "undisclosed_recipients_header = To: u:;",
         .content = "Cc: c\nFrom: a\nDate: d\nMessage-Id: m\n\nb\n",
         .stored = "Cc: c@mx.test\nFrom: a@mx.test\nDate: d\nMessage-Id: m\n\nb\n"},
        {.config = "enable_long_queue_ids = yes",
         .content = "From: a\nDate: d\n\nb\n",
         .stored = "From: a@mx.test\nDate: d\nMessage-Id: <QID@mx.test>\n\nb\n"},
        {.content = "From: a\nDate: d\nMessage-Id: m\nno header\n",
         .stored = "From: a@mx.test\nDate: d\nMessage-Id: m\n\nno header\n"},
    };

    run_all(rows, G_N_ELEMENTS(rows));
}

static void addresses_in_headers_are_rewritten(void **state)
{
    static const Case rows[] = {
        {.content = "Date: d\nMessage-Id: m\nFrom: joe, \"X Y\" <jim>\nTo: u,\n  g: c (d);\nX-To: u\n\nTo: u\n",
         .stored = "Date: d\nMessage-Id: m\nFrom: joe@mx.test, \"X Y\" <jim@mx.test>\nTo: u@mx.test, g: c@mx.test "
                   "(d);\nX-To: u\n\nTo: u\n"},
        {.remote = true,
         .content = "Date : d\nTo \t :u,\n v\nX : y\nBcc : z\n\nX : y\n",
         .stored = "Date: d\nTo:u,\n v\nX: y\n\nX : y\n"},
        {.remote = true,
         .config = "remote_header_rewrite_domain = domain.invalid",
         .content = "From: joe\nTo: <>\nCc: x@y\n\n",
         .stored = "From: joe@domain.invalid\nTo: <>\nCc: x@y\n\n"},
        {.config = "canonical_maps = inline:{joe=Joe.Doe@c.test}\nsender_canonical_maps = inline:{jim@mx.test=jim2}\n"
                   "recipient_canonical_maps = inline:{jim@mx.test=jim3}\ncanonical_classes = header_sender, "
                   "header_recipient",
         .sender = "joe",
         .recipients = "jim joe",
         .content = "Date: d\nMessage-Id: m\nFrom: joe\nTo: jim\nCc: <joe>\n\n",
         .stored = "Date: d\nMessage-Id: m\nFrom: Joe.Doe@c.test\nTo: jim3@mx.test\nCc: <Joe.Doe@c.test>\n\n",
         .envelope = "joe@mx.test jim3@mx.test<jim joe@mx.test<joe"},
        {.config = "canonical_maps = inline:{joe=Joe.Doe@c.test}",
         .no_mappings = true,
         .sender = "joe",
         .content = "Date: d\nMessage-Id: m\nFrom: joe\n\n",
         .stored = "Date: d\nMessage-Id: m\nFrom: joe@mx.test\n\n",
         .envelope = "joe@mx.test u@v.test"},
        {.config = "canonical_maps = inline:{joe=Joe.Doe@c.test}",
         .remote = true,
         .sender = "joe@mx.test",
         .content = "From: joe@mx.test\n\n",
         .stored = "From: joe@mx.test\n\n",
         .envelope = "Joe.Doe@c.test u@v.test"},
        {.config = "masquerade_domains = !keep.m.test m.test\nmasquerade_exceptions = root",
         .sender = "joe@h.m.test",
         .recipients = "joe@h.m.test",
         .content = "Date: d\nMessage-Id: m\nFrom: joe@a.M.test\nTo: j@x.keep.m.test, root@h.m.test, k@xm.test\n\n",
         .stored = "Date: d\nMessage-Id: m\nFrom: joe@m.test\nTo: j@x.keep.m.test, root@h.m.test, k@xm.test\n\n",
         .envelope = "joe@m.test joe@h.m.test"},
    };

    run_all(rows, G_N_ELEMENTS(rows));
}

static void headers_are_dropped(void **state)
{
    static const Case rows[] = {
        {.remote = true,
         .content = "Bcc: x\nCONTENT-LENGTH : 1\nReturn-Path: <x>\nX: y\n continued\nBcc: x,\n y\n\nBcc: b\n",
         .stored = "X: y\n continued\n\nBcc: b\n"},
        {.remote = true, .config = "message_drop_headers = x", .content = "Bcc: b\nX: y\n\n", .stored = "Bcc: b\n\n"},
        {.remote = true,
         .config = "header_size_limit = 10",
         .content = "Long: 123456789\n folded\nB: c\n\n",
         .stored = "Long: 1234\nB: c\n\n"},
    };

    run_all(rows, G_N_ELEMENTS(rows));
}

static void limits_refuse(void **state)
{
    static const Case rows[] = {
        {.config = "hopcount_limit = 3",
         .remote = true,
         .content = "Received: 2\n\nReceived: 3\n",
         .stored = "Received: 2\n\nReceived: 3\n"},
        {.config = "hopcount_limit = 3",
         .content = "Received: 2\nReceived: 3\nMessage-Id: m\n\n",
         .reply = "554 5.4.0 Error: too many hops",
         .log = "warning: QID: message rejected: hopcount exceeded\nQID: removed (canceled)\n"},
        {.config = "message_size_limit = 20\nmailbox_size_limit = 100\nvirtual_mailbox_limit = 100",
         .remote = true,
         .content = "A: b\n\n1234567890\n",
         .stored = "A: b\n\n1234567890\n"},
        {.config = "message_size_limit = 20\nmailbox_size_limit = 100\nvirtual_mailbox_limit = 100",
         .remote = true,
         .content = "A: b\n\n12345678901\n",
         .reply = "552 5.3.4 Error: message file too big",
         .log = "QID: message-id=<>\nwarning: QID: queue file size limit exceeded\nQID: removed (canceled)\n"},
    };

    run_all(rows, G_N_ELEMENTS(rows));
}

#define ALIASES                                                                                                        \
    "virtual_alias_maps = inline:{al@v.test=dest@v.test, loop1@v.test=loop2@v.test, loop2@v.test=loop1@v.test,"        \
    " {self@v.test=SELF@v.test, other@v.test}, {two@v.test=one@v.test, dest2@v.test}, one@v.test=dest1@v.test, "       \
    "bare@v.test=name,"                                                                                                \
    " @catch.test=caught@v.test, deep@v.test=deep+x@v.test, {words@v.test=a b}, {dup@v.test=p@v.test p@v.test}, "      \
    "@dom.test=@v.test,"                                                                                               \
    " al2@v.test=al@v.test}\n"

static void aliases_are_expanded(void **state)
{
    static const Case rows[] = {
        {.config = ALIASES, .content = "\n", .recipients = "al@v.test", .envelope = "a@b.test dest@v.test<al@v.test"},
        {.config = ALIASES, .content = "\n", .recipients = "AL@V.test", .envelope = "a@b.test dest@v.test<AL@V.test"},
        {.config = ALIASES,
         .content = "\n",
         .recipients = "al+ext@v.test",
         .envelope = "a@b.test dest+ext@v.test<al+ext@v.test"},
        {.config = ALIASES,
         .content = "\n",
         .recipients = "self@v.test",
         .envelope = "a@b.test self@v.test other@v.test<self@v.test"},
        {.config = ALIASES,
         .content = "\n",
         .recipients = "two@v.test",
         .envelope = "a@b.test dest1@v.test<two@v.test dest2@v.test<two@v.test"},
        {.config = ALIASES,
         .content = "\n",
         .recipients = "bare@v.test user",
         .envelope = "a@b.test name@mx.test<bare@v.test user@mx.test<user"},
        {.config = ALIASES,
         .content = "\n",
         .recipients = "at@catch.test",
         .envelope = "a@b.test caught@v.test<at@catch.test"},
        {.config = ALIASES, .content = "\n", .recipients = "x@dom.test", .envelope = "a@b.test x@v.test<x@dom.test"},
        {.config = ALIASES,
         .content = "\n",
         .recipients = "words@v.test",
         .envelope = "a@b.test a@mx.test<words@v.test b@mx.test<words@v.test"},
        {.config = ALIASES,
         .content = "\n",
         .recipients = "dup@v.test p@v.test",
         .envelope = "a@b.test p@v.test<dup@v.test p@v.test"},
        {.config = ALIASES,
         .content = "\n",
         .recipients = "al@v.test",
         .no_mappings = true,
         .envelope = "a@b.test al@v.test"},
        {.config = ALIASES "enable_original_recipient = no",
         .content = "\n",
         .recipients = "dup@v.test p@v.test al@v.test al2@v.test",
         .envelope = "a@b.test p@v.test<dup@v.test dest@v.test<al@v.test"},
        {.content = "\n", .recipients = "x@v.test x@v.test X@v.test", .envelope = "a@b.test x@v.test"},
        {.config = ALIASES,
         .remote = true,
         .content = "\n",
         .recipients = "loop1@v.test",
         .reply = "451 4.6.0 Alias expansion error",
         .log = "QID: message-id=<>\nwarning: QID: unreasonable virtual_alias_maps map nesting for loop1@v.test -- "
                "message not accepted, try again later\n"
                "QID: removed (canceled)\n"},
        {.config = ALIASES "virtual_alias_address_length_limit = 20",
         .content = "\n",
         .recipients = "deep@v.test",
         .reply = "451 4.6.0 Alias expansion error"},
        {.config = ALIASES "virtual_alias_expansion_limit = 1",
         .content = "\n",
         .recipients = "two@v.test",
         .reply = "451 4.6.0 Alias expansion error"},
        {.config = "virtual_alias_maps = fail:1",
         .remote = true,
         .content = "\n",
         .reply = "451 4.3.0 Error: queue file write error"},
        {.config = "canonical_maps = fail:1",
         .content = "From: x\n\n",
         .reply = "451 4.3.0 Error: queue file write error"},
        {.config = ALIASES "always_bcc = arch\nsender_bcc_maps = inline:{a@b.test=sent@v.test}\nrecipient_bcc_maps = "
                           "inline:{@v.test=al@v.test}",
         .content = "\n",
         .recipients = "x@v.test",
         .envelope = "a@b.test x@v.test dest@v.test arch@mx.test sent@v.test"},
        {.config = "always_bcc = arch", .no_mappings = true, .content = "\n", .envelope = "a@b.test u@v.test"},
    };

    run_all(rows, G_N_ELEMENTS(rows));
}

static void a_copy_reports_to_nobody(void **state)
{
    const Case row = {.content = "\n", .recipients = "u@v.test"};
    g_autoptr(Config) config = read_config("always_bcc = arch");
    g_autofree char *spool_directory = g_strdup_printf("%s/spool", directory);
    g_autoptr(Spool) spool = spool_open(&(SpoolOptions){spool_directory, false}, NULL);
    g_autoptr(Cleanup) cleanup = cleanup_new(config, NULL);
    cleanup_use_spool(cleanup, spool);
    g_autoptr(Envelope) envelope = make_envelope(&row);
    Recipient *recipient = g_ptr_array_index(envelope->recipients, 0);

    recipient->notify = DSN_NOTIFY_SUCCESS;
    recipient->dsn_orcpt = g_strdup("rfc822;u@v.test");
    Intake *intake = intake_new(cleanup, envelope, &(IntakeOptions){.address_mappings = true}, NULL);
    assert_null(intake_finish(intake, envelope));
    intake_discard(intake);
    assert_int_equal(envelope->recipients->len, 2);
    recipient = g_ptr_array_index(envelope->recipients, 0);
    assert_string_equal(recipient->dsn_orcpt, "rfc822;u@v.test");
    assert_int_equal(recipient->notify, DSN_NOTIFY_SUCCESS);
    recipient = g_ptr_array_index(envelope->recipients, 1);
    assert_int_equal(recipient->notify, DSN_NOTIFY_NEVER);
    assert_null(recipient->dsn_orcpt);
}

static void bad_tables_are_refused_at_start(void **state)
{
    g_autoptr(Config) config = read_config("virtual_alias_maps = mongodb:x");
    g_autoptr(GError) error = NULL;

    assert_null(cleanup_new(config, &error));
    assert_non_null(error);
}

static void a_header_asks_for_tls(void **state)
{
    static const Case rows[] = {
        {.config = "requiretls_enable = yes",
         .content = "A: b\nRequire-TLS-ESMTP: yes\n\nb\n",
         .requiretls = true,
         .remote = true,
         .stored = "A: b\nRequire-TLS-ESMTP: yes\n\nb\n"},
        {.config = "requiretls_enable = yes\nmessage_drop_headers = require-tls-esmtp",
         .content = "REQUIRE-tls-esmtp : \n YES \n\nb\n",
         .requiretls = true,
         .remote = true,
         .stored = "\nb\n"},
        {.config = "requiretls_enable = yes", .content = "Require-TLS-ESMTP: no\n\nb\n"},
        {.config = "requiretls_enable = yes", .content = "A: b\n\nRequire-TLS-ESMTP: yes\n"},
        {.config = "requiretls_enable = yes\nrequiretls_esmtp_header = no", .content = "Require-TLS-ESMTP: yes\n\nb\n"},
        {.content = "Require-TLS-ESMTP: yes\n\nb\n"},
    };

    run_all(rows, G_N_ELEMENTS(rows));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        TEST(headers_are_completed_for_local_clients),
        TEST(addresses_in_headers_are_rewritten),
        TEST(headers_are_dropped),
        TEST(limits_refuse),
        TEST(aliases_are_expanded),
        TEST(a_copy_reports_to_nobody),
        TEST(a_header_asks_for_tls),
        TEST(bad_tables_are_refused_at_start),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
