/* delivery_agents_test.c - the agents' processes, with this test as master, queue manager and SMTP server. */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "delivery/delivery.h"
#include "spool/delivery_request.h"
#include "spool/spool_message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
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
#define CONTENT "Subject: x\n\n.body\nlast\n"

typedef struct {
    char *directory;
    Spool *spool;
    MainCf *main_cf;
    Config *config;
    int listener, control;
    pid_t pid;
    SpoolMessage *message;
} Fixture;

static int set_up(void **state)
{
    Fixture *fixture = g_new0(Fixture, 1);
    g_autofree char *queue = NULL;

    fixture->directory = g_dir_make_tmp("agents-XXXXXX", NULL);
    assert_int_equal(chmod(fixture->directory, 0755), 0);
    assert_int_equal(chdir(fixture->directory), 0);
    queue = g_strconcat(fixture->directory, "/gatepost", NULL);
    SpoolOptions options = {.directory = queue};
    fixture->spool = spool_open(&options, NULL);
    assert_non_null(fixture->spool);
    fixture->listener = fixture->control = -1;
    *state = fixture;
    return 0;
}

/* The process is told that its master is gone, and has to end well. */
static void stop(Fixture *fixture)
{
    int status;

    fd_clear(&fixture->control);
    if (fixture->pid > 0) {
        assert_int_equal(waitpid(fixture->pid, &status, 0), fixture->pid);
        assert_int_equal(status, 0);
    }
    fixture->pid = 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;

    fd_clear(&fixture->control);
    if (fixture->pid > 0) {
        kill(fixture->pid, SIGKILL);
        waitpid(fixture->pid, NULL, 0);
    }
    fd_clear(&fixture->listener);
    spool_message_free(fixture->message);
    spool_free(fixture->spool);
    config_free(fixture->config);
    main_cf_free(fixture->main_cf);
    assert_int_equal(chdir("/"), 0);
    nftw(fixture->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_free(fixture->directory);
    g_free(fixture);
    return 0;
}

static const char *user_name(void)
{
    return getuid() == 0 ? "nobody" : getpwuid(getuid())->pw_name;
}

/* Starts a service; main_cf: what its main.cf has besides. */
static void start(Fixture *fixture, const char *command, const char *name, const char *main_cf)
{
    g_autofree char *text = g_strdup_printf("queue_directory = %s\nmail_owner = %s\nmyhostname = mx.gate.test\n%s",
                                            fixture->directory, user_name(), main_cf);
    ConfigScope scope = {.process_name = command, .service_name = name};
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "agent"};
    g_autoptr(GError) error = NULL;
    int pair[2];

    assert_true(g_file_set_contents("main.cf", text, -1, NULL));
    fixture->main_cf = main_cf_read(fixture->directory, &error);
    fixture->config = config_new(fixture->main_cf, &scope, &error);
    assert_non_null(fixture->config);
    fixture->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fixture->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fixture->listener, 10), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    fd_set_nonblock(pair[1], true);
    fixture->pid = fork();
    if (fixture->pid == 0) {
        ServiceProcess process = {.command = (char *)command,
                                  .name = (char *)name,
                                  .control = pair[1],
                                  .maxproc = 10,
                                  .log_host = (char *)"host"};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        process.listeners = g_array_new(FALSE, FALSE, sizeof(int));
        g_array_append_val(process.listeners, fixture->listener);
        int log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup3(log, SERVICE_FD_LOG, O_CLOEXEC); /* where services have it, and where virtual's children keep it */
        log_to_file(SERVICE_FD_LOG, "host");
        log_set_tag("postfix", command);
        _exit(delivery_main(&process, fixture->config));
    }
    close(pair[1]);
    fixture->control = pair[0];
}

static void make_message_as(Fixture *fixture, Probe probe, const char *recipients, const char *content)
{
    g_autoptr(Envelope) envelope = envelope_new();
    g_auto(GStrv) addresses = g_strsplit(recipients, " ", 0);
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    g_autofree char *id = g_strdup(spool_writer_id(writer));

    envelope->sender = g_strdup("s@x.test");
    envelope->probe = probe;
    envelope->arrival_us = clock_wall_us();
    for (guint i = 0; addresses[i]; i++)
        envelope_add(envelope, addresses[i]);
    spool_write(writer, content, strlen(content));
    assert_true(spool_commit(writer, envelope, false, NULL));
    fixture->message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
    assert_non_null(fixture->message);
}

static void make_message(Fixture *fixture, const char *recipients, const char *content)
{
    make_message_as(fixture, PROBE_NONE, recipients, content);
}

