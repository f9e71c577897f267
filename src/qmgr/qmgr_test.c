/* qmgr_test.c - the queue manager's process, with this test as its master, its agents, and those who commit messages.
 * Routing is the test's own. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "qmgr/qmgr.h"
#include "route/route.h"
#include "spool/delivery_request.h"
#include "spool/queue_notify.h"
#include "spool/spool_scan.h"
#include "verify/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 20000

struct Route {
    int none;
};

Route *route_new(const Config *config, GError **error)
{
    return g_new0(Route, 1);
}

Route *route_new_for_probes(const Config *config, GError **error)
{
    return route_new(config, error);
}

bool route_is_probe_sender(const Route *route, const char *address)
{
    return g_str_has_prefix(address, "double-bounce@");
}

AddressClass route_class(const Route *route, const char *address)
{
    return CLASS_LOCAL;
}

Existence route_recipient_exists(const Route *route, const char *address, const char *text, char **ret_reply)
{
    return g_str_has_prefix(address, "known@") ? EXISTS_YES : EXISTS_NO;
}

void route_free(Route *route)
{
    g_free(route);
}

/* x@T.N.test goes to transport T, nexthop N. */
bool route_resolve(const Route *route, const char *sender, const char *address, char **ret_transport,
                   char **ret_nexthop)
{
    g_auto(GStrv) parts = g_strsplit(strrchr(address, '@') + 1, ".", 0);

    if (strcmp(parts[0], "unknown") == 0)
        return false;
    *ret_transport = g_strdup(parts[0]);
    *ret_nexthop = g_strdup(parts[1]);
    return true;
}

typedef struct {
    char *directory;
    MainCf *main_cf;
    Config *config;
    int notify_socket; /* public/qmgr */
    int listener;      /* private/virtual */
    int control;
    pid_t pid;
    Spool *spool;
    QueueNotify *notify;
} Fixture;

static int bind_unix(const char *path, int type)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_strlcpy(name.sun_path, path, sizeof name.sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    if (type != SOCK_DGRAM)
        assert_int_equal(listen(fd, 100), 0);
    return fd;
}

static pid_t start_process(Fixture *fixture, int *ret_control)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    fd_set_nonblock(pair[1], true);
    pid_t pid = fork();
    if (pid == 0) {
        ServiceProcess process = {.command = (char *)"qmgr", .name = (char *)"qmgr", .control = pair[1]};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        process.listeners = g_array_new(FALSE, FALSE, sizeof(int));
        g_array_append_val(process.listeners, fixture->notify_socket);
        log_to_file(open("log", O_WRONLY | O_CREAT | O_APPEND, 0600), "host");
        log_set_tag("postfix", "qmgr");
        _exit(qmgr_main(&process, fixture->config));
    }
    close(pair[1]);
    *ret_control = pair[0];
    return pid;
}

static void start(Fixture *fixture)
{
    fixture->pid = start_process(fixture, &fixture->control);
}

static int finish(pid_t pid, int *control)
{
    int status;

    close(*control); /* the master is gone: stop */
    *control = -1;
    waitpid(pid, &status, 0);
    return status;
}

static void stop(Fixture *fixture)
{
    if (fixture->pid > 0)
        assert_int_equal(finish(fixture->pid, &fixture->control), 0);
    fixture->pid = 0;
}

static void read_config(Fixture *fixture, const char *text)
{
    ConfigScope scope = {.process_name = "qmgr"};

    g_autofree char *whole = g_strdup_printf("data_directory = %s\n%s", fixture->directory, text);
    assert_true(g_file_set_contents("main.cf", whole, -1, NULL));
    config_free(fixture->config);
    main_cf_free(fixture->main_cf);
    fixture->main_cf = main_cf_read(fixture->directory, NULL);
    fixture->config = config_new(fixture->main_cf, &scope, NULL);
    assert_non_null(fixture->config);
}

