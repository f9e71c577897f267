/* reply_test.c - replies line by line, ours and a peer's, and what a client sees of them. */
#include "smtp/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char *wire(const Reply *reply, bool soft_bounce)
{
    GString *out = g_string_new(NULL);

    reply_write(reply, soft_bounce, out);
    return g_string_free(out, FALSE);
}

static void our_own_text_gets_codes_and_marks(void **state)
{
    static const struct {
        const char *text, *wire, *soft;
    } rows[] = {
        {"250 2.1.0 Ok", "250 2.1.0 Ok\r\n", "250 2.1.0 Ok\r\n"},
        {"250-mx\nSIZE\n250 DSN", "250-mx\r\n250-SIZE\r\n250 DSN\r\n", "250-mx\r\n250-SIZE\r\n250 DSN\r\n"},
        {"250 a\n250-b", "250-a\r\n250 b\r\n", "250-a\r\n250 b\r\n"},
        {"550 5.1.1 a\nb", "550-5.1.1 a\r\n550 b\r\n", "450-4.1.1 a\r\n450 b\r\n"},
        {"550 500 of it", "550 500 of it\r\n", "450 500 of it\r\n"},
        {"250\n\nx", "250-\r\n250-\r\n250 x\r\n", "250-\r\n250-\r\n250 x\r\n"},
        {"354 go", "354 go\r\n", "354 go\r\n"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Reply) reply = reply_new(rows[i].text);
        g_autofree char *hard = wire(reply, false);
        g_autofree char *soft = wire(reply, true);
        assert_string_equal(hard, rows[i].wire);
        assert_string_equal(soft, rows[i].soft);
    }
}

/* lines: separated by '\n'; only the last one may end the reply. */
static Reply *from_peer(const char *lines, unsigned *ret_garbage)
{
    g_auto(GStrv) line = g_strsplit(lines, "\n", 0);
    Reply *reply = reply_new_empty();

    *ret_garbage = 0;
    for (size_t i = 0; line[i]; i++) {
        bool last, garbage;
        reply_add_line(reply, line[i], strlen(line[i]), &last, &garbage);
        assert_int_equal(last, line[i + 1] == NULL);
        *ret_garbage |= (unsigned)garbage << i;
    }
    return reply;
}

