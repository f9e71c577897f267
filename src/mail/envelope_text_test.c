#include "mail/envelope_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void an_envelope_survives(void **state)
{
    g_autoptr(Envelope) envelope = envelope_new();
    Recipient *recipient;

    envelope->sender = g_strdup("odd\n%0A\x7f\xff=@x");
    envelope->size = 1234;
    envelope->arrival_us = G_GINT64_CONSTANT(1795336928123456);
    envelope->body = BODY_8BITMIME;
    envelope->ret = DSN_RET_HDRS;
    envelope->envid = g_strdup("a+20b");
    envelope->smtputf8 = true;
    envelope->requiretls = true;
    envelope->content_filter = g_strdup("smtp:[127.0.0.1]:1");
    envelope->probe = PROBE_GOOD;
    envelope->origin =
        (Origin){.name = g_strdup("localhost"), .addr = g_strdup("127.0.0.1"), .helo = g_strdup(""), .is_local = true};
    envelope_add(envelope, "first@x");
    recipient = envelope_add(envelope, "second@x\nrcpt=third@x");
    g_free(recipient->original);
    recipient->original = g_strdup("alias@x");
    recipient->dsn_orcpt = g_strdup("rfc822;alias@x");
    recipient->notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY;

    g_autoptr(GString) text = envelope_to_text(envelope);
    assert_string_equal(
        text->str,
        "envelope 1\nsender=odd%0A%250A%7F\xff=@x\narrival=1795336928123456\nsize=1234\nbody=8bitmime\nret=hdrs\n"
        "envid=a+20b\nsmtputf8=1\nrequiretls=1\nfilter=smtp:[127.0.0.1]:1\nprobe=good\nname=localhost\naddr=127.0.0.1\nhelo=\nlocal=1\n"
        "rcpt=first@x\noriginal=\nrcpt=second@x%0Arcpt=third@x\noriginal=alias@x\norcpt=rfc822;alias@x\n"
        "notify=10\nend\n");
    g_autoptr(GError) error = NULL;
    g_autoptr(Envelope) back = envelope_from_text(text->str, text->len, &error);
    assert_null(error);
    assert_non_null(back);
    g_autoptr(GString) again = envelope_to_text(back);
    assert_string_equal(again->str, text->str);
    assert_string_equal(back->sender, envelope->sender);
    assert_null(back->origin.protocol);
    assert_string_equal(back->origin.helo, "");
    assert_int_equal(back->recipients->len, 2);
    assert_int_equal(back->probe, PROBE_GOOD);

    for (size_t len = 0; len < text->len; len++) /* a file cut anywhere is no envelope */
        assert_null(envelope_from_text(text->str, len, NULL));
}

static void a_probe_is_known_by_its_envelope(void **state)
{
    static const char text[] = "envelope 1\nsender=double-bounce@x\narrival=1\nsize=0\nprobe=any\nrcpt=u@x\noriginal=\nend\n";
    g_autoptr(Envelope) envelope = envelope_from_text(text, strlen(text), NULL);

    assert_non_null(envelope);
    assert_int_equal(envelope->probe, PROBE_ANY);
    g_autoptr(GString) again = envelope_to_text(envelope);
    assert_string_equal(again->str, text);
}

static void malformed_text_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "envelope 2\nend\n",
        "envelope 1\nend\n\n",
        "envelope 1\nend\nend\n",
        "envelope 1\n\nend\n",
        "envelope 1\nnoequals\nend\n",
        "envelope 1\nunknown=1\nend\n",
        "envelope 1\nsender=a\nsender=b\nend\n",
        "envelope 1\narrival=1x\nend\n",
        "envelope 1\narrival=99999999999999999999\nend\n",
        "envelope 1\nsmtputf8=0\nend\n",
        "envelope 1\nbody=binary\nend\n",
        "envelope 1\nprobe=none\nend\n",
        "envelope 1\nprobe=any\nfilter=x\nend\n",
        "envelope 1\nsender=%00\nend\n",
        "envelope 1\nsender=%4\nend\n",
        "envelope 1\nsender=%zz\nend\n",
        "envelope 1\nsender=a\tb\nend\n",
        "envelope 1\noriginal=x\nend\n",
        "envelope 1\nrcpt=x\nsender=y\nend\n",
        "envelope 1\nrcpt=x\nnotify=16\nend\n",
        "envelope 1\nrcpt=x\nnotify=0\nend\n",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        if (envelope_from_text(rows[i], strlen(rows[i]), &error))
            fail_msg("accepted: %s", rows[i]);
        assert_non_null(error);
    }
}

static void origins_are_copied(void **state)
{
    Origin a = {.name = g_strdup("n"), .helo = g_strdup("h"), .is_local = true};
    Origin b = {.name = g_strdup("old"), .port = g_strdup("1")};

    origin_copy(&b, &a);
    assert_string_equal(b.name, "n");
    assert_null(b.port);
    assert_true(b.is_local);
    origin_copy(&b, &b);
    assert_string_equal(b.helo, "h");
    origin_clear(&a);
    origin_clear(&b);
    assert_null(b.name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_envelope_survives),
        cmocka_unit_test(a_probe_is_known_by_its_envelope),
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(origins_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
