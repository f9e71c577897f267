/* db_common_test.c - parameters, templates, keys and results of tables that ask a database. */
#include "table/backend.h"
#include "table/db_common.h"
#include "table/testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Parameters from a file with this text. */
static DbParams *params_of(const char *text, GError **error)
{
    g_autofree char *path = testing_file("db.cf", text);
    Table table = {0};
    DbParams *params = db_params_read(&table, path, error);

    assert_int_equal(table.state.watch->len, 1);
    state_clear(&table.state);
    return params;
}

/* wanted: "@" stands for the file. */
static void assert_error(GError *error, const char *wanted)
{
    g_autofree char *path = g_build_filename(testing_dir, "db.cf", NULL);
    g_auto(GStrv) parts = g_strsplit(wanted, "@", -1);
    g_autofree char *text = g_strjoinv(path, parts);

    assert_non_null(error);
    assert_string_equal(error->message, text);
    g_error_free(error);
}

/* ---- Parameters ---- */

static const char *from_main(void *context, const char *name)
{
    const char *const *pairs = context;

    for (; *pairs; pairs += 2)
        if (strcmp(*pairs, name) == 0)
            return pairs[1];
    return NULL;
}

static void parameters_from_a_file(void **state)
{
    g_autoptr(DbParams) params =
        params_of("# comment\nhosts = a,\n   b\nquery = SELECT $x\nnumber = 7\nflag = No\ntime = 2m\nempty =\n", NULL);
    GError *error = NULL;
    int number;
    bool flag;

    assert_string_equal(db_params_get(params, "hosts"), "a,   b");
    assert_string_equal(db_params_get(params, "query"), "SELECT $x");
    assert_null(db_params_get(params, "none"));
    assert_string_equal(db_params_need(params, "none", "x", NULL), "x");
    assert_true(db_params_int(params, "number", 1, 0, &number, NULL) && number == 7);
    assert_true(db_params_int(params, "none", 1, 0, &number, NULL) && number == 1);
    assert_true(db_params_bool(params, "flag", true, &flag, NULL) && !flag);
    assert_true(db_params_seconds(params, "time", 1, 1, &number, NULL) && number == 120);

    assert_null(db_params_need(params, "empty", "x", &error));
    assert_error(g_steal_pointer(&error), "@: bad string length 0 < 1: empty = ");
    assert_false(db_params_int(params, "hosts", 1, 0, &number, &error));
    assert_error(g_steal_pointer(&error), "@: bad numerical configuration: hosts = a,   b");
    assert_false(db_params_int(params, "number", 1, 8, &number, &error));
    assert_error(g_steal_pointer(&error), "@: invalid number parameter value 7 < 8");
    assert_false(db_params_bool(params, "number", true, &flag, &error));
    assert_error(g_steal_pointer(&error), "@: bad boolean configuration: number = 7");
    assert_false(db_params_seconds(params, "hosts", 1, 1, &number, &error));
    assert_error(g_steal_pointer(&error), "@: parameter hosts: bad time value or unit: a,   b");
}

static void parameters_from_main_cf(void **state)
{
    const char *pairs[] = {"foo_query", "SELECT 1", "foo_number", "x", NULL};
    g_autoptr(DbParams) params = NULL;
    GError *error = NULL;
    Table table = {0};
    int number;

    table_set_parameters(from_main, pairs);
    params = db_params_read(&table, "foo", NULL);
    assert_null(table.state.watch);
    assert_string_equal(db_params_get(params, "query"), "SELECT 1");
    assert_null(db_params_get(params, "hosts"));
    assert_null(db_params_need(params, "hosts", NULL, &error));
    assert_error(g_steal_pointer(&error), "bad string length 0 < 1: foo_hosts = ");
    assert_false(db_params_int(params, "number", 1, 0, &number, &error));
    assert_error(g_steal_pointer(&error), "bad numerical configuration: foo_number = x");
    table_set_parameters(NULL, NULL);
    assert_null(db_params_get(params, "query"));
}