/* What was reported of each recipient, a line each: "0 sent 2.0.0 plain text". */
static char *deliver(Fixture *fixture, const char *nexthop, bool again)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "agent"};
    auto_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    g_autoptr(DeliveryRequest) request = delivery_request_new();
    guint count = spool_message_envelope(fixture->message)->recipients->len;
    int message_fd = spool_message_fd(fixture->message);
    g_autofree char **lines = g_new0(char *, count + 1);
    static const char *const kinds[] = {"plain", "site", "corrupt", "unrecorded"};

    request->id = g_strdup(spool_message_id(fixture->message));
    request->transport = g_strdup("t");
    request->nexthop = g_strdup(nexthop);
    request->again = again;
    request->active_us = clock_wall_us();
    for (guint i = 0; i < count; i++) {
        const Recipient *recipient = g_ptr_array_index(spool_message_envelope(fixture->message)->recipients, i);
        assert_true(delivery_request_add(request, i, recipient->address));
    }
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    g_autoptr(GString) text = delivery_request_to_text(request);
    assert_true(fd_send(fd, text->str, text->len, &message_fd, 1));
    for (guint got = 0; got < count;) {
        char packet[DELIVERY_PACKET_MAX + 1];
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
        ssize_t len = recv(fd, packet, DELIVERY_PACKET_MAX, 0);
        if (len <= 0)
            break;
        packet[len] = '\0';
        g_auto(GStrv) told = g_strsplit(packet, "\n", 0);
        for (guint i = 0; told[i] && told[i][0]; i++, got++) {
            DeliveryReport report;
            assert_true(delivery_report_read(told[i], &report));
            assert_true(report.recipient < count && !lines[report.recipient]);
            lines[report.recipient] =
                g_strdup_printf("%u %s %s %s %s", report.recipient, result_status_name(report.status), report.dsn,
                                kinds[report.kind], report.text);
            delivery_report_clear(&report);
        }
    }
    for (guint i = 0; i < count; i++)
        assert_non_null(lines[i]);
    char *all = g_strjoinv("\n", lines);
    for (guint i = 0; i < count; i++)
        g_free(lines[i]);
    return all;
}

static void assert_delivery(Fixture *fixture, const char *nexthop, bool again, const char *wanted)
{
    g_autofree char *got = deliver(fixture, nexthop, again);

    assert_string_equal(got, wanted);
}

static void assert_logged(const char *wanted)
{
    g_autofree char *log = NULL;

    assert_true(g_file_get_contents("log", &log, NULL, NULL));
    if (!strstr(log, wanted))
        fail_msg("no \"%s\" in the log:\n%s", wanted, log);
}

/* A probe leaves nothing in its file. */
static void assert_not_recorded(Fixture *fixture, guint recipient)
{
    const char *id = spool_message_id(fixture->message);
    g_autoptr(SpoolMessage) look = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOOK, NULL);

    assert_null(spool_message_result(look, recipient));
}

/* The results as the file has them, for the next queue manager. */
static void assert_recorded(Fixture *fixture, guint recipient, ResultStatus status)
{
    const char *id = spool_message_id(fixture->message);
    g_autoptr(SpoolMessage) look = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOOK, NULL);
    const Result *result = spool_message_result(look, recipient);

    assert_non_null(result);
    assert_int_equal(result->status, status);
}

/* ---- discard, error ---- */

static void discard_says_sent(void **state)
{
    Fixture *fixture = *state;

    start(fixture, "discard", "discard", "");
    make_message(fixture, "a@x.test b@x.test", CONTENT);
    assert_delivery(fixture, "not wanted", false, "0 sent 2.0.0 plain not wanted\n1 sent 2.0.0 plain not wanted");
    assert_recorded(fixture, 1, RESULT_SENT);
    assert_logged("postfix/discard[");
    assert_logged("to=<a@x.test>, relay=none, delay=0");
    stop(fixture);
}

static void error_says_bounced(void **state)
{
    Fixture *fixture = *state;

    start(fixture, "error", "error", "");
    make_message(fixture, "a@x.test", CONTENT);
    assert_delivery(fixture, "5.1.6 moved away", false, "0 bounced 5.1.6 plain moved away");
    assert_delivery(fixture, "4.7.1 code of another class", false, "0 bounced 5.7.1 plain code of another class");
    assert_delivery(fixture, "1.2.3.4 is no code", false, "0 bounced 5.0.0 plain 1.2.3.4 is no code");
    stop(fixture);
}

static void retry_says_deferred(void **state)
{
    Fixture *fixture = *state;

    start(fixture, "error", "retry", "");
    make_message(fixture, "a@x.test", CONTENT);
    assert_delivery(fixture, "later", false, "0 deferred 4.0.0 plain later");
    assert_recorded(fixture, 0, RESULT_DEFERRED);
    assert_logged("postfix/error[");
    stop(fixture);
}

static void simple_agents_answer_probes(void **state)
{
    Fixture *fixture = *state;

    start(fixture, "error", "error", "");
    make_message_as(fixture, PROBE_ANY, "a@x.test", "");
    assert_delivery(fixture, "5.1.6 moved away", false, "0 bounced 5.1.6 plain moved away");
    assert_not_recorded(fixture, 0);
    assert_logged("dsn=5.1.6, status=undeliverable (moved away)");
    stop(fixture);
}

/* ---- virtual ---- */

static char *only_file(const char *directory)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    char *found = NULL;
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        assert_null(found);
        found = g_build_filename(directory, name, NULL);
    }
    assert_non_null(found);
    return found;
}

static char *virtual_main_cf(const Fixture *fixture, unsigned uid, unsigned gid)
{
    return g_strdup_printf("virtual_mailbox_base = %s/mail\n"
                           "virtual_mailbox_maps = inline:{u@v.test=v/u/, box@v.test=v/box, up@v.test=x/../y/, "
                           "{\"q;r\"@v.test=v/q/}, "
                           "nouid@v.test=v/nouid/}\n"
                           "virtual_uid_maps = inline:{u@v.test=%u, box@v.test=%u, up@v.test=%u, {\"q;r\"@v.test=%u}, "
                           "other@v.test=4242}\n"
                           "virtual_gid_maps = static:%u\nvirtual_minimum_uid = 1\nrecipient_delimiter = +\n",
                           fixture->directory, uid, uid, uid, uid, gid);
}

