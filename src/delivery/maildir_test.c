/* maildir_test.c - delivery into Maildirs: what is written, and that a crash or failure at any call neither loses nor
 * doubles the message. */
#include "base/fd.h"
#include "delivery/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    enum { NOTHING, FAILURE, CRASH } what;
    int calls, at, why;
} fault;

static bool fault_here(void)
{
    if (fault.what == NOTHING || ++fault.calls != fault.at)
        return false;
    if (fault.what == CRASH)
        _exit(77);
    errno = fault.why;
    return true;
}

#define WRAP(type, name, params, args)                                                                                 \
    type __real_##name params;                                                                                         \
    type __wrap_##name params;                                                                                         \
    type __wrap_##name params                                                                                          \
    {                                                                                                                  \
        return fault_here() ? -1 : __real_##name args;                                                                 \
    }
WRAP(int, fsync, (int fd), (fd))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, openat64, (int fd, const char *path, int flags, mode_t mode), (fd, path, flags, mode))
WRAP(int, open64, (const char *path, int flags, mode_t mode), (path, flags, mode))
WRAP(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len))
WRAP(int, renameat2, (int old_fd, const char *old, int new_fd, const char *new, unsigned flags),
     (old_fd, old, new_fd, new, flags))

typedef struct {
    char *directory, *maildir;
    Spool *spool;
    SpoolMessage *message;
} Fixture;

#define CONTENT "Subject: x\n\nbody\n"
#define HEADERS "Return-Path: <a@b.example>\n"

