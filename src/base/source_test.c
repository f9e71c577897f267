/* Both halves: this process answers, as the master does, and asks from a child process, as a service does. */
#include "base/fd.h"
#include "base/log.h"
#include "base/source_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

static char *directory;

static char *path_of(const char *name)
{
    return g_build_filename(directory, name, NULL);
}

static void write_file(const char *name, const char *text)
{
    g_autofree char *path = path_of(name);

    assert_true(g_file_set_contents(path, text, -1, NULL));
}

static int make_directory(void **state)
{
    directory = g_dir_make_tmp("source.XXXXXX", NULL);
    return directory ? 0 : -1;
}

static int remove_directory(void **state)
{
    g_autofree char *command = g_strdup_printf("rm -r %s", directory);

    int status = system(command);
    g_free(directory);
    return status;
}

/* ---- A service that behaves ---- */

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            g_printerr("line %d: %s (%s)\n", __LINE__, #what, strerror(errno));                                        \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static bool opens(const char *name, const char *wanted)
{
    g_autofree char *path = path_of(name);
    char text[64] = "";
    auto_fd fd = source_open(path);

    return fd >= 0 && read(fd, text, sizeof text - 1) >= 0 && strcmp(text, wanted) == 0;
}

static bool has_size(const char *name, off_t size)
{
    g_autofree char *path = path_of(name);
    struct stat status;

    return source_stat(path, &status) && status.st_size == size;
}

static bool fails(const char *path, int failure)
{
    struct stat status;

    errno = 0;
    bool looked = source_stat(path, &status);
    int first = errno;
    errno = 0;
    return !looked && first == failure && source_open(path) < 0 && errno == failure;
}

/* What is not in the list is not in it, also when it stands in the way of a name that is. */
static void behave(int socket, int go)
{
    g_autofree char *other = path_of("other"), *fifo = path_of("fifo"), *device = path_of("device");
    g_autofree char *missing = path_of("missing");
    char letter;

    source_connect(socket);
    CHECK(opens("table", "one\n") && has_size("table", 4));
    CHECK(!opens("later", "") && errno == ENOENT);
    CHECK(fails(missing, ENOENT));
    CHECK(has_size("fifo", 0) && has_size("device", 0));
    source_seal();
    CHECK(source_is_sealed());
    CHECK(write(go, "", 1) == 1 && read(go, &letter, 1) == 1); /* files are others now, and we may not open them */
    CHECK(geteuid() != 0 || (chroot(directory) == 0 && chdir("/") == 0 && setresuid(65534, 65534, 65534) == 0));
    CHECK(opens("table", "second\n") && has_size("table", 7));
    CHECK(opens("later", "it came\n"));
    CHECK(fails(missing, ENOENT));
    CHECK(fails(other, EPERM) && fails("/etc/shadow", EPERM) && fails("", EPERM));
    CHECK(source_open(fifo) < 0 && errno == EINVAL);
    CHECK(source_open(device) < 0 && errno == EINVAL);
    _exit(0);
}

static SourceServer *start(void (*run)(int socket, int go), pid_t *ret_pid, int *ret_go)
{
    int ends[2], go[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go), 0);
    *ret_pid = fork();
    if (*ret_pid == 0) {
        close(ends[0]);
        close(go[0]);
        run(ends[1], go[1]);
        _exit(2);
    }
    close(ends[1]);
    close(go[1]);
    *ret_go = go[0];
    return source_server_new(ends[0], "smtp");
}

/* Answers until the process ends, or the line is closed. */
static void serve(SourceServer *server)
{
    while (source_server_descriptor(server) >= 0) {
        struct pollfd input = {.fd = source_server_descriptor(server), .events = POLLIN};
        assert_int_equal(poll(&input, 1, PATIENCE_MS), 1);
        source_server_serve(server);
    }
}

static void assert_ends_well(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void tables_are_had_by_who_may_not_open_them(void **state)
{
    g_autofree char *fifo = path_of("fifo"), *device = path_of("device"), *table = path_of("table");
    pid_t pid;
    int go;
    char letter;

    write_file("table", "one\n");
    write_file("other", "not yours\n");
    write_file("fifo", "");
    write_file("device", "");
    SourceServer *server = start(behave, &pid, &go);
    struct pollfd input[] = {{.fd = source_server_descriptor(server), .events = POLLIN}, {.fd = go, .events = POLLIN}};
    while (poll(input, 2, PATIENCE_MS) > 0 && !input[1].revents)
        source_server_serve(server);
    assert_int_equal(read(go, &letter, 1), 1);
    write_file("table", "second\n");
    assert_int_equal(chmod(table, 0600), 0);
    write_file("later", "it came\n");
    unlink(fifo);
    unlink(device);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink("/dev/null", device), 0);
    assert_int_equal(write(go, "", 1), 1);
    serve(server);
    source_server_free(server);
    close(go);
    assert_ends_well(pid);
}

