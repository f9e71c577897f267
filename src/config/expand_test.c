#include "config/expand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *text;
    const char *wanted;
    const char *error; /* instead of wanted */
} Row;

static const struct {
    const char *name, *value;
} known[] = {
    {"v", "val"},
    {"e", ""},
    {"e2", "$e"},
    {"self", "$self"},
    {"loopa", "$loopb"},
    {"loopb", "$loopa"},
    {"my-name", "zz"},
    {"nl", "$v\n  x"},
    {"d1", "$$v"},
    {"d2", "$d1"},
    {"g0", "xxxxxxxxxxxxxxxxxxxx"},
    {"g1", "$g0$g0$g0$g0$g0$g0$g0$g0$g0$g0"},
    {"g2", "$g1$g1$g1$g1$g1$g1$g1$g1$g1$g1"},
    {"g3", "$g2$g2$g2$g2$g2$g2$g2$g2$g2$g2"},
    {"g4", "$g3$g3$g3$g3$g3$g3$g3$g3$g3$g3"},
    {"g5", "$g4$g4$g4$g4$g4$g4$g4$g4$g4$g4"},
    {"n0", "$e$e$e$e$e$e$e$e$e$e"},
    {"n1", "$n0$n0$n0$n0$n0$n0$n0$n0$n0$n0"},
    {"n2", "$n1$n1$n1$n1$n1$n1$n1$n1$n1$n1"},
    {"n3", "$n2$n2$n2$n2$n2$n2$n2$n2$n2$n2"},
    {"n4", "$n3$n3$n3$n3$n3$n3$n3$n3$n3$n3"},
    {"n5", "$n4$n4$n4$n4$n4$n4$n4$n4$n4$n4"},
};

static const char *find(const char *name, void *data)
{
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].value;
    return NULL;
}

