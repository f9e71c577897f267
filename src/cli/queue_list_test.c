#include "cli/queue_list.h"

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

typedef struct {
    char *directory;
    Spool *spool;
} Fixture;

static int set_up(void **state)
{
    Fixture *fixture = g_new0(Fixture, 1);

    setenv("TZ", "UTC", 1);
    tzset();
    fixture->directory = g_dir_make_tmp("queue-list-XXXXXX", NULL);
    g_autofree char *queue = g_strconcat(fixture->directory, "/gatepost", NULL);
    SpoolOptions options = {.directory = queue};
    fixture->spool = spool_open(&options, NULL);
    *state = fixture;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;

    nftw(fixture->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    spool_free(fixture->spool);
    g_free(fixture->directory);
    g_free(fixture);
    return 0;
}

static char *store(Fixture *fixture, const char *sender, const char *recipients, bool hold)
{
    g_autoptr(Envelope) envelope = envelope_new();
    g_auto(GStrv) addresses = g_strsplit(recipients, " ", 0);
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    char *id = g_strdup(spool_writer_id(writer));
    g_autofree char *content = g_strnfill(1297, 'x');

    envelope->sender = g_strdup(sender);
    envelope->arrival_us = G_GINT64_CONSTANT(1795337512123456); /* Sun Nov 22 08:51:52 2026 */
    for (guint i = 0; addresses[i]; i++)
        envelope_add(envelope, addresses[i]);
    spool_write(writer, content, 1297);
    assert_true(spool_commit(writer, envelope, hold, NULL));
    return id;
}

static void add_result(Fixture *fixture, const char *id, guint recipient, ResultStatus status, const char *text)
{
    g_autoptr(SpoolMessage) message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
    Result result = {
        .recipient = recipient, .status = status, .dsn = "4.4.1", .relay = (char *)"none", .text = (char *)text};

    assert_true(spool_message_add_result(message, &result, false, NULL));
}

static char *list(Fixture *fixture, const GPtrArray *active, QueueListForm form, bool long_ids)
{
    QueueList queue;

    assert_true(queue_list_read(fixture->spool, active, form, long_ids, &queue, NULL));
    GString *text = queue_list_text(&queue, form, long_ids);
    queue_list_clear(&queue);
    return g_string_free(text, FALSE);
}

static void an_empty_queue_says_so(void **state)
{
    g_autofree char *text = list(*state, NULL, QUEUE_LIST_TEXT, false);
    g_autofree char *json = list(*state, NULL, QUEUE_LIST_JSON, false);

    assert_string_equal(text, "Mail queue is empty\n");
    assert_string_equal(json, "");
}

#define REASON "connect to 127.0.0.1[127.0.0.1]:2999: Connection refused"

static void queues_have_their_order_and_form(void **state)
{
    g_autoptr(GPtrArray) active = g_ptr_array_new();
    g_autofree char *held = store(*state, "", "a@v.test", true);
    g_autofree char *deferred =
        store(*state, "s@x.test", "user@virt.example sent@virt.example c@virt.example d@virt.example", false);
    g_autofree char *incoming = store(*state, "s@x.test", "new@virt.example", false);
    g_autofree char *busy = store(*state, "s@x.test", "busy@virt.example", false);

    g_ptr_array_add(active, busy);
    add_result(*state, deferred, 0, RESULT_DEFERRED, REASON);
    add_result(*state, deferred, 1, RESULT_SENT, "fine");
    add_result(*state, deferred, 2, RESULT_DEFERRED, REASON);
    add_result(*state, deferred, 3, RESULT_DEFERRED, "a stranger's \x1b[2J"); /* nothing for the terminal */
    g_autofree char *text = list(*state, active, QUEUE_LIST_TEXT, false);
    g_autofree char *wanted = g_strdup_printf("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"
                                              "%s*    1297 Sun Nov 22 08:51:52  s@x.test\n"
                                              "                                         busy@virt.example\n\n"
                                              "%s    1297 Sun Nov 22 08:51:52  s@x.test\n"
                                              "                                         new@virt.example\n\n"
                                              "%s    1297 Sun Nov 22 08:51:52  s@x.test\n"
                                              "                    (" REASON ")\n"
                                              "                                         user@virt.example\n"
                                              "                                         c@virt.example\n"
                                              "%*s(a stranger\'s ?[2J)\n"
                                              "                                         d@virt.example\n\n"
                                              "%s!    1297 Sun Nov 22 08:51:52  MAILER-DAEMON\n"
                                              "                                         a@v.test\n\n"
                                              "-- 5 Kbytes in 4 Requests.\n",
                                              busy, incoming, deferred, 76 - 17, "", held);
    assert_string_equal(text, wanted);
}

static void long_ids_have_wider_columns(void **state)
{
    g_autofree char *id = store(*state, "s@x.test", "new@virt.example", false);
    g_autofree char *text = list(*state, NULL, QUEUE_LIST_TEXT, true);
    g_autofree char *wanted =
        g_strdup_printf("----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
                        "%-17s     1297 Sun Nov 22 08:51:52 s@x.test\n"
                        "                                         new@virt.example\n\n"
                        "-- 1 Kbytes in 1 Request.\n",
                        id);

    assert_string_equal(text, wanted);
}

static void json_is_an_object_a_line(void **state)
{
    g_autofree char *id = store(*state, "s@x.test", "a@v.test b@v.test", false);

    add_result(*state, id, 0, RESULT_DEFERRED, "said \"no\" \\ \t\xff");
    g_autofree char *text = list(*state, NULL, QUEUE_LIST_JSON, false);
    g_autofree char *wanted = g_strdup_printf(
        "{\"queue_name\": \"deferred\", \"queue_id\": \"%s\", \"arrival_time\": 1795337512, \"message_size\": 1297, "
        "\"forced_expire\": false, \"sender\": \"s@x.test\", \"recipients\": [{\"address\": \"a@v.test\", "
        "\"delay_reason\": \"said \\\"no\\\" \\\\ \\u0009\xef\xbf\xbd\"}, {\"address\": \"b@v.test\"}]}\n",
        id);
    assert_string_equal(text, wanted);
}

static void what_is_being_received_is_left_out(void **state)
{
    Fixture *fixture = *state;
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    g_autofree char *text = list(fixture, NULL, QUEUE_LIST_TEXT, false);

    assert_string_equal(text, "Mail queue is empty\n");
    spool_abort(writer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_queue_says_so),   TEST(queues_have_their_order_and_form),   TEST(long_ids_have_wider_columns),
        TEST(json_is_an_object_a_line), TEST(what_is_being_received_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
