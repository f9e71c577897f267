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

static char *map_list(const char *text, guint max, bool *ret_changed)
{
    GString *out = g_string_new("To:");

    *ret_changed = address_list_map(text, strlen(text), max, mark, NULL, out);
    return g_string_free(out, FALSE);
}

static void a_changed_list_is_written_anew(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"", ""},
        {"a", " a@M"},
        {"  a ", " a@M"},
        {"keep, b", " keep, b@M"},
        {" keep,keep", " keep,keep"},
        {" Name <a>", " Name <a@M>"},
        {"Name<a>(c)", " Name <a@M> (c)"},
        {"\"Last, First\" <a>, b (c, d), <e>", " \"Last, First\" <a@M>, b@M (c, d), <e@M>"},
        {"Joe Q. Public <a>", " Joe Q. Public <a@M>"},
        {"list: a, b; c", " list: a@M, b@M;, c@M"},
        {"a, list:;, b", " a@M, list: ;, b@M"},
        {" undisclosed-recipients:;", " undisclosed-recipients:;"},
        {" <>", " <>"},
        {"<>,a", " <>, a@M"},
        {" a b,c", " a@M, b@M, c@M"},
        {" \"a b\"", " \"a b\"@M"},
        {" a,\n b,\n\tc\n d", " a@M, b@M, c@M, d@M"},
        {" Name\n <a>", " Name <a@M>"},
        {" <@r,@s:keep>", " <keep>"},
        {" @r:a", " a@M"},
        {" (only)", " (only)"},
        {" (one) a (two)", " a@M (one) (two)"},
        {" a (one) b", " a@M, b@M (one)"},
        {" <a", " <a"},
        {"b,  <a", " b@M, <a"},
        {" a (open, b", " a@M (open, b"},
        {" x\\, y, a", " \"x,\"@M, y@M, a@M"},
        {" a;b,,c", " a@M;, b@M, , c@M"},
        {" <a> b <c> d", " <a@M> b <c@M>, d@M"},
        {" a (c) . b", " a.b@M (c)"},
        {" a,", " a@M,"},
        /* 69 octets, 70 */
        {" aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbb, c",
         " aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@M, bbbbbbbbbbbbbbbbbbbbbbb@M, c@M"},
        {" aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbb, c, d",
         " aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@M, bbbbbbbbbbbbbbbbbbbbbbb@M,\n\tc@M, d@M"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        bool changed;
        g_autofree char *out = map_list(rows[i].in, 1000, &changed);
        g_autofree char *want = g_strconcat("To:", rows[i].want, NULL);
        assert_string_equal(out, want);
        assert_int_equal(changed, strcmp(rows[i].in, rows[i].want) != 0);
    }
}

static void so_many_parts_and_no_more_are_looked_at(void **state)
{
    bool changed;
    g_autofree char *none = map_list("a,  Joe <b>, c", 0, &changed);

    assert_string_equal(none, "To:a,  Joe <b>, c");
    assert_false(changed);
    for (guint max = 2; max <= 5; max++) { /* no cut element */
        g_autofree char *some = map_list("a,  Joe <b>, c", max, &changed);
        assert_string_equal(some, max < 5 ? "To: a@M, Joe <b>, c" : "To: a@M, Joe <b@M>, c");
    }
}

static void no_octet_ends_a_list(void **state)
{
    static const char text[] = " a, b\0c, \0, d", want[] = "To: a@M, b\0, c@M, \0, d@M";
    g_autoptr(GString) out = g_string_new("To:");

    assert_true(address_list_map(text, sizeof text - 1, 100, mark, NULL, out));
    assert_int_equal(out->len, sizeof want - 1);
    assert_memory_equal(out->str, want, sizeof want - 1);
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
        cmocka_unit_test(a_changed_list_is_written_anew),
        cmocka_unit_test(so_many_parts_and_no_more_are_looked_at),
        cmocka_unit_test(no_octet_ends_a_list),
        cmocka_unit_test(results_of_tables_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
