#include "smtpd/footer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *value_of(void *data, const char *name, bool *ret_exists)
{
    *ret_exists = strcmp(name, "nosuch") != 0;
    return strcmp(name, "client") == 0 ? "x$helo\x01[1.2.3.4]" : NULL;
}

static void templates_and_maps(void **state)
{
    static const struct {
        const char *reply, *footer, *maps, *wanted;
    } rows[] = {
        {"550 5.1.1 no", "", "", NULL},
        {"550 5.1.1 no", "call us", "", "call us"},
        {"550 5.1.1 no", "a\\nb", "", "a\nb"},
        {"550 5.1.1 no", "\\c. $client", "", "\\c. x$helo_[1.2.3.4]"}, /* a value's own $ is no name */
        {"550 5.1.1 no", "${sender?s=$sender}a$nosuch$$b", "", "a$b"},
        {"550 5.1.1 no", "${client", "", NULL},
        {"550 5.1.1 no", "general", "inline:{{550 5.1.1 no=special $$x}}", "special $x"},
        {"550 5.1.2 no\n550 5.1.2 never", "general", "inline:{{550 5.1.2 no=first}}", "first"},
        {"450 4.1.1 no", "general", "inline:{{550 5.1.1 no=special}}", "general"},
        {"450 4.1.1 no", "general", "fail:x", "general"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Reply) reply = reply_new(rows[i].reply);
        Tables *maps = tables_open(rows[i].maps, NULL);
        assert_non_null(maps);
        g_autofree char *text =
            footer_for(reply, maps, rows[i].footer, "\\40!\"#$.0123456789abcdefghijklmnopqrstuvwxyz[]", value_of, NULL);
        if (rows[i].wanted)
            assert_string_equal(text, rows[i].wanted);
        else
            assert_null(text);
        tables_free(maps);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_and_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
