/* envelope_lines_test.c */
#include "smtp/envelope_lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define ALL (OFFER_8BITMIME | OFFER_SIZE | OFFER_DSN | OFFER_SMTPUTF8)

static void test_offers(void **state)
{
    static const struct {
        const char *reply;
        unsigned offers;
    } table[] = {
        {"250 dsn", 0},
        {"250-x\n250 DSN", OFFER_DSN},
        {"250-x\n250-size 100\n250-SIZE=5\n250-8bitmime\n250-\n250\n250 AUTH=PLAIN", OFFER_SIZE | OFFER_8BITMIME},
        {"250-x\n250-SMTPUTF8\n250 PIPELINING", OFFER_SMTPUTF8 | OFFER_PIPELINING},
        {"250-x\n250 DSNX", 0},
        {"250-x\n250 requiretls", OFFER_REQUIRETLS},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
        assert_int_equal(offers_in(table[i].reply), table[i].offers);
}

static void test_mail(void **state)
{
    static const struct {
        Envelope envelope;
        unsigned offers;
        bool quote;
        const char *wanted;
    } table[] = {
        {{.sender = NULL}, ALL, true, "MAIL FROM:<> SIZE=7"},
        {{.sender = (char *)"a b@c"}, 0, true, "MAIL FROM:<\"a b\"@c>"},
        {{.sender = (char *)"a b@c"}, 0, false, "MAIL FROM:<a b@c>"},
        {{.sender = (char *)"a\r\nDATA@c"}, 0, false, "MAIL FROM:<a??DATA@c>"},
        {{.sender = (char *)"a@c",
          .body = BODY_8BITMIME,
          .ret = DSN_RET_HDRS,
          .envid = (char *)"e+20",
          .smtputf8 = true},
         ALL,
         true,
         "MAIL FROM:<a@c> SIZE=7 BODY=8BITMIME SMTPUTF8 ENVID=e+20 RET=HDRS"},
        {{.sender = (char *)"a@c", .requiretls = true}, OFFER_REQUIRETLS, true, "MAIL FROM:<a@c> REQUIRETLS"},
        {{.sender = (char *)"a@c", .requiretls = true}, ALL, true, "MAIL FROM:<a@c> SIZE=7"},
        {{.sender = (char *)"a@c"}, OFFER_REQUIRETLS, true, "MAIL FROM:<a@c>"},
        {{.sender = (char *)"a@c", .body = BODY_7BIT, .ret = DSN_RET_FULL},
         ALL,
         true,
         "MAIL FROM:<a@c> SIZE=7 BODY=7BIT RET=FULL"},
        {{.sender = (char *)"a@c", .body = BODY_8BITMIME, .ret = DSN_RET_FULL}, 0, true, "MAIL FROM:<a@c>"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *line = envelope_mail_line(&table[i].envelope, table[i].offers, 7, table[i].quote);
        assert_string_equal(line, table[i].wanted);
    }
}

static void test_rcpt(void **state)
{
    static const struct {
        Recipient recipient;
        unsigned offers;
        const char *wanted;
    } table[] = {
        {{.address = (char *)"a@c", .notify = DSN_NOTIFY_NEVER}, 0, "RCPT TO:<a@c>"},
        {{.address = (char *)"a@c",
          .notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY,
          .dsn_orcpt = (char *)"rfc822;x+2By"},
         ALL,
         "RCPT TO:<a@c> ORCPT=rfc822;x+2By NOTIFY=SUCCESS,DELAY"},
        {{.address = (char *)"a@c", .original = (char *)"b+c@d"}, ALL, "RCPT TO:<a@c> ORCPT=rfc822;b+2Bc@d"},
        {{.address = (char *)"a@c", .original = (char *)""}, ALL, "RCPT TO:<a@c> ORCPT=rfc822;a@c"},
        {{.address = (char *)"q r@c"}, ALL, "RCPT TO:<\"q r\"@c> ORCPT=rfc822;\"q+20r\"@c"},
        {{.address = (char *)"a@c"}, OFFER_SIZE, "RCPT TO:<a@c>"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *line = envelope_rcpt_line(&table[i].recipient, table[i].offers, true);
        assert_string_equal(line, table[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_offers), cmocka_unit_test(test_mail),
                                       cmocka_unit_test(test_rcpt)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