static int set_up(void **state)
{
    Fixture *fixture = g_new0(Fixture, 1);
    g_autoptr(GError) error = NULL;

    fixture->directory = g_dir_make_tmp("qmgr-XXXXXX", NULL);
    g_autofree char *text = g_strdup_printf("queue_directory = %s\nmail_owner = %s\nminimal_backoff_time = 1s\n"
                                            "maximal_backoff_time = 1s\nqueue_run_delay = 1s\n"
                                            "transport_retry_time = 2s\none_initial_destination_concurrency = 1\n"
                                            "virtual_destination_recipient_limit = 2\n",
                                            fixture->directory, getpwuid(getuid())->pw_name);
    g_autofree char *queue = g_strconcat(fixture->directory, "/gatepost", NULL);
    SpoolOptions options = {.directory = queue};
    assert_int_equal(chdir(fixture->directory), 0);
    read_config(fixture, text);
    mkdir("public", 0700);
    mkdir("private", 0700);
    fixture->notify_socket = bind_unix("public/qmgr", SOCK_DGRAM);
    fixture->listener = bind_unix("private/virtual", SOCK_SEQPACKET);
    fixture->spool = spool_open(&options, &error);
    assert_non_null(fixture->spool);
    fixture->notify = queue_notify_open(".", &error);
    *state = fixture;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;

    if (fixture->pid > 0) {
        kill(fixture->pid, SIGKILL);
        finish(fixture->pid, &fixture->control);
    }
    close(fixture->notify_socket);
    close(fixture->listener);
    queue_notify_close(fixture->notify);
    spool_free(fixture->spool);
    config_free(fixture->config);
    main_cf_free(fixture->main_cf);
    assert_int_equal(chdir("/"), 0);
    nftw(fixture->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_free(fixture->directory);
    g_free(fixture);
    return 0;
}

/* Recipients separated by blanks. */
static char *commit_as(Fixture *fixture, Probe probe, const char *original, const char *recipients, gint64 arrival_us)
{
    g_autoptr(Envelope) envelope = envelope_new();
    g_auto(GStrv) addresses = g_strsplit(recipients, " ", 0);
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    char *id = g_strdup(spool_writer_id(writer));

    envelope->sender = g_strdup("s@x.test");
    envelope->arrival_us = arrival_us;
    for (guint i = 0; addresses[i]; i++)
        g_free(g_steal_pointer(&envelope_add(envelope, addresses[i])->original));
    for (guint i = 0; addresses[i]; i++)
        ((Recipient *)g_ptr_array_index(envelope->recipients, i))->original = g_strdup(original);
    envelope->probe = probe;
    if (probe == PROBE_NONE)
        spool_write(writer, "Subject: x\n\nbody\n", 17);
    assert_true(spool_commit(writer, envelope, false, NULL));
    return id;
}

static char *commit(Fixture *fixture, const char *recipients, gint64 arrival_us)
{
    return commit_as(fixture, PROBE_NONE, "", recipients, arrival_us);
}

static char *submit(Fixture *fixture, const char *recipients)
{
    char *id = commit(fixture, recipients, clock_wall_us());

    assert_true(queue_notify_send(fixture->notify, QUEUE_NOTIFY_NEW, id));
    return id;
}

/* One delivery as an agent gets it. */
typedef struct {
    int connection;
    DeliveryRequest *request;
    SpoolMessage *message;
} Task;

static void wait_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
}

static Task accept_task(int listener)
{
    char text[DELIVERY_PACKET_MAX];
    Task task;
    int fd;
    size_t count;

    wait_readable(listener);
    task.connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    wait_readable(task.connection);
    ssize_t len = fd_receive(task.connection, text, sizeof text, &fd, 1, &count);
    assert_true(len > 0 && count == 1);
    task.request = delivery_request_from_text(text, (size_t)len, NULL);
    assert_non_null(task.request);
    task.message = spool_message_take(fd, task.request->id, NULL);
    assert_non_null(task.message);
    return task;
}

static guint number_of(const Task *task, guint index)
{
    return g_array_index(task->request->recipients, DeliveryRecipient, index).number;
}

static void report(const Task *task, guint index, ReportKind kind, ResultStatus status, const char *dsn)
{
    Result result = {
        .recipient = number_of(task, index), .status = status, .relay = (char *)"virtual", .text = (char *)"why"};
    DeliveryReport told = {.recipient = result.recipient, .kind = kind, .status = status, .text = (char *)"why"};
    g_autoptr(GString) line = g_string_new(NULL);

    g_strlcpy(result.dsn, dsn, sizeof result.dsn);
    g_strlcpy(told.dsn, dsn, sizeof told.dsn);
    if (kind != REPORT_UNRECORDED)
        assert_true(spool_message_add_result(task->message, &result, false, NULL));
    delivery_report_append(line, &told);
    assert_true(fd_send(task->connection, line->str, line->len, NULL, 0));
}

