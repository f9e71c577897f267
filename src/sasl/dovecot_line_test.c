#include "sasl/dovecot_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_lines(void **state)
{
    static const struct {
        const char *text;
        DovecotLineKind kind;
        guint64 number;
        SaslStatus status;
        const char *user, *said; /* said: text of the answer, or name of the mechanism */
    } rows[] = {
        {"", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"VERSION\t1\t2", DOVECOT_LINE_VERSION, 0, 0, NULL, NULL},
        {"VERSION\t2\t0", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"VERSION", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"SPID\t4711", DOVECOT_LINE_OTHER, 0, 0, NULL, NULL},
        {"COOKIE\tabcdef", DOVECOT_LINE_OTHER, 0, 0, NULL, NULL},
        {"DONE", DOVECOT_LINE_READY, 0, 0, NULL, NULL},
        {"MECH\tPLAIN\tplaintext", DOVECOT_LINE_MECH, 0, 0, NULL, "PLAIN"},
        {"MECH\tSCRAM-SHA-256", DOVECOT_LINE_MECH, 0, 0, NULL, "SCRAM-SHA-256"},
        {"MECH", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"MECH\t", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"MECH\tplain", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"MECH\tA B", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"MECH\tABCDEFGHIJKLMNOPQRSTU", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"OK\t1\tuser=joe\tx", DOVECOT_LINE_ANSWER, 1, SASL_DONE, "joe", NULL},
        {"OK\t4294967295\tuser=a\001tb\001nc", DOVECOT_LINE_ANSWER, 4294967295, SASL_DONE, "a?b?c", NULL},
        {"OK\t4294967296\tuser=joe", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"OK\t0\tuser=joe", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"OK\t-1\tuser=joe", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"OK\t1", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"OK\t1\tuser=", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"OK\t1\tXuser=joe", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"OK", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"FAIL\t7\tuser=\treason=\303(\303\244", DOVECOT_LINE_ANSWER, 7, SASL_FAILED, "", "?(\303\244"},
        {"FAIL\t7\tuser=joe\treason=no\001rway", DOVECOT_LINE_ANSWER, 7, SASL_FAILED, "joe", "no?way"},
        {"FAIL\t7", DOVECOT_LINE_ANSWER, 7, SASL_FAILED, NULL, "(reason unavailable)"},
        {"FAIL\t7\ttemp", DOVECOT_LINE_ANSWER, 7, SASL_TEMPORARY, NULL, "(reason unavailable)"},
        {"FAIL\t7\tcode=temp_fail", DOVECOT_LINE_ANSWER, 7, SASL_TEMPORARY, NULL, "(reason unavailable)"},
        {"FAIL\tx", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"CONT\t3\tYWJj", DOVECOT_LINE_ANSWER, 3, SASL_CHALLENGE, NULL, "YWJj"},
        {"CONT\t3\t", DOVECOT_LINE_ANSWER, 3, SASL_CHALLENGE, NULL, ""},
        {"CONT\t3", DOVECOT_LINE_ANSWER, 3, SASL_CHALLENGE, NULL, ""},
        {"CONT\t3\ta b", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"CONT\t3\tYWJ", DOVECOT_LINE_BAD, 0, 0, NULL, NULL},
        {"\377\376", DOVECOT_LINE_OTHER, 0, 0, NULL, NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = g_strdup(rows[i].text);
        g_auto(DovecotLine) line = dovecot_line_parse(text);
        const char *said = rows[i].kind == DOVECOT_LINE_MECH ? line.name : line.answer.text;
        if (line.kind != rows[i].kind || line.number != rows[i].number || line.answer.status != rows[i].status ||
            g_strcmp0(line.answer.user, rows[i].user) != 0 || g_strcmp0(said, rows[i].said) != 0)
            fail_msg("'%s': kind %d, number %d, status %d, user %s, '%s'", rows[i].text, (int)line.kind,
                     (int)line.number, (int)line.answer.status, line.answer.user, said);
    }
}

static void test_properties(void **state)
{
    char text[] = "MECH\tX\tplaintext\tactive\tdictionary\tanonymous\tforward-secrecy\tmutual-auth\tprivate\tother";
    g_auto(DovecotLine) line = dovecot_line_parse(text);

    assert_int_equal(line.properties, SASL_PLAINTEXT | SASL_ACTIVE | SASL_DICTIONARY | SASL_ANONYMOUS |
                                          SASL_FORWARD_SECRECY | SASL_MUTUAL | SASL_PRIVATE);
}

static void test_requests(void **state)
{
    SaslStart start = {.mechanism = "plain",
                       .response = "AGEAYg==",
                       .local_addr = "192.0.2.1",
                       .local_port = "25",
                       .remote_addr = "2001:db8::1",
                       .remote_port = "unknown"};
    g_autofree char *line = dovecot_line_auth(7, "sm\ttp", &start);
    start.secured = true;
    start.response = NULL;
    g_autofree char *secured = dovecot_line_auth(8, "smtp", &start);
    start.response = "=";
    g_autofree char *empty = dovecot_line_auth(9, "smtp", &start);
    g_autofree char *more = dovecot_line_cont(10, "AGEAYg==");

    assert_string_equal(
        line, "AUTH\t7\tPLAIN\tservice=sm\001ttp\tnologin\tlip=192.0.2.1\trip=2001:db8::1\tlport=25\tresp=AGEAYg==\n");
    assert_string_equal(secured,
                        "AUTH\t8\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.1\trip=2001:db8::1\tlport=25\tsecured\n");
    assert_string_equal(
        empty, "AUTH\t9\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.1\trip=2001:db8::1\tlport=25\tsecured\tresp==\n");
    assert_string_equal(more, "CONT\t10\tAGEAYg==\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