static void virtual_answers_probes(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *main_cf = virtual_main_cf(fixture, getuid(), getgid());

    start(fixture, "virtual", "virtual", main_cf);
    make_message_as(fixture, PROBE_ANY, "u@v.test none@v.test", "");
    assert_delivery(fixture, "v.test", false,
                    "0 sent 2.0.0 plain delivers to maildir\n1 bounced 5.1.1 plain unknown user: \"none@v.test\"");
    assert_false(g_file_test("mail/v/u", G_FILE_TEST_EXISTS));
    assert_not_recorded(fixture, 0);
    assert_not_recorded(fixture, 1);
    assert_logged("dsn=2.0.0, status=deliverable (delivers to maildir)");
    assert_logged("dsn=5.1.1, status=undeliverable (unknown user: \"none@v.test\")");
    stop(fixture);
}

static void virtual_delivers_to_maildirs(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *main_cf = virtual_main_cf(fixture, getuid(), getgid());

    start(fixture, "virtual", "virtual", main_cf);
    make_message(fixture, "U+ext@v.test none@v.test box@v.test up@v.test nouid@v.test q;r@v.test", CONTENT);
    assert_delivery(fixture, "v.test", false,
                    "0 sent 2.0.0 plain delivered to maildir\n"
                    "1 bounced 5.1.1 plain unknown user: \"none@v.test\"\n"
                    "2 deferred 4.3.5 plain mail system configuration error\n"
                    "3 deferred 4.3.5 plain mail system configuration error\n"
                    "4 deferred 4.3.5 plain mail system configuration error\n"
                    "5 sent 2.0.0 plain delivered to maildir");
    g_autofree char *path = only_file("mail/v/u/new");
    g_autofree char *text = NULL;
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    assert_string_equal(text,
                        "Return-Path: <s@x.test>\nX-Original-To: U+ext@v.test\nDelivered-To: U+ext@v.test\n" CONTENT);
    assert_recorded(fixture, 0, RESULT_SENT);
    assert_logged("relay=virtual, delay=0");
    assert_logged("dsn=2.0.0, status=sent (delivered to maildir)");
    assert_logged("warning: recipient nouid@v.test: not found in virtual_uid_maps");
    assert_logged("bad mailbox path");
    g_autofree char *again = deliver(fixture, "v.test", true);
    assert_true(g_str_has_prefix(again, "0 sent"));
    g_free(only_file("mail/v/u/new"));
    stop(fixture);
}

static void virtual_without_root_delivers_to_its_own_user_only(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *main_cf = virtual_main_cf(fixture, getuid() + 1, getgid());

    start(fixture, "virtual", "virtual", main_cf);
    make_message(fixture, "u@v.test", CONTENT);
    assert_delivery(fixture, "v.test", false, "0 deferred 4.3.5 plain mail system configuration error");
    assert_logged("but this system runs as");
    assert_int_equal(access("mail", F_OK), -1);
    stop(fixture);
}

static void virtual_says_why_it_cannot(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *main_cf = virtual_main_cf(fixture, getuid(), getgid());

    assert_true(g_file_set_contents("mail", "", 0, NULL)); /* no directory */
    start(fixture, "virtual", "virtual", main_cf);
    make_message(fixture, "u@v.test", CONTENT);
    g_autofree char *got = deliver(fixture, "v.test", false);
    assert_true(g_str_has_prefix(got, "0 deferred 4.2.0 plain maildir delivery failed: "));
    assert_non_null(strstr(got, "/mail/v/u/: Not a directory"));
    stop(fixture);
}

static void virtual_does_not_deliver_damaged_mail(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *main_cf = virtual_main_cf(fixture, getuid(), getgid());

    start(fixture, "virtual", "virtual", main_cf);
    make_message(fixture, "u@v.test", CONTENT);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", spool_message_fd(fixture->message));
    auto_fd fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, FIRST_LINE_LEN + 3), 1);
    assert_delivery(fixture, "v.test", false,
                    "0 deferred 4.3.0 corrupt maildir delivery failed: its content does not match its checksum");
    stop(fixture);
}

/* As root: who delivers is the mailbox's user, and the queue's files need not be readable for him. */
static void virtual_as_root_delivers_as_the_user(void **state)
{
    Fixture *fixture = *state;
    const struct passwd *nobody = getpwnam("nobody");
    struct stat status;

    if (getuid() != 0 || !nobody)
        skip();
    g_autofree char *main_cf = virtual_main_cf(fixture, 4241, 4243);
    assert_int_equal(mkdir("mail", 0755), 0);
    assert_int_equal(mkdir("mail/v", 0755), 0);
    assert_int_equal(chown("mail/v", 4241, 4243), 0);
    assert_int_equal(chmod("gatepost", 0700), 0);
    start(fixture, "virtual", "virtual", main_cf);
    make_message(fixture, "u@v.test none@v.test box@v.test", CONTENT);
    assert_delivery(fixture, "v.test", false,
                    "0 sent 2.0.0 plain delivered to maildir\n"
                    "1 bounced 5.1.1 plain unknown user: \"none@v.test\"\n"
                    "2 deferred 4.3.5 plain mail system configuration error");
    g_autofree char *path = only_file("mail/v/u/new");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, 4241);
    assert_int_equal(status.st_gid, 4243);
    assert_recorded(fixture, 0, RESULT_SENT);
    assert_logged("postfix/virtual[");
    assert_delivery(fixture, "v.test", true,
                    "0 sent 2.0.0 plain delivered to maildir\n"
                    "1 bounced 5.1.1 plain unknown user: \"none@v.test\"\n"
                    "2 deferred 4.3.5 plain mail system configuration error");
    g_free(only_file("mail/v/u/new"));
    stop(fixture);
    /* Nobody has the message any more but this test. */
    g_autofree char *id = g_strdup(spool_message_id(fixture->message));
    g_clear_pointer(&fixture->message, spool_message_free);
    fixture->message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
    assert_non_null(fixture->message);
}

