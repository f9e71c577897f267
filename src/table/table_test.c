/* table_test.c - all types of tables: what they answer, and what they log. */
#include "base/clock.h"
#include "table/lmdb_file.h"
#include "table/table.h"
#include "table/testing.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <utime.h>

#include <cmocka.h>

typedef struct {
    const char *key, *value; /* NULL: not there */
} Pair;

static void assert_lookups(const char *spec, const Pair *pairs)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Table) table = table_open(spec, &error);

    if (!table)
        fail_msg("%s: %s", spec, error->message);
    for (; pairs->key; pairs++) {
        g_autofree char *value = NULL;
        TableResult result = table_lookup(table, pairs->key, &value);
        if (result != (pairs->value ? TABLE_FOUND : TABLE_ABSENT) || g_strcmp0(value, pairs->value) != 0)
            fail_msg("%s: %s: result %d, value %s, wanted %s", spec, pairs->key, (int)result, value, pairs->value);
    }
}

static void assert_logged(const char *wanted)
{
    g_autofree char *logged = testing_logged();

    assert_string_equal(logged, wanted);
}

/* wanted: "@" stands for place. */
static void assert_logged_at(const char *place, const char *wanted)
{
    g_auto(GStrv) parts = g_strsplit(wanted, "@", -1);
    g_autofree char *text = g_strjoinv(place, parts);

    assert_logged(text);
}

static void tables_in_their_names(void **state)
{
    assert_lookups("inline:{a=b, {c = d e, f}, X=Y, a=z}",
                   (Pair[]){{"a", "z"}, {"c", "d e, f"}, {"X", "Y"}, {"x", "Y"}, {"b", NULL}, {"", NULL}, {0}});
    assert_lookups("static:foo", (Pair[]){{"x", "foo"}, {"", "foo"}, {0}});
    assert_lookups("static:{foo  bar }", (Pair[]){{"x", "foo  bar"}, {0}});
    assert_lookups("proxy:static:foo", (Pair[]){{"x", "foo"}, {0}});
    assert_lookups("unionmap:{inline:{a=1},inline:{a=2,c=3}}", (Pair[]){{"a", "1,2"}, {"c", "3"}, {"d", NULL}, {0}});
    assert_lookups("pipemap:{inline:{a=c}, inline:{c=5}}", (Pair[]){{"a", "5"}, {"c", NULL}, {0}});
    assert_lookups("randmap:{x}", (Pair[]){{"a", "x"}, {0}});
    assert_lookups("unix:passwd.byname", (Pair[]){{"no such:user", NULL}, {"", NULL}, {"roo", NULL}, {0}});
    g_setenv("TABLE_TEST", "yes", TRUE);
    assert_lookups("environ:x", (Pair[]){{"TABLE_TEST", "yes"}, {"TABLE_TEST_NOT", NULL}, {0}});
    assert_logged("");
}

static void the_password_file_is_a_table(void **state)
{
    g_autoptr(Table) table = table_open("unix:passwd.byname", NULL);
    g_autofree char *value = NULL;

    assert_int_equal(table_lookup(table, "ROOT", &value), TABLE_FOUND);
    assert_true(g_str_has_prefix(value, "root:"));
    assert_null(strchr(value, '\n'));
}

