#include "filter/command_status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void statuses_have_their_meaning(void **state)
{
    static const struct {
        const char *spec;
        int code;
        const char *said;
        int kind; /* -1: no answer */
        const char *reply;
    } rows[] = {
        {NULL, 0, "noise", VERDICT_ACCEPT, NULL},
        {NULL, 69, "first\n\nlast line\n\n", VERDICT_REJECT, "550 5.7.1 last line"},
        {NULL, 69, "5.6.1 mine", VERDICT_REJECT, "550 5.6.1 mine"},
        {NULL, 69, "", VERDICT_REJECT, "550 5.7.1 Message refused"},
        {NULL, 75, "", VERDICT_TEMPFAIL, "451 4.3.0 temporary failure"},
        {NULL, 71, "", VERDICT_TEMPFAIL, "451 4.3.0 system resource problem"},
        {NULL, 65, "", VERDICT_REJECT, "550 5.6.0 data format error"},
        {NULL, 67, "", VERDICT_REJECT, "550 5.1.1 user unknown"},
        {NULL, 99, "", VERDICT_DISCARD, NULL},
        {NULL, 1, "", -1, NULL},
        {NULL, 127, "", -1, NULL},
        {"1:reject,2:tempfail", 1, "virus", VERDICT_REJECT, "550 5.7.1 virus"},
        {"1:reject, 2:tempfail", 2, "", VERDICT_TEMPFAIL, "451 4.7.1 Message refused"},
        {"1:quarantine 75:accept", 1, "", VERDICT_QUARANTINE, NULL},
        {"1:quarantine 75:accept", 75, "", VERDICT_ACCEPT, NULL},
        {"0:discard", 0, "", VERDICT_DISCARD, NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        CommandStatus status;
        g_auto(Verdict) verdict = {0};
        assert_true(command_status_init(&status, rows[i].spec, NULL));
        bool answer = command_status_apply(&status, rows[i].code, rows[i].said, &verdict);
        assert_int_equal(answer, rows[i].kind >= 0);
        if (answer)
            assert_int_equal(verdict.kind, rows[i].kind);
        if (rows[i].reply)
            assert_string_equal(verdict.reply, rows[i].reply);
    }
}

static void mistakes_are_named(void **state)
{
    static const char *const specs[] = {
        "1", "reject", "256:reject", "1:refuse", "-1:reject", "1:reject;2:accept", "1x:reject"};

    for (size_t i = 0; i < G_N_ELEMENTS(specs); i++) {
        CommandStatus status;
        g_autoptr(GError) error = NULL;
        assert_false(command_status_init(&status, specs[i], &error));
        assert_non_null(error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_have_their_meaning),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
