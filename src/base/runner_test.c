#include "base/clock.h"
#include "base/fd.h"
#include "base/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

static const RunnerProgram shell = {.program = "/bin/sh", .directory = "/tmp"};

/* A run of sh -c SCRIPT: what it wrote, and how it ended. */
typedef struct {
    RunnerResult result;
    char *output;
    int file;
} Ended;

static int try_to_begin(Runner *runner, const char *script, const char *input, bool with_file, int output,
                        gint64 deadline)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)script, (char *)"name", (char *)"in " RUNNER_FILE, NULL};
    char *environment[] = {(char *)"A=1", (char *)"B=two words", NULL};
    auto_fd stdin_fd = memfd_create("in", MFD_CLOEXEC);

    assert_true(fd_write_all(stdin_fd, input, strlen(input)));
    assert_int_equal(lseek(stdin_fd, 0, SEEK_SET), 0);
    if (!with_file)
        argv[4] = NULL;
    RunnerRequest request = {.argv = argv,
                             .environment = environment,
                             .input = stdin_fd,
                             .output = output,
                             .errors = STDERR_FILENO,
                             .with_file = with_file};
    return runner_begin(runner, &request, deadline, NULL);
}

static int begin(Runner *runner, const char *script, const char *input, bool with_file, int output)
{
    int run = try_to_begin(runner, script, input, with_file, output, clock_ms() + PATIENCE_MS);

    assert_true(run >= 0);
    return run;
}

static void wait_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
}

static Ended run_script(Runner *runner, const char *script, const char *input, bool with_file)
{
    auto_fd output = memfd_create("out", MFD_CLOEXEC);
    Ended ended = {.output = g_malloc0(4096), .file = -1};
    int run = begin(runner, script, input, with_file, output);

    wait_readable(run);
    assert_true(runner_finish(run, &ended.result, &ended.file, NULL));
    assert_true(pread(output, ended.output, 4095, 0) >= 0);
    return ended;
}

static void a_program_runs(void **state)
{
    Runner *runner = runner_start(&shell, NULL);
    Ended ended = run_script(runner, "cat; echo $A $B; pwd; env | wc -l; exit 7", "hello\n", false);

    assert_int_equal(ended.result.kind, RUN_EXITED);
    assert_int_equal(ended.result.value, 7);
    assert_string_equal(ended.output, "hello\n1 two words\n/tmp\n3\n"); /* the shell adds PWD */
    assert_int_equal(ended.file, -1);
    g_free(ended.output);
    ended = run_script(runner, "kill -9 $$", "", false);
    assert_int_equal(ended.result.kind, RUN_KILLED);
    assert_int_equal(ended.result.value, SIGKILL);
    g_free(ended.output);
    runner_stop(runner);
}

static void a_private_copy_can_be_changed(void **state)
{
    Runner *runner = runner_start(&shell, NULL);
    char text[100] = {0};
    Ended ended = run_script(runner, "set -e; f=${1#in }; cat $f; ls; echo more >>$f; mkdir -p a/b; echo >a/b/c; pwd",
                             "mail\n", true);

    assert_int_equal(ended.result.value, 0);
    assert_true(g_str_has_prefix(ended.output, "mail\nmessage\n/tmp/gatepost-"));
    assert_int_equal(pread(ended.file, text, sizeof text - 1, 0), 10);
    assert_string_equal(text, "mail\nmore\n");
    char *directory = g_strchomp(ended.output) + strlen("mail\nmessage\n");
    close(ended.file);
    runner_stop(runner);
    assert_int_equal(access(directory, F_OK), -1);
    g_free(ended.output);
}

static void a_link_in_place_of_the_copy_is_no_copy(void **state)
{
    Runner *runner = runner_start(&shell, NULL);
    Ended ended = run_script(runner, "rm message; ln -s /etc/passwd message; ln -s /etc etc", "mail\n", true);

    assert_int_equal(ended.result.value, 0);
    assert_int_equal(ended.file, -1);
    g_free(ended.output);
    runner_stop(runner);
    assert_int_equal(access("/etc/passwd", F_OK), 0);
}