static void files_that_cannot_be_read(void **state)
{
    g_autofree char *path = g_build_filename(testing_dir, "none.cf", NULL);
    g_autofree char *wanted = g_strdup_printf("open %s: No such file or directory", path);
    GError *error = NULL;
    Table table = {0};

    assert_null(db_params_read(&table, path, &error));
    assert_string_equal(error->message, wanted);
    g_clear_error(&error);
    state_clear(&table.state);

    assert_null(params_of("query\n", &error));
    assert_error(error, "@, line 1: missing '=' after attribute name: \"query\"");
}

/* ---- Templates ---- */

/* Doubles quotes. A text with a bell cannot be quoted. */
static char *quote(void *context, const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, "'", -1);

    if (strchr(text, '\a')) {
        g_set_error_literal(error, TABLE_ERROR, 0, "bell");
        return NULL;
    }
    return g_strjoinv("''", parts);
}

static void templates_of_queries(void **state)
{
    static const struct {
        const char *text, *key, *wanted; /* NULL: not asked about */
    } rows[] = {
        {"<%s>", "joe@x.org", "<joe@x.org>"},
        {"%u|%d|%S|%U|%D|%%s", "joe@x.org", "joe|x.org|joe@x.org|joe|x.org|%s"},
        {"%u|%d", "a@b@c", "a@b|c"},
        {"%u|%d", "joe", NULL},
        {"%u|%d", "@x.org", NULL},
        {"%d", "@x.org", "x.org"},
        {"%d", "joe@", NULL},
        {"%u", "joe@", "joe"},
        {"%u", "joe", "joe"},
        {"%u", "@x.org", NULL},
        {"'%s' '%u'", "it's@o'x", "'it''s@o''x' 'it''s'"},
        {"'%s'", "\\'; DROP TABLE t; --", "'\\''; DROP TABLE t; --'"},
        {"%1|%2", "joe@a.b.c", "c|b"},
        {"%1|%2", "a.b.c", NULL},
        {"%1|%2", "joe@c", NULL},
        {"%2", "joe@a..c", "a"},
        {"%2", "joe@.c", NULL},
        {"%1", "joe@b.c.", "c"},
        {"%1", "joe@...", NULL},
        {"%1", "@b.c", "c"},
        {"%9", "u@i.h.g.f.e.d.c.b.a", "i"},
        {"no key", "x", "no key"},
        {"%s%%", "%s%d", "%s%d%"},
    };
    g_autoptr(DbParams) params = params_of("", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(DbTemplate) query = db_template_new(params, "query", rows[i].text, NULL);
        bool accepts = db_template_accepts(query, rows[i].key);
        g_autofree char *text = accepts ? db_template_expand(query, rows[i].key, quote, NULL, NULL) : NULL;
        if (g_strcmp0(text, rows[i].wanted) != 0)
            fail_msg("%s: %s: %s, wanted %s", rows[i].text, rows[i].key, text, rows[i].wanted);
    }
}

static void templates_that_are_wrong(void **state)
{
    static const char *const wrong[] = {"%x", "a %", "%0", "%% %", "%\xc3\xa4"};
    g_autoptr(DbParams) params = params_of("", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *message = g_strdup_printf("@: Invalid query template: %s", wrong[i]);
        GError *error = NULL;
        assert_null(db_template_new(params, "query", wrong[i], &error));
        assert_error(error, message);
    }
}

static void a_quote_that_fails(void **state)
{
    g_autoptr(DbParams) params = params_of("", NULL);
    g_autoptr(DbTemplate) query = db_template_new(params, "query", "'%s'", NULL);
    g_autoptr(GError) error = NULL;

    assert_null(db_template_expand(query, "a\a", quote, NULL, &error));
    assert_string_equal(error->message, "bell");
}