static void a_peers_reply_is_passed_on_as_it_is(void **state)
{
    static const struct {
        const char *lines;
        int code, class;
        unsigned garbage;
        const char *text, *wire, *log;
    } rows[] = {
        {"250 ok", 250, 2, 0, "250 ok", "250 ok\r\n", "250 ok"},
        {"299", 299, 2, 0, "299", "299\r\n", "299"},
        {"250-a\n250-\n250 b", 250, 2, 0, "250-a\n250-\n250 b", "250-a\r\n250-\r\n250 b\r\n", "250-a??250-??250 b"},
        {"550-a\n451 b", 550, 5, 0, "550-a\n451 b", "550-a\r\n451 b\r\n", "550-a??451 b"},
        {"550-\tx\001y\377\303\251z\n550 c", 550, 5, 0, "550-?x?y?\303\251z\n550 c", "550-?x?y?\303\251z\r\n550 c\r\n",
         "550-?x?y?\303\251z??550 c"},
        {"hello there\n550 no", 550, 'h' - '0', 1, "hello there\n550 no", "hel-o there\r\n550 no\r\n",
         "hello there??550 no"},
        {"5500 x\n550 x", 550, 5, 1, "5500 x\n550 x", "550- x\r\n550 x\r\n", "5500 x??550 x"},
        {"450-a\nab\n450 c", 450, 4, 2, "450-a\nab\n450 c", "450-a\r\n450-ab\r\n450 c\r\n", "450-a??ab??450 c"},
        {"2 ok\n550 no", 550, 2, 1, "2 ok\n550 no", "2 o-\r\n550 no\r\n", "2 ok??550 no"},
        {"\n550 x", 550, 5, 1, "550 x", "550 x\r\n", "550 x"},
        {"999 foo", 999, 9, 0, "999 foo", "999 foo\r\n", "999 foo"},
        {"000 foo", 0, 0, 0, "000 foo", "000 foo\r\n", "000 foo"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        unsigned garbage;
        g_autoptr(Reply) reply = from_peer(rows[i].lines, &garbage);
        g_autofree char *sent = wire(reply, false);
        g_autofree char *log = reply_for_log(reply);
        g_autoptr(Reply) copy = reply_copy(reply);
        assert_int_equal(garbage, rows[i].garbage);
        assert_int_equal(reply_code(copy), rows[i].code);
        assert_true(reply_is(copy, rows[i].class));
        assert_string_equal(reply_text(copy), rows[i].text);
        assert_string_equal(sent, rows[i].wire);
        assert_string_equal(log, rows[i].log);
    }
}

static void a_flood_is_cut_and_still_ends(void **state)
{
    g_autofree char *filler = g_strnfill(1000, 'x');
    g_autofree char *line = g_strconcat("550-", filler, NULL);
    static const char nul[] = {'2', '5', '0', ' ', 'a', '\0', 'b'};
    g_autoptr(Reply) reply = reply_new_empty();
    g_autoptr(Reply) with_nul = reply_new_empty();
    bool last, garbage;

    for (int i = 0; i < 1000; i++) {
        reply_add_line(reply, line, strlen(line), &last, &garbage);
        assert_false(last || garbage);
    }
    reply_add_line(reply, "550 end", 7, &last, &garbage);
    assert_true(last);
    assert_int_equal(strlen(reply_text(reply)), 3 * strlen(line) + 2);
    g_autofree char *sent = wire(reply, false);
    assert_non_null(g_strrstr(sent, "\r\n550 x"));
    assert_true(g_str_has_suffix(sent, "x\r\n"));

    reply_add_line(with_nul, nul, sizeof nul, &last, &garbage);
    assert_string_equal(reply_text(with_nul), "250 a?b");
}

static void the_bound_of_a_reply_holds(void **state)
{
    g_autofree char *line = g_strnfill(10000, '9');
    g_autoptr(Reply) reply = reply_new_empty();
    bool last, garbage;

    reply_add_line(reply, line, REPLY_LINE_MAX - 1, &last, &garbage);
    reply_add_line(reply, line, 10000, &last, &garbage);
    reply_add_line(reply, line, 10000, &last, &garbage);
    assert_in_range(strlen(reply_text(reply)), REPLY_LINE_MAX, REPLY_TEXT_MAX);
    reply_add_line(reply, "250 x", 5, &last, &garbage);
    assert_true(last);
    g_autofree char *sent = wire(reply, false);
    assert_non_null(
        strstr(sent, "\r\n250 999")); /* garbage at the end of a cut reply gets a code: the client must not wait */
}

static void a_footer_is_more_lines_of_the_same_kind(void **state)
{
    static const struct {
        const char *text, *footer, *wire;
    } rows[] = {
        {"550 5.1.1 a\nc", "call\nor never", "550-5.1.1 a\r\n550-c\r\n550-5.1.1 call\r\n550 5.1.1 or never\r\n"},
        {"521 bye", "call", "521-bye\r\n521 call\r\n"},
        {"550 5.1.1 a", "\\c, call", "550 5.1.1 a, call\r\n"},
        {"550 5.1.1 a", "\\c, call\nme", "550-5.1.1 a, call\r\n550 5.1.1 me\r\n"},
        {"550 5.1 a", "b", "550-5.1 a\r\n550 b\r\n"},
        {"550", "b", "550-\r\n550 b\r\n"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Reply) reply = reply_new(rows[i].text);
        reply_append(reply, rows[i].footer);
        g_autofree char *sent = wire(reply, false);
        assert_string_equal(sent, rows[i].wire);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_text_gets_codes_and_marks),
        cmocka_unit_test(a_peers_reply_is_passed_on_as_it_is),
        cmocka_unit_test(a_flood_is_cut_and_still_ends),
        cmocka_unit_test(the_bound_of_a_reply_holds),
        cmocka_unit_test(a_footer_is_more_lines_of_the_same_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