static void end_task(Task *task)
{
    spool_message_free(task->message);
    delivery_request_free(task->request);
    close(task->connection);
}

static void finish_task(Fixture *fixture, ResultStatus status, const char *dsn)
{
    Task task = accept_task(fixture->listener);

    for (guint i = 0; i < task.request->recipients->len; i++)
        report(&task, i, REPORT_PLAIN, status, dsn);
    end_task(&task);
}

/* Until the log has a line with this text (%s: the id). */
static void wait_for_log(const char *format, const char *id)
{
    g_auto(GStrv) parts = g_strsplit(format, "%s", 2);
    g_autofree char *wanted = g_strjoinv(id, parts);
    gint64 deadline = clock_ms() + DEADLINE_MS;

    for (;;) {
        g_autofree char *log = NULL;
        if (g_file_get_contents("log", &log, NULL, NULL) && strstr(log, wanted))
            return;
        if (clock_ms() > deadline)
            fail_msg("no \"%s\" in the log:\n%s", wanted, log ? log : "");
        usleep(5000);
    }
}

static bool exists(const Fixture *fixture, SpoolPlace place, const char *id)
{
    gint64 when;

    return spool_next_attempt(fixture->spool, place, id, &when);
}

static void a_message_is_delivered_and_removed(void **state)
{
    Fixture *fixture = *state;

    Task task;
    g_autofree char *id = NULL;

    start(fixture);
    for (int tries = 0;; tries++) { /* the first ones may be older than the queue manager, or found by its first scan */
        id = submit(fixture, "u@virtual.n.test");
        task = accept_task(fixture->listener);
        if (!task.request->again)
            break;
        assert_true(tries < 1000);
        report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
        end_task(&task);
        wait_for_log("%s: removed", id);
        g_free(g_steal_pointer(&id));
    }
    assert_string_equal(task.request->id, id);
    assert_string_equal(task.request->transport, "virtual");
    assert_string_equal(task.request->nexthop, "n");
    assert_string_equal(g_array_index(task.request->recipients, DeliveryRecipient, 0).address, "u@virtual.n.test");
    g_autoptr(GPtrArray) active = queue_ask_active(fixture->notify, DEADLINE_MS, NULL);
    assert_int_equal(active->len, 1);
    assert_string_equal(g_ptr_array_index(active, 0), id);
    report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
    end_task(&task);
    wait_for_log("%s: from=<s@x.test>, size=17, nrcpt=1 (queue active)", id);
    wait_for_log("%s: removed", id);
    assert_false(exists(fixture, SPOOL_QUEUE, id));
    stop(fixture);
}

static void what_nobody_told_of_is_found(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *before = commit(fixture, "u@virtual.n.test", clock_wall_us());

    start(fixture);
    Task task = accept_task(fixture->listener);
    assert_true(task.request->again); /* nobody knows whether it was tried */
    report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
    end_task(&task);
    wait_for_log("%s: removed", before);
    g_autofree char *later = commit(fixture, "u@virtual.n.test", clock_wall_us());
    finish_task(fixture, RESULT_SENT, "2.0.0");
    wait_for_log("%s: removed", later);
    stop(fixture);
}

static void only_mail_from_before_the_start_is_found_as_tried(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    for (int tries = 0;; tries++) { /* those that the first scan finds may be older */
        g_autofree char *id = commit(fixture, "u@virtual.n.test", clock_wall_us());
        Task task = accept_task(fixture->listener);
        bool again = task.request->again;
        report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
        end_task(&task);
        wait_for_log("%s: removed", id);
        if (!again)
            break;
        assert_true(tries < 10);
    }
    stop(fixture);
}