/* ---- smtp ---- */

/* A server that follows a script: what it wants to read (a beginning), and what it says then. In front, its greeting.
 * After "DATA" answered with a 3xx it reads to the final dot, checks what it got, and answers with the next step's
 * reply ("." is what that one wants). */
typedef struct {
    const char *wanted;
    const char *reply; /* NULL: hangs up; "": says nothing */
} Step;

typedef struct {
    int listener;
    const Step *steps;
    const char *content; /* as on the wire; NULL: any */
    char *problem;
    pthread_t thread;
} Server;

static char *read_line(FILE *stream)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len = getline(&line, &size, stream);

    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        line[--len] = '\0';
    char *copy = len < 0 ? NULL : g_strdup(line);
    free(line);
    return copy;
}

static void read_content(Server *server, FILE *stream)
{
    g_autoptr(GString) got = g_string_new(NULL);
    char *line = NULL;
    size_t size = 0;

    while (getline(&line, &size, stream) > 0 && strcmp(line, ".\r\n") != 0)
        g_string_append(got, line);
    free(line);
    if (server->content && strcmp(got->str, server->content) != 0 && !server->problem)
        server->problem = g_strdup_printf("content: %s", got->str);
}

static void serve_script(Server *server, FILE *in, int fd)
{
    for (const Step *step = server->steps; step->wanted; step++) {
        g_autofree char *line = NULL;
        if (strcmp(step->wanted, ".") == 0) {
            read_content(server, in);
        } else if (strcmp(step->wanted, "EOF") == 0) {
            line = read_line(in);
            server->problem = line ? g_strdup_printf("wanted the end, got %s", line) : NULL;
            return;
        } else if (step->wanted[0]) {
            line = read_line(in);
            g_autofree char *whole = line ? g_strconcat(line, "$", NULL) : NULL; /* a wanted line may end in '$' */
            if (!line || !g_str_has_prefix(whole, step->wanted)) {
                server->problem = g_strdup_printf("wanted %s, got %s", step->wanted, line ? line : "nothing");
                return;
            }
        }
        if (!step->reply)
            return;
        g_autofree char *wire = g_strconcat(step->reply, step->reply[0] ? "\r\n" : "", NULL);
        if (!fd_write_all(fd, wire, strlen(wire)))
            return;
    }
}

static void *run_server(void *data)
{
    Server *server = data;
    struct pollfd wait = {.fd = server->listener, .events = POLLIN};

    if (poll(&wait, 1, DEADLINE_MS) != 1)
        return NULL;
    int fd = accept(server->listener, NULL, NULL);
    FILE *in = fdopen(dup(fd), "r");
    serve_script(server, in, fd);
    fclose(in);
    shutdown(fd, SHUT_WR);
    char rest[1000];
    while (read(fd, rest, sizeof rest) > 0) /* else what is unread would be answered with a reset */
        ;
    close(fd);
    return NULL;
}

