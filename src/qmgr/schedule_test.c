#include "base/clock.h"
#include "qmgr/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const FeedbackLimits limits = {.initial = 5, .limit = 20, .cohort_limit = 1};

static guint fill(Feedback *feedback)
{
    while (feedback_may_start(feedback))
        feedback_started(feedback);
    return feedback->busy;
}

static void concurrency_grows_to_the_limit(void **state)
{
    Feedback feedback;

    feedback_init(&feedback, &limits);
    assert_int_equal(fill(&feedback), 5);
    for (int i = 0; i < 5; i++)
        feedback_succeeded(&feedback, &limits); /* only the first one ended while all places were taken */
    assert_int_equal(fill(&feedback), 5);
    for (int i = 0; i < 1000; i++) {
        feedback_succeeded(&feedback, &limits);
        fill(&feedback);
    }
    assert_int_equal(feedback.busy, 20);
}

static void a_failed_cohort_is_a_dead_destination(void **state)
{
    Feedback feedback;
    int failures = 0;

    feedback_init(&feedback, &limits);
    do {
        fill(&feedback);
        failures++;
    } while (!feedback_failed(&feedback, &limits));
    assert_int_equal(failures, 5);
    assert_true(feedback.busy > 0 && feedback.window >= 5);

    /* a success in between */
    feedback_init(&feedback, &limits);
    for (int i = 0; i < 100; i++) {
        fill(&feedback);
        assert_false(feedback_failed(&feedback, &limits));
        fill(&feedback);
        feedback_succeeded(&feedback, &limits);
    }
    assert_true(feedback.window >= 1);
}

static void without_a_cohort_limit_it_never_dies(void **state)
{
    const FeedbackLimits forever = {.initial = 5, .limit = 0, .cohort_limit = 0};
    Feedback feedback;

    feedback_init(&feedback, &forever);
    for (int i = 0; i < 1000; i++) {
        fill(&feedback);
        assert_false(feedback_failed(&feedback, &forever));
    }
    while (feedback.busy > 0)
        feedback_ended(&feedback);
    assert_int_equal(fill(&feedback), 1);
}