static void what_was_locked_is_looked_at_again(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *text = g_strdup_printf("queue_directory = %s\nmail_owner = %s\nqueue_run_delay = 1000s\n",
                                            fixture->directory, getpwuid(getuid())->pw_name);

    read_config(fixture, text); /* no timer but the message's own */
    start(fixture);
    g_autofree char *id = NULL;
    SpoolMessage *other = NULL;
    for (int tries = 0;; tries++) { /* the scan at the start may find those that come soon */
        g_free(id);
        id = commit(fixture, "u@virtual.n.test", clock_wall_us());
        other = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
        if (other)
            break;
        assert_true(tries < 10);
        finish_task(fixture, RESULT_SENT, "2.0.0");
        wait_for_log("%s: removed", id);
    }
    assert_true(queue_notify_send(fixture->notify, QUEUE_NOTIFY_NEW, id));
    for (int i = 0; i < 2; i++) { /* the second answer comes after it looked at the message */
        g_autoptr(GPtrArray) active = queue_ask_active(fixture->notify, DEADLINE_MS, NULL);
        assert_non_null(active);
    }
    spool_message_free(other);
    finish_task(fixture, RESULT_SENT, "2.0.0");
    wait_for_log("%s: removed", id);
    stop(fixture);
}

static void recipients_are_grouped(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    g_autofree char *id = submit(fixture, "a@virtual.n.test b@virtual.m.test c@virtual.n.test d@virtual.n.test");
    guint count[3];
    int seen = 0;
    for (int i = 0; i < 3; i++) {
        Task task = accept_task(fixture->listener);
        count[i] = task.request->recipients->len;
        for (guint j = 0; j < count[i]; j++) {
            seen |= 1 << number_of(&task, j);
            report(&task, j, REPORT_PLAIN, RESULT_SENT, "2.0.0");
        }
        end_task(&task);
    }
    assert_int_equal(seen, 15);
    assert_int_equal(MAX(count[0], MAX(count[1], count[2])), 2);
    wait_for_log("%s: removed", id);
    stop(fixture);
}

static void a_deferred_recipient_is_tried_again(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    g_autofree char *id = submit(fixture, "a@virtual.n.test b@virtual.n.test");
    Task task = accept_task(fixture->listener);
    report(&task, 1, REPORT_PLAIN, RESULT_DEFERRED, "4.2.2");
    report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
    gint64 began = clock_ms();
    end_task(&task);
    task = accept_task(fixture->listener);
    assert_true(clock_ms() - began >= 500);
    assert_true(task.request->again);
    assert_int_equal(task.request->recipients->len, 1);
    assert_int_equal(number_of(&task, 0), 1);
    report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
    end_task(&task);
    wait_for_log("%s: removed", id);
    stop(fixture);
}

static void a_failed_message_is_kept_in_hold(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    g_autofree char *id = submit(fixture, "a@virtual.n.test b@virtual.n.test");
    Task task = accept_task(fixture->listener);
    report(&task, 0, REPORT_PLAIN, RESULT_BOUNCED, "5.1.1");
    report(&task, 1, REPORT_PLAIN, RESULT_SENT, "2.0.0");
    end_task(&task);
    wait_for_log("%s: from=<s@x.test>, failed=1, kept in hold/", id);
    assert_true(exists(fixture, SPOOL_HOLD, id));
    assert_false(exists(fixture, SPOOL_QUEUE, id));
    stop(fixture);
}

static void an_expired_message_is_kept_in_hold(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *id = commit(fixture, "a@virtual.n.test", clock_wall_us() - 6 * 86400 * (gint64)G_USEC_PER_SEC);

    start(fixture);
    finish_task(fixture, RESULT_DEFERRED, "4.2.2");
    wait_for_log("%s: from=<s@x.test>, status=expired", id);
    assert_true(exists(fixture, SPOOL_HOLD, id));
    stop(fixture);
}

static void a_transport_without_listener_defers(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    g_autofree char *id = submit(fixture, "a@pipe.n.test u@unknown.n.test");
    wait_for_log("qmgr[", "");
    wait_for_log("warning: connect to transport private/pipe: No such file or directory", "");
    wait_for_log("%s: to=<a@pipe.n.test>, relay=none, delay=", id);
    wait_for_log("dsn=4.3.0, status=deferred (mail transport unavailable)", "");
    wait_for_log("postfix/error[", "");
    wait_for_log("status=deferred (address resolver failure)", "");
    assert_true(exists(fixture, SPOOL_QUEUE, id));
    stop(fixture);
}

/* The agent's end of the connection is gone, but somebody still has the message's descriptor: nobody else may touch it
 * until that one is done. */