/* Listens on 127.0.0.1; *ret_nexthop: where. */
static void start_server(Server *server, const Step *steps, const char *content, char **ret_nexthop)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    *server = (Server){.steps = steps, .content = content};
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 5), 0);
    getsockname(server->listener, (struct sockaddr *)&address, &len);
    *ret_nexthop = g_strdup_printf("[127.0.0.1]:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static void finish_server(Server *server)
{
    pthread_join(server->thread, NULL);
    close(server->listener);
    if (server->problem)
        fail_msg("%s", server->problem);
}

typedef struct {
    const char *name;
    const char *main_cf;
    const Step *steps;
    const char *content;
    const char *recipients;
    const char *wanted;
    Probe probe;
} Script;

#define HOST "127.0.0.1[127.0.0.1]"
#define STEPS (const Step[])
#define GREETING                                                                                                       \
    {                                                                                                                  \
        "", "220 mx.peer.test ESMTP"                                                                                   \
    }
#define EHLO                                                                                                           \
    {                                                                                                                  \
        "EHLO mx.gate.test", "250 mx.peer.test"                                                                        \
    }
#define MAIL                                                                                                           \
    {                                                                                                                  \
        "MAIL FROM:<s@x.test>", "250 2.1.0 Ok"                                                                         \
    }
#define RCPT                                                                                                           \
    {                                                                                                                  \
        "RCPT TO:<a@y.test>", "250 2.1.5 Ok"                                                                           \
    }
#define DATA                                                                                                           \
    {                                                                                                                  \
        "DATA", "354 go"                                                                                               \
    }
#define RSET                                                                                                           \
    {                                                                                                                  \
        "RSET", "250 Ok"                                                                                               \
    }

static const Script scripts[] = {
    {"plain", "", STEPS{GREETING, EHLO, MAIL, RCPT, DATA, {".", "250 2.0.0 Ok: queued as X"}, {"QUIT", "221 bye"}, {0}},
     "Subject: x\r\n\r\n..body\r\nlast\r\n", "a@y.test", "0 sent 2.0.0 plain 250 2.0.0 Ok: queued as X"},
    {"EHLO refused", "",
     STEPS{GREETING,
           {"EHLO", "500 what"},
           {"HELO mx.gate.test", "250 hi"},
           MAIL,
           RCPT,
           DATA,
           {".", "250 ok"},
           {"QUIT", "221"},
           {0}},
     NULL, "a@y.test", "0 sent 2.0.0 plain 250 ok"},
    {"HELO refused", "", STEPS{GREETING, {"EHLO", "502 what"}, {"HELO", "550 5.7.0 not you"}, {"QUIT", "221"}, {0}},
     NULL, "a@y.test", "0 bounced 5.7.0 site host " HOST " refused to talk to me: 550 5.7.0 not you"},
    {"SIZE without a number", "",
     STEPS{GREETING,
           {"EHLO", "250-hi\r\n250 SIZE"},
           {"MAIL FROM:<s@x.test>$", "250 ok"},
           RCPT,
           DATA,
           {".", "250 ok"},
           {"QUIT", "221"},
           {0}},
     NULL, "a@y.test", "0 sent 2.0.0 plain 250 ok"},
    {"greeting 5xx", "", STEPS{{"", "554 5.7.1 go away"}, {"QUIT", "221"}, {0}}, NULL, "a@y.test",
     "0 deferred 4.7.1 site host " HOST " refused to talk to me: 554 5.7.1 go away"},
    {"greeting 5xx for good", "smtp_skip_5xx_greeting = no\n", STEPS{{"", "554 go away"}, {"QUIT", "221"}, {0}}, NULL,
     "a@y.test", "0 bounced 5.0.0 site host " HOST " refused to talk to me: 554 go away"},
    {"probe", "", STEPS{GREETING, EHLO, MAIL, RCPT, RSET, {"QUIT", "221"}, {0}}, NULL, "a@y.test",
     "0 sent 2.1.5 plain 250 2.1.5 Ok", PROBE_ANY},
    {"probe with commands in advance", "",
     STEPS{GREETING, {"EHLO", "250-hi\r\n250 PIPELINING"}, MAIL, RCPT, RSET, {"QUIT", "221"}, {0}}, NULL, "a@y.test",
     "0 sent 2.1.5 plain 250 2.1.5 Ok", PROBE_ANY},
    {"probe refused", "",
     STEPS{GREETING, EHLO, MAIL, {"RCPT", "550-5.1.1 no\r\n550 5.1.1 such user"}, RSET, {"QUIT", "221"}, {0}}, NULL,
     "a@y.test",
     "0 bounced 5.1.1 plain host " HOST " said: 550-5.1.1 no 550 5.1.1 such user (in reply to RCPT TO command)",
     PROBE_ANY},
    {"probe deferred", "", STEPS{GREETING, EHLO, MAIL, {"RCPT", "451 4.2.0 later"}, RSET, {"QUIT", "221"}, {0}}, NULL,
     "a@y.test", "0 deferred 4.2.0 plain host " HOST " said: 451 4.2.0 later (in reply to RCPT TO command)", PROBE_GOOD},
    {"probe's sender refused", "",
     STEPS{GREETING,
           {"EHLO", "250-hi\r\n250 PIPELINING"},
           {"MAIL", "550 5.1.8 no"},
           {"RCPT", "503 what"},
           RSET,
           {"QUIT", "221"},
           {0}},
     NULL, "a@y.test", "0 bounced 5.1.8 plain host " HOST " said: 550 5.1.8 no (in reply to MAIL FROM command)",
     PROBE_ANY},
    {"probe up to DATA", "smtp_address_verify_target = data\n",
     STEPS{GREETING, EHLO, MAIL, RCPT, {"DATA", "354 go"}, {"EOF", NULL}, {0}}, NULL, "a@y.test",
     "0 sent 2.0.0 plain 354 go", PROBE_ANY},
    {"probe refused at DATA", "smtp_address_verify_target = data\n",
     STEPS{GREETING, EHLO, MAIL, RCPT, {"DATA", "550 5.1.1 nobody"}, RSET, {"QUIT", "221"}, {0}}, NULL, "a@y.test",
     "0 bounced 5.1.1 plain host " HOST " said: 550 5.1.1 nobody (in reply to DATA command)", PROBE_ANY},
    {"recipients differ", "",
     STEPS{GREETING,
           EHLO,
           MAIL,
           {"RCPT TO:<a@y.test>", "550 5.1.1 <a@y.test>: unknown"},
           {"RCPT TO:<b@y.test>", "250 ok"},
           {"RCPT TO:<c@y.test>", "450 later"},
           DATA,
           {".", "250 2.0.0 ok"},
           {"QUIT", "221"},
           {0}},
     NULL, "a@y.test b@y.test c@y.test",
     "0 bounced 5.1.1 plain host " HOST " said: 550 5.1.1 <a@y.test>: unknown (in reply to RCPT TO command)\n"
     "1 sent 2.0.0 plain 250 2.0.0 ok\n"
     "2 deferred 4.0.0 plain host " HOST " said: 450 later (in reply to RCPT TO command)"},
    {"no recipient", "",
     STEPS{GREETING, EHLO, MAIL, {"RCPT TO:<a@y.test>", "550 5.7.0 no"}, RSET, {"QUIT", "221"}, {0}}, NULL, "a@y.test",
     "0 bounced 5.7.0 plain host " HOST " said: 550 5.7.0 no (in reply to RCPT TO command)"},
    {"MAIL refused", "", STEPS{GREETING, EHLO, {"MAIL", "550-5.7.1 not\r\n550 5.7.1 you"}, RSET, {"QUIT", "221"}, {0}},
     NULL, "a@y.test",
     "0 bounced 5.7.1 plain host " HOST " said: 550-5.7.1 not 550 5.7.1 you (in reply to MAIL FROM command)"},
    {"DATA refused", "", STEPS{GREETING, EHLO, MAIL, RCPT, {"DATA", "451 4.3.0 later"}, RSET, {"QUIT", "221"}, {0}},
     NULL, "a@y.test", "0 deferred 4.3.0 plain host " HOST " said: 451 4.3.0 later (in reply to DATA command)"},
    {"DATA misunderstood", "",
     STEPS{GREETING, EHLO, MAIL, RCPT, {"DATA", "250 2.0.0 what"}, RSET, {"QUIT", "221"}, {0}}, NULL, "a@y.test",
     "0 bounced 5.5.0 plain Protocol error: host " HOST " said: 250 2.0.0 what (in reply to DATA command)"},
    {"lost at DATA", "", STEPS{GREETING, EHLO, MAIL, RCPT, {"DATA", NULL}, {0}}, NULL, "a@y.test",
     "0 deferred 4.4.2 site lost connection with " HOST " while sending DATA command"},
    {"an intermediate reply is none", "",
     STEPS{GREETING, EHLO, MAIL, RCPT, DATA, {".", "354 go on"}, {"QUIT", "221"}, {0}}, NULL, "a@y.test",
     "0 bounced 5.5.0 plain host " HOST " said: 354 go on (in reply to end of DATA command)"},
    {"content refused", "", STEPS{GREETING, EHLO, MAIL, RCPT, DATA, {".", "554 5.6.0 no"}, {"QUIT", "221"}, {0}}, NULL,
     "a@y.test", "0 bounced 5.6.0 plain host " HOST " said: 554 5.6.0 no (in reply to end of DATA command)"},
    {"lost after the dot", "", STEPS{GREETING, EHLO, MAIL, RCPT, DATA, {".", NULL}, {0}}, NULL, "a@y.test",
     "0 deferred 4.4.2 site lost connection with " HOST
     " while sending end of data -- message may be sent more than once"},
    {"silent after the dot", "smtp_data_done_timeout = 1s\n",
     STEPS{GREETING, EHLO, MAIL, RCPT, DATA, {".", ""}, {"EOF", ""}, {0}}, NULL, "a@y.test",
     "0 deferred 4.4.2 site conversation with " HOST
     " timed out while sending end of data -- message may be sent more than once"},
    {"lost at RCPT", "", STEPS{GREETING, EHLO, MAIL, {"RCPT", NULL}, {0}}, NULL, "a@y.test",
     "0 deferred 4.4.2 site lost connection with " HOST " while sending RCPT TO"},
    {"lost at greeting", "", STEPS{{"", NULL}, {0}}, NULL, "a@y.test",
     "0 deferred 4.4.2 site lost connection with " HOST " while receiving the initial server greeting"},
    {"silent greeting", "smtp_helo_timeout = 1s\n", STEPS{{"EOF", ""}, {0}}, NULL, "a@y.test",
     "0 deferred 4.4.2 site conversation with " HOST " timed out while receiving the initial server greeting"},
    {"too large for it", "", STEPS{GREETING, {"EHLO", "250-x\r\n250 SIZE 20"}, {"QUIT", "221"}, {0}}, NULL, "a@y.test",
     "0 bounced 5.3.4 plain message size 23 exceeds size limit 20 of server " HOST},
    {"keyword discarded, QUIT answered", "smtp_discard_ehlo_keywords = size\nsmtp_skip_quit_response = no\n",
     STEPS{GREETING,
           {"EHLO", "250-x\r\n250 SIZE 20"},
           {"MAIL FROM:<s@x.test>", "250 ok"},
           RCPT,
           DATA,
           {".", "250 ok"},
           {"QUIT", "221"},
           {0}},
     NULL, "a@y.test", "0 sent 2.0.0 plain 250 ok"},
    {"long lines", "smtp_line_length_limit = 5\n",
     STEPS{GREETING, EHLO, MAIL, RCPT, DATA, {".", "250 ok"}, {"QUIT", "221"}, {0}},
     "Subje\r\n ct: \r\n x\r\n\r\n..body\r\nlast\r\n", "a@y.test", "0 sent 2.0.0 plain 250 ok"},
    {"pipelined MAIL refused", "",
     STEPS{GREETING,
           {"EHLO", "250-x\r\n250 PIPELINING"},
           {"MAIL", "450 4.7.1 not now"},
           {"RCPT", "503 no"},
           {"DATA", "503 no"},
           RSET,
           {"QUIT", "221"},
           {0}},
     NULL, "a@y.test", "0 deferred 4.7.1 plain host " HOST " said: 450 4.7.1 not now (in reply to MAIL FROM command)"},
    {"pipelined RCPT refused", "",
     STEPS{GREETING,
           {"EHLO", "250-x\r\n250 PIPELINING"},
           MAIL,
           {"RCPT", "550 5.1.1 no"},
           {"DATA", "354 go"},
           {".", "554 5.5.1 nobody"},
           {"QUIT", "221"},
           {0}},
     "", "a@y.test", "0 bounced 5.1.1 plain host " HOST " said: 550 5.1.1 no (in reply to RCPT TO command)"},
    {"pipelined DATA", "",
     STEPS{GREETING,
           {"EHLO", "250-x\r\n250 PIPELINING"},
           {"MAIL", ""}, /* no answer before all has come */
           {"RCPT TO:<a@y.test>", ""},
           {"RCPT TO:<b@y.test>", ""},
           {"DATA", "250 ok\r\n450 4.2.2 full\r\n250 ok\r\n354 go"},
           {".", "250 2.0.0 taken"},
           {"QUIT", "221"},
           {0}},
     "Subject: x\r\n\r\n..body\r\nlast\r\n", "a@y.test b@y.test",
     "0 deferred 4.2.2 plain host " HOST " said: 450 4.2.2 full (in reply to RCPT TO command)\n"
     "1 sent 2.0.0 plain 250 2.0.0 taken"},
};

static void smtp_follows_the_script(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(scripts); i++) {
        const Script *script = &scripts[i];
        void *fresh;
        Server server;
        g_autofree char *nexthop = NULL;
        print_message("    %s\n", script->name);
        assert_int_equal(set_up(&fresh), 0);
        Fixture *fixture = fresh;
        start(fixture, "smtp", "smtp", script->main_cf);
        make_message_as(fixture, script->probe, script->recipients, script->probe == PROBE_NONE ? CONTENT : "");
        start_server(&server, script->steps, script->content, &nexthop);
        assert_delivery(fixture, nexthop, false, script->wanted);
        finish_server(&server);
        stop(fixture);
        tear_down(&fresh);
    }
}