static Config *config_with(const char *text)
{
    g_autofree char *dir = g_dir_make_tmp("schedule-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "main.cf", NULL);
    ConfigScope scope = {.process_name = "qmgr"};

    assert_true(g_file_set_contents(path, text, -1, NULL));
    g_autoptr(MainCf) main_cf = main_cf_read(dir, NULL);
    Config *config = config_new(main_cf, &scope, NULL);
    assert_non_null(config);
    unlink(path);
    rmdir(dir);
    return config;
}

static void add_job(Schedule *schedule, const char *transport, const char *nexthop, const char *address)
{
    Job *job = g_new0(Job, 1);

    job->destination = schedule_destination(schedule_transport(schedule, transport), nexthop, address);
    job->request = delivery_request_new();
    schedule_add(job);
}

/* Starts jobs until none may start; their destinations in order. */
static char *start_all(Schedule *schedule, gint64 now)
{
    GString *order = g_string_new(NULL);
    Job *job;

    while ((job = schedule_next(schedule, now))) {
        g_string_append_printf(order, "%s ", job->destination->nexthop);
        job_free(job);
    }
    return g_string_free(order, FALSE);
}

static void destinations_take_turns(void **state)
{
    g_autoptr(Config) config = config_with("initial_destination_concurrency = 2\n");
    Schedule *schedule = schedule_new(config);

    for (int i = 0; i < 4; i++)
        add_job(schedule, "smtp", "big.test", "x");
    add_job(schedule, "smtp", "small.test", "x");
    add_job(schedule, "virtual", "v.test", "x");
    g_autofree char *order = start_all(schedule, 1);
    assert_string_equal(order, "big.test small.test v.test big.test ");
    Destination *big = schedule_destination(schedule_transport(schedule, "smtp"), "BIG.test", "x");
    assert_false(schedule_ended(big, SITE_GOOD, NULL, NULL, 0));
    g_autofree char *more = start_all(schedule, 1);
    assert_string_equal(more, "big.test ");
    schedule_free(schedule);
}

static void a_dead_destination_gives_up_its_jobs(void **state)
{
    g_autoptr(Config) config = config_with("smtp_initial_destination_concurrency = 1\n");
    Schedule *schedule = schedule_new(config);

    add_job(schedule, "smtp", "a.test", "x");
    add_job(schedule, "smtp", "a.test", "x");
    g_autofree char *order = start_all(schedule, 1);
    assert_string_equal(order, "a.test ");
    Destination *dead = schedule_destination(schedule_transport(schedule, "smtp"), "a.test", "x");
    assert_true(schedule_ended(dead, SITE_FAILED, "4.4.1", "connect to a.test: refused", 500));
    assert_true(trouble_is_now(&dead->trouble, 499));
    assert_string_equal(dead->trouble.text, "connect to a.test: refused");
    g_autoptr(GPtrArray) jobs = schedule_take_jobs(dead);
    assert_int_equal(jobs->len, 1);
    job_free(g_ptr_array_index(jobs, 0));
    g_autofree char *none = start_all(schedule, 1);
    assert_string_equal(none, "");
    schedule_sweep(schedule, 499);
    assert_ptr_equal(schedule_destination(schedule_transport(schedule, "smtp"), "a.test", "x"), dead);
    schedule_forgive(schedule);
    assert_false(trouble_is_now(&dead->trouble, 499));
    schedule_sweep(schedule, 499);
    assert_int_equal(g_tree_nnodes(schedule_transport(schedule, "smtp")->destinations), 0);
    schedule_free(schedule);
}

static void one_recipient_limit_makes_each_recipient_a_destination(void **state)
{
    g_autoptr(Config) config = config_with("");
    Schedule *schedule = schedule_new(config);

    assert_int_equal(schedule_transport(schedule, "local")->recipient_limit, 1);
    assert_int_equal(schedule_transport(schedule, "local")->limits.limit, 2);
    for (int i = 0; i < 3; i++) {
        add_job(schedule, "local", "here.test", "a@here.test");
        add_job(schedule, "local", "here.test", "b@here.test");
    }
    g_autofree char *order = start_all(schedule, 1);
    assert_string_equal(order, "here.test here.test here.test here.test ");
    schedule_free(schedule);
}

static void stalled_and_slowed_ones_wait(void **state)
{
    g_autoptr(Config) config =
        config_with("slow_destination_rate_delay = 2s\nslow_transport_rate_delay = 1s\ndefer_transports = x slow\n");
    Schedule *schedule = schedule_new(config);
    Transport *transport = schedule_transport(schedule, "stalled");
    gint64 now = clock_ms();

    assert_true(schedule_transport(schedule, "slow")->deferred);
    assert_false(transport->deferred);
    transport->stalled_until_ms = now + 50;
    add_job(schedule, "stalled", "a.test", "x");
    add_job(schedule, "slow", "b.test", "x");
    add_job(schedule, "slow", "b.test", "x");
    add_job(schedule, "slow", "c.test", "x");
    g_autofree char *first = start_all(schedule, now);
    assert_string_equal(first, "b.test ");
    assert_int_equal(schedule_next_time(schedule, now), now + 50);
    g_autofree char *second = start_all(schedule, now + 50);
    assert_string_equal(second, "a.test ");
    g_autofree char *third = start_all(schedule, now + 1000);
    assert_string_equal(third, "c.test ");
    schedule_ended(schedule_destination(schedule_transport(schedule, "slow"), "b.test", "x"), SITE_GOOD, NULL, NULL, 0);
    g_autofree char *none = start_all(schedule, clock_ms() + 1900);
    assert_string_equal(none, "");
    g_autofree char *fourth = start_all(schedule, clock_ms() + 2100);
    assert_string_equal(fourth, "b.test ");
    schedule_free(schedule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concurrency_grows_to_the_limit),
        cmocka_unit_test(a_failed_cohort_is_a_dead_destination),
        cmocka_unit_test(without_a_cohort_limit_it_never_dies),
        cmocka_unit_test(destinations_take_turns),
        cmocka_unit_test(a_dead_destination_gives_up_its_jobs),
        cmocka_unit_test(one_recipient_limit_makes_each_recipient_a_destination),
        cmocka_unit_test(stalled_and_slowed_ones_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