static void a_lost_delivery_waits_for_the_lock(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    g_autofree char *id = submit(fixture, "a@virtual.n.test b@virtual.n.test");
    Task task = accept_task(fixture->listener);
    shutdown(task.connection, SHUT_RDWR);
    close(task.connection);
    wait_for_log("warning: transport virtual failure -- see a previous warning", id);
    Result late = {.recipient = 0, .status = RESULT_SENT, .dsn = "2.0.0"};
    usleep(1500000); /* it was due, and was looked at */
    struct pollfd wait = {.fd = fixture->listener, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 0), 0);
    assert_true(spool_message_add_result(task.message, &late, true, NULL));
    spool_message_free(task.message);
    delivery_request_free(task.request);
    task = accept_task(fixture->listener);
    assert_int_equal(task.request->recipients->len, 1);
    assert_int_equal(number_of(&task, 0), 1);
    assert_true(task.request->again);
    report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
    end_task(&task);
    wait_for_log("%s: removed", id);
    stop(fixture);
}

/* A stopped agent is given up, but what it has it has: when it goes on, its word counts, and nobody did it again. */
static void a_silent_agent_is_given_up_and_may_still_finish(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *text = g_strdup_printf("queue_directory = %s\nmail_owner = %s\nminimal_backoff_time = 1s\n"
                                            "maximal_backoff_time = 1s\nqueue_run_delay = 1s\ndaemon_timeout = 2s\n",
                                            fixture->directory, getpwuid(getuid())->pw_name);

    read_config(fixture, text);
    start(fixture);
    g_autofree char *id = submit(fixture, "a@virtual.n.test b@virtual.n.test");
    Task task = accept_task(fixture->listener);
    g_autofree char *other = submit(fixture, "u@virtual.m.test");
    finish_task(fixture, RESULT_SENT, "2.0.0"); /* one that hangs is not in the way of others */
    wait_for_log("%s: removed", other);
    wait_for_log("warning: %s: timeout receiving delivery status from transport: virtual", id);
    usleep(1500000); /* it was due, and was looked at */
    struct pollfd wait = {.fd = fixture->listener, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 0), 0);
    for (guint i = 0; i < 2; i++) {
        Result late = {.recipient = number_of(&task, i), .status = RESULT_SENT, .dsn = "2.0.0"};
        assert_true(spool_message_add_result(task.message, &late, true, NULL));
    }
    end_task(&task);
    wait_for_log("%s: removed", id);
    assert_int_equal(poll(&wait, 1, 0), 0);
    stop(fixture);
}

static void a_slow_agent_that_reports_is_not_given_up(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *text = g_strdup_printf("queue_directory = %s\nmail_owner = %s\ndaemon_timeout = 2s\n",
                                            fixture->directory, getpwuid(getuid())->pw_name);
    g_autofree char *log = NULL;

    read_config(fixture, text);
    start(fixture);
    g_autofree char *id = submit(fixture, "a@virtual.n.test b@virtual.n.test c@virtual.n.test");
    Task task = accept_task(fixture->listener);
    for (guint i = 0; i < 3; i++) {
        usleep(1000000);
        report(&task, i, REPORT_PLAIN, RESULT_SENT, "2.0.0");
    }
    end_task(&task);
    wait_for_log("%s: removed", id);
    assert_true(g_file_get_contents("log", &log, NULL, NULL));
    assert_null(strstr(log, "timeout receiving"));
    stop(fixture);
}

