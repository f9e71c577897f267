/* answers_test.c - requests, and replies of servers of all minds. */
#include "table/answers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OCTETS(text) text, sizeof text - 1

typedef struct {
    const char *reply;
    size_t len;
    const char *want; /* "=value", "absent", "more", or the error */
} Row;

typedef gssize Frame(const char *data, size_t len, GError **error);
typedef TableResult Answer(const char *reply, size_t len, char **ret_value, GError **error);

/* What the whole of it means, in the words of a Row. */
static char *understand(const Row *row, Frame *frame, Answer *answer)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *exact = g_memdup2(row->reply, MAX(row->len, 1)); /* so that a tool sees who reads on */
    g_autofree char *value = NULL;
    gssize end = frame(exact, row->len, &error);

    if (end == 0)
        return g_strdup("more");
    if (end > 0) {
        assert_true((size_t)end <= row->len);
        for (size_t cut = 0; cut < (size_t)end; cut++) /* whatever the pieces it comes in */
            assert_int_equal(frame(exact, cut, NULL), 0);
        TableResult result = answer(exact, (size_t)end, &value, &error);
        if (result == TABLE_FOUND)
            return g_strconcat("=", value, NULL);
        if (result == TABLE_ABSENT)
            return g_strdup("absent");
    }
    assert_non_null(error);
    return g_strdup(error->message);
}

static void assert_rows(const Row *rows, size_t count, Frame *frame, Answer *answer)
{
    for (size_t i = 0; i < count; i++) {
        g_autofree char *got = understand(&rows[i], frame, answer);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("\"%s\": \"%s\" instead of \"%s\"", rows[i].reply, got, rows[i].want);
    }
}

static void socketmap_replies(void **state)
{
    static const Row rows[] = {
        {OCTETS("8:OK value,"), "=value"},
        {OCTETS("08:OK value,"), "=value"},
        {OCTETS("8:OK value,8:OK other,"), "=value"},
        {OCTETS("7:OK  a b,"), "= a b"},
        {OCTETS("3:OK ,"), "="},
        {OCTETS("9:NOTFOUND ,"), "absent"},
        {OCTETS("8:NOTFOUND,"), "absent"},
        {OCTETS("9:TEMP busy,"), "socketmap server temporary error: busy"},
        {OCTETS("4:TEMP,"), "socketmap server temporary error"},
        {OCTETS("12:TIMEOUT slow,"), "socketmap server timeout error: slow"},
        {OCTETS("7:PERM no,"), "socketmap server permanent error: no"},
        {OCTETS("2:OK,"), "socketmap server unknown error: OK"},
        {OCTETS("4:ok x,"), "socketmap server unknown error: ok x"},
        {OCTETS("4:OK\tx,"), "socketmap server unknown error: OK?x"},
        {OCTETS("0:,"), "socketmap server unknown error"},
        {OCTETS("6:OK a\0b,"), "malformed reply: a?b"},
        {OCTETS("6:O\0K ab,"), "socketmap server unknown error: O?K ab"},
        {OCTETS(""), "more"},
        {OCTETS("8"), "more"},
        {OCTETS("8:OK val"), "more"},
        {OCTETS("8:OK value"), "more"},
        {OCTETS("7:OK value,"), "input format error"},
        {OCTETS(":OK value,"), "input format error"},
        {OCTETS("-1:x,"), "input format error"},
        {OCTETS(" 8:OK value,"), "input format error"},
        {OCTETS("8 :OK value,"), "input format error"},
        {OCTETS("hello\r\n"), "input format error"},
        {OCTETS("100000:"), "more"},
        {OCTETS("100001:"), "input exceeds size limit"},
        {OCTETS("99999999999999999999999999999999:"), "input exceeds size limit"},
    };

    assert_rows(rows, G_N_ELEMENTS(rows), socketmap_frame, socketmap_answer);
}

static void tcp_replies(void **state)
{
    static const Row rows[] = {
        {OCTETS("200 value\n"), "=value"},
        {OCTETS("200 a%20b%0ac%25\n"), "=a b\nc%"},
        {OCTETS("200 a b\n"), "=a b"},
        {OCTETS("200  a\n"), "= a"},
        {OCTETS("200\ta\n"), "=a"},
        {OCTETS("200 \n"), "="},
        {OCTETS("200 a\n200 b\n"), "=a"},
        {OCTETS("500 no such key\n"), "absent"},
        {OCTETS("400 later\n"), "server error: 400 later"},
        {OCTETS("300 x\n"), "bad status code: 300 x"},
        {OCTETS("200\n"), "malformed reply: 200"},
        {OCTETS("500\n"), "malformed reply: 500"},
        {OCTETS("2000 abc\n"), "malformed reply: 2000 abc"},
        {OCTETS("hello\n"), "malformed reply: hello"},
        {OCTETS("\n"), "malformed reply"},
        {OCTETS("200 a%zz\n"), "malformed reply: 200 a%zz"},
        {OCTETS("200 a%2\n"), "malformed reply: 200 a%2"},
        {OCTETS("200 a%\n"), "malformed reply: 200 a%"},
        {OCTETS("500 %\n"), "malformed reply: 500 %"},
        {OCTETS("200 a%00b\n"), "malformed reply: a?b"},
        {OCTETS("200 a\0b\n"), "malformed reply: a?b"},
        {OCTETS("200 value"), "more"},
        {OCTETS(""), "more"},
    };

    assert_rows(rows, G_N_ELEMENTS(rows), tcp_frame, tcp_answer);
}

static void a_long_text_is_shown_in_part(void **state)
{
    g_autofree char *text = g_strnfill(5000, 'x');
    g_autofree char *reply = g_strdup_printf("400 %s\n", text);
    g_autofree char *value = NULL;
    g_autoptr(GError) error = NULL;

    assert_int_equal(tcp_answer(reply, strlen(reply), &value, &error), TABLE_FAILED);
    assert_true(strlen(error->message) < 300);
}

static void requests(void **state)
{
    g_autoptr(GString) netstring = socketmap_request("virtual", "a b@c");
    g_autoptr(GString) line = tcp_request("a%\n~ \xc3\xbc\x7f");

    assert_string_equal(netstring->str, "13:virtual a b@c,");
    assert_string_equal(line->str, "get a%25%0A~%20%C3%BC%7F\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(socketmap_replies),
        cmocka_unit_test(tcp_replies),
        cmocka_unit_test(a_long_text_is_shown_in_part),
        cmocka_unit_test(requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
