#include "policy/policy_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A reply, and what becomes of it when the connection ends behind it. */
static const struct {
    const char *octets, *action, *trouble;
} replies[] = {
    {"action=DUNNO\n\n", "DUNNO", NULL},
    {"action=\n\n", "", NULL},
    {"action=REJECT a = b\n\n", "REJECT a = b", NULL},
    {"foo=bar\naction=first\naction=second\nbar=x\n\n", "first", NULL},
    {"nonsense\naction=x\n\n", "x", NULL},
    {"Action=y\naction =z\n\n", NULL, "missing attribute action in input from x:1"},
    {"\n", NULL, "missing attribute action in input from x:1"},
    {"foo=bar\n\n", NULL, "missing attribute action in input from x:1"},
    {"action\n\n", NULL, "missing value for string attribute action from x:1"},
    {"actions=x\n\n", NULL, "missing attribute action in input from x:1"},
    {"", NULL, NULL},
    {"action=REJ", NULL, "premature end-of-input on x:1 while reading input attribute value"},
    {"acti", NULL, "premature end-of-input on x:1 while reading input attribute name"},
    {"action=REJECT x\n", NULL, "premature end-of-input on x:1 while reading input attribute name"},
};

static void takes_replies(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
        for (size_t portion = 1; portion < 40; portion += 6) {
            const char *octets = replies[i].octets;
            size_t len = strlen(octets), used;
            PolicyReplyStatus status = POLICY_REPLY_MORE;
            PolicyReply reply;

            policy_reply_init(&reply);
            for (size_t at = 0; at < len && status == POLICY_REPLY_MORE; at += used)
                status = policy_reply_add(&reply, octets + at, MIN(portion, len - at), &used);
            if (replies[i].action) {
                assert_int_equal(status, POLICY_REPLY_WHOLE);
                assert_string_equal(reply.action, replies[i].action);
            } else {
                g_autofree char *trouble = policy_reply_trouble(
                    &reply, status == POLICY_REPLY_BAD ? POLICY_REPLY_IS_BAD : POLICY_REPLY_ENDED, "x:1");
                assert_int_not_equal(status, POLICY_REPLY_WHOLE);
                if (replies[i].trouble)
                    assert_string_equal(trouble, replies[i].trouble);
                else
                    assert_null(trouble);
            }
            policy_reply_clear(&reply);
        }
    }
}

static void leaves_what_comes_behind(void **state)
{
    static const char octets[] = "action=x\n\naction=y\n\n";
    PolicyReply reply;
    size_t used;

    policy_reply_init(&reply);
    assert_int_equal(policy_reply_add(&reply, octets, strlen(octets), &used), POLICY_REPLY_WHOLE);
    assert_int_equal(used, strlen("action=x\n\n"));
    policy_reply_clear(&reply);
}

static void ends_a_flood(void **state)
{
    static const char *const floods[] = {"x", "a=b\n", "action=ok\n"};

    for (size_t i = 0; i < G_N_ELEMENTS(floods); i++) {
        PolicyReplyStatus status = POLICY_REPLY_MORE;
        size_t used, rounds = 0;
        PolicyReply reply;

        policy_reply_init(&reply);
        for (; status == POLICY_REPLY_MORE; rounds++)
            status = policy_reply_add(&reply, floods[i], strlen(floods[i]), &used);
        assert_int_equal(status, POLICY_REPLY_BAD);
        assert_true(rounds * strlen(floods[i]) <= POLICY_REPLY_MAX + strlen(floods[i]));
        g_autofree char *trouble = policy_reply_trouble(&reply, POLICY_REPLY_IS_BAD, "x:1");
        assert_true(g_str_has_prefix(trouble, "string length > 16384 characters from x:1 while reading"));
        policy_reply_clear(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_replies),
        cmocka_unit_test(leaves_what_comes_behind),
        cmocka_unit_test(ends_a_flood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