static void what_a_crash_left_is_removed_or_kept(void **state)
{
    Fixture *fixture = *state;
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    g_autofree char *open_id = g_strdup(spool_writer_id(writer));
    g_autofree char *damaged = commit(fixture, "a@virtual.n.test", clock_wall_us());
    g_autofree char *torn = commit(fixture, "a@virtual.n.test", clock_wall_us());
    g_autofree char *damaged_path =
        g_strdup_printf("gatepost/%s/%s", spool_directory(SPOOL_QUEUE, damaged).path, damaged);
    g_autofree char *torn_path = g_strdup_printf("gatepost/%s/%s", spool_directory(SPOOL_QUEUE, torn).path, torn);

    auto_fd fd = open(damaged_path, O_WRONLY);
    assert_int_equal(pwrite(fd, "?", 1, FIRST_LINE_LEN + 17 + 12), 1);
    assert_int_equal(truncate(torn_path, FIRST_LINE_LEN / 2), 0);
    start(fixture);
    wait_for_log("%s: moved to corrupt/", damaged);
    wait_for_log("%s: removed (its reception did not end", torn);
    assert_true(exists(fixture, SPOOL_CORRUPT, damaged));
    assert_false(exists(fixture, SPOOL_QUEUE, torn));
    assert_true(exists(fixture, SPOOL_QUEUE, open_id)); /* its writer lives */
    spool_abort(writer);

    /* damage that only who reads the content can see */
    g_autofree char *id = submit(fixture, "a@virtual.n.test");
    Task task = accept_task(fixture->listener);
    report(&task, 0, REPORT_CORRUPT, RESULT_DEFERRED, "4.3.0");
    end_task(&task);
    wait_for_log("%s: moved to corrupt/: its content", id);
    assert_true(exists(fixture, SPOOL_CORRUPT, id));
    stop(fixture);
}

static void an_unrecorded_result_is_recorded(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    g_autofree char *id = submit(fixture, "a@virtual.n.test b@virtual.n.test");
    Task task = accept_task(fixture->listener);
    report(&task, 0, REPORT_UNRECORDED, RESULT_SENT, "2.0.0");
    report(&task, 1, REPORT_PLAIN, RESULT_DEFERRED, "4.2.2");
    end_task(&task);
    task = accept_task(fixture->listener);
    assert_int_equal(task.request->recipients->len, 1);
    assert_int_equal(number_of(&task, 0), 1);
    assert_int_equal(spool_message_result(task.message, 0)->status, RESULT_SENT);
    end_task(&task);
    stop(fixture);
    assert_true(exists(fixture, SPOOL_QUEUE, id));
}

static void a_dead_destination_is_left_alone_until_flushed(void **state)
{
    Fixture *fixture = *state;
    int one = bind_unix("private/one", SOCK_SEQPACKET);

    start(fixture);
    g_autofree char *first = submit(fixture, "a@one.n.test");
    g_autofree char *second = submit(fixture, "b@one.n.test");
    Task task = accept_task(one);
    report(&task, 0, REPORT_SITE_FAILED, RESULT_DEFERRED, "4.4.1");
    end_task(&task);
    wait_for_log("dsn=4.4.1, status=deferred (delivery temporarily suspended: why)", second);
    assert_true(queue_notify_send(fixture->notify, QUEUE_NOTIFY_FLUSH, NULL));
    task = accept_task(one);
    report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
    end_task(&task);
    task = accept_task(one);
    report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
    end_task(&task);
    wait_for_log("%s: removed", first);
    wait_for_log("%s: removed", second);
    close(one);
    stop(fixture);
}

static void many_messages_get_through(void **state)
{
    Fixture *fixture = *state;
    enum { COUNT = 200 };
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    start(fixture);
    for (int i = 0; i < COUNT; i++) {
        g_autofree char *id = commit(fixture, "u@virtual.n.test", clock_wall_us());
        queue_notify_send(fixture->notify, QUEUE_NOTIFY_NEW, id); /* some are lost */
    }
    while (g_hash_table_size(seen) < COUNT) {
        Task task = accept_task(fixture->listener);
        assert_true(g_hash_table_add(seen, g_strdup(task.request->id)));
        report(&task, 0, REPORT_PLAIN, RESULT_SENT, "2.0.0");
        end_task(&task);
    }
    stop(fixture);
}

static void there_is_one_at_a_time(void **state)
{
    Fixture *fixture = *state;
    int control;

    start(fixture);
    wait_readable(fixture->control);
    pid_t second =
        start_process(fixture, &control); /* before there is a descriptor of a message that it could inherit */
    wait_for_log("waiting for another queue manager to end", "");
    g_autofree char *first = submit(fixture, "u@virtual.n.test");
    Task task = accept_task(fixture->listener);
    kill(fixture->pid, SIGKILL);
    finish(fixture->pid, &fixture->control);
    fixture->pid = second;
    fixture->control = control;
    /* The agent has the message still; the new one waits for that, then sees what became of it. */
    Result late = {.recipient = 0, .status = RESULT_SENT, .dsn = "2.0.0"};
    assert_true(spool_message_add_result(task.message, &late, true, NULL));
    end_task(&task);
    wait_for_log("%s: removed", first);
    stop(fixture);
}