static void queries_of_older_parameters(void **state)
{
    static const struct {
        const char *params;
        bool functions;
        const char *wanted, *error;
    } rows[] = {
        {"query = SELECT '%s'\ntable = t\nselect_function = f", true, "SELECT 'k'", NULL},
        {"select_function = f\ntable = t", true, "SELECT f('k')", NULL},
        {"table = t\nselect_field = v\nwhere_field = w\nselect_function = f", false, "SELECT v FROM t WHERE w = 'k' ",
         NULL},
        {"table = t\nselect_field = v\nwhere_field = w\nadditional_conditions = AND x", true,
         "SELECT v FROM t WHERE w = 'k' AND x", NULL},
        {"", true, NULL, "@: bad string length 0 < 1: table = "},
        {"table = t\nselect_field = v\n", true, NULL, "@: bad string length 0 < 1: where_field = "},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        GError *error = NULL;
        g_autoptr(DbParams) params = params_of(rows[i].params, NULL);
        g_autoptr(DbTemplate) query = db_template_new_sql(params, rows[i].functions, &error);
        g_autofree char *text = query ? db_template_expand(query, "k", quote, NULL, NULL) : NULL;
        if (g_strcmp0(text, rows[i].wanted) != 0)
            fail_msg("%s: %s, wanted %s", rows[i].params, text, rows[i].wanted);
        if (rows[i].error)
            assert_error(error, rows[i].error);
    }
}

/* ---- Keys and results ---- */

static void keys_that_are_asked_about(void **state)
{
    static const struct {
        const char *params, *query, *key;
        bool utf8;
        TableResult wanted;
    } rows[] = {
        {"", "%s", "joe", true, TABLE_FOUND},
        {"", "%s", "", true, TABLE_ABSENT},
        {"", "%s", "caf\xe9", true, TABLE_ABSENT},
        {"", "%s", "caf\xe9", false, TABLE_FOUND},
        {"", "%s", "caf\xc3\xa9", true, TABLE_FOUND},
        {"", "%d", "joe", true, TABLE_ABSENT},
        {"result_format = %D", "%s", "joe", true, TABLE_ABSENT},
        {"result_format = %U", "%s", "@x.org", true, TABLE_ABSENT},
        {"result_format = %u%d", "%s", "joe", true, TABLE_FOUND},
        {"result_format = %2", "%s", "joe@x", true, TABLE_ABSENT},
        {"domain = x.org, b.com", "%s", "joe@x.org", true, TABLE_FOUND},
        {"domain = x.org, b.com", "%s", "joe@B.com", true, TABLE_FOUND},
        {"domain = x.org", "%s", "joe@sub.x.org", true, TABLE_ABSENT},
        {"domain = x.org", "%s", "joe", true, TABLE_ABSENT},
        {"domain = x.org", "%s", "x.org", true, TABLE_ABSENT},
        {"domain = x.org", "%s", "@x.org", true, TABLE_ABSENT},
        {"domain = !x.org, static:all", "%s", "joe@x.org", true, TABLE_ABSENT},
        {"domain = !x.org, static:all", "%s", "joe@y.org", true, TABLE_FOUND},
        {"domain = fail:x", "%s", "joe@y.org", true, TABLE_FAILED},
        {"domain =", "%s", "joe", true, TABLE_FOUND},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(DbParams) params = params_of(rows[i].params, NULL);
        g_autoptr(DbTemplate) query = db_template_new(params, "query", rows[i].query, NULL);
        g_autoptr(DbRules) rules = db_rules_new(params, "sql:x", "result_format", NULL);
        g_autoptr(GError) error = NULL;
        TableResult result = db_rules_admit(rules, query, rows[i].utf8, rows[i].key, &error);
        if (result != rows[i].wanted || (result == TABLE_FAILED) != (error != NULL))
            fail_msg("%s: %s: %d", rows[i].params, rows[i].key, (int)result);
        if (error)
            assert_string_equal(error->message, "sql:x 'domain' pattern match failed for 'y.org'");
    }
    g_free(testing_logged());
}

