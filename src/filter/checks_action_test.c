#include "filter/checks_action.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void actions_are_read(void **state)
{
    static const struct {
        const char *value;
        CheckAction action;
        const char *text;
    } rows[] = {
        {"REJECT", CHECK_REJECT, ""},
        {"reject  5.7.1  no ", CHECK_REJECT, "5.7.1  no "},
        {"Hold\tx", CHECK_QUARANTINE, "x"},
        {"QUARANTINE", CHECK_QUARANTINE, ""},
        {"OK x", CHECK_DUNNO, "x"},
        {"REJECTED", CHECK_UNKNOWN, ""},
        {"REJ", CHECK_UNKNOWN, ""},
        {"550 no", CHECK_UNKNOWN, "no"},
        {"", CHECK_UNKNOWN, ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const char *text;
        assert_int_equal(check_action_parse(rows[i].value, &text), rows[i].action);
        assert_string_equal(text, rows[i].text);
    }
}

static void addresses_have_two_halves(void **state)
{
    static const char *const rows[][2] = {
        {"a@b.example", "a@b.example"},
        {"<a@b.example>", "a@b.example"},
        {"\"a b\"@b.example", "a b@b.example"},
        {"", NULL},
        {"a", NULL},
        {"a@", NULL},
        {"@b", NULL},
        {"a b@c", NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *address = check_action_address(rows[i][0]);
        assert_int_equal(address != NULL, rows[i][1] != NULL);
        if (address)
            assert_string_equal(address, rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actions_are_read),
        cmocka_unit_test(addresses_have_two_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
