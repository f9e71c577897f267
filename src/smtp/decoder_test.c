#include "smtp/decoder.h"
#include "smtp/encoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* What came of an input: lines separated by '\n', "$" after the last one when the data ended, "+" when input was left
 * behind the end, "_" after a line that has not ended. */
static GString *decode(const char *in, size_t len, size_t portion, BareNewline policy, bool dots, Decoder *ret_decoder)
{
    GString *out = g_string_new(NULL);
    Decoder decoder;
    size_t at = 0;
    bool open = false;
    unsigned idle = 0;

    decoder_init(&decoder, policy, dots);
    for (size_t limit = MIN(portion, len); at < len || limit < len;) {
        size_t used, piece_len;
        const char *piece;
        bool ends_line;

        DecoderEvent event = decoder_next(&decoder, in + at, limit - at, &used, &piece, &piece_len, &ends_line);
        at += used;
        assert_true(at <= limit);
        idle = used == 0 && event == DECODER_PIECE ? idle + 1 : 0;
        assert_true(idle <= len);
        if (event == DECODER_END) {
            g_string_append(out, at < len ? "$+" : "$");
            break;
        }
        if (event == DECODER_MORE) {
            assert_int_equal(at, limit);
            limit = MIN(limit + portion, len);
            if (at == len)
                break;
            continue;
        }
        g_string_append_len(out, piece, (gssize)piece_len);
        open = !ends_line;
        if (ends_line)
            g_string_append_c(out, '\n');
    }
    if (open)
        g_string_append_c(out, '_');
    if (ret_decoder)
        *ret_decoder = decoder;
    return out;
}

/* In portions of every size. */
static GString *decode_all_ways(const char *in, size_t len, BareNewline policy, bool dots, Decoder *ret_decoder)
{
    GString *whole = decode(in, len, len, policy, dots, ret_decoder);

    for (size_t portion = 1; portion < len; portion++) {
        g_autoptr(GString) parts = decode(in, len, portion, policy, dots, NULL);
        if (!g_string_equal(parts, whole))
            fail_msg("portions of %zu: %s, whole: %s", portion, parts->str, whole->str);
    }
    return whole;
}

#define NO BARE_NEWLINE_NO
#define NORM BARE_NEWLINE_NORMALIZE

static const struct {
    BareNewline policy;
    const char *in, *want;
} rows[] = {
    {NORM, "a\r\n.\r\n", "a\n$"},
    {NORM, ".\r\n", "$"},
    {NORM, "a\r\n.\r\nQUIT\r\n", "a\n$+"},
    {NORM, "..\r\n..a\r\n.b\r\n.\r\n", ".\n.a\nb\n$"},
    {NORM, "\r\n\r\n.\r\n", "\n\n$"},
    {NORM, "a\nb\r\n.\r\n", "a\nb\n$"},
    {NORM, "a\rb\r\n", "a b\n"},
    {NORM, "a\r\rb\r\n", "a  b\n"},
    {NORM, "a\r\r\n", "a \n"},
    {NORM, "\r\r\r\n", "  \n"},
    {NORM, ".\rb\r\n", " b\n"},
    {NORM, ".\r\r\n.\r\n", " \n$"},
    {NORM, "a", "a_"},
    {NORM, "a\r\n.", "a\n"},
    {NORM, "a\r\n.\r", "a\n"},
    /* a lone dot with a bare LF at either end is nothing */
    {NORM, "a\n.\nb\r\n.\r\n", "a\nb\n$"},
    {NORM, "a\r\n.\nb\r\n.\r\n", "a\nb\n$"},
    {NORM, "a\n.\r\nb\r\n.\r\n", "a\nb\n$"},
    {NORM, ".\n.\n.\r\n.\r\n", "$"},
    {NORM, "a\n..\n.\n\r\n.\r\n", "a\n.\n\n$"},
    {NO, "a\n.\nb", "a\n$+"},
    {NO, "a\r\n.\r\r\r\nb", "a\n$+"},
    {NO, "a\r\r\r\n.\n", "a\n$"},
    {NO, "a\r\r\rb\r\r\n.\n", "a   b\n$"},
    {NO, ".\r\r\rb\n.\n", "   b\n$"},
    {NO, ".", ""},
};

