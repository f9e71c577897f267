/* What is found again, and for how long. */
#include "dns/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void put(DnsCache *cache, const char *name, DnsType type, const char *text, int seconds)
{
    g_autoptr(DnsAnswer) answer = dns_answer_new(text ? DNS_OK : DNS_NOT_FOUND);

    if (text)
        dns_answer_add_text(answer, 0, text);
    dns_cache_put(cache, name, type, answer, seconds, 1000);
}

/* NULL: nothing is known; "": nothing is there. */
static char *get(const DnsCache *cache, const char *name, DnsType type, gint64 now)
{
    g_autoptr(DnsAnswer) answer = dns_cache_get(cache, name, type, now);
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; answer && i < answer->records->len; i++)
        g_string_append_printf(text, "%s%s", i ? " " : "", dns_answer_record(answer, i)->text);
    return answer ? g_strdup(text->str) : NULL;
}

#define assert_known(name, type, now, wanted)                                                                          \
    do {                                                                                                               \
        g_autofree char *got = get(cache, name, type, now);                                                            \
        if (g_strcmp0(got, wanted) != 0)                                                                               \
            fail_msg("%s: %s, wanted %s", name, got, (const char *)wanted);                                            \
    } while (0)

static int setup(void **state)
{
    *state = dns_cache_new();
    return 0;
}

static int teardown(void **state)
{
    dns_cache_free(*state);
    return 0;
}

static void answers_are_kept_for_their_time(void **state)
{
    DnsCache *cache = *state;

    put(cache, "one.test", DNS_A, "192.0.2.1", 10);
    put(cache, "none.test", DNS_MX, NULL, 10);
    put(cache, "long.test", DNS_A, "192.0.2.2", 1000000);
    put(cache, "never.test", DNS_A, "192.0.2.3", 0);
    assert_known("ONE.test", DNS_A, 10999, "192.0.2.1");
    assert_known("one.test", DNS_A, 11000, NULL);
    assert_known("one.test", DNS_TXT, 1000, NULL);
    assert_known("none.test", DNS_MX, 1000, "");
    assert_known("never.test", DNS_A, 1000, NULL);
    assert_known("long.test", DNS_A, 1000 + DNS_CACHE_SECONDS_MAX * 1000 - 1, "192.0.2.2");
    assert_known("long.test", DNS_A, 1000 + DNS_CACHE_SECONDS_MAX * 1000, NULL);
    put(cache, "one.test", DNS_A, "192.0.2.9", 20);
    assert_known("one.test", DNS_A, 20000, "192.0.2.9");
}

static void a_failure_is_not_kept(void **state)
{
    DnsCache *cache = *state;
    g_autoptr(DnsAnswer) answer = dns_answer_new(DNS_TEMPORARY);

    dns_cache_put(cache, "x.test", DNS_A, answer, 10, 1000);
    assert_known("x.test", DNS_A, 1000, NULL);
}

static void a_large_answer_is_not_kept(void **state)
{
    DnsCache *cache = *state;
    g_autofree char *text = g_strnfill(DNS_CACHE_OCTETS_MAX, 'x');

    put(cache, "x.test", DNS_TXT, text, 10);
    assert_known("x.test", DNS_TXT, 1000, NULL);
}

static void addresses_are_of_both_kinds(void **state)
{
    DnsCache *cache = *state;

    put(cache, "x.test", DNS_A, "192.0.2.1", 10);
    assert_known("x.test", DNS_ADDRESSES, 1000, NULL);
    put(cache, "x.test", DNS_AAAA, "2001:db8::1", 10);
    assert_known("x.test", DNS_ADDRESSES, 1000, "192.0.2.1 2001:db8::1");
    put(cache, "x.test", DNS_AAAA, NULL, 10);
    assert_known("x.test", DNS_ADDRESSES, 1000, "192.0.2.1");
    put(cache, "six.test", DNS_A, NULL, 10);
    put(cache, "six.test", DNS_AAAA, "2001:db8::6", 10);
    assert_known("six.test", DNS_ADDRESSES, 1000, "2001:db8::6");
}

static void the_oldest_goes_first(void **state)
{
    DnsCache *cache = *state;

    for (int i = 0; i <= DNS_CACHE_ENTRIES_MAX; i++) {
        g_autofree char *name = g_strdup_printf("n%d.test", i);
        put(cache, name, DNS_A, "192.0.2.1", 10);
    }
    assert_known("n0.test", DNS_A, 1000, NULL);
    assert_known("n1.test", DNS_A, 1000, "192.0.2.1");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answers_are_kept_for_their_time), TEST(a_failure_is_not_kept), TEST(a_large_answer_is_not_kept),
        TEST(addresses_are_of_both_kinds),     TEST(the_oldest_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
