#include "spool/spool_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const FirstLine sample = {
    .key = {0x17f00d, 0xfeed}, .content_len = 436, .envelope_len = 99, .content_crc = 0xdeadbeef, .envelope_crc = 7};

static void first_line_comes_back(void **state)
{
    char text[FIRST_LINE_LEN];
    FirstLine got;

    first_line_write(&sample, text);
    assert_int_equal(text[FIRST_LINE_LEN - 1], '\n');
    assert_int_equal(first_line_read(text, sizeof text, &got), FIRST_LINE_VALID);
    assert_true(got.content_len == 436 && got.envelope_len == 99);
    assert_true(got.content_crc == 0xdeadbeef && got.envelope_crc == 7);
    assert_true(got.key.arrival_ns == 0x17f00d && got.key.random == 0xfeed);
}

/* Whatever a crash leaves of it: k octets and then nothing, or zeros. */
static void first_line_torn_anywhere_is_unwritten(void **state)
{
    char text[FIRST_LINE_LEN], torn[FIRST_LINE_LEN];
    FirstLine got;

    first_line_write(&sample, text);
    for (size_t len = 0; len < FIRST_LINE_LEN; len++) {
        memset(torn, 0, sizeof torn);
        memcpy(torn, text, len);
        assert_int_equal(first_line_read(torn, len, &got), FIRST_LINE_UNWRITTEN);
        assert_int_equal(first_line_read(torn, sizeof torn, &got), FIRST_LINE_UNWRITTEN);
    }
}

static void first_line_with_a_flipped_bit_is_bad(void **state)
{
    char text[FIRST_LINE_LEN];
    FirstLine got;

    first_line_write(&sample, text);
    for (size_t i = 0; i < sizeof text * 8; i++) {
        text[i / 8] ^= (char)(1 << i % 8);
        FirstLineState found = first_line_read(text, sizeof text, &got);
        bool is_version = i / 8 == strlen("gatepost-message ");
        assert_true(found == FIRST_LINE_BAD || (is_version && found == FIRST_LINE_VERSION));
        text[i / 8] ^= (char)(1 << i % 8);
    }
    text[17] = '2';
    assert_int_equal(first_line_read(text, sizeof text, &got), FIRST_LINE_VERSION);
    memset(text, ' ', sizeof text);
    assert_int_equal(first_line_read(text, sizeof text, &got), FIRST_LINE_BAD);
}

static void results_come_back(void **state)
{
    static const struct {
        const char *relay, *text;
    } rows[] = {
        {"mx.test[192.0.2.1]:25", "250 2.0.0 Ok: queued as X"},
        {"none", ""},
        {"", "100 % \n \x7f sure"},
        {"virtual", "\xc3\xa4"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Result result = {.recipient = 4294967295u,
                         .status = RESULT_BOUNCED,
                         .dsn = "5.999.999",
                         .time_us = G_MAXINT64,
                         .relay = (char *)rows[i].relay,
                         .text = (char *)rows[i].text};
        g_autoptr(GString) text = result_to_text(&result);
        Result got;
        assert_int_equal(text->str[0], '\n');
        assert_ptr_equal(strchr(text->str + 1, '\n'), text->str + text->len - 1);
        for (size_t len = 0; len < text->len - 2; len++)
            assert_false(result_from_text(text->str + 1, len, &got));
        assert_true(result_from_text(text->str + 1, text->len - 2, &got));
        assert_true(got.recipient == 4294967295u && got.status == RESULT_BOUNCED && got.time_us == G_MAXINT64);
        assert_string_equal(got.dsn, "5.999.999");
        assert_string_equal(got.relay, rows[i].relay);
        assert_string_equal(got.text, rows[i].text);
        result_clear(&got);
        text->str[5] ^= 1;
        assert_false(result_from_text(text->str + 1, text->len - 2, &got));
    }
}

static void long_texts_are_cut(void **state)
{
    g_autofree char *relay = g_strnfill(100000, '\n');
    g_autofree char *long_text = g_strnfill(100000, '%');
    Result result = {.dsn = "4.0.0", .status = RESULT_DEFERRED, .relay = relay, .text = long_text};
    g_autoptr(GString) text = result_to_text(&result);
    Result got;

    assert_true(text->len <= RESULT_LINE_MAX);
    assert_true(result_from_text(text->str + 1, text->len - 2, &got));
    assert_int_equal(strlen(got.text), RESULT_TEXT_MAX);
    result_clear(&got);
}

static void status_codes_are_checked(void **state)
{
    static const struct {
        const char *dsn;
        bool valid;
    } rows[] = {{"2.0.0", true},  {"4.3.0", true},   {"5.7.999", true},  {"5.1000.0", false},
                {"3.0.0", false}, {"2.0", false},    {"2.0.0.0", false}, {"", false},
                {"2..0", false},  {"2.0.0 ", false}, {"25.0.0", false}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        assert_int_equal(result_dsn_is_valid(rows[i].dsn), rows[i].valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_line_comes_back),
        cmocka_unit_test(first_line_torn_anywhere_is_unwritten),
        cmocka_unit_test(first_line_with_a_flipped_bit_is_bad),
        cmocka_unit_test(results_come_back),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(status_codes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
