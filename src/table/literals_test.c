#define PCRE2_CODE_UNIT_WIDTH 8
#include "table/literals.h"

#include <pcre2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef SANITIZED
#define ROUNDS 2000 /* random patterns */
#else
#define ROUNDS 50000
#endif

static const struct {
    const char *pattern, *literals; /* between '|' */
} rows[] = {
    {"abc", ""},
    {"Viagra", "viagra"},
    {"^Subject: .*make money", "subject: |make money"},
    {"abcde*", "abcd"},
    {"abcd?efgh", "efgh"},
    {"abcd+efgh", "abcd|efgh"},
    {"abcde{0,2}fghi", "abcd|fghi"},
    {"abcde{,2}fghi", "abcd|fghi"},
    {"abcde{fghi", "abcd|fghi"},
    {"abc\\.exe$", "abc.exe"},
    {"abcd\\d+efgh\\s", "abcd|efgh"},
    {"abcd(efgh|ijkl)?mnop", "abcd|mnop"},
    {"abcd(x(y[)]z)\\)(?=q))mnop", "abcd|mnop"},
    {"abcd[]|(]efgh[^]]ijkl[[:alpha:])]mnop", "abcd|efgh|ijkl|mnop"},
    {"(?i)abcd(?s-m:.)efgh", "abcd|efgh"},
    /* what makes the rest optional, or changes its meaning */
    {"abcd|efgh", ""},
    {"abcd(*ACCEPT)efgh", ""},
    {"abcd((*ACCEPT))efgh", ""},
    {"\\Qabcd|\\Eefgh", ""},
    {"[\\Q]\\Eabcd]", ""},
    {"(?x)ab cd # efgh", ""},
    {"(?#a ( comment)abcd", ""},
    {"abcd\\x{41}efgh", ""},
    {"abcd\\123efgh", ""},
    {"abcd\\1efgh", ""},
    {"(?<n>abcd)efgh", ""},
    {"(?(1)abcd|efgh)ijkl", ""},
    {"abcd\xc3\xa4", ""},
    {"abcd)", ""},
    {"abcd(", ""},
    {"abcd[", ""},
    {"abcd\\", ""},
};

static void literals_are_found(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GPtrArray) literals = literals_of(rows[i].pattern);
        g_autoptr(GString) all = g_string_new(NULL);
        for (guint j = 0; j < literals->len; j++)
            g_string_append_printf(all, "%s%s", j > 0 ? "|" : "", (char *)literals->pdata[j]);
        if (strcmp(all->str, rows[i].literals) != 0)
            fail_msg("%s: %s", rows[i].pattern, all->str);
    }
}

static void a_text_that_lacks_one_is_ruled_out(void **state)
{
    static const char *const patterns[] = {"viagra", "subject: .*make money", "x", "abcd"};
    LiteralIndex *index = literal_index_new();
    static const struct {
        const char *text;
        bool want[4];
    } texts[] = {
        {"", {false, false, true, false}},
        {"Buy VIAGRA", {true, false, true, false}},
        {"Subject: MAKE MONEY abcd", {false, true, true, true}},
        {"make money", {false, false, true, false}},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(patterns); i++) {
        g_autoptr(GPtrArray) literals = literals_of(patterns[i]);
        literal_index_add(index, literals);
    }
    literal_index_finish(index);
    assert_true(literal_index_is_useful(index));
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree bool *may_match = literal_index_look(index, texts[i].text, strlen(texts[i].text));
        assert_memory_equal(may_match, texts[i].want, sizeof texts[i].want);
    }
    literal_index_free(index);
}

/* Any pattern, any text: what PCRE2 matches is never ruled out. */
static void no_match_is_lost(void **state)
{
    static const char *const items[] = {"a",     "b",    "ab",  "abab", "abba", "aabb",  "(",     ")",    "|",
                                        "*",     "?",    "+",   "{0}",  "{,1}", "{1,2}", "[",     "]",    "^",
                                        "$",     ".",    "\\b", "\\(",  "(?:",  "(?=",   "(?!",   "(?i)", "(*ACCEPT)",
                                        "[^a]",  "[]a]", "\\Q", "\\E",  "(?x)", " ",     "#",     "A",    "\\Ka",
                                        "(a|b)", "(?|",  "(?>", "\\1",  "{",    "}",     "\\x61", "(?<=", "(?#"};
    guint matches = 0;

    srand(1);
    for (int round = 0; round < ROUNDS; round++) {
        g_autoptr(GString) pattern = g_string_new(NULL);
        char text[13] = "";
        int code;
        PCRE2_SIZE offset;
        for (int i = rand() % 9; i >= 0; i--)
            g_string_append(pattern, items[(size_t)rand() % G_N_ELEMENTS(items)]);
        pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern->str, PCRE2_ZERO_TERMINATED,
                                             PCRE2_CASELESS | PCRE2_DOTALL, &code, &offset, NULL);
        if (!compiled)
            continue;
        g_autoptr(GPtrArray) literals = literals_of(pattern->str);
        LiteralIndex *index = literal_index_new();
        pcre2_match_data *found = pcre2_match_data_create_from_pattern(compiled, NULL);
        literal_index_add(index, literals);
        literal_index_finish(index);
        for (int j = 0; j < 8 && literals->len > 0; j++) {
            size_t len = (size_t)rand() % sizeof text;
            for (size_t k = 0; k < len; k++)
                text[k] = "aabbAB("[rand() % 7];
            g_autofree bool *may_match = literal_index_look(index, text, len);
            bool is_match = pcre2_match(compiled, (PCRE2_SPTR)text, len, 0, 0, found, NULL) >= 0;
            matches += is_match;
            if (is_match && !may_match[0])
                fail_msg("/%s/ matches \"%.*s\"", pattern->str, (int)len, text);
        }
        pcre2_match_data_free(found);
        literal_index_free(index);
        pcre2_code_free(compiled);
    }
    assert_true(matches > ROUNDS / 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_are_found),
        cmocka_unit_test(a_text_that_lacks_one_is_ruled_out),
        cmocka_unit_test(no_match_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
