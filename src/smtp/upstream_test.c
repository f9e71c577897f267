#include "smtp/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Version 2 without its length. */
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 SIGNATURE "\x21\x11"
#define TCP6 SIGNATURE "\x21\x21"
#define ADDRESSES4 "\xc0\x00\x02\x09\xc6\x33\x64\x01\x04\xd2\x00\x19"
#define TWELVE "\0\x0c"

typedef struct {
    const char *data;
    size_t len;
    const char *wanted; /* "addr port server-addr server-port", "LOCAL", "MORE", or the reason */
    size_t header_len;  /* 0: all */
} Row;

#define TEXT(text, wanted) {text, sizeof(text) - 1, wanted, 0}
#define WITH_MORE(text, wanted, len) {text, sizeof(text) - 1, wanted, len}

static char *outcome(const char *data, size_t len, bool ipv4, bool ipv6, size_t *ret_len)
{
    UpstreamHeader header;
    const char *why = NULL;
    g_autofree char *copy = g_memdup2(data, len); /* so that a sanitizer sees who reads past its end */

    switch (upstream_parse(copy ? copy : "", len, ipv4, ipv6, &header, &why)) {
    case UPSTREAM_MORE:
        return g_strdup("MORE");
    case UPSTREAM_BAD:
        return g_strdup(why);
    case UPSTREAM_DONE:
        break;
    }
    *ret_len = header.len;
    return header.is_local ? g_strdup("LOCAL")
                           : g_strdup_printf("%s %s %s %s", header.addr, header.port, header.server_addr,
                                             header.server_port);
}

static const Row rows[] = {
    /* version 1 */
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 1111 25\r\n", "192.0.2.1 1111 198.51.100.1 25"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 1111 25\n", "192.0.2.1 1111 198.51.100.1 25"),
    TEXT("PROXY tcp4 192.0.2.1 198.51.100.1 0 65535\r\n", "192.0.2.1 0 198.51.100.1 65535"),
    TEXT("PROXY  TCP4  192.0.2.1  198.51.100.1 1111   25 \r\n", "192.0.2.1 1111 198.51.100.1 25"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 1111 25 foo\r\n", "192.0.2.1 1111 198.51.100.1 25"),
    TEXT("PROXY TCP6 2001:DB8:0::1 2001:db8::2 1111 25\r\n", "2001:db8::1 1111 2001:db8::2 25"),
    TEXT("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1111 25\r\n", "192.0.2.1 1111 192.0.2.2 25"),
    WITH_MORE("PROXY TCP4 192.0.2.1 198.51.100.1 1111 25\r\nEHLO x\r\n", "192.0.2.1 1111 198.51.100.1 25", 43),
    TEXT("", "MORE"),
    TEXT("P", "MORE"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 1111 25\r", "MORE"),
    TEXT("PROXY TCP4 2001:db8::1 2001:db8::2 1111 25\r\n", "bad or missing client address"),
    TEXT("PROXY TCP6 192.0.2.1 198.51.100.1 1111 25\r\n", "bad or missing client address"),
    TEXT("PROXY TCP4 192.0.2.300 198.51.100.1 1111 25\r\n", "bad or missing client address"),
    TEXT("PROXY TCP4 192.0.2.1\0 198.51.100.1 1111 25\r\n", "bad or missing client address"),
    TEXT("PROXY TCP4\r\n", "bad or missing client address"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100 1111 25\r\n", "bad or missing server address"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1\r\n", "bad or missing client port"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n", "bad or missing client port"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 00025 25\r\n", "bad or missing client port"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 -1 25\r\n", "bad or missing client port"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 1111\r\n", "bad or missing server port"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 1111 25\r\r\n", "bad or missing server port"),
    TEXT("PROXY UNKNOWN\r\n", "bad or missing protocol type"),
    TEXT("PROXY UNKNOWN ff:: ff:: 1 2\r\n", "bad or missing protocol type"),
    TEXT("PROXY UDP4 192.0.2.1 198.51.100.1 1111 25\r\n", "bad or missing protocol type"),
    TEXT("PROXY \r\n", "bad or missing protocol type"),
    TEXT("PROXY\r\n", "short protocol header"),
    TEXT("EHLO foo\r\n", "short protocol header"),
    TEXT("\x01\xff\x80 foo\r\n", "short protocol header"),
    TEXT("EHLO client.example\r\n", "unrecognized protocol header"),
    TEXT("proxy tcp4 192.0.2.1 198.51.100.1 1111 25\r\n", "unrecognized protocol header"),
    TEXT("PROXY\tTCP4\t192.0.2.1 198.51.100.1 1111 25\r\n", "unrecognized protocol header"),
    /* version 2 */
    TEXT(TCP4 TWELVE ADDRESSES4, "192.0.2.9 1234 198.51.100.1 25"),
    WITH_MORE(TCP4 TWELVE ADDRESSES4 "EHLO x\r\n", "192.0.2.9 1234 198.51.100.1 25", 28),
    TEXT(TCP4 "\0\x14" ADDRESSES4 "\x20\0\x05hello", "192.0.2.9 1234 198.51.100.1 25"),
    TEXT(TCP4 "\0\x0f" ADDRESSES4 "\x20\xff\xff", "192.0.2.9 1234 198.51.100.1 25"), /* whose lengths are not looked at */
    TEXT(TCP6 "\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xff\xff\0\0",
         "2001:db8::1 65535 2001:db8::2 0"),
    TEXT(TCP6 "\0\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x08\0\x01\0\x02",
         "192.0.2.7 1 192.0.2.8 2"),
    TEXT(SIGNATURE "\x20\0\0\0", "LOCAL"),
    TEXT(SIGNATURE "\x20\x11" TWELVE ADDRESSES4, "LOCAL"),
    TEXT(SIGNATURE, "MORE"),
    TEXT(TCP4 "\0", "MORE"),
    TEXT(TCP4 TWELVE "\xc0\x00\x02", "MORE"),
    TEXT(TCP4 "\0\x0b" "\xc0\x00\x02\x09\xc6\x33\x64\x01\x04\xd2\x00", "short address field"),
    TEXT(TCP6 TWELVE ADDRESSES4, "short address field"),
    TEXT(TCP4 "\x02\x09" "x", "short version 2 protocol header"),
    TEXT(TCP4 "\xff\xff", "short version 2 protocol header"),
    TEXT(SIGNATURE "\x21\0\0\0", "unsupported network protocol"),
    TEXT(SIGNATURE "\x21\x12" TWELVE ADDRESSES4, "unsupported network protocol"),
    TEXT(SIGNATURE "\x21\x31\0\0", "unsupported network protocol"),
    TEXT(SIGNATURE "\x11\x11" TWELVE ADDRESSES4, "unrecognized protocol version"),
    TEXT(SIGNATURE "\x31\x11" TWELVE ADDRESSES4, "unrecognized protocol version"),
    TEXT(SIGNATURE "\x22\x11" TWELVE ADDRESSES4, "bad command in proxy header"),
    TEXT("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\0", "unrecognized protocol header"),
    TEXT("\r\nEHLO client.example\r\n", "unrecognized protocol header"),
};

static void headers_are_parsed(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        size_t len = 0;
        g_autofree char *found = outcome(rows[i].data, rows[i].len, true, true, &len);
        if (strcmp(found, rows[i].wanted) != 0)
            fail_msg("row %zu: %s, wanted %s", i, found, rows[i].wanted);
        if (len != 0)
            assert_int_equal(len, rows[i].header_len ? rows[i].header_len : rows[i].len);
    }
}

/* However it comes in pieces: what is not complete is not judged yet, but for what can be no header any more. */
static void a_good_header_waits_for_its_end(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        size_t header_len = 0;
        g_free(outcome(rows[i].data, rows[i].len, true, true, &header_len));
        for (size_t len = 0; len < header_len; len++) {
            size_t ignored;
            g_autofree char *found = outcome(rows[i].data, len, true, true, &ignored);
            assert_string_equal(found, "MORE");
        }
    }
}