static void lines_do_not_depend_on_portions(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GString) got = decode_all_ways(rows[i].in, strlen(rows[i].in), rows[i].policy, true, NULL);
        if (strcmp(got->str, rows[i].want) != 0)
            fail_msg("row %zu: %s, not %s", i, got->str, rows[i].want);
    }
}

static void many_crs_are_all_kept_or_all_dropped(void **state)
{
    g_autofree char *crs = g_strnfill(1000, '\r');
    g_autofree char *blanks = g_strnfill(1000, ' ');
    g_autofree char *in = g_strdup_printf("a%sb%s\n.\n", crs, crs);
    g_autofree char *lenient = g_strdup_printf("a%sb\n$", blanks);
    g_autofree char *strict = g_strdup_printf("a%sb%.999s\n", blanks, blanks);
    static const size_t portions[] = {1, 7, 63, 64, 65, 999, 5000};

    for (size_t i = 0; i < G_N_ELEMENTS(portions); i++) {
        g_autoptr(GString) got = decode(in, strlen(in), portions[i], NO, true, NULL);
        assert_string_equal(got->str, lenient);
        g_autoptr(GString) also = decode(in, strlen(in), portions[i], NORM, true, NULL);
        assert_string_equal(also->str, strict);
    }
}

static const struct {
    const char *text;
    size_t len;
} bad_ends[] = {
    {"\n.\n", 3},   {"\r.\r", 3},   {"\r.\n", 3},   {"\n.\r", 3},       {"\n.\r\n", 4},
    {"\r\n.\n", 4}, {"\r.\r\n", 4}, {"\r\n.\r", 4}, {"\r\n.\0\r\n", 6}, {"\r\n\0.\r\n", 6},
};

static void malformed_ends_of_data_end_nothing(void **state)
{
    static const BareNewline policies[] = {BARE_NEWLINE_NORMALIZE, BARE_NEWLINE_NOTE, BARE_NEWLINE_REJECT};
    static const char after[] = "MAIL FROM:<smuggled@x>\r\nDATA\r\nhello\r\n";

    for (size_t p = 0; p < G_N_ELEMENTS(policies); p++) {
        for (size_t i = 0; i < G_N_ELEMENTS(bad_ends); i++) {
            g_autoptr(GString) in = g_string_new("first");
            Decoder decoder;

            g_string_append_len(in, bad_ends[i].text, (gssize)bad_ends[i].len);
            g_string_append(in, after);
            g_autoptr(GString) open = decode_all_ways(in->str, in->len, policies[p], true, &decoder);
            if (strchr(open->str, '$'))
                fail_msg("end %zu ended the data", i);
            bool has_bare_lf = i == 0 || i == 2 || i == 3 || i == 4 || i == 5;
            assert_int_equal(decoder.saw_bare_lf, has_bare_lf);
            assert_int_equal(decoder.saw_nul, i >= 8);

            /* What goes on is one message, too, for a receiver of whatever policy. */
            g_string_append(in, ".\r\n");
            g_autoptr(GString) lines = decode_all_ways(in->str, in->len, policies[p], true, NULL);
            assert_int_equal(lines->str[lines->len - 1], '$');
            g_autoptr(GString) wire = g_string_new(NULL);
            Encoder encoder = {0};
            const char *line = lines->str;
            for (const char *end; (end = memchr(line, '\n', (size_t)(lines->str + lines->len - line))); line = end + 1)
                encoder_add(&encoder, wire, line, (size_t)(end - line), true);
            encoder_finish(&encoder, wire);
            for (BareNewline other = BARE_NEWLINE_NO; other <= BARE_NEWLINE_REJECT; other++) {
                g_autoptr(GString) again = decode_all_ways(wire->str, wire->len, other, true, NULL);
                assert_true(g_string_equal(again, lines));
            }
            for (const char *lf = wire->str; (lf = memchr(lf, '\n', (size_t)(wire->str + wire->len - lf))); lf++)
                assert_int_equal(lf[-1], '\r');
            for (const char *cr = wire->str; (cr = memchr(cr, '\r', (size_t)(wire->str + wire->len - cr))); cr++)
                assert_int_equal(cr[1], '\n');
        }
    }
}

