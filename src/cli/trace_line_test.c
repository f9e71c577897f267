/* trace_line_test.c */
#include "cli/trace_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define HEAD "Nov 22 08:42:08 mx postfix/"
#define NOW (1795336928 * (gint64)G_USEC_PER_SEC) /* 2026-11-22 08:42:08 UTC */

static void test_shapes(void **state)
{
    static const struct {
        const char *line;
        bool fine;
        TraceKind kind;
        const char *queue_id, *trace, *queued_as, *verdict, *client, *sender;
    } table[] = {
        {HEAD "smtpd[7]: connect from a[192.0.2.1]", true, TRACE_CONNECT, .client = "a[192.0.2.1]"},
        {HEAD "smtpd[7]: disconnect from a[192.0.2.1] ehlo=1 commands=1", true, TRACE_DISCONNECT,
         .client = "a[192.0.2.1]"},
        {HEAD "smtpd[7]: NOQUEUE: client=a[192.0.2.1], trace=bcd", true, TRACE_CLIENT, .trace = "bcd",
         .client = "a[192.0.2.1]"},
        {HEAD "smtpd[7]: NOQUEUE: client=a[192.0.2.1]:25", true, TRACE_CLIENT, .client = "a[192.0.2.1]:25"},
        {HEAD "smtpd[7]: NOQUEUE: reject: RCPT from a[192.0.2.1]: 554 5.7.1 no; from=<s@x> to=<r@x> proto=ESMTP "
              "helo=<h> trace=bcd",
         true, TRACE_REJECT, .trace = "bcd", .client = "a[192.0.2.1]", .sender = "s@x"},
        {HEAD "smtpd[7]: warning: connect to proxy filter 127.0.0.1:1: Connection refused trace=bcd", true,
         TRACE_TROUBLE, .trace = "bcd"},
        {HEAD "smtpd[7]: lost connection after DATA (5 bytes) from a[192.0.2.1]", true, TRACE_BROKEN},
        {HEAD "smtpd[7]: proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as 71CBC123456; from=<s@x> to=<r@x> "
              "proto=ESMTP helo=<h> "
              "delay=1.000 delays=receive:0.500/wait:0.100/filter:0.400 trace=bcd",
         true, TRACE_PROXY, .trace = "bcd", .queued_as = "71CBC123456", .verdict = "accept", .sender = "s@x"},
        {HEAD "smtpd[7]: proxy-reject: END-OF-MESSAGE: 550 queued as 71CBC123456; from=<> to=<r@x> proto=ESMTP", true,
         TRACE_PROXY, .verdict = "reject", .sender = ""},
        /* what strangers say is not believed */
        {HEAD "smtpd[7]: proxy-accept: END-OF-MESSAGE: 250 ok; from=<s@x> to=<r@x> proto=ESMTP helo=<h trace=forged>",
         true, TRACE_PROXY, .verdict = "accept", .sender = "s@x"},
        {HEAD "smtpd[7]: warning: Illegal address syntax from a[192.0.2.1] in MAIL command: x trace=forged", true,
         TRACE_OTHER},
        {HEAD
         "smtpd[7]: proxy-accept: END-OF-MESSAGE: 250 queued as 71CBC123456 later; from=<s@x> to=<r@x> proto=ESMTP",
         true, TRACE_PROXY, .verdict = "accept", .sender = "s@x"},
        {HEAD "smtpd[7]: proxy-accept: END-OF-MESSAGE: 250", true, TRACE_PROXY, .verdict = "accept"},
        {HEAD "cleanup[7]: 71CBC123456: message-id=<x, orig_queue_id=forged>", true, TRACE_QUEUE,
         .queue_id = "71CBC123456"},
        {HEAD "filter[7]: warning: lost connection with next hop 127.0.0.1:1 trace=bcd", true, TRACE_TROUBLE,
         .trace = "bcd"},
        {HEAD "filter[7]: filter-quarantine: END-OF-MESSAGE: 250 2.0.0 Ok: queued as 3kq8w0fd; from=<s@x> to=<r@x> "
              "nrcpt=1 client=a[192.0.2.1] "
              "delay=0.1 delays=checks:0.1 reason=checks: x trace:forged trace=bcd",
         true, TRACE_FILTER, .trace = "bcd", .queued_as = "3kq8w0fd", .verdict = "quarantine", .sender = "s@x"},
        {HEAD "smtpd[7]: 71CBC123456: client=localhost[127.0.0.1], orig_queue_id=bcd, orig_client=a[192.0.2.1]", true,
         TRACE_QUEUED, .queue_id = "71CBC123456", .trace = "bcd", .client = "localhost[127.0.0.1]"},
        {HEAD "qmgr[7]: 71CBC123456: from=<s@x>, size=5, nrcpt=1 (queue active)", true, TRACE_QUEUE,
         .queue_id = "71CBC123456", .sender = "s@x"},
        {HEAD "virtual[7]: 71CBC123456: to=<r@x>, relay=virtual, delay=0.03, delays=0.02/0/0/0, dsn=2.0.0, status=sent "
              "(delivered to maildir)",
         true, TRACE_DELIVERY, .queue_id = "71CBC123456", .verdict = "sent"},
        {HEAD "cleanup[7]: warning: 71CBC123456: message rejected: hopcount exceeded", true, TRACE_QUEUE,
         .queue_id = "71CBC123456"},
        {HEAD "qmgr[7]: x: y", true, TRACE_OTHER},
        {"2026-11-22T08:42:08.5+00:00 mx postfix/in/smtpd[7]: connect from a[192.0.2.1]", true, TRACE_CONNECT,
         .client = "a[192.0.2.1]"},
        {"Nov  2 08:42:08.123456 mx smtpd[7]: connect from a[192.0.2.1]", true, TRACE_CONNECT,
         .client = "a[192.0.2.1]"},
        {"", false},
        {"Nov 22 08:42:08", false},
        {"Nov 22 08:42:08 mx", false},
        {"Nov 22 08:42:08 mx kernel: x", false},
        {"Nov 22 08:42:08 mx a[]: x", false},
        {"Nov 22 08:42:08 mx a[7]", false},
        {"Nov 22 08:42: mx a[7]: x", false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        TraceLine line;
        if (trace_line_parse(table[i].line, &line) != table[i].fine)
            fail_msg("%s", table[i].line);
        if (!table[i].fine)
            continue;
        const struct {
            TraceText text;
            const char *wanted;
        } parts[] = {{line.queue_id, table[i].queue_id},   {line.trace, table[i].trace},
                     {line.queued_as, table[i].queued_as}, {line.verdict, table[i].verdict},
                     {line.client, table[i].client},       {line.sender, table[i].sender}};
        if (line.kind != table[i].kind)
            fail_msg("kind %d: %s", line.kind, table[i].line);
        for (size_t k = 0; k < G_N_ELEMENTS(parts); k++) {
            g_autofree char *text = trace_text_dup(parts[k].text);
            if (strcmp(text, parts[k].wanted ? parts[k].wanted : "") != 0)
                fail_msg("\"%s\" in %s", text, table[i].line);
        }
    }
}

static void test_time(void **state)
{
    static const struct {
        const char *stamp;
        gint64 us;
    } table[] = {
        {"Nov 22 08:42:08", NOW},
        {"Nov 22 08:42:08.25", NOW + 250000},
        {"Nov 23 08:42:08", NOW + 86400 * (gint64)G_USEC_PER_SEC},             /* another zone's clock, perhaps */
        {"Nov 25 08:42:08", NOW - (365 - 3) * 86400 * (gint64)G_USEC_PER_SEC}, /* of last year */
        {"Dec 31 23:59:59", 1767225599 * (gint64)G_USEC_PER_SEC},
        {"2026-11-22T09:42:08.5+01:00", NOW + 500000},
        {"Xyz 22 08:42:08", -1},
        {"2026-99-22T09:42:08+01:00", -1},
    };

    setenv("TZ", "UTC", 1);
    tzset();
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *text = g_strconcat(table[i].stamp, " mx a/b[7]: x", NULL);
        TraceLine line;
        assert_true(trace_line_parse(text, &line));
        if (trace_line_time(&line, NOW) != table[i].us)
            fail_msg("%s: %" G_GINT64_FORMAT, table[i].stamp, trace_line_time(&line, NOW));
    }
}

