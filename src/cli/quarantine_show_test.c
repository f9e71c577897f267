/* quarantine_show_test.c - a record full of a stranger's tricks. */
#include "cli/quarantine_show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static QuarantineRecord *make_record(void)
{
    QuarantineRecord *record = g_new0(QuarantineRecord, 1);
    QuarantineState states[] = {QUARANTINE_HELD, QUARANTINE_RELEASED};
    QuarantineRecordVerdict *verdict = g_new0(QuarantineRecordVerdict, 1);
    QuarantineEvent *event = g_new0(QuarantineEvent, 1);

    record->id = g_strdup("bcdfghjk");
    record->stored_us = 1795336928123456;
    record->size = 17;
    record->reason = g_strdup("bad\x1b[2J\nid: x");
    record->trace = g_strdup("");
    record->nexthop = g_strdup("127.0.0.1:10026");
    record->envelope = envelope_new();
    record->envelope->sender = g_strdup("a b@x\x1b]0;x\x07");
    envelope_add(record->envelope, "one@x");
    envelope_add(record->envelope, "two\r\n@x");
    record->states = g_array_new(FALSE, FALSE, sizeof(QuarantineState));
    g_array_append_vals(record->states, states, 2);
    xf_attrs_set(&record->client, XF_ADDR, "192.0.2.1");
    xf_attrs_set(&record->client, XF_HELO,
                 "h\x1b"
                 "elo");
    record->verdicts = g_ptr_array_new();
    verdict->inspector = g_strdup("checks");
    verdict->action = g_strdup("quarantine");
    verdict->text = g_strdup("t\x1b"
                             "ext");
    verdict->milliseconds = 12;
    g_ptr_array_add(record->verdicts, verdict);
    record->events = g_ptr_array_new();
    event->at_us = record->stored_us;
    event->who = g_strdup("root");
    event->what = g_strdup("250\x1bOk");
    g_ptr_array_add(record->events, event);
    return record;
}

static void free_record(QuarantineRecord *record)
{
    QuarantineRecordVerdict *verdict = g_ptr_array_index(record->verdicts, 0);
    QuarantineEvent *event = g_ptr_array_index(record->events, 0);

    g_free(verdict->inspector);
    g_free(verdict->action);
    g_free(verdict->text);
    g_free(verdict);
    g_free(event->who);
    g_free(event->what);
    g_free(event);
    quarantine_record_free(record);
}

static void test_text(void **state)
{
    QuarantineRecord *record = make_record();
    g_autoptr(GString) out = g_string_new(NULL);

    setenv("TZ", "UTC", 1);
    quarantine_append_line(out, record);
    assert_string_equal(out->str,
                        "bcdfghjk  2026-11-22 08:42:08        17  quarantined  <\"a b\"@x?]0;x?> -> <one@x> (+1)"
                        "  [192.0.2.1]  bad?[2J?id: x\n");
    g_string_truncate(out, 0);
    quarantine_append_text(out, record);
    assert_string_equal(out->str, "id          bcdfghjk\nstate       quarantined\nreason      bad?[2J?id: x\n"
                                  "stored      2026-11-22 08:42:08\nsize        17\nsender      <\"a b\"@x?]0;x?>\n"
                                  "recipient   <one@x>  quarantined\nrecipient   <\"two\\?\\?\"@x>  released\n"
                                  "client      unknown[192.0.2.1] helo=h?elo\nnext hop    127.0.0.1:10026\n"
                                  "verdict     checks: quarantine (12 ms) t?ext\n"
                                  "history     2026-11-22 08:42:08 by root: 250?Ok\n");
    free_record(record);
}

static void test_json(void **state)
{
    QuarantineRecord *record = make_record();
    g_autoptr(GString) out = g_string_new(NULL);

    quarantine_append_json(out, record);
    assert_null(strpbrk(out->str, "\x1b\n\r"));
    assert_non_null(strstr(out->str, "\"reason\": \"bad\\u001b[2J\\u000aid: x\""));
    assert_non_null(strstr(out->str, "\"stored\": 1795336928.123456"));
    assert_non_null(strstr(out->str, "\"recipients\": [{\"address\": \"one@x\", \"state\": \"quarantined\"}, {"));
    assert_non_null(strstr(out->str, "\"client\": {\"address\": \"192.0.2.1\", \"helo\": \"h\\u001belo\"}"));
    free_record(record);
}

static void test_content(void **state)
{
    g_autoptr(GString) out = g_string_new(NULL);

    quarantine_append_content(out, "a\tb\x1b[1m\0c", 9, true);
    quarantine_append_content(out, "", 0, true);
    quarantine_append_content(out, "d", 1, false);
    assert_string_equal(out->str, "a\tb?[1m?c\n\nd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_content)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
