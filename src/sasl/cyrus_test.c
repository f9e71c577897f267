/* cyrus_test.c - exchanges that wait for their clients. */
#include "base/clock.h"
#include "sasl/cyrus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define EXCHANGES 50

typedef struct {
    Sched *sched;
    SaslServer *server;
    Account *account;
    SaslPolicy policy;
    guint64 numbers[EXCHANGES];
    bool challenged[EXCHANGES];
    bool is_over;
} Clients;

static bool all_are_challenged(Clients *clients)
{
    bool all = true;

    for (size_t i = 0; i < EXCHANGES; i++) {
        g_auto(SaslAnswer) answer = {0};
        if (!clients->challenged[i])
            answer = sasl_take(clients->server, clients->numbers[i]);
        clients->challenged[i] |= answer.status == SASL_CHALLENGE;
        all &= clients->challenged[i];
    }
    return all;
}

static void begin(Clients *clients, TaskRef self)
{
    const SaslStart start = {.mechanism = "LOGIN", .policy = &clients->policy, .number = 1};

    for (size_t i = 0; i < EXCHANGES; i++)
        clients->numbers[i] = sasl_start(clients->server, &start, self);
}

/* Half of them go; those that stay do so until the end of all. */
static Step run(void *data, TaskRef self, unsigned reasons)
{
    Clients *clients = data;

    if (reasons & WAKE_START)
        begin(clients, self);
    if (!clients->is_over && all_are_challenged(clients)) {
        assert_int_equal(clients->account->used, EXCHANGES * CYRUS_EXCHANGE_OCTETS);
        for (size_t i = 0; i < EXCHANGES / 2; i++)
            sasl_cancel(clients->server, clients->numbers[i], false);
        clients->is_over = true;
    }
    if (clients->is_over && clients->account->used == EXCHANGES / 2 * CYRUS_EXCHANGE_OCTETS) {
        sched_quit(clients->sched);
        return step_end();
    }
    return step_park(0, clock_ms() + 10);
}

static void nothing(void *data)
{
}

static void parked_exchanges_are_accounted(void **state)
{
    g_autofree char *directory = g_dir_make_tmp("cyrus_test_XXXXXX", NULL);
    g_autofree char *file = g_build_filename(directory, "smtpd.conf", NULL);
    const CyrusOptions options = {
        .config_path = directory, .name = "smtpd", .host = "mx.example", .realm = "", .service = "smtp"};
    g_autoptr(GError) error = NULL;
    Account account = {0};

    assert_true(g_file_set_contents(file, "pwcheck_method: auxprop\nmech_list: LOGIN\n", -1, NULL));
    assert_true(cyrus_open(&options, &error));
    Sched *sched = sched_new(2, NULL);
    Clients clients = {.sched = sched, .server = sasl_new_cyrus(sched, &account), .account = &account};
    clients.policy.filter = match_list_new("smtpd_sasl_mechanism_filter", "static:all", 0, NULL);
    sched_add(sched, -1, run, nothing, &clients);
    sched_run(sched);
    assert_true(clients.is_over);
    sched_free(sched);
    sasl_free(clients.server);
    match_list_free(clients.policy.filter);
    unlink(file);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parked_exchanges_are_accounted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
