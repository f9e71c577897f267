#include "mail/opening.h"
#include "mail/received.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void collect(void *user, const char *data, size_t len, bool ends_line)
{
    g_string_append_len(user, data, (gssize)len);
    if (ends_line)
        g_string_append_c(user, '\n');
}

static void first_line_is_mended_however_it_is_cut(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"Subject: x\n\nFrom here\n", "Subject: x\n\nFrom here\n"},
        {"From a@b Sun\nTo: c\n", "X-Mailbox-Line: From a@b Sun\nTo: c\n"},
        {">>From a\n", "X-Mailbox-Line: >>From a\n"},
        {"From: a\n", "From: a\n"},
        {"From\nx\n", "From\nx\n"},
        {" x\ny\n", "\n x\ny\n"},
        {"\tx\n", "\n\tx\n"},
        {"\n x\n", "\n x\n"},
        {"", ""},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (size_t portion = 1; portion < 8; portion++) {
            g_autoptr(GString) out = g_string_new(NULL);
            Opening opening = {0};
            for (const char *at = rows[i].in; *at;) {
                size_t line = strcspn(at, "\n");
                size_t len = MIN(line, portion);
                opening_add(&opening, at, len, len == line, collect, out);
                at += len + (len == line);
            }
            opening_clear(&opening);
            assert_string_equal(out->str, rows[i].want);
        }
    }
}

static void header_has_postfix_shape(void **state)
{
    ReceivedInfo info = {.helo = "client.example",
                         .name = "localhost",
                         .addr = "127.0.0.1",
                         .by = "mx",
                         .mail_name = "Postfix",
                         .with = "ESMTP",
                         .recipient = "u@v",
                         .wall_us = 1795336928000000};
    g_autofree char *front = received_header(&info);

    assert_string_equal(front, "Received: from client.example (localhost [127.0.0.1])\n\tby mx (Postfix) with ESMTP\n"
                               "\tfor <u@v>; Sun, 22 Nov 2026 08:42:08 +0000 (UTC)");
    info.id = "AB12";
    info.recipient = NULL;
    info.helo = NULL;
    info.addr = "::1";
    g_autofree char *back = received_header(&info);
    assert_string_equal(back, "Received: from localhost (localhost [IPv6:::1])\n\tby mx (Postfix) with ESMTP id AB12;\n"
                              "\tSun, 22 Nov 2026 08:42:08 +0000 (UTC)");
    info.hide_client = true;
    g_autofree char *hidden = received_header(&info);
    assert_string_equal(hidden, "Received: by mx (Postfix) id AB12;\n\tSun, 22 Nov 2026 08:42:08 +0000 (UTC)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_line_is_mended_however_it_is_cut),
        cmocka_unit_test(header_has_postfix_shape),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