static int set_up(void **state)
{
    Fixture *fixture = g_new0(Fixture, 1);
    g_autoptr(Envelope) envelope = envelope_new();

    fixture->directory = g_dir_make_tmp("maildir-XXXXXX", NULL);
    g_autofree char *queue = g_strconcat(fixture->directory, "/queue", NULL);
    fixture->maildir = g_strconcat(fixture->directory, "/mail/example.test/user/", NULL);
    SpoolOptions options = {.directory = queue};
    fixture->spool = spool_open(&options, NULL);
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    g_autofree char *id = g_strdup(spool_writer_id(writer));
    envelope->sender = g_strdup("a@b.example");
    envelope_add(envelope, "user@example.test");
    spool_write(writer, CONTENT, strlen(CONTENT));
    assert_true(spool_commit(writer, envelope, false, NULL));
    fixture->message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
    assert_non_null(fixture->message);
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

    fault.what = NOTHING;
    nftw(fixture->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    spool_message_free(fixture->message);
    spool_free(fixture->spool);
    g_free(fixture->maildir);
    g_free(fixture->directory);
    g_free(fixture);
    return 0;
}

static bool deliver(Fixture *fixture, guint number, bool again, GError **error)
{
    MaildirMail mail = {
        .message = fixture->message, .number = number, .headers = HEADERS, .again = again, .host = "a:b/c"};

    return maildir_deliver(fixture->maildir, &mail, error);
}

/* Names in one of the three directories. */
static GPtrArray *list(Fixture *fixture, const char *part)
{
    g_autofree char *path = g_strconcat(fixture->maildir, part, NULL);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        g_ptr_array_add(names, g_strdup(name));
    return names;
}

static guint count(Fixture *fixture, const char *part)
{
    g_autoptr(GPtrArray) names = list(fixture, part);

    return names->len;
}

static void assert_whole(Fixture *fixture)
{
    g_autoptr(GPtrArray) names = list(fixture, "new");
    g_autofree char *path = g_strconcat(fixture->maildir, "new/", g_ptr_array_index(names, 0), NULL);
    g_autofree char *text = NULL;

    assert_int_equal(names->len, 1);
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    assert_string_equal(text, HEADERS CONTENT);
}

static void message_is_delivered(void **state)
{
    Fixture *fixture = *state;
    struct stat status;

    assert_true(deliver(fixture, 0, false, NULL));
    assert_whole(fixture);
    assert_int_equal(count(fixture, "tmp"), 0);
    assert_int_equal(count(fixture, "cur"), 0);
    g_autoptr(GPtrArray) names = list(fixture, "new");
    const char *name = g_ptr_array_index(names, 0);
    assert_true(g_ascii_isdigit(name[0]) && strstr(name, "R0.a\\072b\\057c"));
    g_autofree char *path = g_strconcat(fixture->maildir, "new/", name, NULL);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(stat(fixture->maildir, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_true(deliver(fixture, 1, false, NULL)); /* another recipient with the same mailbox */
    assert_int_equal(count(fixture, "new"), 2);
}

static void earlier_attempt_is_found(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GError) error = NULL;

    assert_true(deliver(fixture, 0, true, NULL)); /* there was none */
    assert_true(deliver(fixture, 0, true, NULL));
    assert_whole(fixture);
    /* read meanwhile, by somebody who called the host something else */
    g_autoptr(GPtrArray) names = list(fixture, "new");
    const char *name = g_ptr_array_index(names, 0);
    g_autofree char *old = g_strconcat(fixture->maildir, "new/", name, NULL);
    g_autofree char *read = g_strdup_printf("%scur/%.*s.elsewhere,S=99:2,FS", fixture->maildir,
                                            (int)(strstr(name, "R0.") + 2 - name), name);
    assert_int_equal(rename(old, read), 0);
    assert_true(deliver(fixture, 0, true, NULL));
    assert_int_equal(count(fixture, "new"), 0);
    assert_int_equal(count(fixture, "cur"), 1);
    assert_true(deliver(fixture, 10, true, NULL)); /* R1 is no beginning of R10 */
    assert_true(deliver(fixture, 1, true, NULL));
    assert_int_equal(count(fixture, "new"), 2);
    /* where none was possible, a file of that name is an error, and stays */
    assert_false(deliver(fixture, 1, false, &error));
    assert_true(g_error_matches(error, MAILDIR_ERROR, MAILDIR_ERROR_SYSTEM));
    assert_int_equal(count(fixture, "new"), 2);
    assert_int_equal(count(fixture, "tmp"), 0);
}

static void crash_at_each_call_neither_loses_nor_doubles(void **state)
{
    Fixture *fixture = *state;
    int at = 0, status;

    do {
        g_autofree char *mail = g_strconcat(fixture->directory, "/mail", NULL);
        nftw(mail, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        at++;
        pid_t child = fork();
        if (child == 0) {
            fault.what = CRASH;
            fault.at = at;
            _exit(deliver(fixture, 0, false, NULL) ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WEXITSTATUS(status) != 0)
            assert_int_equal(WEXITSTATUS(status), 77);
        else
            assert_whole(fixture);
        assert_true(deliver(fixture, 0, true, NULL));
        assert_whole(fixture);
        assert_int_equal(count(fixture, "tmp"), 0);
    } while (WEXITSTATUS(status) != 0);
    assert_true(at > 15);
}

static void failure_of_each_call_leaves_nothing_or_all(void **state)
{
    Fixture *fixture = *state;
    int failures = 0;

    for (int at = 1;; at++) {
        g_autofree char *mail = g_strconcat(fixture->directory, "/mail", NULL);
        g_autoptr(GError) error = NULL;
        nftw(mail, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        fault.what = FAILURE;
        fault.why = EIO;
        fault.calls = 0;
        fault.at = at;
        bool delivered = deliver(fixture, 0, false, &error);
        bool reached = fault.calls >= at;
        fault.what = NOTHING;
        assert_int_equal(count(fixture, "new"), delivered ? 1 : 0);
        assert_int_equal(count(fixture, "tmp"), 0);
        assert_true(delivered || error);
        failures += !delivered;
        if (delivered)
            assert_whole(fixture);
        if (!reached)
            break;
    }
    assert_true(failures > 15);
}

static void kinds_of_failure_are_told_apart(void **state)
{
    static const struct {
        int why;
        MaildirError code;
    } rows[] = {{ENOSPC, MAILDIR_ERROR_FULL},
                {EDQUOT, MAILDIR_ERROR_QUOTA},
                {EFBIG, MAILDIR_ERROR_TOO_LARGE},
                {EIO, MAILDIR_ERROR_SYSTEM}};
    Fixture *fixture = *state;
    g_autoptr(GError) large = NULL;

    assert_true(deliver(fixture, 99, false, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        fault.what = FAILURE;
        fault.why = rows[i].why;
        for (fault.at = 1;; fault.at++) { /* the write: the first failure that leaves no other trace */
            fault.calls = 0;
            g_clear_error(&error);
            if (deliver(fixture, 0, false, &error) || strstr(error->message, "write maildir file"))
                break;
        }
        fault.what = NOTHING;
        assert_true(g_error_matches(error, MAILDIR_ERROR, (gint)rows[i].code));
    }
    MaildirMail mail = {.message = fixture->message,
                        .number = 5,
                        .headers = HEADERS,
                        .host = "h",
                        .limit = strlen(HEADERS CONTENT) - 1};
    assert_false(maildir_deliver(fixture->maildir, &mail, &large));
    assert_true(g_error_matches(large, MAILDIR_ERROR, MAILDIR_ERROR_TOO_LARGE));
    mail.limit++;
    assert_true(maildir_deliver(fixture->maildir, &mail, NULL));
}

static void damaged_message_is_not_delivered(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", spool_message_fd(fixture->message));
    auto_fd fd = open(path, O_WRONLY);

    assert_int_equal(pwrite(fd, "X", 1, FIRST_LINE_LEN + 3), 1);
    assert_false(deliver(fixture, 0, false, &error));
    assert_true(g_error_matches(error, MAILDIR_ERROR, MAILDIR_ERROR_CORRUPT));
    assert_int_equal(count(fixture, "new"), 0);
    assert_int_equal(count(fixture, "tmp"), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(message_is_delivered),
        TEST(earlier_attempt_is_found),
        TEST(crash_at_each_call_neither_loses_nor_doubles),
        TEST(failure_of_each_call_leaves_nothing_or_all),
        TEST(kinds_of_failure_are_told_apart),
        TEST(damaged_message_is_not_delivered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
