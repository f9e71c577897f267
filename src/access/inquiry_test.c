/* inquiry_test.c - questions are asked once, answers are kept as long as they should be, and nothing is left under way.
 */
#include "access/inquiry.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Account account;

/* A source that answers when it is told to. */
typedef struct {
    guint64 asked, cancelled;
    bool at_once;
    char *said; /* the answer to the last question */
} Source;

static guint64 ask(void *data, const void *question, TaskRef task, void **ret_answer)
{
    Source *source = data;

    source->asked++;
    if (source->at_once)
        *ret_answer = g_strdup(question);
    return source->at_once ? 0 : source->asked;
}

static void *take(void *data, guint64 number)
{
    Source *source = data;

    return number == source->asked ? g_steal_pointer(&source->said) : NULL;
}

static void cancel(void *data, guint64 number)
{
    ((Source *)data)->cancelled++;
}

static bool lasts(const void *answer)
{
    return strcmp(answer, "gone tomorrow") != 0;
}

static size_t size_of(const void *answer)
{
    return strlen(answer);
}

static const InquiryKind kind = {
    .ask = ask, .take = take, .cancel = cancel, .free = g_free, .size = size_of, .lasts = lasts};
static const InquiryKind passing = {.ask = ask, .take = take, .cancel = cancel, .free = g_free};

static void a_question_is_asked_once(void **state)
{
    Source source = {0};
    g_autoptr(Inquiry) inquiry = inquiry_new(0, &account);

    assert_null(inquiry_answer(inquiry, &kind, &source, "k", "q"));
    assert_null(inquiry_answer(inquiry, &kind, &source, "k", "q"));
    source.said = g_strdup("a");
    assert_string_equal(inquiry_answer(inquiry, &kind, &source, "k", "q"), "a");
    assert_string_equal(inquiry_answer(inquiry, &kind, &source, "k", "q"), "a");
    assert_int_equal(source.asked, 1);
    assert_int_equal(inquiry_deadline(inquiry), CLOCK_NEVER);
}

static void an_answer_may_be_there_at_once(void **state)
{
    Source source = {.at_once = true};
    g_autoptr(Inquiry) inquiry = inquiry_new(0, &account);

    assert_string_equal(inquiry_answer(inquiry, &kind, &source, "k", "now"), "now");
    assert_int_equal(source.asked, 1);
}

static void only_what_lasts_is_kept(void **state)
{
    Source source = {.at_once = true};
    g_autoptr(Inquiry) inquiry = inquiry_new(0, &account);

    inquiry_answer(inquiry, &kind, &source, "one", "stays");
    inquiry_answer(inquiry, &kind, &source, "two", "gone tomorrow");
    inquiry_answer(inquiry, &passing, &source, "three", "stays");
    inquiry_settled(inquiry);
    source.asked = 0;
    inquiry_answer(inquiry, &kind, &source, "one", "stays");
    assert_int_equal(source.asked, 0);
    inquiry_answer(inquiry, &kind, &source, "two", "gone tomorrow");
    inquiry_answer(inquiry, &passing, &source, "three", "stays");
    assert_int_equal(source.asked, 2);
}

static void a_session_keeps_so_many_answers(void **state)
{
    Source source = {.at_once = true};
    g_autoptr(Inquiry) inquiry = inquiry_new(0, &account);

    for (int i = 0; i <= INQUIRY_ANSWERS_MAX; i++) {
        g_autofree char *key = g_strdup_printf("%d", i);
        inquiry_answer(inquiry, &kind, &source, key, "stays");
    }
    inquiry_settled(inquiry);
    source.asked = 0;
    inquiry_answer(inquiry, &kind, &source, "0", "stays");
    assert_int_equal(source.asked, 1);
}

static void what_is_held_is_on_the_account(void **state)
{
    g_autofree char *much = g_strnfill(5000, 'x');
    Source source = {0};
    Inquiry *inquiry = inquiry_new(0, &account);

    assert_int_equal(account.used, 0);
    inquiry_slept(inquiry, "timer", 1);
    inquiry_answer(inquiry, &kind, &source, "k", "q");
    size_t before = account.used;
    assert_in_range(before, 1, 1000);
    source.said = g_strdup(much);
    for (int i = 0; i < 3; i++) /* counted once */
        assert_non_null(inquiry_answer(inquiry, &kind, &source, "k", "q"));
    assert_int_equal(account.used, before + 5000);
    inquiry_settled(inquiry); /* the timer is gone */
    assert_in_range(account.used, 5000, before + 4999);
    source.at_once = true;
    inquiry_answer(inquiry, &kind, &source, "other", much);
    assert_true(account.used > 10000);
    inquiry_free(inquiry);
    assert_int_equal(account.used, 0);
}

static void what_is_under_way_is_cancelled(void **state)
{
    Source source = {0};
    Inquiry *inquiry = inquiry_new(0, &account);

    inquiry_answer(inquiry, &kind, &source, "k", "q");
    inquiry_settled(inquiry);
    assert_int_equal(source.cancelled, 1);
    inquiry_answer(inquiry, &kind, &source, "k", "q");
    inquiry_free(inquiry);
    assert_int_equal(source.cancelled, 2);
}

static void timers_are_told_apart(void **state)
{
    g_autoptr(Inquiry) inquiry = inquiry_new(0, &account);

    assert_true(inquiry_slept(inquiry, "no time", 0));
    assert_false(inquiry_slept(inquiry, "long", 3600 * 1000));
    assert_false(inquiry_slept(inquiry, "longer", 7200 * 1000));
    gint64 left = inquiry_deadline(inquiry) - clock_ms();
    assert_in_range(left, 3500 * 1000, 3600 * 1000);
    inquiry_settled(inquiry);
    assert_int_equal(inquiry_deadline(inquiry), CLOCK_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_asked_once),       cmocka_unit_test(an_answer_may_be_there_at_once),
        cmocka_unit_test(only_what_lasts_is_kept),        cmocka_unit_test(a_session_keeps_so_many_answers),
        cmocka_unit_test(what_is_held_is_on_the_account), cmocka_unit_test(what_is_under_way_is_cancelled),
        cmocka_unit_test(timers_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
