#include "base/rates.h"
#include "base/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define UNIT 60000
#define BEGIN 1000000

static int setup(void **state)
{
    *state = mmap(NULL, sizeof(RateTable), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return *state == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    return munmap(*state, sizeof(RateTable));
}

static RateSource source(guint64 key)
{
    return (RateSource){.key = key, .service = "smtp", .client = "192.0.2.1"};
}

static guint32 count(RateTable *table, guint64 key, RateKind kind, gint64 now)
{
    RateSource from = source(key);

    return rates_count(table, &from, kind, now, UNIT);
}

/* Keys that all fall into one bucket. */
static guint64 same_bucket(guint64 number)
{
    return number + 1;
}

static void each_kind_is_counted_for_itself_in_one_window(void **state)
{
    RateTable *table = *state;

    assert_int_equal(count(table, 5, RATE_CONNECTION, BEGIN), 1);
    assert_int_equal(count(table, 5, RATE_CONNECTION, BEGIN + 10), 2);
    assert_int_equal(count(table, 5, RATE_MESSAGE, BEGIN + UNIT - 1), 1);
    assert_int_equal(count(table, 6, RATE_MESSAGE, BEGIN + UNIT - 1), 1);
    assert_int_equal(count(table, 5, RATE_CONNECTION, BEGIN + UNIT), 3);
    assert_int_equal(count(table, 5, RATE_AUTH, BEGIN + UNIT + 1), 1); /* a new window, */
    assert_int_equal(count(table, 5, RATE_MESSAGE, BEGIN + UNIT + 2), 1); /* for all kinds */
    assert_int_equal(count(table, 5, RATE_CONNECTION, BEGIN + UNIT + 2), 1);
    assert_int_equal(count(table, 6, RATE_MESSAGE, BEGIN + UNIT + 2), 2);
}

static void a_flood_of_addresses_does_not_push_out_who_counts(void **state)
{
    RateTable *table = *state;

    for (int i = 1; i <= 3; i++)
        assert_int_equal(count(table, same_bucket(0), RATE_MESSAGE, BEGIN), i);
    for (guint64 i = 1; i < 100000; i++)
        assert_int_equal(count(table, same_bucket(i), RATE_CONNECTION, BEGIN + 1), 1);
    assert_int_equal(count(table, same_bucket(0), RATE_MESSAGE, BEGIN + 2), 4);
    assert_int_equal(table->used, RATE_BUCKET);
}

static void of_equals_the_oldest_goes(void **state)
{
    RateTable *table = *state;

    for (guint64 i = 0; i < RATE_BUCKET; i++)
        count(table, same_bucket(i), RATE_MESSAGE, BEGIN + (gint64)((i + 7) % RATE_BUCKET));
    count(table, same_bucket(1000), RATE_MESSAGE, BEGIN + 100);
    for (guint64 i = 0; i < RATE_BUCKET; i++)
        if (i != RATE_BUCKET - 7)
            assert_int_equal(count(table, same_bucket(i), RATE_MESSAGE, BEGIN + 100), 2);
}

static void who_is_over_goes_first(void **state)
{
    RateTable *table = *state;

    for (int i = 0; i < 50; i++)
        count(table, same_bucket(0), RATE_MESSAGE, BEGIN);
    for (guint64 i = 1; i < RATE_BUCKET; i++)
        count(table, same_bucket(i), RATE_MESSAGE, BEGIN + UNIT);
    count(table, same_bucket(1000), RATE_MESSAGE, BEGIN + UNIT + 1);
    for (guint64 i = 1; i < RATE_BUCKET; i++)
        assert_int_equal(count(table, same_bucket(i), RATE_MESSAGE, BEGIN + UNIT + 1), 2);
    assert_int_equal(count(table, same_bucket(1000), RATE_MESSAGE, BEGIN + UNIT + 1), 2);
}

static void a_sweep_takes_out_who_did_nothing(void **state)
{
    RateTable *table = *state;

    count(table, 5, RATE_MESSAGE, BEGIN);
    count(table, (guint64)77 << 32, RATE_MESSAGE, BEGIN + 10);
    assert_int_equal(table->used, 2);
    rates_sweep(table, BEGIN + UNIT + 5, UNIT);
    assert_int_equal(table->used, 1);
    assert_int_equal(count(table, (guint64)77 << 32, RATE_MESSAGE, BEGIN + 11), 2);
}

#define THREADS 4
#define TIMES 5000

static void *hammer(void *data)
{
    for (int i = 0; i < TIMES; i++) {
        count(data, 5, RATE_RECIPIENT, BEGIN);
        count(data, same_bucket((guint64)i % 200 + 100), RATE_CONNECTION, BEGIN);
    }
    return NULL;
}

static void no_event_is_lost_between_threads(void **state)
{
    RateTable *table = *state;
    pthread_t threads[THREADS];

    assert_int_equal(count(table, 5, RATE_RECIPIENT, BEGIN), 1);
    assert_int_equal(count(table, 5, RATE_RECIPIENT, BEGIN), 2);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, hammer, table);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count(table, 5, RATE_RECIPIENT, BEGIN), THREADS * TIMES + 3);
    assert_int_equal(table->used, RATE_BUCKET);
}