static void only_enabled_families_are_taken(void **state)
{
    static const char four[] = "PROXY TCP4 192.0.2.1 198.51.100.1 1111 25\r\n";
    static const char six[] = "PROXY TCP6 2001:db8::1 2001:db8::2 1111 25\r\n";
    static const char binary[] = TCP4 TWELVE ADDRESSES4;
    size_t len;
    g_autofree char *good = outcome(four, sizeof four - 1, true, false, &len);
    g_autofree char *bad = outcome(four, sizeof four - 1, false, true, &len);
    g_autofree char *bad_six = outcome(six, sizeof six - 1, true, false, &len);
    g_autofree char *bad_binary = outcome(binary, sizeof binary - 1, false, true, &len);

    assert_string_equal(good, "192.0.2.1 1111 198.51.100.1 25");
    assert_string_equal(bad, "bad or missing protocol type");
    assert_string_equal(bad_six, "bad or missing protocol type");
    assert_string_equal(bad_binary, "IPv4 support is disabled");
}

static void a_line_without_end_is_given_up(void **state)
{
    g_autofree char *line = g_strnfill(2000, 'x');
    size_t len;

    memcpy(line, "PROXY TCP4 ", 11);
    g_autofree char *before = outcome(line, UPSTREAM_HEADER_MAX - 1, true, true, &len);
    g_autofree char *at = outcome(line, UPSTREAM_HEADER_MAX, true, true, &len);
    line[UPSTREAM_HEADER_MAX] = '\n';
    g_autofree char *behind = outcome(line, 2000, true, true, &len);
    assert_string_equal(before, "MORE");
    assert_string_equal(at, "missing protocol header terminator");
    assert_string_equal(behind, "missing protocol header terminator");
}

static void the_longest_header_is_taken(void **state)
{
    g_autofree char *data = g_malloc0(UPSTREAM_HEADER_MAX);
    size_t len = 0;

    memcpy(data, TCP4 "\x02\x08" ADDRESSES4, 28);
    g_autofree char *found = outcome(data, UPSTREAM_HEADER_MAX, true, true, &len);
    assert_string_equal(found, "192.0.2.9 1234 198.51.100.1 25");
    assert_int_equal(len, UPSTREAM_HEADER_MAX);
}

static void what_is_cut_short_is_told_apart(void **state)
{
    assert_string_equal(upstream_cut_short("PROXY TCP4 192", 14), "missing protocol header terminator");
    assert_string_equal(upstream_cut_short(TCP4 TWELVE "\xc0", 17), "short version 2 protocol header");
    assert_string_equal(upstream_cut_short("PROXY", 5), "short protocol header");
    assert_string_equal(upstream_cut_short("\r", 1), "short protocol header");
    assert_string_equal(upstream_cut_short("PROXY ", 6), "missing protocol header terminator");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_parsed),
        cmocka_unit_test(a_good_header_waits_for_its_end),
        cmocka_unit_test(only_enabled_families_are_taken),
        cmocka_unit_test(a_line_without_end_is_given_up),
        cmocka_unit_test(the_longest_header_is_taken),
        cmocka_unit_test(what_is_cut_short_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
