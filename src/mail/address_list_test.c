#include "mail/address_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Marks what is mapped; leaves "keep". */
static char *mark(void *user, const char *address)
{
    return strcmp(address, "keep") == 0 ? NULL : g_strdup_printf("%s@M", address);
}

static void addresses_are_mapped_in_their_place(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"", ""},
        {"a", "a@M"},
        {" a ", " a@M "},
        {"keep, b", "keep, b@M"},
        {"Name <a>", "Name <a@M>"},
        {"\"Last, First\" <a>, b (c, d), <e>", "\"Last, First\" <a@M>, b@M (c, d), <e@M>"},
        {"list: a, b; c", "list: a@M, b@M; c@M"},
        {"undisclosed-recipients:;", "undisclosed-recipients:;"},
        {"<>", "<>"},
        {"Two Words", "Two Words"},
        {"a b, c", "a b, c@M"},
        {"\"a b\"", "\"a b\"@M"},
        {"a\n b,\n c", "a\n b,\n c@M"},
        {"<@r,@s:a>", "<a@M>"},
        {"(only)", "(only)"},
        {"<a", "<a"},
        {"\"open, a", "\"open, a"},
        {"a (open, b", "a@M (open, b"},
        {"x\\, y, a", "x\\, y, a@M"},
        {"a;b,,c", "a@M;b@M,,c@M"},
        {"<a> b <c>", "<a> b <c@M>"},
        {"a (c) . b", "a.b@M"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GString) out = g_string_new(NULL);
        bool changed = address_list_map(rows[i].in, strlen(rows[i].in), 1000, mark, NULL, out);
        assert_string_equal(out->str, rows[i].want);
        assert_int_equal(changed, strcmp(rows[i].in, rows[i].want) != 0);
    }
}

static void so_many_and_no_more_are_looked_for(void **state)
{
    g_autoptr(GArray) spans = address_list_find("a, b, c", 7, 2);

    assert_int_equal(spans->len, 2);
    assert_string_equal(g_array_index(spans, AddressSpan, 1).address, "b");
}

static void results_of_tables_are_split(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"a@x", "a@x"}, {"a@x, b@y", "a@x|b@y"}, {"a b\tc", "a|b|c"}, {"\"a b\"@x, <c@y>", "a b@x|c@y"},
        {"@x", "@x"},   {"Some Name <a>", "a"},  {"a b, c", "a|b|c"}, {"", ""},
        {" , ", ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GPtrArray) addresses = address_list_split(rows[i].in, 100);
        g_ptr_array_add(addresses, NULL);
        g_autofree char *joined = g_strjoinv("|", (char **)addresses->pdata);
        assert_string_equal(joined, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_mapped_in_their_place),
        cmocka_unit_test(so_many_and_no_more_are_looked_for),
        cmocka_unit_test(results_of_tables_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