static void smtp_sends_what_was_offered(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Envelope) envelope = envelope_new();
    static const Step steps[] = {
        {"", "220 mx.peer.test ESMTP"},
        {"EHLO mx.gate.test", "250-mx.peer.test\r\n250-SIZE 0\r\n250-PIPELINING\r\n250-DSN\r\n250-XFORWARD NAME ADDR "
                              "HELO IDENT\r\n250 8BITMIME"},
        {"XFORWARD NAME=client.test ADDR=192.0.2.7 HELO=[UNAVAILABLE] IDENT=", "250 2.0.0 Ok"},
        {"MAIL FROM:<s@x.test> SIZE=23 BODY=8BITMIME ENVID=E+2B RET=HDRS", ""},
        {"RCPT TO:<\"b c\"@y.test> ORCPT=rfc822;alias@y.test NOTIFY=SUCCESS,FAILURE", "250 2.1.0 Ok\r\n250 2.1.5 Ok"},
        {"DATA", "354 go"},
        {".", "250-2.6.0 two\r\n250 2.6.0 lines"},
        {"QUIT", "221"},
        {0}};
    Server server;
    g_autofree char *nexthop = NULL;

    start(fixture, "smtp", "relay", "smtp_send_xforward_command = yes\n");
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    g_autofree char *id = g_strdup(spool_writer_id(writer));
    envelope->sender = g_strdup("s@x.test");
    envelope->arrival_us = clock_wall_us();
    envelope->body = BODY_8BITMIME;
    envelope->ret = DSN_RET_HDRS;
    envelope->envid = g_strdup("E+2B");
    g_free(envelope->origin.name);
    g_free(envelope->origin.addr);
    envelope->origin.name = g_strdup("client.test");
    envelope->origin.addr = g_strdup("192.0.2.7");
    Recipient *recipient = envelope_add(envelope, "b c@y.test");
    g_free(recipient->original);
    recipient->original = g_strdup("alias@y.test");
    recipient->notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE;
    spool_write(writer, CONTENT, strlen(CONTENT));
    assert_true(spool_commit(writer, envelope, false, NULL));
    fixture->message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
    start_server(&server, steps, NULL, &nexthop);
    assert_delivery(fixture, nexthop, false, "0 sent 2.6.0 plain 250-2.6.0 two 250 2.6.0 lines");
    finish_server(&server);
    assert_recorded(fixture, 0, RESULT_SENT);
    assert_logged("to=<\"b c\"@y.test>, orig_to=<alias@y.test>, relay=127.0.0.1[127.0.0.1]:");
    stop(fixture);
}