/* ---- probes ---- */

static char *submit_probe(Fixture *fixture, Probe kind, const char *original, const char *recipients)
{
    char *id = commit_as(fixture, kind, original, recipients, clock_wall_us());

    assert_true(queue_notify_send(fixture->notify, QUEUE_NOTIFY_NEW, id));
    return id;
}

/* "STATUS text" of an address, as a reader sees it; "none". Caller frees. */
static char *known_of(Fixture *fixture, const char *address)
{
    g_autoptr(VerifyCache) cache = verify_cache_open(fixture->config, CACHE_READ, NULL);
    g_auto(CacheEntry) entry = {0};

    if (!verify_cache_get(cache, address, &entry))
        return g_strdup("none");
    return g_strdup_printf("%d %s", entry.status, entry.text);
}

static void assert_known(Fixture *fixture, const char *address, const char *wanted)
{
    g_autofree char *got = known_of(fixture, address);

    assert_string_equal(got, wanted);
}

/* As an agent: nothing of a probe goes into its file. */
static void finish_probe(Fixture *fixture, ResultStatus status, const char *dsn)
{
    Task task = accept_task(fixture->listener);
    DeliveryReport told = {.recipient = number_of(&task, 0), .status = status, .text = (char *)"why"};
    g_autoptr(GString) line = g_string_new(NULL);

    assert_int_equal(spool_message_envelope(task.message)->probe, PROBE_ANY);
    assert_int_equal(spool_message_size(task.message), 0);
    g_strlcpy(told.dsn, dsn, sizeof told.dsn);
    delivery_report_append(line, &told);
    assert_true(fd_send(task.connection, line->str, line->len, NULL, 0));
    end_task(&task);
}

static void a_probe_ends_in_the_cache(void **state)
{
    static const struct {
        ResultStatus status;
        const char *dsn, *known;
    } rows[] = {{RESULT_BOUNCED, "5.1.1", "2 why"}, {RESULT_DEFERRED, "4.1.1", "1 why"}, {RESULT_SENT, "2.1.5", "0 why"}};
    Fixture *fixture = *state;

    start(fixture);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *id = submit_probe(fixture, PROBE_ANY, "alias@n.test", "u@virtual.n.test");
        finish_probe(fixture, rows[i].status, rows[i].dsn);
        wait_for_log("%s: removed", id);
        assert_false(exists(fixture, SPOOL_QUEUE, id));
        assert_false(exists(fixture, SPOOL_HOLD, id));
        assert_known(fixture, "u@virtual.n.test", rows[i].known);
        assert_known(fixture, "alias@n.test", rows[i].known);
    }
    stop(fixture);
    assert_known(fixture, "alias@n.test", "0 why");
}

static void a_probe_without_an_agent_is_answered(void **state)
{
    static const struct {
        Probe kind;
        const char *recipients, *asked, *known, *log;
    } rows[] = {
        {PROBE_ANY, "u@nobody.n.test", "u@nobody.n.test", "1 mail transport unavailable",
         "status=undeliverable (mail transport unavailable)"},
        {PROBE_GOOD, "v@nobody.n.test", "v@nobody.n.test", "none",
         "status=undeliverable-but-not-cached (mail transport unavailable)"},
        {PROBE_ANY, "u@unknown.test", "u@unknown.test", "1 address resolver failure",
         "status=undeliverable (address resolver failure)"},
        {PROBE_ANY, "known@local.n.test", "known@local.n.test", "0 delivers to mailbox",
         "status=deliverable (delivers to mailbox)"},
        {PROBE_ANY, "joe@local.n.test", "joe@local.n.test", "2 unknown user: \"joe\"",
         "dsn=5.1.1, status=undeliverable (unknown user: \"joe\")"},
        {PROBE_ANY, "double-bounce@local.n.test", "double-bounce@local.n.test",
         "0 undeliverable postmaster notification discarded", "status=deliverable (undeliverable postmaster"},
        {PROBE_ANY, "a@virtual.n.test b@virtual.n.test", "list@n.test", "0 aliased to multiple recipients",
         "to=<list@n.test>, relay=none, delay="},
    };
    Fixture *fixture = *state;

    start(fixture);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const char *original = strcmp(rows[i].asked, rows[i].recipients) == 0 ? "" : rows[i].asked;
        g_autofree char *id = submit_probe(fixture, rows[i].kind, original, rows[i].recipients);
        wait_for_log("%s: removed", id);
        assert_known(fixture, rows[i].asked, rows[i].known);
        wait_for_log(rows[i].log, "");
    }
    stop(fixture);
}