/* What cannot be opened, and how that is worded. */
static void tables_that_do_not_open(void **state)
{
    static const struct {
        const char *spec, *error;
        bool unusable; /* table_open() itself fails */
    } rows[] = {
        {"hash", "open dictionary: expecting \"type:name\" form instead of \"hash\"", true},
        {"static:", "open dictionary: expecting \"type:name\" form instead of \"static:\"", true},
        {"mongodb:/x", "mongodb:/x: lookup tables of type mongodb are not supported", true},
        {"nosuch:x", "unsupported dictionary type: nosuch", false},
        {"inline:a=b", "bad syntax: \"inline:a=b\"; need \"inline:{name=value...}\"", false},
        {"inline:{}", "bad syntax: \"inline:{}\"; need \"inline:{name=value...}\"", false},
        {"inline:{a=b} x", "bad syntax: \"inline:{a=b} x\"; need \"inline:{name=value...}\"", false},
        {"inline:{a=b", "bad syntax: \"inline:{a=b\"; need \"inline:{name=value...}\"", false},
        {"inline:{a}", "missing '=' after attribute name: \"inline:{a}\"; need \"inline:{name=value...}\"", false},
        {"static:{a} b", "bad static:name syntax: syntax error after '}' in \"{a} b\"", false},
        {"unix:foo", "unknown table: unix:foo", false},
        {"unionmap:x", "bad syntax: \"unionmap:x\"; need \"unionmap:{type:name...}\"", false},
        {"unionmap:{static:a nosuch:b}", "unsupported dictionary type: nosuch", false},
        {"randmap:{}", "bad syntax: \"randmap:{}\"; need \"randmap:{value...}\"", false},
        {"hash:/nonexistent", "open database /nonexistent.db: No such file or directory", false},
        {"lmdb:/nonexistent", "open database /nonexistent.lmdb: No such file or directory", false},
        {"texthash:/nonexistent", "open database /nonexistent: No such file or directory", false},
        {"cidr:/nonexistent", "open /nonexistent: No such file or directory", false},
        {"regexp:/nonexistent", "open /nonexistent: No such file or directory", false},
        {"cidr:{1.2.3.0/24 ok}", "cidr map: no '{' at start of text in \"1.2.3.0/24\"", false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *value = NULL;
        assert_null(table_open_strict(rows[i].spec, false, &error));
        assert_string_equal(error->message, rows[i].error);
        g_clear_error(&error);
        g_autoptr(Table) table = table_open(rows[i].spec, &error);
        assert_int_equal(table == NULL, rows[i].unusable);
        g_autofree char *wanted = g_strdup_printf("error: %s\n", rows[i].error);
        assert_logged(rows[i].unusable ? "" : wanted);
        if (!table)
            continue;
        assert_int_equal(table_lookup(table, "k", &value), TABLE_FAILED);
        g_autofree char *warned =
            g_strdup_printf("warning: %s is unavailable. %s\nwarning: %s lookup error for \"k\"\n", rows[i].spec,
                            rows[i].error, rows[i].spec);
        assert_logged(warned);
    }
}

static void failing_tables(void **state)
{
    g_autofree char *value = NULL;
    g_autoptr(Table) table = table_open("fail:x", NULL);

    assert_int_equal(table_lookup(table, "a", &value), TABLE_FAILED);
    assert_null(value);
    assert_logged("warning: fail:x lookup error for \"a\"\n");
}

static void texthash_reads_records(void **state)
{
    g_autofree char *path = testing_file("text", "  indented first\n# comment\nFoo bar\nfoo  second\nnokey\na: b\nbaz\n"
                                                 "# inside\n  cont\nx\ty z  \n\"quoted key\" v\n\"open v\n");
    g_autofree char *spec = g_strconcat("texthash:", path, NULL);

    assert_lookups(spec, (Pair[]){{"foo", "bar"},
                                  {"FOO", "bar"},
                                  {"nokey", NULL},
                                  {"a:", "b"},
                                  {"baz", "cont"},
                                  {"x", "y z"},
                                  {"\"quoted key\"", "v"},
                                  {"\"open", NULL},
                                  {0}});
    assert_logged_at(path, "warning: @: logical line must not start with whitespace: \"  indented first\"\n"
                           "warning: @, line 4: duplicate entry: \"foo\"\n"
                           "warning: @, line 5: expected format: key whitespace value -- ignoring this line\n"
                           "warning: @, line 6: record is in \"key: value\" format; is this an alias file?\n"
                           "warning: @, line 12: unbalanced '\"' in '\"open v' -- ignoring this line\n");
}

static void cidr_matches_networks(void **state)
{
    g_autofree char *path = testing_file(
        "cidr", "1.2.3.0/24 net\n1.2.3.5/24 bad\n1.2.3.0/33 bad2\n1.2.3 bad3\n10.0.0.1 host\n!10.0.0.0/8 notten\n"
                "if 10.0.0.0/8\n10.1.0.0/16 tenone\nendif\n::/0\n2001:db8::/32 v6 \n[::1] br\nendif\n/x y\n"
                "300.1.1.1/8 z\nif 10.9.0.0/16\n10.0.0.0/8 nested\n");
    g_autofree char *spec = g_strconcat("cidr:", path, NULL);

    assert_lookups(spec, (Pair[]){{"1.2.3.4", "net"},
                                  {"10.0.0.1", "host"},
                                  {"10.1.2.3", "tenone"},
                                  {"10.2.0.0", NULL},
                                  {"10.9.0.1", "nested"},
                                  {"11.1.1.1", "notten"},
                                  {"2001:DB8::5", "v6"},
                                  {"::1", "br"},
                                  {"::2", NULL},
                                  {"::ffff:1.2.3.4", NULL},
                                  {"[::1]", NULL},
                                  {"foo", NULL},
                                  {0}});
    assert_logged_at(
        path, "warning: cidr map @, line 2: non-null host address bits in \"1.2.3.5/24\", perhaps you should use "
              "\"1.2.3.0/24\" instead: skipping this rule\n"
              "warning: cidr map @, line 3: bad mask length in \"1.2.3.0/33\": skipping this rule\n"
              "warning: cidr map @, line 4: bad address pattern: \"1.2.3\": skipping this rule\n"
              "warning: cidr map @, line 10: no lookup result: skipping this rule\n"
              "warning: cidr map @, line 13: ENDIF without IF: skipping this rule\n"
              "warning: cidr map @, line 14: bad mask value in \"/x\": skipping this rule\n"
              "warning: cidr map @, line 15: bad network value in \"300.1.1.1/8\": skipping this rule\n"
              "warning: cidr map @, line 16: IF has no matching ENDIF\n");
    assert_lookups("cidr:{{1.2.3.0/24   ok a}, {!0.0.0.0/1 hi}}",
                   (Pair[]){{"1.2.3.4", "ok a"}, {"200.0.0.1", "hi"}, {"1.1.1.1", NULL}, {0}});
    assert_lookups("cidr:{{0.0.0.0/0 all}}", (Pair[]){{"1.2.3.4", "all"}, {"::1", NULL}, {0}});
}

static const char pattern_rules[] = "/^a(.)$/  one$1\n/^b(.)$/i two${1}\n!/^[abcdmnopqxyz]/ neg\n/noslash\n"
                                    "/^c(.)/q badflag\n/^d(.)/ $2\n/^d(.)/ $0\n/(/ unclosed\nif /^x/\n/^xy/ xy\nelse\n"
                                    "/^xz/ xz\nendif\nendif\nif !/^y/\n/^z/ z\nendif\nabc def\n!/x(.)/ $1\n"
                                    "|^m/n| (delim)\n/^n(k)?(.)/ [$(1)][$2]$$\n/^p\\/q/ esc\n/^q/\n"
                                    "/^ob$/ $x\n/^ob$/ ${1\nIF /^o/\n/^oo/ o\n";

static const Pair pattern_answers[] = {{"ab", "oneb"},
                                       {"AB", "oneB"},
                                       {"bb", "twob"},
                                       {"BB", NULL},
                                       {"hello", "neg"},
                                       {"xy1", "xy"},
                                       {"XZ", "xz"},
                                       {"yz", NULL},
                                       {"zz", "z"},
                                       {"m/n", "(delim)"},
                                       {"nko", "[k][o]$"},
                                       {"no", "[][o]$"},
                                       {"p/q", "esc"},
                                       {"q", ""},
                                       {"oo", "o"},
                                       {"cq", NULL},
                                       {0}};

static void assert_patterns(const char *type, const char *closing, const char *unclosed)
{
    g_autofree char *path = testing_file("patterns", pattern_rules);
    g_autofree char *spec = g_strconcat(type, ":", path, NULL);
    g_autofree char *where = g_strdup_printf("warning: %s map %s, line", type, path);
    g_autofree char *wanted = g_strconcat("@ 4: no closing regexp delimiter \"/\": ", closing,
                                          " this rule\n"
                                          "@ 5: unknown regexp option \"q\": skipping this rule\n"
                                          "@ 6: out of range replacement index \"2\": skipping this rule\n"
                                          "@ 7: out of range replacement index \"0\"\n"
                                          "@ 7: bad replacement syntax: skipping this rule\n"
                                          "@ 8: ",
                                          unclosed,
                                          "\n"
                                          "@ 11: ignoring unrecognized request\n"
                                          "@ 14: ignoring ENDIF without matching IF\n"
                                          "@ 18: ignoring unrecognized request\n"
                                          "@ 19: $number found in negative match replacement text: skipping this rule\n"
                                          "@ 23: no replacement text: using empty string\n"
                                          "@ 24: non-numeric replacement index \"x\"\n"
                                          "@ 24: bad replacement syntax: skipping this rule\n"
                                          "@ 25: truncated macro reference: \"${1\"\n"
                                          "@ 25: bad replacement syntax: skipping this rule\n"
                                          "@ 26: IF has no matching ENDIF\n",
                                          NULL);

    assert_lookups(spec, pattern_answers);
    assert_logged_at(where, wanted);
}

static void patterns_match(void **state)
{
    assert_patterns("regexp", "skipping", "Unmatched ( or \\(");
    assert_patterns("pcre", "ignoring", "error in regex at offset 1: missing closing parenthesis");
    assert_lookups("pcre:{{/^\\d+$/ digits}, {/(?<!x)y/ lookbehind}}",
                   (Pair[]){{"12", "digits"}, {"y", "lookbehind"}, {"xy", NULL}, {0}});
    assert_lookups("regexp:{{/^\\d+$/ d}, {/[\\.]z/ backslash}}",
                   (Pair[]){{"12", NULL}, {"dd", "d"}, {"\\z", "backslash"}, {".z", "backslash"}, {0}});
    assert_lookups("regexp:{{/^a\\(b\\)*$/x basic $1}}", (Pair[]){{"abb", "basic b"}, {"a(b)", NULL}, {0}});
    assert_lookups("pcre:{{/^.\xc3\xa9$/ utf8}}",
                   (Pair[]){{"\xc3\xbc\xc3\xa9", "utf8"}, {"\xff\xff\xc3\xa9", NULL}, {0}});
}

/* A pattern that backtracks without end, and the key that makes it do so: an error within bounds, not "absent". */
static void patterns_have_limits(void **state)
{
    g_autofree char *value = NULL;
    g_autofree char *key = g_strnfill(200, 'a');
    g_autoptr(Table) table = table_open("pcre:{{/^(a|aa)+[bc]$/ x}}", NULL);

    assert_int_equal(table_lookup(table, key, &value), TABLE_FAILED);
    g_autofree char *logged = testing_logged();
    assert_non_null(strstr(logged, "line 1: match limit exceeded"));
}

static void build_index(const char *path, bool with_nul)
{
    g_autoptr(LmdbWriter) writer = lmdb_writer_new(path, with_nul, NULL);

    assert_non_null(writer);
    assert_int_equal(lmdb_writer_put(writer, "foo", "bar", false, NULL), TABLE_ABSENT);
    assert_int_equal(lmdb_writer_put(writer, "foo", "baz", false, NULL), TABLE_FOUND);
    assert_int_equal(lmdb_writer_put(writer, "gone", "x", false, NULL), TABLE_ABSENT);
    assert_int_equal(lmdb_writer_delete(writer, "gone", NULL), TABLE_FOUND);
    assert_int_equal(lmdb_writer_delete(writer, "gone", NULL), TABLE_ABSENT);
    assert_true(lmdb_writer_commit(writer, "/nonexistent", NULL));
}

static void indexes_are_read_with_and_without_nul(void **state)
{
    g_autofree char *path = g_build_filename(testing_dir, "nul.lmdb", NULL);
    g_autofree char *plain_path = g_build_filename(testing_dir, "plain.lmdb", NULL);
    g_autofree char *spec = g_strdup_printf("lmdb:%s/nul", testing_dir);
    g_autofree char *plain_spec = g_strdup_printf("lmdb:%s/plain", testing_dir);
    g_autofree char *long_key = g_strnfill(5000, 'k');

    build_index(path, true);
    build_index(plain_path, false);
    assert_lookups(spec, (Pair[]){{"FOO", "bar"}, {"gone", NULL}, {"", NULL}, {long_key, NULL}, {0}});
    assert_lookups(plain_spec, (Pair[]){{"foo", "bar"}, {"fo", NULL}, {0}});
    assert_logged("");
}

static void set_age(const char *path, int seconds)
{
    time_t when = time(NULL) - seconds;

    assert_int_equal(utime(path, &(struct utimbuf){when, when}), 0);
}

static void hash_takes_the_newer_of_index_and_text(void **state)
{
    g_autofree char *text = testing_file("both", "foo text\nalias: target,\n other\n");
    g_autofree char *index_path = g_strconcat(text, ".lmdb", NULL);
    g_autofree char *spec = g_strconcat("hash:", text, NULL);
    g_autofree char *lmdb_spec = g_strconcat("lmdb:", text, NULL);

    build_index(index_path, true);
    set_age(text, 1000);
    assert_lookups(spec, (Pair[]){{"foo", "bar"}, {0}});
    assert_logged("");
    set_age(index_path, 2000);
    assert_lookups(spec, (Pair[]){{"Foo", "text"}, {"alias", "target, other"}, {0}});
    g_autofree char *logged = testing_logged();
    assert_true(g_str_has_prefix(logged, "warning: hash:"));
    assert_ptr_equal(strchr(logged, '\n'), logged + strlen(logged) - 1);
    assert_lookups(lmdb_spec, (Pair[]){{"foo", "bar"}, {0}});
    g_autofree char *stale = g_strdup_printf("warning: database %s is older than source file %s\n", index_path, text);
    assert_logged(stale);
}

static void hash_with_only_berkeley_db_is_refused(void **state)
{
    g_autofree char *path = testing_file("only.db", "x");
    g_autofree char *spec = g_strdup_printf("btree:%s/only", testing_dir);
    g_autoptr(GError) error = NULL;

    assert_null(table_open(spec, &error));
    assert_non_null(strstr(error->message, "gatepost map"));
    assert_non_null(strstr(error->message, path));
}

/* Two lists that name one table share it: it is complained of once. */
static void one_table_is_opened_once(void **state)
{
    g_autofree char *path = testing_file("shared", "bad\nk v\n");
    g_autofree char *specs = g_strdup_printf("texthash:%s, texthash:%s", path, path);
    g_autoptr(Tables) first = tables_open(specs, NULL);
    g_autoptr(Tables) second = tables_open(specs, NULL);
    g_autofree char *wanted =
        g_strdup_printf("warning: %s, line 1: expected format: key whitespace value -- ignoring this line\n", path);

    assert_int_equal(tables_count(first), 2);
    assert_ptr_equal(tables_get(first, 0), tables_get(second, 1));
    assert_logged(wanted);
}

static void lists_are_tried_in_order(void **state)
{
    g_autofree char *value = NULL;
    g_autoptr(Tables) tables = tables_open("inline:{a=1}, inline:{a=2,\tb=2} static:rest", NULL);
    g_autoptr(Tables) failing = tables_open("inline:{a=1} fail:x inline:{b=2}", NULL);
    g_autoptr(Tables) empty = tables_open(" , ", NULL);

    assert_int_equal(tables_lookup(tables, "a", &value), TABLE_FOUND);
    assert_string_equal(value, "1");
    g_clear_pointer(&value, g_free);
    assert_int_equal(tables_lookup(tables, "b", &value), TABLE_FOUND);
    assert_string_equal(value, "2");
    g_clear_pointer(&value, g_free);
    assert_int_equal(tables_lookup_part(tables, "c", &value), TABLE_ABSENT);
    assert_int_equal(tables_lookup(failing, "b", &value), TABLE_FAILED);
    assert_true(tables_is_empty(empty));
    assert_false(tables_is_empty(failing));
    assert_int_equal(tables_lookup(empty, "b", &value), TABLE_ABSENT);
    assert_logged("warning: fail:x lookup error for \"b\"\n");
}

static void addresses_are_looked_up_by_their_chain(void **state)
{
    static const struct {
        const char *table, *address, *delimiters;
        bool local, at_domain;
        const char *value, *extension;
    } rows[] = {
        {"inline:{u+x@d=1,u@d=2}", "u+x@d", "+", false, false, "1", NULL},
        {"inline:{u@d=2}", "u+x@d", "+", false, false, "2", "+x"},
        {"inline:{u@d=2}", "U+x@D", "+", false, false, "2", "+x"},
        {"inline:{u@d=2}", "u+x@d", "", false, false, NULL, NULL},
        {"inline:{u@d=2}", "u-x@d", "+-", false, false, "2", "-x"},
        {"inline:{u+x=3,u=4}", "u+x@d", "+", true, false, "3", NULL},
        {"inline:{u=4}", "u+x@d", "+", true, false, "4", "+x"},
        {"inline:{u=4}", "u+x@d", "+", false, true, NULL, NULL},
        {"inline:{@d=5}", "u+x@d", "+", false, true, "5", NULL},
        {"inline:{@d=5}", "u+x@d", "+", false, false, NULL, NULL},
        {"inline:{owner=6}", "owner-list@d", "-", true, false, NULL, NULL},
        {"inline:{list=6}", "list-request@d", "-", true, false, NULL, NULL},
        {"inline:{x=6}", "+x@d", "+", true, false, NULL, NULL},
        {"regexp:{{/^u@d$/ 7}}", "u+x@d", "+", true, true, NULL, NULL},
        {"regexp:{{/^u\\+x@d$/ 7}}", "u+x@d", "+", true, true, "7", NULL},
        {"inline:{u=8}", "u", "+", false, false, "8", NULL},
        {"inline:{u=8}", "u+x", "+", false, false, "8", "+x"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Tables) tables = tables_open(rows[i].table, NULL);
        g_autofree char *value = NULL;
        g_autofree char *extension = NULL;
        AddressLookup how = {rows[i].delimiters, rows[i].local, rows[i].at_domain};
        TableResult result = tables_lookup_address(tables, rows[i].address, &how, &value, &extension);
        if (result != (rows[i].value ? TABLE_FOUND : TABLE_ABSENT) || g_strcmp0(value, rows[i].value) != 0 ||
            g_strcmp0(extension, rows[i].extension) != 0)
            fail_msg("row %zu: %d %s %s", i, (int)result, value, extension);
    }
}

/* ---- Changing files ---- */

/* Looks up until that is the answer, or for ten seconds. */
static void assert_becomes(const Table *table, const char *key, const char *wanted)
{
    for (gint64 end = clock_ms() + 10000; clock_ms() < end; g_usleep(10000)) {
        g_autofree char *value = NULL;
        if (table_lookup(table, key, &value) == TABLE_FOUND && strcmp(value, wanted) == 0)
            return;
    }
    fail_msg("%s: %s does not become %s", table_spec(table), key, wanted);
}

/* Looks up, with that answer, until the log says so, or for ten seconds. */
static void assert_is_logged(const Table *table, const char *key, const char *value, const char *text)
{
    for (gint64 end = clock_ms() + 10000; clock_ms() < end; g_usleep(10000)) {
        g_autofree char *got = NULL;
        assert_int_equal(table_lookup(table, key, &got), TABLE_FOUND);
        assert_string_equal(got, value);
        g_autofree char *logged = testing_logged();
        if (strstr(logged, text))
            return;
    }
    fail_msg("not logged: %s", text);
}

static void changed_files_are_read_anew(void **state)
{
    g_autofree char *text = testing_file("changing", "foo one\n");
    g_autofree char *index_path = g_strconcat(text, ".lmdb", NULL);
    g_autofree char *rules_path = testing_file("rules", "/^foo$/ one\n");
    g_autofree char *specs = g_strdup_printf("texthash:%s, pcre:%s, unionmap:{texthash:%s}, hash:%s, cidr:%s.late",
                                             text, rules_path, text, text, text);
    g_autofree char *late_path = g_strconcat(text, ".late", NULL);
    g_autoptr(Tables) tables = tables_open(specs, NULL);

    for (guint i = 0; i < 4; i++)
        assert_becomes(tables_get(tables, i), "foo", "one");
    assert_true(g_file_set_contents(text, "foo two\n", -1, NULL));
    assert_true(g_file_set_contents(rules_path, "/^foo$/ two\n", -1, NULL));
    assert_true(g_file_set_contents(late_path, "10.0.0.0/8 net\n", -1, NULL));
    for (guint i = 0; i < 4; i++)
        assert_becomes(tables_get(tables, i), "foo", "two");
    assert_becomes(tables_get(tables, 4), "10.0.0.1", "net");
    build_index(index_path, true);
    assert_becomes(tables_get(tables, 3), "foo", "bar");
    assert_int_equal(g_unlink(text), 0);
    g_usleep(300000);
    assert_becomes(tables_get(tables, 0), "foo", "two");
    g_autofree char *logged = testing_logged();
    assert_non_null(strstr(logged, "has changed -- reading it anew"));
    assert_int_equal(g_mkdir(text, 0755), 0); /* there, and no text */
    assert_is_logged(tables_get(tables, 0), "foo", "two", "has changed and cannot be read");
    assert_int_equal(g_rmdir(text), 0);
}

/* Nobody sees the half of what is written in pieces. */
static void a_file_is_read_when_nobody_writes_it_any_more(void **state)
{
    g_autofree char *path = testing_file("pieces", "foo old\nbar old\n");
    g_autofree char *spec = g_strdup_printf("texthash:%s", path);
    g_autoptr(Table) table = table_open(spec, NULL);
    FILE *file = fopen(path, "r+");

    assert_int_equal(ftruncate(fileno(file), 0), 0);
    fputs("foo new\n", file);
    for (int i = 0; i < 8; i++) { /* for longer than the rest that is asked for */
        g_autofree char *foo = NULL;
        g_autofree char *bar = NULL;
        fprintf(file, "key%d value\n", i);
        fflush(file);
        g_usleep(200000);
        assert_int_equal(table_lookup(table, "foo", &foo), TABLE_FOUND);
        assert_int_equal(table_lookup(table, "bar", &bar), TABLE_FOUND);
        assert_string_equal(foo, "old");
        assert_string_equal(bar, "old");
    }
    fputs("bar new\n", file);
    fclose(file);
    assert_becomes(table, "bar", "new");
    assert_becomes(table, "foo", "new");
    g_free(testing_logged());
}

/* ---- Many threads ---- */

typedef struct {
    const char *specs;
    unsigned wrong;
} Reader;

static void *read_tables(void *data)
{
    Reader *reader = data;

    for (gint64 end = clock_ms() + 700; clock_ms() < end;) {
        g_autoptr(Tables) tables = tables_open(reader->specs, NULL);
        for (guint j = 0; j < tables_count(tables); j++) {
            g_autofree char *value = NULL;
            reader->wrong +=
                table_lookup(tables_get(tables, j), "foo", &value) != TABLE_FOUND || strcmp(value, "bar") != 0;
        }
    }
    return NULL;
}

static void tables_are_read_by_many_threads(void **state)
{
    g_autofree char *index_path = g_build_filename(testing_dir, "threads.lmdb", NULL);
    g_autofree char *text = testing_file("threads-text", "foo bar\n");
    g_autofree char *specs =
        g_strdup_printf("lmdb:%s/threads, texthash:%s, pcre:{{/^f(oo)$/ bar}}, inline:{foo=bar}", testing_dir, text);
    g_autoptr(Tables) held = NULL; /* the readers' own come and go */
    Reader readers[4];
    pthread_t threads[G_N_ELEMENTS(readers)];

    build_index(index_path, true);
    held = tables_open(specs, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(readers); i++) {
        readers[i] = (Reader){.specs = specs};
        assert_int_equal(pthread_create(&threads[i], NULL, read_tables, &readers[i]), 0);
    }
    for (int i = 0; i < 20; i++) { /* other files all the time, with the same in them */
        assert_true(g_file_set_contents(text, "foo bar\n", -1, NULL));
        build_index(index_path, true);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(readers); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].wrong, 0);
    }
}

