#include "filter/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Account account;
static const ContentPlace place = {.directory = "/tmp", .account = &account};

static const char *recipient_line(const Message *message, guint i)
{
    return ((MessageRecipient *)message->recipients->pdata[i])->line;
}

static const char *recipient_address(const Message *message, guint i)
{
    return ((MessageRecipient *)message->recipients->pdata[i])->address;
}

static void apply(Message *message, Verdict *verdict)
{
    int failure = 0;

    assert_true(message_apply(message, verdict, &place, &failure));
    verdict_clear(verdict);
}

static void addresses_are_read(void **state)
{
    static const struct {
        const char *line, *want;
    } rows[] = {
        {"MAIL FROM:<a@b> SIZE=10", "a@b"},   {"mail from: a@b", "a@b"}, {"MAIL FROM:<>", ""},
        {"MAIL FROM:<\"a b\"@c> X", "a b@c"}, {"MAIL FROM:", ""},        {"MAIL", ""},
        {"MAIL FROM:<@x:a@b>", "a@b"},
    };
    Message message;

    message_init(&message);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        message_begin(&message, rows[i].line);
        assert_string_equal(message.sender, rows[i].want);
    }
    message_clear(&message);
}

static void the_sender_is_changed_and_its_parameters_stay(void **state)
{
    Message message;
    Verdict verdict = {0};

    message_init(&message);
    message_begin(&message, "MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME");
    verdict_change_sender(&verdict, "c d@e");
    apply(&message, &verdict);
    assert_string_equal(message.mail, "MAIL FROM:<\"c d\"@e> SIZE=10 BODY=8BITMIME");
    assert_true(message.envelope_changed);
    verdict_change_sender(&verdict, "");
    apply(&message, &verdict);
    assert_string_equal(message.mail, "MAIL FROM:<> SIZE=10 BODY=8BITMIME");
    message_clear(&message);
}

static void recipients_are_changed(void **state)
{
    Message message;
    Verdict verdict = {0};

    message_init(&message);
    message_begin(&message, "MAIL FROM:<a@b>");
    message_add_recipient(&message, "RCPT TO:<x@y> NOTIFY=NEVER");
    message_add_recipient(&message, "RCPT TO:<z@y>");
    apply(&message, &verdict);
    assert_false(message.envelope_changed);

    verdict_add_recipient(&verdict, "X@Y"); /* is there already */
    apply(&message, &verdict);
    assert_false(message.envelope_changed);

    verdict_add_recipient(&verdict, "new one@y");
    verdict_remove_recipient(&verdict, "Z@y");
    apply(&message, &verdict);
    assert_true(message.envelope_changed);
    assert_int_equal(message.recipients->len, 2);
    assert_string_equal(recipient_line(&message, 0), "RCPT TO:<x@y> NOTIFY=NEVER");
    assert_string_equal(recipient_line(&message, 1), "RCPT TO:<\"new one\"@y>");

    verdict_redirect(&verdict, "only@y");
    apply(&message, &verdict);
    assert_int_equal(message.recipients->len, 1);
    assert_string_equal(recipient_address(&message, 0), "only@y");
    message_clear(&message);
}

static void content_is_changed_and_counted(void **state)
{
    Message message;
    Verdict verdict = {0};

    message_init(&message);
    message_begin(&message, "MAIL FROM:<a@b>");
    message.content = content_new("/tmp", &account);
    content_add(message.content, "A: b", 4, true);
    edits_splice(verdict_edits(&verdict), 1, 0, "C: d");
    apply(&message, &verdict);
    assert_int_equal(message.size, 12);

    verdict.content = content_new("/tmp", &account);
    content_add(verdict.content, "", 0, true);
    apply(&message, &verdict);
    assert_int_equal(message.size, 2);
    message_clear(&message);
    assert_int_equal(account.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(the_sender_is_changed_and_its_parameters_stay),
        cmocka_unit_test(recipients_are_changed),
        cmocka_unit_test(content_is_changed_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