static void chunks_have_no_dots(void **state)
{
    Decoder decoder;
    static const struct {
        const char *in, *want;
        bool open; /* decoder_finish() ends a line */
    } chunks[] = {
        {".\r\n..a\r\n", ".\n..a\n", false},
        {"a\nb\r\n", "a\nb\n", false},
        {"a", "a_", true},
        {"a\r", "a_", true},
        {"\r", "", true},
        {"", "", false},
        {"a\r\n.", "a\n._", true},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(chunks); i++) {
        g_autoptr(GString) got = decode_all_ways(chunks[i].in, strlen(chunks[i].in), NORM, false, &decoder);
        assert_string_equal(got->str, chunks[i].want);
        assert_int_equal(decoder_finish(&decoder), chunks[i].open);
        assert_false(decoder_finish(&decoder));
    }
}

static void what_was_seen_is_told(void **state)
{
    Decoder decoder;

    g_autoptr(GString) plain = decode("a\r\n.\r\n", 6, 6, NORM, true, &decoder);
    assert_string_equal(plain->str, "a\n$");
    assert_false(decoder.saw_bare_lf || decoder.saw_bare_cr || decoder.saw_nul || decoder.saw_8bit);
    g_autoptr(GString) odd = decode("a\rb\0\xff\n", 6, 6, NORM, true, &decoder);
    assert_memory_equal(odd->str, "a b\0\xff\n", 6);
    assert_true(decoder.saw_bare_lf && decoder.saw_bare_cr && decoder.saw_nul && decoder.saw_8bit);
    g_autoptr(GString) dot = decode(".\n", 2, 2, NORM, true, &decoder);
    assert_int_equal(dot->len, 0);
    assert_true(decoder.saw_bare_lf);
}

static void pieces_are_encoded(void **state)
{
    g_autoptr(GString) out = g_string_new(NULL);
    Encoder encoder = {0};

    encoder_add(&encoder, out, "", 0, false);
    encoder_add(&encoder, out, ".a", 2, false);
    encoder_add(&encoder, out, ".b", 2, false);
    encoder_add(&encoder, out, "", 0, true);
    encoder_add(&encoder, out, "", 0, true);
    encoder_add(&encoder, out, ".", 1, true);
    encoder_add(&encoder, out, "open", 4, false);
    encoder_finish(&encoder, out);
    assert_string_equal(out->str, "..a.b\r\n\r\n..\r\nopen\r\n.\r\n");
}

static void malformed_dot_is_kept_where_it_is_wanted(void **state)
{
    static const char in[] = ".x\r\n..y\r\n.\r\rz\r\n.\r.\r\n.\r\n";

    for (size_t portion = 1; portion < sizeof in; portion++) {
        g_autoptr(GString) out = g_string_new(NULL);
        Decoder decoder;
        unsigned malformed = 0;
        decoder_init(&decoder, BARE_NEWLINE_NORMALIZE, true);
        decoder.keep_malformed_dot = true;
        for (size_t at = 0, used, len;; at += used) {
            const char *piece;
            bool ends_line;
            DecoderEvent event =
                decoder_next(&decoder, in + at, MIN(portion, sizeof in - 1 - at), &used, &piece, &len, &ends_line);
            if (event == DECODER_END)
                break;
            if (event == DECODER_MORE)
                continue;
            g_string_append_len(out, piece, (gssize)len);
            if (ends_line)
                g_string_append_c(out, '\n');
            malformed += decoder.saw_malformed_dot;
            decoder.saw_malformed_dot = false;
        }
        assert_string_equal(out->str, ".x\n.y\n.  z\n. .\n");
        assert_int_equal(malformed, 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_dot_is_kept_where_it_is_wanted),
        cmocka_unit_test(lines_do_not_depend_on_portions),
        cmocka_unit_test(many_crs_are_all_kept_or_all_dropped),
        cmocka_unit_test(malformed_ends_of_data_end_nothing),
        cmocka_unit_test(chunks_have_no_dots),
        cmocka_unit_test(what_was_seen_is_told),
        cmocka_unit_test(pieces_are_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