static bool is_handed_out(const char *name)
{
    g_autofree char *path = path_of(name);
    struct stat status;
    auto_fd fd = source_open_for_others(path, &status);
    struct stat seen;
    bool is_seen = source_stat_for_others(path, &seen);

    assert_true(fd < 0 || (is_seen && seen.st_ino == status.st_ino));
    assert_true(fd >= 0 || !is_seen || S_ISDIR(seen.st_mode)); /* nor is anything told of what is not given */
    return fd >= 0;
}

/* In a directory of another user's no name leads to what is not his. */
static void others_names_lead_to_their_own_files_alone(void **state)
{
    static const uid_t other = 12345;
    g_autofree char *theirs = path_of("theirs"), *below = path_of("theirs/below"), *secret = path_of("secret");
    g_autofree char *link_to_secret = path_of("theirs/link"), *hard = path_of("theirs/hard"),
                    *roots_link = path_of("link");
    g_autofree char *own = path_of("theirs/own"), *away = path_of("theirs/away");

    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir(theirs, 0755) | mkdir(below, 0755), 0);
    write_file("secret", "x");
    write_file("theirs/own", "x");
    write_file("theirs/public", "x");
    write_file("theirs/below/own", "x");
    assert_int_equal(chmod(secret, 0600), 0);
    assert_int_equal(chmod(own, 0600), 0);
    assert_int_equal(symlink(secret, link_to_secret) | symlink(directory, away) | link(secret, hard), 0);
    assert_int_equal(symlink(secret, roots_link), 0);
    assert_int_equal(chown(theirs, other, 0) | chown(below, other, 0) | chown(own, other, 0), 0);
    assert_true(is_handed_out("secret"));
    assert_true(is_handed_out("link"));
    assert_true(is_handed_out("theirs/own"));
    assert_true(is_handed_out("theirs/public"));
    assert_true(is_handed_out("theirs/below/own"));
    assert_false(is_handed_out("theirs/link"));
    assert_false(is_handed_out("theirs/hard"));
    assert_false(is_handed_out("theirs/away/secret"));
    assert_false(is_handed_out("theirs"));
    assert_false(is_handed_out("theirs/absent"));
}

/* ---- Services that do not ---- */

static SourceServer *make_server(int *ret_client)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    fd_set_nonblock(ends[1], true);
    *ret_client = ends[1];
    return source_server_new(ends[0], "smtp");
}

static size_t make_request(SourceRequest *request, SourceWhat what, guint32 number, const char *path)
{
    memset(request, 0, sizeof *request);
    request->what = what;
    request->number = number;
    if (path)
        g_strlcpy(request->path, path, sizeof request->path);
    return offsetof(SourceRequest, path) + (path ? strlen(path) + 1 : 0);
}

static bool survives(bool sealed, const void *data, size_t len, int fd)
{
    SourceRequest request;
    int client;
    SourceServer *server = make_server(&client);
    size_t own_len = make_request(&request, SOURCE_ADD, 0, "/etc/hostname");

    assert_true(fd_send(client, &request, own_len, NULL, 0));
    own_len = make_request(&request, SOURCE_SEAL, 0, NULL);
    assert_true(!sealed || fd_send(client, &request, own_len, NULL, 0));
    assert_true(fd_send(client, data, len, &fd, fd >= 0 ? 1 : 0));
    source_server_serve(server);
    bool lives = source_server_descriptor(server) >= 0;
    source_server_free(server);
    close(client);
    return lives;
}

static void who_asks_for_more_than_its_own_loses_the_line(void **state)
{
    SourceRequest request;
    size_t head = offsetof(SourceRequest, path), len;

    log_to_stderr();
    len = make_request(&request, SOURCE_STAT, 0, NULL);
    assert_true(survives(true, &request, len, -1));
    assert_false(survives(false, &request, len, -1)); /* before the list is whole */
    assert_false(survives(true, &request, len - 1, -1));
    assert_false(survives(true, &request, len + 1, -1));
    assert_false(survives(true, &request, len, STDIN_FILENO));
    make_request(&request, SOURCE_OPEN, 1, NULL);
    assert_false(survives(true, &request, len, -1));
    make_request(&request, SOURCE_OPEN, G_MAXUINT32, NULL);
    assert_false(survives(true, &request, len, -1));
    len = make_request(&request, SOURCE_ADD, 0, "/etc/shadow");
    assert_false(survives(true, &request, len, -1)); /* after it */
    assert_true(survives(false, &request, len, -1));
    assert_false(survives(false, &request, len - 1, -1)); /* no NUL */
    assert_false(survives(false, &request, len + 1, -1)); /* two */
    assert_false(survives(false, &request, head, -1));
    len = make_request(&request, SOURCE_OPEN, 0, "/etc/shadow");
    assert_false(survives(true, &request, len, -1));
    make_request(&request, 0, 0, NULL);
    assert_false(survives(true, &request, head, -1));
    make_request(&request, 99, 0, NULL);
    assert_false(survives(true, &request, head, -1));
    g_autofree char *long_message = g_malloc0(sizeof request + 1);
    assert_false(survives(true, long_message, sizeof request + 1, -1));
}

