#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void line_has_the_shape_and_stays_one_line(void **state)
{
    int ends[2];
    char line[512] = "";

    assert_int_equal(pipe(ends), 0);
    log_set_tag("postfix", "smtpd");
    log_to_file(ends[1], "mx");
    log_set_number(77);
    log_warning("from %s", "a\r\nb\xff\xc3\xa9");
    assert_true(read(ends[0], line, sizeof line - 1) > 0);
    assert_non_null(strstr(line, " mx postfix/smtpd[77]: warning: from a??b?\xc3\xa9\n"));
    memset(line, 0, sizeof line);
    log_info_as("cleanup", "id");
    assert_true(read(ends[0], line, sizeof line - 1) > 0);
    assert_non_null(strstr(line, " postfix/cleanup[77]: id\n"));
    log_to_stderr();
}

static void escaping_shows_every_octet(void **state)
{
    g_autofree char *text = log_escape("a\r\n\t\\\0\x7f\xc3 b", 10);

    assert_string_equal(text, "a\\r\\n\\t\\\\\\000\\177\\303 b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_has_the_shape_and_stays_one_line),
        cmocka_unit_test(escaping_shows_every_octet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