static void smtp_says_why_it_cannot_connect(void **state)
{
    Fixture *fixture = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    auto_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0); /* nobody listens */
    getsockname(fd, (struct sockaddr *)&address, &len);
    g_autofree char *nexthop = g_strdup_printf("[127.0.0.1]:%u", ntohs(address.sin_port));
    g_autofree char *wanted = g_strdup_printf(
        "0 deferred 4.4.1 site connect to 127.0.0.1[127.0.0.1]:%u: Connection refused", ntohs(address.sin_port));
    start(fixture, "smtp", "smtp", "inet_protocols = ipv4\n");
    make_message(fixture, "a@y.test", CONTENT);
    assert_delivery(fixture, nexthop, false, wanted);
    assert_logged("relay=none, ");
    g_autofree char *bad = deliver(fixture, "[127.0.0.1]:nowhere", false);
    assert_true(g_str_has_prefix(bad, "0 deferred 4.3.5 site bad next hop: "));
    g_autofree char *other_family = deliver(fixture, "[::1]:25", false);
    assert_true(g_str_has_prefix(other_family, "0 bounced 5.4.4 plain Host or domain name not found. "));
    stop(fixture);
}

/* One that hangs up before anything was decided: the next address is tried, and the log has both reasons. */
static void smtp_tries_the_next_address(void **state)
{
    Fixture *fixture = *state;
    static const Step steps[] = {GREETING, EHLO, MAIL, {"RCPT TO:<a@y.test>", NULL}, {0}};
    Server server;
    g_autofree char *nexthop = NULL;

    start(fixture, "smtp", "smtp", "smtp_randomize_addresses = no\n");
    make_message(fixture, "a@y.test", CONTENT);
    start_server(&server, steps, NULL, &nexthop);
    g_autofree char *by_name = g_strconcat("localhost", strrchr(nexthop, ':'), NULL);
    g_autofree char *got = deliver(fixture, by_name, false);
    assert_true(g_str_has_prefix(got, "0 deferred 4.4.1 site connect to localhost[::1]:"));
    assert_logged(": lost connection with localhost[127.0.0.1] while sending RCPT TO\n");
    finish_server(&server);
    stop(fixture);
}

