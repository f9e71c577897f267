#include "filter/checks_mime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* What the walker tells, a line each: "P 3+1 Subject: x", "B 5.0@1 text", and so on. */
static bool tell_begin(void *user, MimeHeaders where)
{
    g_string_append(user, where == MIME_NESTED ? "begin nested\n" : "begin\n");
    return true;
}

static bool tell_header(void *user, const MimeHeader *header)
{
    g_autofree char *text = g_strdelimit(g_strndup(header->text, header->len), "\n", '|');

    g_string_append_printf(user, "%c %d+%d %s%s\n",
                           header->is_mime                ? 'M'
                           : header->where == MIME_NESTED ? 'N'
                                                          : 'P',
                           (int)header->line, (int)header->lines, text, header->is_cut ? " cut" : "");
    return true;
}

static bool tell_body(void *user, const MimeRecord *record)
{
    g_string_append_printf(user, "B %d.%d@%d %s%s%s\n", (int)record->line, (int)record->column, (int)record->offset,
                           record->text, record->ends_line ? "" : "...", record->is_boundary ? " boundary" : "");
    return true;
}

static bool tell_end(void *user)
{
    g_string_append(user, "end\n");
    return true;
}

static bool tell_too_deep(void *user, const char *header)
{
    g_string_append_printf(user, "deep %s\n", header);
    return false;
}

static const MimeSink sink = {tell_begin, tell_header, tell_body, tell_end, tell_too_deep};
static const MimeLimits limits = {.record = 20, .header = 60, .boundary = 4, .nesting = 1};

static GString *walk(const char *text, size_t portion)
{
    GString *out = g_string_new(NULL);
    g_autoptr(MimeWalker) walker = mime_walker_new(&limits, &sink, out);

    while (*text) {
        size_t line = strcspn(text, "\n");
        size_t len = MIN(line, portion);
        bool ends_line = len == line && text[len] == '\n';
        if (!mime_walker_add(walker, text, len, ends_line))
            break;
        text += len + ends_line;
    }
    mime_walker_finish(walker);
    return out;
}