static char *stages_of(const char *text)
{
    GString *found = g_string_new(NULL);
    TraceText name, seconds;
    TraceLine line;

    assert_true(trace_line_parse(text, &line));
    for (guint i = 0; trace_line_stage(&line, i, &name, &seconds); i++)
        g_string_append_printf(found, "%.*s=%.*s ", (int)name.len, name.at, (int)seconds.len, seconds.at);
    return g_string_free(found, FALSE);
}

static void test_stages(void **state)
{
    static const struct {
        const char *line, *wanted;
    } table[] = {
        {HEAD
         "smtpd[7]: proxy-accept: END-OF-MESSAGE: 250 delays=x:9; from=<delays=y:9> to=<r@x> proto=ESMTP delay=1.000 "
         "delays=receive:0.500/wait:0.100/filter:0.400 trace=bcd",
         "receive=0.500 wait=0.100 filter=0.400 "},
        {HEAD
         "filter[7]: filter-accept: END-OF-MESSAGE: 250 x; from=<s@x> to=<r@x> nrcpt=1 client=a[192.0.2.1] delay=1.25 "
         "delays=checks:0.01/a:b:1.2/nexthop:0.04 reason=x delays=z:1",
         "checks=0.01 a:b=1.2 nexthop=0.04 "},
        {HEAD "virtual[7]: 71CBC123456: to=<r@x>, relay=virtual, delay=0.03, delays=0.02/0/0/1.5, dsn=2.0.0, "
              "status=sent (x)",
         "before queue manager=0.02 in queue manager=0 connection=0 delivery=1.5 "},
        {HEAD "virtual[7]: 71CBC123456: to=<r@x>, relay=virtual, delay=0.03, delays=0.02/evil/0/1.5, dsn=2.0.0",
         "before queue manager=0.02 "},
        {HEAD "smtpd[7]: proxy-accept: END-OF-MESSAGE: 250 x; from=<s@x> to=<r@x> proto=ESMTP", ""},
        {HEAD "smtpd[7]: connect from delays=a:1", ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *found = stages_of(table[i].line);
        assert_string_equal(found, table[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_time),
                                       cmocka_unit_test(test_stages)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
