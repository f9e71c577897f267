#include "filter/edits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Account account;

/* text: lines with '\n'; the last one may lack it. In pieces of at most portion octets. */
static Content *content_of(const char *text, size_t portion)
{
    Content *content = content_new("/tmp", &account);

    while (*text) {
        size_t line = strcspn(text, "\n");
        size_t len = MIN(line, portion);
        bool ends_line = len == line && text[len] == '\n';
        content_add(content, text, len, ends_line);
        text += len + ends_line;
    }
    return content;
}

static bool collect(void *user, const char *data, size_t len, bool ends_line)
{
    g_string_append_len(user, data, (gssize)len);
    if (ends_line)
        g_string_append_c(user, '\n');
    return true;
}

static void assert_applied(const Edits *edits, Content *from, const char *want)
{
    Content *to = content_new("/tmp", &account);
    g_autoptr(GString) got = g_string_new(NULL);

    assert_true(edits_apply(edits, from, to));
    assert_true(content_replay(to, collect, got));
    assert_string_equal(got->str, want);
    content_free(to);
    content_free(from);
}

static void splices_are_made_at_their_lines(void **state)
{
    for (size_t portion = 1; portion < 5; portion++) {
        g_autoptr(Edits) edits = edits_new();
        assert_true(edits_are_empty(edits));
        edits_splice(edits, 3, 1, "THREE\nand more");
        edits_splice(edits, 0, 0, "first");
        edits_splice(edits, 0, 0, "second");
        edits_splice(edits, 1, 2, NULL);
        edits_splice(edits, 5, 0, "last");
        assert_false(edits_are_empty(edits));
        assert_applied(edits, content_of("zero\none\ntwo\nthree\nfour\n", portion),
                       "first\nsecond\nzero\nTHREE\nand more\nfour\nlast\n");
    }
}

static void overlapping_drops_count_once(void **state)
{
    g_autoptr(Edits) edits = edits_new();

    edits_splice(edits, 1, 3, NULL);
    edits_splice(edits, 2, 1, "in between");
    assert_applied(edits, content_of("0\n1\n2\n3\n4\n", 10), "0\nin between\n4\n");
}

static void octets_are_spliced(void **state)
{
    for (size_t portion = 1; portion < 9; portion++) {
        g_autoptr(Edits) edits = edits_new();
        edits_splice_octets(edits, 1, 0, 2, "AB");
        edits_splice_octets(edits, 1, 2, 1, NULL);
        edits_splice_octets(edits, 1, 4, 0, "pre\n");
        edits_splice_octets(edits, 1, 6, 99, "end");
        edits_splice_octets(edits, 3, 3, 0, "!");
        assert_false(edits_are_empty(edits));
        assert_applied(edits, content_of("zero\n01234567\ntwo\nend\nlast\n", portion),
                       "zero\nAB3pre\n45end\ntwo\nend!\nlast\n");
    }
}

static void no_edit_changes_no_octet(void **state)
{
    g_autoptr(Edits) edits = edits_new();

    assert_applied(edits, content_of("A: b \n\t c\n\n\xff \n.\n", 3), "A: b \n\t c\n\n\xff \n.\n");
}

#define MESSAGE "Received: a\n b\nSubject: x\nReceived: c\nTo: d\n\nbody: no header\n"

static void headers_are_found(void **state)
{
    Content *content = content_of(MESSAGE, 4);
    g_autoptr(HeaderPlaces) places = header_places_new(content);

    assert_int_equal(places->places->len, 4);
    assert_string_equal(g_array_index(places->places, HeaderPlace, 0).name, "Received");
    assert_int_equal(g_array_index(places->places, HeaderPlace, 0).lines, 2);
    assert_int_equal(g_array_index(places->places, HeaderPlace, 2).line, 3);
    assert_int_equal(places->end, 5);
    assert_true(places->has_body);
    content_free(content);
}

static void headers_are_changed(void **state)
{
    Content *content = content_of(MESSAGE, 100);
    g_autoptr(HeaderPlaces) places = header_places_new(content);
    g_autoptr(Edits) edits = edits_new();

    edits_add_header(edits, places, "X-Last: 1\n folded");
    edits_insert_header(edits, places, 0, "X-First: 1");
    edits_insert_header(edits, places, 3, "X-Third: 1");
    edits_insert_header(edits, places, 99, "X-Behind: 1");
    edits_replace_header(edits, places, "subject", 1, "Subject: new");
    edits_replace_header(edits, places, "X-None", 1, "X-None: added");
    assert_true(edits_remove_header(edits, places, "received", 2));
    assert_false(edits_remove_header(edits, places, "received", 3));
    assert_applied(edits, content,
                   "X-First: 1\nReceived: a\n b\nSubject: new\nX-Third: 1\nTo: d\n"
                   "X-Last: 1\n folded\nX-Behind: 1\nX-None: added\n\nbody: no header\n");
}

static void the_body_is_replaced(void **state)
{
    g_autoptr(Edits) edits = edits_new();

    edits_replace_body(edits, content_of("other\n\nbody\n", 3));
    edits_splice(edits, 1, 0, "B: 2");
    assert_applied(edits, content_of("A: 1\n\nold\nbody\n", 100), "A: 1\nB: 2\n\nother\n\nbody\n");

    g_autoptr(Edits) headless = edits_new();
    edits_replace_body(headless, content_of("new\n", 3));
    assert_applied(headless, content_of("A: 1\n", 100), "A: 1\n\nnew\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splices_are_made_at_their_lines),
        cmocka_unit_test(overlapping_drops_count_once),
        cmocka_unit_test(octets_are_spliced),
        cmocka_unit_test(no_edit_changes_no_octet),
        cmocka_unit_test(headers_are_found),
        cmocka_unit_test(headers_are_changed),
        cmocka_unit_test(the_body_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