/* One recipient is refused for now: the next address may take it, and the others are not sent to that one again. */
static void smtp_leaves_a_refused_recipient_to_the_next_address(void **state)
{
    Fixture *fixture = *state;
    static const Step steps[] = {GREETING,
                                 EHLO,
                                 MAIL,
                                 {"RCPT TO:<a@y.test>", "450 4.2.1 later"},
                                 {"RCPT TO:<b@y.test>", "250 ok"},
                                 DATA,
                                 {".", "250 2.0.0 ok"},
                                 {"QUIT", "221"},
                                 {0}};
    Server server;
    g_autofree char *nexthop = NULL;

    start(fixture, "smtp", "smtp", "smtp_randomize_addresses = no\n");
    make_message(fixture, "a@y.test b@y.test", CONTENT);
    start_server(&server, steps, NULL, &nexthop);
    g_autofree char *by_name = g_strconcat("localhost", strrchr(nexthop, ':'), NULL);
    g_autofree char *got = deliver(fixture, by_name, false);
    assert_non_null(strstr(got, "1 sent 2.0.0 plain 250 2.0.0 ok"));
    assert_non_null(strstr(got, "0 deferred 4.4.1 site connect to localhost[::1]:"));
    assert_logged(": host localhost[127.0.0.1] said: 450 4.2.1 later (in reply to RCPT TO command)\n");
    finish_server(&server);
    stop(fixture);
}

static void smtp_does_not_end_a_damaged_message(void **state)
{
    Fixture *fixture = *state;
    static const Step steps[] = {GREETING, EHLO, MAIL, RCPT, DATA, {".", "250 ok"}, {0}};
    Server server;
    g_autofree char *nexthop = NULL;

    start(fixture, "smtp", "smtp", "");
    make_message(fixture, "a@y.test", CONTENT);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", spool_message_fd(fixture->message));
    auto_fd fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, FIRST_LINE_LEN + 3), 1);
    start_server(&server, steps, "nothing that ends with a dot", &nexthop);
    assert_delivery(fixture, nexthop, false, "0 deferred 4.3.0 corrupt its content does not match its checksum");
    pthread_join(server.thread, NULL);
    close(server.listener);
    g_free(server.problem); /* it saw the connection's end instead of a dot */
    stop(fixture);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest as_root[] = {
        TEST(virtual_as_root_delivers_as_the_user),
    };
    const struct CMUnitTest tests[] = {
        TEST(discard_says_sent),
        TEST(error_says_bounced),
        TEST(retry_says_deferred),
        TEST(simple_agents_answer_probes),
        TEST(virtual_answers_probes),
        TEST(virtual_delivers_to_maildirs),
        TEST(virtual_without_root_delivers_to_its_own_user_only),
        TEST(virtual_says_why_it_cannot),
        TEST(virtual_does_not_deliver_damaged_mail),
        cmocka_unit_test(smtp_follows_the_script),
        TEST(smtp_sends_what_was_offered),
        TEST(smtp_says_why_it_cannot_connect),
        TEST(smtp_tries_the_next_address),
        TEST(smtp_leaves_a_refused_recipient_to_the_next_address),
        TEST(smtp_does_not_end_a_damaged_message),
    };
    signal(SIGPIPE, SIG_IGN); /* as in every service process */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = SERVICE_FD_CONTROL; fd < SERVICE_FD_LISTENERS; fd++) /* whose numbers are fixed in a service */
        if (null < 0 || dup2(null, fd) < 0)
            return 1;
    int failed = cmocka_run_group_tests(as_root, NULL, NULL);
    const struct passwd *nobody = getuid() == 0 ? getpwnam("nobody") : NULL;
    if (nobody && (setgid(nobody->pw_gid) < 0 || setuid(nobody->pw_uid) < 0))
        return 1;
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
