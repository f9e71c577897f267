/* trace_find_test.c - messages found again in logs of a few lines, in lists, and as they are shown. */
#include "cli/trace_list.h"
#include "cli/trace_show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define AFTER " from=<s@x> to=<r@x> proto=ESMTP helo=<h>"

/* Two messages in one session of the client and, as far as the filter goes, in one of the filter; a session of the same
 * number before. */
static const char *const traced[] = {
    "smtpd[5]: connect from old[192.0.2.9]",
    "smtpd[5]: disconnect from old[192.0.2.9] commands=0/0",
    "smtpd[5]: connect from up[192.0.2.1]",
    "smtpd[5]: improper command pipelining after EHLO from up[192.0.2.1]",
    "filter[6]: connect from unknown[127.0.0.1]",
    "smtpd[5]: NOQUEUE: client=up[192.0.2.1], trace=first",
    "smtpd[7]: AAAAAA1: client=localhost[127.0.0.1], orig_queue_id=first, orig_client=up[192.0.2.1]",
    "cleanup[7]: AAAAAA1: message-id=<1@x>",
    "filter[6]: filter-accept: END-OF-MESSAGE: 250 queued as AAAAAA1; from=<s@x> to=<r@x> nrcpt=1 client=up[192.0.2.1] "
    "trace=first",
    "smtpd[5]: proxy-accept: END-OF-MESSAGE: 250 queued as AAAAAA1;" AFTER
    " delay=3.000 delays=receive:1.000/wait:0.000/filter:2.000 trace=first",
    "smtpd[5]: warning: between",
    "smtpd[5]: NOQUEUE: client=up[192.0.2.1], trace=second",
    "filter[6]: warning: inspector x: not inspected",
    "filter[6]: filter-reject: END-OF-MESSAGE: 550 no; from=<s@x> to=<r@x> nrcpt=1 client=up[192.0.2.1] trace=second",
    "smtpd[5]: proxy-reject: END-OF-MESSAGE: 550 no;" AFTER " trace=second",
    "smtpd[5]: lost connection after END-OF-MESSAGE from up[192.0.2.1]",
    "smtpd[5]: disconnect from up[192.0.2.1] mail=2 commands=2",
    "smtpd[5]: connect from new[192.0.2.8]",
    "virtual[8]: AAAAAA1: to=<r@x>, relay=virtual, delay=0.5, delays=0.1/0.1/0.1/0.2, dsn=2.0.0, status=sent "
    "(delivered to maildir)",
    "qmgr[9]: AAAAAA1: removed",
    NULL};

/* No ids: a foreign filter and Postfix. */
static const char *const plain[] = {"smtpd[5]: connect from up[192.0.2.1]",
                                    "smtpd[5]: NOQUEUE: client=up[192.0.2.1]",
                                    "smtpd[7]: AAAAAA1: client=localhost[127.0.0.1]",
                                    "qmgr[9]: AAAAAA1: from=<s@x>, size=5, nrcpt=1 (queue active)",
                                    "smtpd[5]: proxy-accept: END-OF-MESSAGE: 250 fine: queued as AAAAAA1;" AFTER
                                    " trace=named",
                                    "smtpd[5]: NOQUEUE: client=up[192.0.2.1]",
                                    "smtpd[5]: NOQUEUE: client=up[192.0.2.1], trace=mute",
                                    "smtpd[7]: BBBBBB1: client=localhost[127.0.0.1]",
                                    "qmgr[9]: BBBBBB1: from=<s@x>, size=5, nrcpt=1 (queue active)",
                                    "qmgr[9]: CCCCCC1: from=<other@x>, size=5, nrcpt=1 (queue active)",
                                    "smtpd[5]: proxy-accept: END-OF-MESSAGE: 250 fine;" AFTER " trace=mute",
                                    "smtpd[5]: disconnect from up[192.0.2.1] mail=2 commands=2",
                                    NULL};

static void feed(TraceFind *find, const char *const *lines, bool candidates)
{
    for (guint i = 0; lines[i]; i++) {
        g_autofree char *raw = g_strdup_printf("Nov 22 08:42:%02u mx postfix/%s", i, lines[i]);
        TraceLine line;
        assert_true(trace_line_parse(raw, &line));
        if (candidates)
            trace_find_feed_candidate(find, &line, (gint64)(1 + i) * G_USEC_PER_SEC);
        else
            trace_find_feed(find, &line, raw, (gint64)(1 + i) * G_USEC_PER_SEC);
    }
}

static TraceFind *search(const char *const *lines, const char *id)
{
    TraceFind *find = trace_find_new(id);

    while (trace_find_again(find))
        feed(find, lines, false);
    if (trace_find_lost_sight(find))
        feed(find, lines, true);
    return find;
}

/* The numbers of the lines found, notes as they are, candidates with a "?". */
static char *found_in(const char *const *lines, const char *id)
{
    g_autoptr(TraceFind) find = search(lines, id);
    const GPtrArray *events = trace_find_events(find);
    g_autoptr(GPtrArray) notes = trace_find_notes(find);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < events->len; i++)
        g_string_append_printf(text, "%d ", (int)(((TraceEvent *)events->pdata[i])->time_us / G_USEC_PER_SEC - 1));
    for (guint i = 0; i < notes->len; i++)
        g_string_append_printf(text, "[%.12s] ", (char *)notes->pdata[i]);
    for (guint i = 0; i < trace_find_candidates(find)->len; i++)
        g_string_append_printf(text, "%s? ", (char *)trace_find_candidates(find)->pdata[i]);
    return g_string_free(text, FALSE);
}

