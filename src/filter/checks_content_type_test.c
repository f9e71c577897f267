#include "filter/checks_content_type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* As Postfix 3.7's cleanup(8) reads them. */
static const struct {
    const char *value;
    MimeTypeKind kind;
    const char *boundaries; /* between '|' */
} rows[] = {
    {" text/plain", MIME_TYPE_OTHER, ""},
    {" multipart/mixed; boundary=q", MIME_TYPE_MULTIPART, "q"},
    {" MULTIPART/MIXED; BOUNDARY=Q", MIME_TYPE_MULTIPART, "Q"},
    {"multipart; boundary=q", MIME_TYPE_MULTIPART, "q"},
    {"multipart/; boundary=q", MIME_TYPE_MULTIPART, "q"},
    {"multipart foo; boundary=q", MIME_TYPE_MULTIPART, "q"},
    {"\"multipart\"/mixed; boundary=q", MIME_TYPE_OTHER, ""},
    {"(foo) multipart (x) / mixed; (c(n)) boundary=(d)q(e)", MIME_TYPE_MULTIPART, "q"},
    {"multipart/mixed; (f\\)oo) boundary=q", MIME_TYPE_MULTIPART, "q"},
    {"multipart/mixed; (foo; boundary=q", MIME_TYPE_MULTIPART, ""},
    {"multipart/mixed boundary=q", MIME_TYPE_MULTIPART, ""},
    {"multipart/mixed, boundary=q", MIME_TYPE_MULTIPART, ""},
    {"multipart/mixed; foo bar; boundary=q;", MIME_TYPE_MULTIPART, "q"},
    {"multipart/mixed; boundary=a=b/c?d", MIME_TYPE_MULTIPART, "a"},
    {"multipart/mixed; boundary*=us-ascii'en'q", MIME_TYPE_MULTIPART, ""},
    {"multipart/mixed; \"boundary\"=\"q\"", MIME_TYPE_MULTIPART, ""},
    {"multipart/mixed; boundary=q\001z", MIME_TYPE_MULTIPART, "q"},
    {"multipart/mixed; boundary=q\xc3\xa4", MIME_TYPE_MULTIPART, "q\xc3\xa4"},
    {"multipart/mixed; boundary = \"a\\\"b\"; boundary=z", MIME_TYPE_MULTIPART, "a\"b|z"},
    {"multipart/mixed; boundary=\"a\n  b\"", MIME_TYPE_MULTIPART, "a  b"},
    {"multipart/mixed; boundary=\"q", MIME_TYPE_MULTIPART, "q"},
    {"multipart/mixed; boundary=\"\"", MIME_TYPE_MULTIPART, ""},
    {"multipart/mixed; foo=\"; boundary=z\"; boundary=q", MIME_TYPE_MULTIPART, "q"},
    {"multipart/mixed; b=1; boundary=1; boundary=2; boundary=3", MIME_TYPE_MULTIPART, "1|2"},
    {"multipart/digest; boundary=q", MIME_TYPE_DIGEST, "q"},
    {"message/rfc822 foo", MIME_TYPE_MESSAGE, ""},
    {"message/Global; x", MIME_TYPE_MESSAGE, ""},
    {"message/rfc822foo", MIME_TYPE_OTHER, ""},
    {"message/partial", MIME_TYPE_OTHER, ""},
    {"message/\"rfc822\"", MIME_TYPE_OTHER, ""},
    {"message=rfc822", MIME_TYPE_OTHER, ""},
    {"message", MIME_TYPE_OTHER, ""},
    {"foo message/rfc822", MIME_TYPE_OTHER, ""},
    {"", MIME_TYPE_OTHER, ""},
    {"(", MIME_TYPE_OTHER, ""},
    {"\"\\", MIME_TYPE_OTHER, ""},
};

static void types_are_read(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(MimeContentType) type = {0};
        g_autoptr(GString) boundaries = g_string_new(NULL);
        mime_content_type_parse(rows[i].value, 2, &type);
        for (guint j = 0; type.boundaries && j < type.boundaries->len; j++)
            g_string_append_printf(boundaries, "%s%s", j > 0 ? "|" : "", (char *)type.boundaries->pdata[j]);
        assert_int_equal(type.kind, rows[i].kind);
        assert_string_equal(boundaries->str, rows[i].boundaries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(types_are_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
