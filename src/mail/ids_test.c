#include "mail/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define WHEN (G_GINT64_CONSTANT(1795336928) * G_USEC_PER_SEC + 0x71CBC)

static void short_ids_have_their_shape(void **state)
{
    g_autofree char *id = id_new_short(WHEN);
    g_autofree char *other = id_new_short(WHEN);
    g_autofree char *early = id_new_short(WHEN - 0x71CBC + 1);

    assert_memory_equal(id, "71CBC", 5);
    assert_int_equal(strlen(id), 11);
    assert_int_equal(strspn(id, "0123456789ABCDEF"), 11);
    assert_string_not_equal(id, other);
    assert_memory_equal(early, "00001", 5);
    assert_true(id_is_valid(id));
    assert_false(id_is_long(id));
}

static void spoken_ids_have_their_shape(void **state)
{
    g_autofree char *id = id_new_spoken(12);
    g_autofree char *other = id_new_spoken(12);

    assert_int_equal(strlen(id), 12);
    assert_int_equal(strspn(id, ID_SPOKEN_DIGITS), 12);
    assert_string_not_equal(id, other);
}

static void trace_notes_are_one_word(void **state)
{
    g_autofree char *own = id_trace_note("8q7dvxds2d3m");
    g_autofree char *strange = id_trace_note("a b> trace=\xc3\xa4");

    assert_string_equal(own, " trace=8q7dvxds2d3m");
    assert_string_equal(strange, " trace=a?b??trace???");
}

static void long_ids_have_their_shape(void **state)
{
    /* 1795336928 seconds and 466108 microseconds in base 52 */
    static const char alphabet[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
    g_autofree char *id = id_new_long(WHEN);
    guint64 seconds = 0, microseconds = 0;

    for (int i = 0; i < 6; i++)
        seconds = seconds * 52 + (guint64)(strchr(alphabet, id[i]) - alphabet);
    for (int i = 6; i < 10; i++)
        microseconds = microseconds * 52 + (guint64)(strchr(alphabet, id[i]) - alphabet);
    assert_int_equal(seconds, 1795336928);
    assert_int_equal(microseconds, 0x71CBC);
    assert_int_equal(id[10], 'z');
    assert_null(strchr(id + 11, 'z'));
    assert_int_equal(strspn(id, alphabet), strlen(id));
    assert_true(id_is_valid(id));
    assert_true(id_is_long(id));
}

static void foreign_ids_are_checked(void **state)
{
    static const char *const bad[] = {
        "", "12345", "../../x", "71CBCA7616\n", "71CBCA7 164", "12345678901234567890123456789012"};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_false(id_is_valid(bad[i]));
    assert_true(id_is_valid("71CBCA76164"));
}

static void keys_survive_as_text(void **state)
{
    MessageKey key = message_key_new(), second = message_key_new(), back;
    g_autofree char *text = message_key_to_text(&key);

    assert_true(key.random != second.random);
    assert_true(message_key_from_text(text, &back));
    assert_true(back.arrival_ns == key.arrival_ns && back.random == key.random);
    text[31] = '\0';
    assert_false(message_key_from_text(text, &back));
    assert_false(message_key_from_text("0123456789abcdef0123456789abcdeF", &back));
    assert_false(message_key_from_text("0123456789abcdef0123456789abcdef0", &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_ids_have_their_shape), cmocka_unit_test(spoken_ids_have_their_shape),
        cmocka_unit_test(trace_notes_are_one_word),   cmocka_unit_test(long_ids_have_their_shape),
        cmocka_unit_test(foreign_ids_are_checked),    cmocka_unit_test(keys_survive_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
