#include "base/log.h"
#include "spool/delivery_log.h"
#include "spool/delivery_request.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void a_request_comes_back(void **state)
{
    g_autoptr(DeliveryRequest) request = delivery_request_new();

    request->id = g_strdup("71CBCA76164");
    request->transport = g_strdup("smtp");
    request->nexthop = g_strdup("[192.0.2.1]:25 and \n more");
    request->again = true;
    request->active_us = 1795336928123456;
    assert_true(delivery_request_add(request, 3, "a b@x.test"));
    assert_true(delivery_request_add(request, 4294967295u, ""));
    g_autoptr(GString) text = delivery_request_to_text(request);
    g_autoptr(DeliveryRequest) got = delivery_request_from_text(text->str, text->len, NULL);
    assert_non_null(got);
    assert_string_equal(got->id, "71CBCA76164");
    assert_string_equal(got->transport, "smtp");
    assert_string_equal(got->nexthop, "[192.0.2.1]:25 and \n more");
    assert_true(got->again && got->active_us == 1795336928123456);
    assert_int_equal(got->recipients->len, 2);
    assert_string_equal(g_array_index(got->recipients, DeliveryRecipient, 0).address, "a b@x.test");
    assert_true(g_array_index(got->recipients, DeliveryRecipient, 1).number == 4294967295u);
    assert_string_equal(g_array_index(got->recipients, DeliveryRecipient, 1).address, "");
    for (size_t len = 0; len < text->len; len++) { /* whole lines may be missing at the end, nothing else */
        g_autoptr(DeliveryRequest) cut = delivery_request_from_text(text->str, len, NULL);
        assert_true(!cut || text->str[len - 1] == '\n');
    }
}

/* What was added fits into a packet, however it has to be written. */
static void a_request_has_bounds(void **state)
{
    g_autoptr(DeliveryRequest) request = delivery_request_new();
    g_autofree char *controls = g_strnfill(DELIVERY_ADDRESS_MAX, '\n');
    g_autofree char *too_long = g_strnfill(DELIVERY_ADDRESS_MAX + 1, 'x');
    guint count = 0;

    request->id = g_strdup("ABCDEF");
    request->transport = g_strdup("smtp");
    request->nexthop = g_strdup("x");
    assert_false(delivery_request_add(request, 0, too_long));
    while (delivery_request_add(request, count, controls))
        count++;
    assert_true(count >= 4);
    g_autoptr(GString) text = delivery_request_to_text(request);
    assert_true(text->len <= DELIVERY_PACKET_MAX);
    g_autoptr(DeliveryRequest) got = delivery_request_from_text(text->str, text->len, NULL);
    assert_int_equal(got->recipients->len, count);

    g_autoptr(DeliveryRequest) many = delivery_request_new();
    for (count = 0; delivery_request_add(many, count, "a"); count++)
        ;
    assert_int_equal(count, DELIVERY_RECIPIENTS_MAX);
}

static void bad_requests_are_refused(void **state)
{
#define HEAD "gatepost-delivery 1\n"
#define GOOD HEAD "id ABCDEF\ntransport t\nnexthop n\nattempt first\nactive 1\n"
    static const char *const rows[] = {
        "",
        "\n\n\n\n\n\n\n\n",
        HEAD,
        "gatepost-delivery 2\nid ABCDEF\ntransport t\nnexthop n\nattempt first\nactive 1\nto 0 a\n",
        HEAD "id ../../x\ntransport t\nnexthop n\nattempt first\nactive 1\nto 0 a\n",
        HEAD "id ABCDEF\ntransport t\nnexthop n\nattempt never\nactive 1\nto 0 a\n",
        HEAD "id ABCDEF\ntransport t\nnexthop n\nattempt first\nactive -1\nto 0 a\n",
        HEAD "transport t\nid ABCDEF\nnexthop n\nattempt first\nactive 1\nto 0 a\n",
        GOOD "to -1 a\n",
        GOOD "to 0\n",
        GOOD "to 0 a b\n",
        GOOD "to 0 %00\n",
        GOOD "to 0 a\nfrom 0 a\n",
        GOOD "to 0 a",
    };
    g_autoptr(DeliveryRequest) good = delivery_request_from_text(GOOD "to 0 a\n", strlen(GOOD "to 0 a\n"), NULL);

    assert_non_null(good);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        assert_null(delivery_request_from_text(rows[i], strlen(rows[i]), &error));
        assert_non_null(error);
    }
    assert_null(delivery_request_from_text(GOOD "to 0 a\0\n", sizeof GOOD + 8, NULL));
}

