#include "filter/checks_gmime.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void names_are_found(void **state)
{
    static const struct {
        const char *header, *names; /* each between '|' */
    } rows[] = {
        {"Content-Type: text/plain", "|"},
        {"Content-Type: text/plain; name=a.exe", "|a.exe|"},
        {"Content-Type: text/plain; NAME=\"a b.exe\"", "|a b.exe|"},
        {"Content-Disposition: attachment; filename=a.exe", "|a.exe|"},
        {"Content-Disposition: attachment;\n\tfilename=\"a.exe\"", "|a.exe|"},
        {"Content-Disposition: attachment; filename*=utf-8'en'%e2%82%ac.exe", "|\u20ac.exe|"},
        {"Content-Disposition: attachment; filename*0=\"a\"; filename*1=\".exe\"", "|a.exe|"},
        {"Content-Disposition: attachment; filename*0*=iso-8859-1''%e4; filename*1=\".exe\"", "|\u00e4.exe|"},
        {"Content-Type: a/b; name=\"=?utf-8?B?YS5leGU=?=\"", "|a.exe|"},
        {"Content-Type: a/b; name==?iso-8859-1?Q?=e4.exe?=", "|\u00e4.exe|"},
        {"Content-Disposition: attachment; filename=a b.exe", "|a b.exe|"},
        {"Content-Disposition: filename=a.exe", "|a.exe|"},
        {"Content-Disposition: attachment; filename = \"a.exe", "|a.exe|"},
        {"Content-Type: ; name=a.exe", "|a.exe|"},
        {"Content-Type: a/b; name=\"a\001\t.exe\"", "|a.exe|"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GPtrArray) names = mime_file_names(rows[i].header);
        g_autoptr(GString) all = g_string_new("|");
        for (guint j = 0; j < names->len; j++)
            g_string_append_printf(all, "%s|", (char *)names->pdata[j]);
        if (!strstr(all->str, rows[i].names))
            fail_msg("%s: %s", rows[i].header, all->str);
    }
}

static void content_is_decoded(void **state)
{
    static const struct {
        const char *encoding, *content, *want;
    } rows[] = {
        {"base64", "TVqQ\nAAM=\n", "MZ\x90"},
        {" BASE64 (comment)", "T V\nqQ", "MZ\x90"},
        {"quoted-printable", "a=3Db=\nc\n", "a=bc\n"},
        {"x-uuencode", "begin 644 x\n#0V%T\n`\nend\n", "Cat"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        for (size_t portion = 1; portion < 20; portion++) {
            MimeDecoder *decoder = mime_decoder_new(rows[i].encoding);
            g_autoptr(GString) out = g_string_new(NULL);
            assert_non_null(decoder);
            for (size_t at = 0; at < strlen(rows[i].content); at += portion)
                mime_decoder_add(decoder, rows[i].content + at, MIN(portion, strlen(rows[i].content) - at), out);
            if (strcmp(out->str, rows[i].want) != 0)
                fail_msg("%s in portions of %zu: %s", rows[i].encoding, portion, out->str);
            mime_decoder_free(decoder);
        }
    assert_null(mime_decoder_new("7bit"));
    assert_null(mime_decoder_new("x-nothing"));
    assert_null(mime_decoder_new(""));
}

static void *ask_often(void *user)
{
    static const char *const headers[] = {
        "Content-Disposition: attachment; filename*=iso-8859-1''%e4.exe",
        "Content-Type: a/b; name=\"=?windows-1252?Q?=80.exe?=\"",
        "Content-Type: a/b; name=\"=?koi8-r?Q?=c1.exe?=\"",
        "Content-Disposition: attachment; filename*=nothing''%e4.exe",
    };

    for (size_t i = 0; i < 2000; i++) {
        g_autoptr(GPtrArray) names = mime_file_names(headers[i % G_N_ELEMENTS(headers)]);
        if (names->len == 0 || !g_str_has_suffix(names->pdata[0], ".exe"))
            return (void *)"no name";
    }
    return NULL;
}

static void threads_ask_at_once(void **state)
{
    pthread_t threads[8];

    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
}

static int set_up(void **state)
{
    mime_library_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(content_is_decoded),
        cmocka_unit_test(threads_ask_at_once),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
