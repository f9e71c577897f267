/* The contract is tested as it is used: this program runs itself again as a service process. */
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/service.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The service: says what it got, then one line for each order; ends after STOP. */
static int run_service(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ServiceProcess) process = service_process_new(argc, argv, &error);

    if (!process) {
        g_printerr("%s\n", error->message);
        return 3;
    }
    log_info("%s|%s|%s|%s|%s|%d|%d|%d%d%d|%u|%u|%s,%s|%s", process->config_dir, process->command, process->name,
             process->type, process->identity, process->maxproc, process->wakeup, process->may_stress,
             process->unprivileged, process->chroot, process->generation, process->listeners->len,
             (char *)process->overrides->pdata[0], (char *)process->overrides->pdata[1],
             (char *)process->arguments->pdata[0]);
    process->row->sessions = 7;
    service_ready(process);
    for (;;) {
        struct pollfd ready = {.fd = process->control, .events = POLLIN};
        ServiceOrder order;

        if (poll(&ready, 1, 10000) != 1)
            return 4;
        while ((order = service_next_order(process)) != SERVICE_ORDER_NONE) {
            log_info("order %d", order);
            if (order == SERVICE_ORDER_STOP) /* the master is gone: nothing more may make control readable */
                return poll(&ready, 1, 50) == 0 && service_next_order(process) == SERVICE_ORDER_NONE ? 0 : 5;
        }
    }
}

static void expect_text(int fd, const char *wanted)
{
    char text[1024] = "";
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&ready, 1, 10000), 1);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    if (!strstr(text, wanted))
        fail_msg("wanted: %s\ngot: %s", wanted, text);
}

static void place(const int *sources, int count)
{
    int high[8];

    for (int i = 0; i < count; i++)
        high[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, 100);
    for (int i = 0; i < count; i++)
        dup2(high[i], SERVICE_FD_CONTROL + i);
}

static void a_service_learns_all_and_obeys(void **state)
{
    int page_fd = -1, control[2], source[2], log1[2], log2[2];
    Page *page = page_create(&page_fd);
    g_autoptr(GPtrArray) overrides = g_ptr_array_new();
    g_autoptr(GPtrArray) arguments = g_ptr_array_new();
    g_autoptr(GArray) listeners = g_array_new(FALSE, FALSE, sizeof(int));
    int one_listener = 0, status;
    char letter;

    g_ptr_array_add(overrides, (char *)"a=b = c");
    g_ptr_array_add(overrides, (char *)"empty=");
    g_ptr_array_add(arguments, (char *)"--odd argument=");
    g_array_append_val(listeners, one_listener);
    ServiceProcess process = {.config_dir = (char *)"/c=d",
                              .command = (char *)"smtpd",
                              .name = (char *)"smtp",
                              .type = (char *)"inet",
                              .identity = (char *)"inet/:25",
                              .overrides = overrides,
                              .arguments = arguments,
                              .maxproc = 20,
                              .wakeup = 300,
                              .may_stress = true,
                              .unprivileged = true,
                              .generation = 2,
                              .listeners = listeners,
                              .row_number = 5,
                              .syslog_name = (char *)"postfix",
                              .log_host = (char *)"mx"};
    g_autoptr(GPtrArray) argv = service_process_argv(&process);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, source), 0);
    assert_int_equal(pipe(log1), 0);
    assert_int_equal(pipe(log2), 0);
    pid_t pid = fork();
    if (pid == 0) {
        place((int[]){control[1], page_fd, log1[1], source[1], log1[1], log2[0]}, 6);
        execv("/proc/self/exe", (char **)argv->pdata);
        _exit(126);
    }
    close(control[1]);
    expect_text(log1[0], "]: /c=d|smtpd|smtp|inet|inet/:25|20|300|110|2|1|a=b = c,empty=|--odd argument=\n");
    assert_int_equal(recv(control[0], &letter, 1, 0), 1);
    assert_int_equal(page->rows[5].sessions, 7);
    assert_int_equal(page->rows[5].pid, pid);
    assert_true(service_send_order(control[0], SERVICE_ORDER_FLUSH));
    expect_text(log1[0], "order 5\n");
    assert_true(service_send_log(control[0], log2[1]));
    assert_true(service_send_order(control[0], SERVICE_ORDER_DRAIN));
    expect_text(log2[0], "order 1\n");
    close(control[0]);
    expect_text(log2[0], "order 3\n");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void arguments_travel_as_they_are(void **state)
{
    static const struct {
        const char *argument;
        const char *wanted; /* in the error; NULL: the descriptors are missed first */
    } rows[] = {
        {"row=1024", "row=1024"},   {"row=-1", "row=-1"},   {"maxproc=x", "maxproc=x"}, {"listeners=65", "=65"},
        {"unknown=1", "unknown=1"}, {"nothing", "nothing"}, {"name=", "alone"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        char *argv[] = {(char *)"x", (char *)"--service", (char *)rows[i].argument, NULL};

        assert_null(service_process_new(3, argv, &error));
        assert_non_null(strstr(error->message, rows[i].wanted));
    }
}

static void root_is_given_up_only_for_somebody(void **state)
{
    g_autoptr(GError) error = NULL;

    if (geteuid() != 0)
        skip();
    assert_false(service_drop_privileges("no-such-user", &error));
    assert_non_null(strstr(error->message, "unknown user: no-such-user"));
    g_clear_error(&error);
    assert_false(service_drop_privileges("root", &error));
    pid_t pid = fork();
    int status;
    if (pid == 0)
        _exit(!service_drop_privileges("nobody", NULL) || getuid() == 0 || geteuid() == 0 || getgid() == 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_learns_all_and_obeys),
        cmocka_unit_test(arguments_travel_as_they_are),
        cmocka_unit_test(root_is_given_up_only_for_somebody),
    };

    if (argc > 1 && strcmp(argv[1], "--service") == 0)
        return run_service(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