static void a_lost_probe_is_not_tried_again(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    g_autofree char *id = submit_probe(fixture, PROBE_ANY, "", "u@virtual.n.test");
    Task task = accept_task(fixture->listener);
    end_task(&task);
    wait_for_log("%s: removed", id);
    assert_known(fixture, "u@virtual.n.test", "1 unknown mail transport error");
    stop(fixture);
}

static void an_address_is_probed_once_at_a_time(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    g_autofree char *first = submit_probe(fixture, PROBE_ANY, "", "u@virtual.n.test");
    Task task = accept_task(fixture->listener);
    g_autofree char *second = submit_probe(fixture, PROBE_ANY, "", "u@virtual.n.test");
    wait_for_log("%s: removed", second);
    assert_known(fixture, "u@virtual.n.test", "none");
    DeliveryReport told = {.recipient = 0, .status = RESULT_SENT, .dsn = "2.1.5", .text = (char *)"yes"};
    g_autoptr(GString) line = g_string_new(NULL);
    delivery_report_append(line, &told);
    assert_true(fd_send(task.connection, line->str, line->len, NULL, 0));
    end_task(&task);
    wait_for_log("%s: removed", first);
    g_autofree char *late = commit_as(fixture, PROBE_ANY, "", "w@virtual.n.test",
                                      clock_wall_us() - 2000 * (gint64)G_USEC_PER_SEC);
    assert_true(queue_notify_send(fixture->notify, QUEUE_NOTIFY_NEW, late));
    wait_for_log("%s: removed", late); /* nobody waits for it any more */
    assert_known(fixture, "w@virtual.n.test", "none");
    stop(fixture);
}

static void mail_to_the_sender_of_probes_is_discarded(void **state)
{
    Fixture *fixture = *state;

    start(fixture);
    g_autofree char *id = submit(fixture, "double-bounce@virtual.n.test");
    wait_for_log("%s: to=<double-bounce@virtual.n.test>, relay=none", id);
    wait_for_log("status=sent (undeliverable postmaster notification discarded)", id);
    wait_for_log("%s: removed", id);
    stop(fixture);
}

int main(void)
{
    /* As root, the process under test would become $mail_owner, and could not read what this one writes. */
    const struct passwd *nobody = getuid() == 0 ? getpwnam("nobody") : NULL;
    if (nobody && (setgid(nobody->pw_gid) < 0 || setuid(nobody->pw_uid) < 0))
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_message_is_delivered_and_removed),
        TEST(what_nobody_told_of_is_found),
        TEST(only_mail_from_before_the_start_is_found_as_tried),
        TEST(what_was_locked_is_looked_at_again),
        TEST(recipients_are_grouped),
        TEST(a_deferred_recipient_is_tried_again),
        TEST(a_failed_message_is_kept_in_hold),
        TEST(an_expired_message_is_kept_in_hold),
        TEST(a_transport_without_listener_defers),
        TEST(a_lost_delivery_waits_for_the_lock),
        TEST(a_silent_agent_is_given_up_and_may_still_finish),
        TEST(a_slow_agent_that_reports_is_not_given_up),
        TEST(what_a_crash_left_is_removed_or_kept),
        TEST(an_unrecorded_result_is_recorded),
        TEST(a_dead_destination_is_left_alone_until_flushed),
        TEST(many_messages_get_through),
        TEST(there_is_one_at_a_time),
        TEST(a_probe_ends_in_the_cache),
        TEST(a_probe_without_an_agent_is_answered),
        TEST(a_lost_probe_is_not_tried_again),
        TEST(an_address_is_probed_once_at_a_time),
        TEST(mail_to_the_sender_of_probes_is_discarded),
    };
    signal(SIGPIPE, SIG_IGN); /* as in every service process */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