/* What Postfix 3.7.11 makes of the same text. */
static const Row rows[] = {
    {"", ""},
    {"plain", "plain"},
    {"$v", "val"},
    {"${v}", "val"},
    {"$(v)", "val"},
    {"[${v}$(v)$v]", "[valvalval]"},
    {"$v.x", "val.x"},
    {"$v-x", "val-x"},
    {"$e|", "|"},
    {"$undefined|", "|"},
    {"$$v", "$v"},
    {"$$$v", "$val"},
    {"$$$$", "$$"},
    {"$d2", "$v"},
    {"${nl}", "val\n  x"},
    {"${ v }", "val"},
    {"${v}}", "val}"},
    {"$my-name", "-name"},
    {"${ }", ""},
    /* conditions */
    {"[${v?a}]", "[a]"},
    {"[${v? a }]", "[ a ]"},
    {"[${ v ?a}]", "[a]"},
    {"[${e?a}]", "[]"},
    {"[${v:b}]", "[]"},
    {"[${e:b}]", "[b]"},
    {"[${undefined:b}]", "[b]"},
    {"[${e: b }]", "[ b ]"},
    {"[${v?{ a }}]", "[ a ]"},
    {"[${v ? { a } }]", "[ a ]"},
    {"${v?{a}:{b}}", "a"},
    {"${e?{a}:{b}}", "b"},
    {"${v?{a}:b}", "a"},
    {"${e?{a}:b}", "b"},
    {"[${e? {x} : b }]", "[ b ]"},
    {"[${e? {x} :  { b } }]", "[ b ]"},
    {"${v ? {a} : {b}}", "a"},
    {"${v?a:b}", "a:b"},
    {"[${e?a:b}]", "[]"},
    {"${v??a}", "?a"},
    {"[${v?}${v?{}}${e:}]", "[]"},
    {"[${e?{x}:}${v?{x}:}]", "[x]"},
    {"${v?$v$v}", "valval"},
    {"${v?{$v}}", "val"},
    {"[${v?{$e }:{x}}]", "[ ]"},
    {"${v?{{a}}}", "{a}"},
    {"${v?{$$}}", "$"},
    {"${v?{x}} } {", "x } {"},
    {"${v?${v?${v}}}", "val"},
    {"$(v?a)", "a"},
    {"$(e?{a}:{b})", "b"},
    {"$(v ?{a} : {b})", "a"},
    {"${e2?{x}:{y}}", "x"}, /* the value counts before its expansion */
    {"[${e2}]", "[]"},
    /* comparisons */
    {"${{a} == {a} ? {x} : {y}}", "x"},
    {"${{a}=={b}?{x}:{y}}", "y"},
    {"${{a}!={b}?{x}}", "x"},
    {"[${{a}=={b}?{x}}]", "[]"},
    {"${{a}=={b}:{x}}", "x"},
    {"${{a}=={a}}", "true"},
    {"[${{a}=={b}}]", "[]"},
    {"${{9}<{10}?{x}:{y}}", "x"},
    {"${{9}<{10a}?{x}:{y}}", "y"},
    {"${{a9}<{a10}?{x}:{y}}", "y"},
    {"${{01}=={1}?{x}:{y}}", "x"},
    {"${{00}<={0}?{x}:{y}}", "x"},
    {"${{99999999999999999999}<{100000000000000000000}?{x}:{y}}", "x"},
    {"${{2}>={10}?{x}:{y}}", "y"},
    {"${{b}>{a}?{x}:{y}}", "x"},
    {"${{}=={}?{x}:{y}}", "x"},
    {"${{}=={ }?{x}:{y}}", "y"},
    {"${{ a }=={a}?{x}:{y}}", "y"},
    {"${{$v} == {val} ? {x$v} : {y}}", "xval"},
    {"${{${v?x}} == {x} ? {x} : {y}}", "x"},
    {"${{$undefined} == {} ? {x} : {y}}", "x"},
    {"${ {a} == {a} ? {x} }", "x"},
    {"${{a} == {a} ?x : y}", "x : y"},
    {"${{a} == {a} ?x}}", "x}"},
    {"${{3.6}<{3.10}?{x}:{y}}", "y"},
    {"${{3.6}<level{3.10}?{x}:{y}}", "x"},
    {"${{3.6} <level {3.10}?{x}:{y}}", "x"},
    {"${{3.6}==level{3.06}?{x}:{y}}", "x"},
    {"${{3}==level{3.0.0}?{x}:{y}}", "x"},
    {"${{1000.1} >level {3.10.5}?{x}:{y}}", "x"},
    {"${{3.10.4} >=level {3.10.5}?{x}:{y}}", "y"},
    /* functions */
    {"${domain_to_ascii{b\xc3\xbc"
     "cher.example}}",
     "xn--bcher-kva.example"},
    {"${domain_to_ascii{$v.Example}}", "val.example"},
    /* errors */
    {"$", NULL, "empty macro name: \"$\""},
    {"x$", NULL, "empty macro name: \"x$\""},
    {"$ x", NULL, "empty macro name: \"$ x\""},
    {"$-x", NULL, "empty macro name: \"$-x\""},
    {"[$$$]", NULL, "empty macro name: \"[$$$]\""},
    {"${}", NULL, "empty macro name: \"${}\""},
    {"${v?a$}", NULL, "empty macro name: \"a$\""},
    {"${v", NULL, "truncated macro reference: \"${v\""},
    {"$(v", NULL, "truncated macro reference: \"$(v\""},
    {"${v)", NULL, "truncated macro reference: \"${v)\""},
    {"a}${v", NULL, "truncated macro reference: \"a}${v\""},
    {"${v?{a}", NULL, "truncated macro reference: \"${v?{a}\""},
    {"${v x}", NULL, "attribute name syntax error at: \"...v>>> x\""},
    {"${my-Name}", NULL, "attribute name syntax error at: \"...my>>>-Name\""},
    {"${$v}", NULL, "attribute name syntax error at: \"...>>>$v\""},
    {"${v==v?a}", NULL, "attribute name syntax error at: \"...v>>>==v?a\""},
    {"${v?{a}x}", NULL, "\":\" expected at: \"...v?{a}>>>x\""},
    {"${v?{a}:{b}x}", NULL, "unexpected input at: \"...v?{a}:{b}>>>x\""},
    {"${e:{b}:{c}}", NULL, "unexpected input at: \"...e:{b}>>>:{c}\""},
    {"$(v?{a)", NULL, "unbalanced {} in attribute expression: \"v?{a\""},
    {"$({a)", NULL, "unbalanced {} in attribute expression: \"{a\""},
    {"${{a} == {a} {x}}", NULL, "\"?\" or \":\" expected at: \"...{a} == {a} >>>{x}\""},
    {"${{a} == x}", NULL, "\"{expression}\" expected at: \"...{a} ==>>> x\""},
    {"${{a} = {a}}", NULL, "\"==\" or \"!=\" or \"<\" or \"<=\" or \">=\" or \">\" expected at: \"...{a} >>>= {a}\""},
    {"${{3} <Level {4}}", NULL, "bad operator suffix at: \"...{3} <>>>Level {4}\""},
    {"${{a} <level {4}}", NULL, "malformed compatibility level syntax: \"a\""},
    {"${{} <level {4}}", NULL, "malformed compatibility level syntax: \"\""},
    {"${{3.6.1.2} <level {4}}", NULL, "malformed compatibility level syntax: \"3.6.1.2\""},
    {"${{3.} <level {4}}", NULL, "malformed compatibility level syntax: \"3.\""},
    {"${fn{text}}", NULL, "unknown function name: \"fn\""},
    {"$self", NULL, "unreasonable macro call nesting: \"self\""},
    {"$loopa", NULL, "unreasonable macro call nesting: \"loopb\""},
    {"$g5$g5", NULL, "macro result is too long"},
    {"$n5", NULL, "unreasonable macro call nesting: \"e\""},
};

static void expands(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *got = expand_text(rows[i].text, find, NULL, &error);
        if (rows[i].error) {
            if (got)
                fail_msg("%s: got %s", rows[i].text, got);
            assert_string_equal(error->message, rows[i].error);
        } else {
            if (!got)
                fail_msg("%s: %s", rows[i].text, error->message);
            assert_string_equal(got, rows[i].wanted);
        }
    }
}

static void collect(const char *name, void *data)
{
    g_string_append_printf(data, "%s ", name);
}

static void finds_names(void **state)
{
    static const struct {
        const char *text, *wanted;
    } names[] = {
        {"", ""},
        {"$a ${b} $(c) $$d", "a b c "},
        {"${a?$b}${c?{$d}:{$e}}", "a b c d e "},
        {"${{$a} == {$b} ? {$c} : {$d}}", "a b c d "},
        {"${domain_to_ascii{$a}}", "a "},
        {"${broken", ""},
        {"$ $a ${b-c} $d", "a d "},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GString) got = g_string_new(NULL);
        expand_names(names[i].text, collect, got);
        assert_string_equal(got->str, names[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expands),
        cmocka_unit_test(finds_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