static int begin(void **state)
{
    testing_begin();
    return 0;
}

static int end(void **state)
{
    testing_end();
    return 0;
}

static void who_looks_up_may_have_to_wait(void **state)
{
    static const struct {
        const char *specs;
        bool block;
    } rows[] = {
        {"", false},
        {"inline:{a=1}, unionmap:{inline:{a=1}}", false},
        {"inline:{a=1}, pipemap:{texthash:/nonexistent}", true}, /* who knows what else is in it */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Tables) tables = tables_open(rows[i].specs, NULL);
        assert_int_equal(tables_block(tables), rows[i].block);
    }
    g_free(testing_logged());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_in_their_names),
        cmocka_unit_test(the_password_file_is_a_table),
        cmocka_unit_test(tables_that_do_not_open),
        cmocka_unit_test(failing_tables),
        cmocka_unit_test(texthash_reads_records),
        cmocka_unit_test(cidr_matches_networks),
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(patterns_have_limits),
        cmocka_unit_test(indexes_are_read_with_and_without_nul),
        cmocka_unit_test(hash_takes_the_newer_of_index_and_text),
        cmocka_unit_test(hash_with_only_berkeley_db_is_refused),
        cmocka_unit_test(one_table_is_opened_once),
        cmocka_unit_test(lists_are_tried_in_order),
        cmocka_unit_test(addresses_are_looked_up_by_their_chain),
        cmocka_unit_test(changed_files_are_read_anew),
        cmocka_unit_test(a_file_is_read_when_nobody_writes_it_any_more),
        cmocka_unit_test(tables_are_read_by_many_threads),
        cmocka_unit_test(who_looks_up_may_have_to_wait),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