/* Only what is old and nobody's: not another runner's copy, nor what is new. */
static void what_a_killed_runner_left_is_swept_away(void **state)
{
    g_autofree char *place = g_dir_make_tmp("runner-test-XXXXXX", NULL);
    g_autofree char *left = g_strconcat(place, "/gatepost-0123456789abcdef", NULL);
    g_autofree char *below = g_strconcat(left, "/message", NULL);
    g_autofree char *fresh = g_strconcat(place, "/gatepost-fedcba9876543210", NULL);
    g_autofree char *other = g_strconcat(place, "/gatepost-notes", NULL);
    struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    RunnerProgram here = shell;

    here.directory = place;
    assert_int_equal(mkdir(left, 0700) | mkdir(fresh, 0700) | mkdir(other, 0700), 0);
    assert_true(g_file_set_contents(below, "mail", -1, NULL));
    assert_int_equal(utimensat(AT_FDCWD, left, long_ago, 0) | utimensat(AT_FDCWD, other, long_ago, 0), 0);
    Runner *runner = runner_start(&here, NULL);
    Ended ended = run_script(runner, "touch -d 2001-01-01 . && echo ready && pwd", "mail\n", true);
    assert_int_equal(ended.result.value, 0);
    close(ended.file);
    g_free(ended.output);
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(access(fresh, F_OK), 0);
    assert_int_equal(access(other, F_OK), 0);

    int output[2];
    char octet;
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    int run = begin(runner, "touch -d 2001-01-01 .; echo; sleep 1000", "mail\n", true, output[1]);
    wait_readable(output[0]);
    assert_int_equal(read(output[0], &octet, 1), 1);
    Runner *second = runner_start(&here, NULL);
    ended = run_script(second, "ls -d ../gatepost-* | wc -l", "mail\n", true);
    assert_string_equal(ended.output, "4\n"); /* fresh, notes, the first's copy, its own */
    close(ended.file);
    g_free(ended.output);
    close(run);
    runner_stop(second);
    runner_stop(runner);
    close(output[0]);
    close(output[1]);
    assert_int_equal(rmdir(fresh) | rmdir(other) | rmdir(place), 0);
}

static bool is_alive(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

static void assert_ends(pid_t pid)
{
    for (gint64 start = clock_ms(); is_alive(pid) && clock_ms() < start + PATIENCE_MS;)
        g_usleep(1000);
    assert_false(is_alive(pid));
}

static void nothing_is_left_behind(void **state)
{
    Runner *runner = runner_start(&shell, NULL);
    Ended ended = run_script(
        runner, "sleep 1000 & echo $!; (setsid sh -c 'echo $$; exec >/dev/null; sleep 1000; :' &) | head -n1", "",
        false);
    char *end;
    pid_t child = (pid_t)strtol(ended.output, &end, 10), stray = (pid_t)strtol(end, &end, 10);

    assert_true(child > 0);
    assert_true(stray > 0);
    assert_ends(child);
    assert_ends(stray);
    g_free(ended.output);
    runner_stop(runner);
}

static pid_t read_pid(int output)
{
    char text[20] = {0};

    wait_readable(output);
    assert_true(read(output, text, sizeof text - 1) > 0);
    return (pid_t)atoi(text);
}

static void who_asks_no_longer_ends_it(void **state)
{
    Runner *runner = runner_start(&shell, NULL);
    int output[2];

    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    int run = begin(runner, "echo $$; sleep 1000", "", false, output[1]);
    pid_t program = read_pid(output[0]);
    close(run);
    assert_ends(program);
    run = begin(runner, "echo $$; sleep 1000", "", false, output[1]);
    program = read_pid(output[0]);
    runner_stop(runner);
    assert_false(is_alive(program));
    close(run);
    close(output[0]);
    close(output[1]);
}

static void what_left_its_group_ends_with_the_runner(void **state)
{
    Runner *runner = runner_start(&shell, NULL);
    int output[2];

    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    int run = begin(runner, "exec bash -c 'set -m; sh -c \"echo \\$\\$; sleep 1000; :\" & wait'", "", false, output[1]);
    pid_t job = read_pid(output[0]);
    runner_stop(runner);
    assert_ends(job);
    close(run);
    close(output[0]);
    close(output[1]);
}

static void a_killed_runner_leaves_no_program(void **state)
{
    RunnerProgram program = shell;
    int output[2];

    program.user = geteuid() == 0 ? "nobody" : NULL;
    Runner *runner = runner_start(&program, NULL);
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    int asking = begin(runner, "echo $PPID; exec sleep 1000", "", false, output[1]);
    pid_t runner_pid = read_pid(output[0]);
    int run = begin(runner, "echo $$; exec sleep 1000", "", false, output[1]);
    pid_t sleeper = read_pid(output[0]);
    RunnerResult result;
    assert_int_equal(kill(runner_pid, SIGKILL), 0);
    assert_ends(sleeper);
    assert_false(runner_finish(asking, &result, NULL, NULL));
    close(run);
    runner_stop(runner);
    close(output[0]);
    close(output[1]);
}

static void a_runner_that_stands_still_holds_nobody(void **state)
{
    Runner *runner = runner_start(&shell, NULL);
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(int));
    int output[2];

    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    int run = begin(runner, "echo $PPID", "", false, output[1]);
    pid_t pid = read_pid(output[0]);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    for (gint64 start = clock_ms(); run >= 0; assert_true(clock_ms() < start + PATIENCE_MS)) {
        g_array_append_val(runs, run); /* until the socket is full */
        run = try_to_begin(runner, "exit 3", "", false, output[1], clock_ms() + 100);
    }
    assert_int_equal(kill(pid, SIGCONT), 0);
    for (guint i = 0; i < runs->len; i++) {
        RunnerResult result;
        wait_readable(g_array_index(runs, int, i));
        assert_true(runner_finish(g_array_index(runs, int, i), &result, NULL, NULL));
        assert_int_equal(result.kind, RUN_EXITED);
        assert_int_equal(result.value, i == 0 ? 0 : 3);
    }
    runner_stop(runner);
    close(output[0]);
    close(output[1]);
}

