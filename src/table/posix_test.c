/* posix_test.c - the translation, and against regcomp(3) itself what it matches. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "table/posix.h"

#include <pcre2.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const patterns[] = {
    "a*?",  "a*+b",         "(ab)+*c",  "[\\.]x",  "[]a]",        "[^]a]",     "[a-z]{2,3}", "a{,2}b",
    "x|y|", "\\<ab\\>",     "\\d",      "a\\|b",   "\\(ab\\)*",   "*a",        "^*a",        "a^b",
    "a$b",  "[[:digit:]]+", "[[.a.]b]", "[[=a=]]", "(a)\\1",      "a)",        "(a",         "a{1",
    "a{x}", "a\\{2\\}",     "{a",       "\\",      "[a",          "[[:alpha]", "(^a|b$)",    "()",
    "a||b", "\\.com$",      "a\\+",     "\\w+\\W", "^(.*)@(.*)$", "[a\\]b]",   "[.a.]",      "[:b:]",
    "\\+a", "a.c",          "[]-a]",    "a{2}{3}", "((a)(b)?)+",  "\\`a\\'",   "[a-]",       "\\$",
};
static const char *const subjects[] = {
    "",     "a",  "aa",  "aab",   "ab",   "abab",   "ababc", "abc",  "\\x", ".x",  "]",
    "b",    "dd", "5",   "a|b",   "(ab)", "*a",     "a^b",   "a$b",  "^a",  "a)",  "x.com",
    "xcom", "a+", "u@h", "a\\b]", "a\nc", "aaaaaa", "-",     "a{2}", "$",   "a b",
};

static int posix_result(const char *pattern, bool extended, const char *subject)
{
    regex_t compiled;

    if (regcomp(&compiled, pattern, extended ? REG_EXTENDED : 0) != 0)
        return -1;
    int found = regexec(&compiled, subject, 0, NULL, 0) == 0;
    regfree(&compiled);
    return found;
}

static int our_result(const char *pattern, bool extended, const char *subject)
{
    g_autofree char *translated = posix_to_pcre(pattern, extended, NULL);
    int code;
    PCRE2_SIZE offset;

    if (!translated)
        return -1;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)translated, PCRE2_ZERO_TERMINATED,
                                         PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY, &code, &offset, NULL);
    if (!compiled)
        return -1;
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(compiled, NULL);
    int found = pcre2_match(compiled, (PCRE2_SPTR)subject, strlen(subject), 0, 0, data, NULL) > 0;
    pcre2_match_data_free(data);
    pcre2_code_free(compiled);
    return found;
}

static void matches_what_regcomp_matches(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(patterns); i++)
        for (int extended = 0; extended < 2; extended++)
            for (size_t j = 0; j < G_N_ELEMENTS(subjects); j++) {
                int wanted = posix_result(patterns[i], extended, subjects[j]);
                int got = our_result(patterns[i], extended, subjects[j]);
                if (got != wanted) {
                    g_autofree char *translated = posix_to_pcre(patterns[i], extended, NULL);
                    print_error("%s \"%s\" (%s) on \"%s\": %d, wanted %d\n", extended ? "extended" : "basic",
                                patterns[i], translated, subjects[j], got, wanted);
                    fail();
                }
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_what_regcomp_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