/* --- statistics --- */

static char *logged(RateTable *table)
{
    FILE *file = tmpfile();
    char *text;
    gsize len;

    log_to_file(fileno(file), "host");
    rates_log_statistics(table, UNIT);
    log_to_stderr();
    fseek(file, 0, SEEK_END);
    len = (gsize)ftell(file);
    text = g_malloc0(len + 1);
    rewind(file);
    assert_int_equal(fread(text, 1, len, file), len);
    fclose(file);
    return text;
}

static unsigned lines_in(const char *text)
{
    unsigned lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void statistics_name_who_was_highest(void **state)
{
    RateTable *table = *state;
    RateSource low = source(5), high = {.key = 6, .service = "smtp", .client = "192.0.2.9"};

    rates_count(table, &high, RATE_CONNECTION, BEGIN, UNIT);
    rates_count(table, &high, RATE_CONNECTION, BEGIN, UNIT);
    rates_count(table, &low, RATE_CONNECTION, BEGIN, UNIT);
    rates_note_sessions(table, &low, 7);
    rates_note_sessions(table, &high, 4);
    g_autofree char *first = logged(table);
    assert_non_null(strstr(first, "/anvil["));
    assert_non_null(strstr(first, "statistics: max connection rate 2/60s for (smtp:192.0.2.9) at "));
    assert_non_null(strstr(first, "statistics: max connection count 7 for (smtp:192.0.2.1) at "));
    assert_non_null(strstr(first, "statistics: max cache size 2 at "));
    assert_int_equal(lines_in(first), 3);
    g_autofree char *second = logged(table);
    assert_string_equal(second, "");
    rates_count(table, &low, RATE_RECIPIENT, BEGIN, UNIT);
    g_autofree char *third = logged(table);
    assert_non_null(strstr(third, "statistics: max recipient rate 1/60s for (smtp:192.0.2.1) at "));
    assert_int_equal(lines_in(third), 1);
}

static void a_dead_writer_holds_nothing_up(void **state)
{
    RateTable *table = *state;
    RateSource from = source(5);

    table->peaks[RATE_AUTH].writer = 12 + 1; /* died while it wrote */
    rates_count(table, &from, RATE_AUTH, BEGIN, UNIT);
    assert_int_equal(table->peaks[RATE_AUTH].value, 0);
    rates_forget_row(table, 11);
    rates_count(table, &from, RATE_AUTH, BEGIN, UNIT);
    assert_int_equal(table->peaks[RATE_AUTH].value, 0);
    rates_forget_row(table, 12);
    rates_count(table, &from, RATE_AUTH, BEGIN, UNIT);
    assert_int_equal(table->peaks[RATE_AUTH].value, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_kind_is_counted_for_itself_in_one_window),
        TEST(a_flood_of_addresses_does_not_push_out_who_counts),
        TEST(of_equals_the_oldest_goes),
        TEST(who_is_over_goes_first),
        TEST(a_sweep_takes_out_who_did_nothing),
        TEST(no_event_is_lost_between_threads),
        TEST(statistics_name_who_was_highest),
        TEST(a_dead_writer_holds_nothing_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