/* Also in the moment between its fork and exec. */
static void a_run_given_up_at_once_ends(void **state)
{
    Runner *runner = runner_start(&shell, NULL);
    int output[2];
    char octet;

    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    for (int i = 0; i < 200; i++)
        close(begin(runner, "sleep 1000", "", false, output[1]));
    close(output[1]);
    wait_readable(output[0]); /* all that had the other end are gone */
    assert_int_equal(read(output[0], &octet, 1), 0);
    runner_stop(runner);
    close(output[0]);
}

static void limits_hold(void **state)
{
    RunnerProgram limited = shell;

    limited.cpu_limit = 1;
    limited.memory_limit = 64 << 20;
    Runner *runner = runner_start(&limited, NULL);
    Ended ended = run_script(runner, "while :; do :; done", "", false);
    assert_int_equal(ended.result.kind, RUN_KILLED);
    g_free(ended.output);
    ended = run_script(runner, "exec 2>/dev/null; x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done", "", false);
    assert_true(ended.result.kind != RUN_EXITED || ended.result.value != 0);
    g_free(ended.output);
    runner_stop(runner);
}

static void what_cannot_run_is_told(void **state)
{
    static const struct {
        RunnerProgram program;
        const char *want;
    } rows[] = {
        {{.program = "sh", .directory = "/"}, "\"sh\" is no absolute path of a program"},
        {{.program = "/no/such", .directory = "/"}, "program /no/such: No such file or directory"},
        {{.program = "/bin/sh", .directory = "/", .user = "no-such-user"}, "unknown user \"no-such-user\""},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        assert_null(runner_start(&rows[i].program, &error));
        assert_string_equal(error->message, rows[i].want);
    }
    RunnerProgram directory = {.program = "/tmp", .directory = "/"};
    Runner *runner = runner_start(&directory, NULL);
    Ended ended = run_script(runner, "", "", false);
    assert_int_equal(ended.result.kind, RUN_FAILED);
    assert_int_equal(ended.result.value, EACCES);
    g_free(ended.output);
    runner_stop(runner);
}

static void it_runs_as_its_user(void **state)
{
    RunnerProgram nobody = shell;

    if (geteuid() != 0)
        skip();
    nobody.user = "nobody";
    Runner *runner = runner_start(&nobody, NULL);
    Ended ended = run_script(runner, "id -un; id -Gn; echo x >>message; stat -c %U message .", "mail\n", true);
    assert_int_equal(ended.result.value, 0);
    assert_string_equal(ended.output, "nobody\nnogroup\nnobody\nnobody\n");
    close(ended.file);
    g_free(ended.output);
    runner_stop(runner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_runs),
        cmocka_unit_test(a_private_copy_can_be_changed),
        cmocka_unit_test(a_link_in_place_of_the_copy_is_no_copy),
        cmocka_unit_test(what_a_killed_runner_left_is_swept_away),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(who_asks_no_longer_ends_it),
        cmocka_unit_test(what_left_its_group_ends_with_the_runner),
        cmocka_unit_test(a_killed_runner_leaves_no_program),
        cmocka_unit_test(a_runner_that_stands_still_holds_nobody),
        cmocka_unit_test(a_run_given_up_at_once_ends),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(what_cannot_run_is_told),
        cmocka_unit_test(it_runs_as_its_user),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