static void test_find(void **state)
{
    static const struct {
        const char *const *lines;
        const char *id, *wanted;
    } table[] = {
        {traced, "first", "2 3 5 6 7 8 9 10 16 18 19 "},    {traced, "AAAAAA1", "2 3 5 6 7 8 9 10 16 18 19 "},
        {traced, "second", "2 3 11 12 13 14 15 16 "},       {traced, "third", ""},
        {plain, "AAAAAA1", "0 1 2 3 4 11 [the filter d] "}, {plain, "mute", "0 1 6 10 11 [lost sight b] BBBBBB1? "},
        {plain, "named", "0 1 2 3 4 11 [the filter d] "},   {plain, "CCCCCC1", "9 "},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *found = found_in(table[i].lines, table[i].id);
        assert_string_equal(found, table[i].wanted);
    }
}

static void test_bounds(void **state)
{
    g_autoptr(TraceFind) find = trace_find_new("AAAAAA1");
    static const char raw[] = "Nov 22 08:42:08 mx postfix/qmgr[9]: AAAAAA1: x";
    TraceLine line;

    assert_true(trace_line_parse(raw, &line));
    while (trace_find_again(find))
        for (guint i = 0; i < 2 * TRACE_EVENTS_MAX; i++)
            trace_find_feed(find, &line, raw, 1);
    assert_int_equal(trace_find_events(find)->len, TRACE_EVENTS_MAX);
    assert_true(trace_find_was_cut(find));
}

static void append_row(void *user, const TraceRow *row)
{
    g_string_append_printf(user, "%s %s %s %s\n", row->id ? row->id : "-", row->client ? row->client : "-",
                           row->verdict, row->text ? row->text : "-");
}

static char *rows_of(const char *const *lines, const char *client)
{
    GString *text = g_string_new(NULL);
    g_autoptr(TraceList) list = trace_list_new(client, append_row, text);

    for (guint i = 0; lines[i]; i++) {
        g_autofree char *raw = g_strdup_printf("Nov 22 08:42:%02u mx postfix/%s", i, lines[i]);
        TraceLine line;
        assert_true(trace_line_parse(raw, &line));
        trace_list_feed(list, &line, 1);
    }
    trace_list_finish(list);
    return g_string_free(text, FALSE);
}

static void test_list(void **state)
{
    static const char *const troubled[] = {"smtpd[5]: connect from up[192.0.2.1]",
                                           "smtpd[5]: warning: connect to proxy filter x: refused trace=one",
                                           "smtpd[5]: NOQUEUE: reject: RCPT from up[192.0.2.1]: 554 no;" AFTER
                                           " trace=two",
                                           "smtpd[5]: NOQUEUE: client=up[192.0.2.1], trace=two",
                                           "smtpd[5]: lost connection after DATA from up[192.0.2.1]",
                                           "smtpd[5]: disconnect from up[192.0.2.1] commands=1",
                                           "smtpd[6]: NOQUEUE: client=half[192.0.2.2]",
                                           "smtpd[7]: DDDDDD1: client=direct[192.0.2.3]",
                                           NULL};
    g_autofree char *all = rows_of(traced, NULL);
    g_autofree char *named = rows_of(traced, "UP");
    g_autofree char *none = rows_of(traced, "192.0.2.9");
    g_autofree char *trouble = rows_of(troubled, NULL);

    assert_string_equal(all, "first up[192.0.2.1] accept 250 queued as AAAAAA1\nsecond up[192.0.2.1] reject 550 no\n");
    assert_string_equal(named, all);
    assert_string_equal(none, "");
    assert_string_equal(trouble, "two up[192.0.2.1] reject NOQUEUE: reject: RCPT from up[192.0.2.1]: 554 no;" AFTER
                                 " trace=two\n"
                                 "one up[192.0.2.1] none warning: connect to proxy filter x: refused trace=one\n"
                                 "two up[192.0.2.1] none lost connection after DATA from up[192.0.2.1]\n"
                                 "DDDDDD1 direct[192.0.2.3] queued -\n"
                                 "- half[192.0.2.2] none -\n");
}

static void test_show(void **state)
{
    static const char *const hostile[] = {"qmgr[9]: AAAAAA1: from=<\x1b[2J\xff>, size=5", NULL};
    g_autoptr(TraceFind) find = search(traced, "first");
    g_autoptr(TraceFind) bad = search(hostile, "AAAAAA1");
    g_autoptr(GPtrArray) notes = trace_find_notes(find);
    g_autoptr(GString) text = g_string_new(NULL);

    setenv("TZ", "UTC", 1);
    tzset();
    trace_append_way(text, trace_find_events(find), notes, trace_find_candidates(find));
    assert_true(g_str_has_prefix(
        text->str, "trace     first\nqueue     AAAAAA1\nclient    up[192.0.2.1]\nfrom      <s@x>\nto        <r@x>\n"
                   "verdicts  filter accept, front accept, delivery sent\n\n1970-01-01 00:00:03  front     connect "));
    assert_non_null(
        strstr(text->str, "\n                               receive 1.000 s, wait 0.000 s, filter 2.000 s\n"));
    g_string_truncate(text, 0);
    trace_append_json_way(text, trace_find_events(find), notes, trace_find_candidates(find));
    assert_non_null(strstr(text->str, "\"stages\": [{\"seconds\": 1.000, \"name\": \"receive\"}, "));
    trace_append_way(text, trace_find_events(bad), notes, trace_find_candidates(find));
    trace_append_json_way(text, trace_find_events(bad), notes, trace_find_candidates(find));
    assert_null(strchr(text->str, '\x1b'));
    assert_true(g_utf8_validate(text->str, -1, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_bounds),
                                       cmocka_unit_test(test_list), cmocka_unit_test(test_show)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