static void rules_that_are_wrong(void **state)
{
    static const struct {
        const char *params, *error;
    } rows[] = {
        {"result_format = %q", "@: Invalid result template: %q"},
        {"result_format =", "@: bad string length 0 < 1: result_format = "},
        {"expansion_limit = x", "@: bad numerical configuration: expansion_limit = x"},
        {"domain = mongodb:x", "mongodb:x: lookup tables of type mongodb are not supported"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(DbParams) params = params_of(rows[i].params, NULL);
        GError *error = NULL;
        assert_null(db_rules_new(params, "sql:x", "result_format", &error));
        assert_error(error, rows[i].error);
    }
}

static void values_of_an_answer(void **state)
{
    static const struct {
        const char *params, *values[4], *wanted, *error, *logged;
    } rows[] = {
        {"", {"a"}, "a", NULL, ""},
        {"", {"a", "b@x", "c"}, "a,b@x,c", NULL, ""},
        {"", {NULL}, NULL, NULL, ""},
        {"",
         {"", "a", ""},
         "a",
         NULL,
         "warning: table \"sql:x\": empty lookup result for: \"joe@a.b\" -- ignored\n"
         "warning: table \"sql:x\": empty lookup result for: \"joe@a.b\" -- ignored\n"},
        {"result_format = smtp:[%s]", {"a", "b"}, "smtp:[a],smtp:[b]", NULL, ""},
        {"result_format = %u|%d|%S|%U|%D|%1|%%", {"v@dom"}, "v|dom|joe@a.b|joe|a.b|b|%", NULL, ""},
        {"result_format = %u", {"bare", "@dom", "v@"}, "bare,v", NULL, ""},
        {"result_format = %d", {"bare", "@dom", "v@"}, "dom", NULL, ""},
        {"expansion_limit = 2", {"a", "b"}, "a,b", NULL, ""},
        {"expansion_limit = 2", {"a", "b", "c"}, NULL, "sql:x: Expansion limit exceeded for key: 'joe@a.b'", ""},
        {"expansion_limit = 1\nresult_format = %d", {"bare", "v@dom"}, "dom", NULL, ""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(DbParams) params = params_of(rows[i].params, NULL);
        g_autoptr(DbRules) rules = db_rules_new(params, "sql:x", "result_format", NULL);
        g_autoptr(GError) error = NULL;
        g_autofree char *value = NULL;
        g_auto(DbAnswer) answer;
        db_answer_init(&answer, rules, "joe@a.b");
        bool is_good = db_answer_add(&answer, NULL, NULL);
        for (int j = 0; is_good && rows[i].values[j]; j++)
            is_good = db_answer_add(&answer, rows[i].values[j], &error);
        TableResult result = is_good ? db_answer_end(&answer, &value) : TABLE_FAILED;
        assert_int_equal(result, rows[i].error ? TABLE_FAILED : rows[i].wanted ? TABLE_FOUND : TABLE_ABSENT);
        if (g_strcmp0(value, rows[i].wanted) != 0 || g_strcmp0(error ? error->message : NULL, rows[i].error) != 0)
            fail_msg("%s: %s, %s", rows[i].params, value, error ? error->message : "");
        g_autofree char *logged = testing_logged();
        assert_string_equal(logged, rows[i].logged);
    }
}

static void answers_of_megabytes(void **state)
{
    g_autoptr(DbParams) params = params_of("", NULL);
    g_autoptr(DbRules) rules = db_rules_new(params, "sql:x", "result_format", NULL);
    g_autofree char *long_value = g_strnfill(300 * 1024, 'x');
    g_autoptr(GError) error = NULL;
    g_auto(DbAnswer) answer;

    db_answer_init(&answer, rules, "joe");
    for (int i = 0; i < 3; i++)
        assert_true(db_answer_add(&answer, long_value, NULL));
    assert_false(db_answer_add(&answer, long_value, &error));
    assert_string_equal(error->message, "sql:x: more than 1048576 octets of results for key: 'joe'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_from_a_file),      cmocka_unit_test(parameters_from_main_cf),
        cmocka_unit_test(files_that_cannot_be_read),   cmocka_unit_test(templates_of_queries),
        cmocka_unit_test(templates_that_are_wrong),    cmocka_unit_test(a_quote_that_fails),
        cmocka_unit_test(queries_of_older_parameters), cmocka_unit_test(keys_that_are_asked_about),
        cmocka_unit_test(rules_that_are_wrong),        cmocka_unit_test(values_of_an_answer),
        cmocka_unit_test(answers_of_megabytes),
    };

    testing_begin();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    testing_end();
    return failed;
}