static void a_report_comes_back(void **state)
{
    DeliveryReport report = {.recipient = 7,
                             .kind = REPORT_SITE_FAILED,
                             .status = RESULT_DEFERRED,
                             .dsn = "4.4.1",
                             .text = (char *)"connect to a[1]:25: refused"};
    DeliveryReport got;
    static const char *const bad[] = {"",
                                      "7",
                                      "7 site deferred 4.4.1",
                                      "x site deferred 4.4.1 a",
                                      "7 site delayed 4.4.1 a",
                                      "7 sit deferred 4.4.1 a",
                                      "7 site deferred 9.4.1 a",
                                      "7 site deferred 4.4.1 a b"};

    g_autoptr(GString) line = g_string_new(NULL);
    delivery_report_append(line, &report);
    assert_true(g_str_has_suffix(line->str, "\n"));
    g_string_truncate(line, line->len - 1);
    assert_true(delivery_report_read(line->str, &got));
    assert_true(got.recipient == 7 && got.kind == REPORT_SITE_FAILED && got.status == RESULT_DEFERRED);
    assert_string_equal(got.dsn, "4.4.1");
    assert_string_equal(got.text, "connect to a[1]:25: refused");
    delivery_report_clear(&got);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_false(delivery_report_read(bad[i], &got));
}

static void delays_are_rounded_as_postfix_does(void **state)
{
    static const struct {
        gint64 us;
        int resolution;
        const char *wanted;
    } rows[] = {{0, 2, "0"},         {-5, 2, "0"},        {4999, 2, "0"},      {5000, 2, "0.01"},
                {30000, 2, "0.03"},  {34999, 2, "0.03"},  {35000, 2, "0.04"},  {100000, 2, "0.1"},
                {999999, 2, "1"},    {2149999, 2, "2.1"}, {2150000, 2, "2.2"}, {9949999, 2, "9.9"},
                {9950000, 2, "10"},  {10000000, 2, "10"}, {13499999, 2, "13"}, {154000000, 2, "154"},
                {34999, 6, "0.035"}, {123, 6, "0.00012"}, {550000, 0, "1"},    {2500000, 1, "2.5"}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GString) out = g_string_new(NULL);
        delivery_log_append_delay(out, rows[i].us, rows[i].resolution);
        assert_string_equal(out->str, rows[i].wanted);
    }
}

static void the_line_has_its_form(void **state)
{
    char path[] = "/tmp/delivery-log-XXXXXX";
    int fd = mkstemp(path);
    Recipient recipient = {.address = (char *)"a b@x.test", .original = (char *)"alias@x.test"};
    Result result = {.status = RESULT_SENT,
                     .dsn = "2.0.0",
                     .time_us = 3100000,
                     .relay = (char *)"virtual",
                     .text = (char *)"delivered to maildir"};
    DeliveryTimes times = {.program = "virtual",
                           .id = "ABCDEF",
                           .recipient = &recipient,
                           .arrival_us = 1000000,
                           .active_us = 1020000,
                           .agent_us = 1020000,
                           .connected_us = 1050000};
    g_autofree char *log = NULL;

    log_set_tag("postfix", "qmgr");
    log_to_file(fd, "host");
    delivery_log(&times, &result, 2);
    recipient.original = (char *)"A B@X.test";
    times.agent_us = times.connected_us = 0;
    delivery_log(&times, &result, 2);
    assert_true(g_file_get_contents(path, &log, NULL, NULL));
    assert_non_null(strstr(log, "postfix/virtual["));
    assert_non_null(strstr(log, "]: ABCDEF: to=<\"a b\"@x.test>, orig_to=<alias@x.test>, relay=virtual, delay=2.1, "
                                "delays=0.02/0/0.03/2.1, dsn=2.0.0, status=sent (delivered to maildir)\n"));
    assert_non_null(strstr(log, "]: ABCDEF: to=<\"a b\"@x.test>, relay=virtual, delay=2.1, delays=0.02/2.1/0/0, dsn="));
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_back),
        cmocka_unit_test(a_request_has_bounds),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(a_report_comes_back),
        cmocka_unit_test(delays_are_rounded_as_postfix_does),
        cmocka_unit_test(the_line_has_its_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