static const struct {
    const char *message, *want;
} rows[] = {
    {"Subject : x\nTo: y\n\t more\nContent-Foo: a\nMIME-Version: 1\n\nbody\n\nb2\n",
     "P 0+1 Subject: x\nP 1+2 To: y|\t more\nP 3+1 Content-Foo: a\nM 4+1 MIME-Version: 1\n"
     "B 5.0@0 \nB 6.0@1 body\nB 7.0@6 \nB 8.0@7 b2\n"},
    {"\nfoo: bar\n", "B 0.0@0 \nB 1.0@1 foo: bar\n"},
    {"A: b\nno header\nX: y\n", "P 0+1 A: b\nB 1.0@0 no header\nB 2.0@10 X: y\n"},
    {" A: b\n", "B 0.0@0  A: b\n"},
    {"A: c\nB: d", "P 0+1 A: c\nP 1+1 B: d\n"},
    {"A: c\nB: 45678901234567890", "P 0+1 A: c\nP 1+1 B: 45678901234567890\n"},
    /* boundaries: by prefix, the innermost first, only at the beginning of a line */
    {"Content-Type: multipart/x;\n boundary=q\n\npre\n--q\nA: b\n\n--z\nx--q\n--qq\nno\n--q--\nepi\n--q\n",
     "M 0+2 Content-Type: multipart/x;| boundary=q\nB 2.0@0 \nB 3.0@1 pre\nB 4.0@5 --q boundary\nbegin\nM 5+1 A: b\n"
     "B 6.0@0 \nB 7.0@1 --z\nB 8.0@5 x--q\nB 9.0@10 --qq boundary\nbegin\nB 10.0@0 no\nB 11.0@0 --q-- boundary\nend\n"
     "B 12.0@6 epi\nB 13.0@10 --q\n"},
    {"Content-Type: multipart/x;\n boundary=q\n--q\nA: b\n--q\n\n",
     "M 0+2 Content-Type: multipart/x;| boundary=q\nB 2.0@0 --q boundary\nbegin\nM 3+1 A: b\nB 4.0@0 --q "
     "boundary\nbegin\n"
     "B 5.0@0 \n"},
    {"Content-Type: multipart/x;\n boundary=abcdefgh\n\n--abcdX\n\n--abcdefgh--\n",
     "M 0+2 Content-Type: multipart/x;| boundary=abcdefgh\nB 2.0@0 \nB 3.0@1 --abcdX boundary\nbegin\nB 4.0@0 \n"
     "B 5.0@1 --abcdefgh-- boundary\nbegin\n"},
    {"Content-Type: multipart/x;\n boundary=\"\"\n\n--\n--x\nA: b\n",
     "M 0+2 Content-Type: multipart/x;| boundary=\"\"\nB 2.0@0 \nB 3.0@1 --\nB 4.0@4 --x boundary\nbegin\nM 5+1 A: b\n"},
    /* attached messages */
    {"Content-Type: message/rfc822\n\nA: b\nContent-Type: t/p\n\nbody\n",
     "M 0+1 Content-Type: message/rfc822\nbegin nested\nN 2+1 A: b\nM 3+1 Content-Type: t/p\nB 4.0@0 \nB 5.0@1 body\n"},
    {"Content-Type: message/rfc822\nno header\n", "M 0+1 Content-Type: message/rfc822\nB 1.0@0 no header\n"},
    {"Content-Type: multipart/digest;\n boundary=q\n\n--q\n\nA: b\n",
     "M 0+2 Content-Type: multipart/digest;| boundary=q\nB 2.0@0 \nB 3.0@1 --q boundary\nbegin\nbegin nested\n"
     "N 5+1 A: b\n"},
    /* long lines */
    {"A: 45678901234567890|more: x\nB: c\n\n012345678901234567890123456789\n01234567890123456789\n",
     "P 0+1 A: 45678901234567890|more: x\nP 1+1 B: c\nB 2.0@0 \nB 3.0@1 01234567890123456789...\nB 3.20@22 0123456789\n"
     "B 4.0@33 01234567890123456789...\nB 4.20@54 \n"},
    {"A: 4567890123456789\n 2 34567890123456789\n 3 34567890123456789\n 4 34567890123456789\nB: c\n",
     "P 0+4 A: 4567890123456789| 2 34567890123456789| 3 34567890123456789 cut\nP 4+1 B: c\n"},
    {"Content-Type: multipart/x;\n boundary=q\n\n--q5678901234567890X: y\nB: c\n",
     "M 0+2 Content-Type: multipart/x;| boundary=q\nB 2.0@0 \nB 3.0@1 --q5678901234567890X... boundary\nbegin\n"
     "B 3.20@0 : y\nB 4.0@4 B: c\n"},
    /* depth */
    {"Content-Type: multipart/x; boundary=a; boundary=b\nContent-Type: multipart/x;\n boundary=c; boundary=d\n\n--c\n",
     "M 0+1 Content-Type: multipart/x; boundary=a; boundary=b\n"
     "deep Content-Type: multipart/x;\n boundary=c; boundary=d\n"},
};

static void structure_is_found(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        for (size_t portion = 1; portion < 50; portion += 7) {
            g_autoptr(GString) got = walk(rows[i].message, portion);
            assert_string_equal(got->str, rows[i].want);
        }
}

static bool refuse(void *user, const MimeHeader *header)
{
    ++*(int *)user;
    return false;
}

static void a_sink_that_stops_hears_no_more(void **state)
{
    static const MimeSink stopping = {.header = refuse};
    int heard = 0;
    g_autoptr(MimeWalker) walker = mime_walker_new(&limits, &stopping, &heard);

    assert_true(mime_walker_add(walker, "A: b", 4, true));
    assert_false(mime_walker_add(walker, "B: c", 4, true));
    assert_false(mime_walker_add(walker, "C: d", 4, true));
    mime_walker_finish(walker);
    assert_int_equal(heard, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structure_is_found),
        cmocka_unit_test(a_sink_that_stops_hears_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