static void lists_have_an_end(void **state)
{
    SourceRequest request;
    int client;
    SourceServer *server = make_server(&client);
    size_t len = make_request(&request, SOURCE_ADD, 0, "/x");

    for (int i = 0; i < SOURCE_PATHS_MAX; i++) {
        assert_true(fd_send(client, &request, len, NULL, 0));
        source_server_serve(server);
    }
    assert_true(source_server_descriptor(server) >= 0);
    assert_true(fd_send(client, &request, len, NULL, 0));
    source_server_serve(server);
    assert_int_equal(source_server_descriptor(server), -1);
    source_server_free(server);
    close(client);
}

/* Asks until the line is closed; returns how many answers came. */
static int flood(bool takes_answers)
{
    SourceRequest request;
    SourceReply reply;
    int client, answers = 0;
    SourceServer *server = make_server(&client);
    size_t len = make_request(&request, SOURCE_ADD, 0, "/etc/hostname");

    fd_send(client, &request, len, NULL, 0);
    len = make_request(&request, SOURCE_SEAL, 0, NULL);
    fd_send(client, &request, len, NULL, 0);
    len = make_request(&request, SOURCE_STAT, 0, NULL);
    for (int i = 0; i < 1000000 && source_server_descriptor(server) >= 0; i++) {
        fd_send(client, &request, len, NULL, 0);
        source_server_serve(server);
        while (takes_answers && recv(client, &reply, sizeof reply, 0) == sizeof reply)
            answers++;
    }
    assert_int_equal(source_server_descriptor(server), -1);
    source_server_free(server);
    close(client);
    return answers;
}

static void the_master_has_other_things_to_do(void **state)
{
    log_to_stderr();
    assert_in_range(flood(true), 200, 250);
    flood(false);
}

/* ---- Masters that do not answer ---- */

static void ask_in_vain(int socket, int go)
{
    g_autofree char *table = path_of("table");

    source_connect(socket);
    CHECK(has_size("table", 4));
    source_seal();
    CHECK(fails(table, ETIMEDOUT)); /* the first waits; the second does not */
    _exit(0);
}

static void ask_nobody(int socket, int go)
{
    g_autofree char *table = path_of("table");
    char letter;

    source_connect(socket);
    CHECK(has_size("table", 4));
    source_seal();
    CHECK(read(go, &letter, 1) == 0);
    CHECK(!has_size("table", 4));
    CHECK(fails(table, ETIMEDOUT));
    CHECK(opens("table", "one\n") == false);
    _exit(0);
}

static void a_master_that_is_slow_or_gone_is_not_waited_for(void **state)
{
    pid_t pid;
    int go;

    write_file("table", "one\n");
    SourceServer *server = start(ask_in_vain, &pid, &go);
    assert_ends_well(pid);
    close(go);
    source_server_free(server);

    server = start(ask_nobody, &pid, &go);
    struct pollfd input = {.fd = source_server_descriptor(server), .events = POLLIN};
    assert_int_equal(poll(&input, 1, PATIENCE_MS), 1); /* it told us */
    source_server_free(server);
    close(go);
    assert_ends_well(pid);
}

static void one_looks_at_a_time(void **state)
{
    assert_true(source_begin_look());
    assert_false(source_begin_look());
    source_end_look();
    assert_true(source_begin_look());
    source_end_look();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_had_by_who_may_not_open_them),
        cmocka_unit_test(others_names_lead_to_their_own_files_alone),
        cmocka_unit_test(who_asks_for_more_than_its_own_loses_the_line),
        cmocka_unit_test(lists_have_an_end),
        cmocka_unit_test(the_master_has_other_things_to_do),
        cmocka_unit_test(a_master_that_is_slow_or_gone_is_not_waited_for),
        cmocka_unit_test(one_looks_at_a_time),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
