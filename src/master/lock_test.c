#include "base/fail.h"
#include "base/fd.h"
#include "master/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char *directory;

static char *fresh(const char *name)
{
    char *path = g_build_filename(directory, name, NULL);

    unlink(path);
    return path;
}

static void a_lock_is_held_by_one(void **state)
{
    g_autofree char *path = fresh("master.pid");
    g_autoptr(GError) error = NULL;
    auto_fd lock = -1, second = -1;
    pid_t holder = -1;
    int status;

    assert_true(lock_holder(path, &holder, &error)); /* no file */
    assert_int_equal(holder, 0);
    assert_true(lock_take(path, &lock, &error));
    assert_true(lock_holder(path, &holder, &error));
    assert_int_equal(holder, getpid());
    assert_false(lock_take(path, &second, &error));
    assert_int_equal(error->code, EWOULDBLOCK);
    assert_int_equal(second, -1);
    pid_t child = fork();
    if (child == 0) /* flock(2), as Postfix, so that each keeps the other out */
        _exit(flock(open(path, O_RDWR), LOCK_EX | LOCK_NB) == 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fd_clear(&lock);
    assert_true(lock_holder(path, &holder, NULL)); /* the file stays, its lock is gone */
    assert_int_equal(holder, 0);
}

static void the_file_reads_like_postfix_s(void **state)
{
    g_autofree char *path = fresh("shape.pid");
    g_autofree char *wanted = g_strdup_printf("%32d\n", (int)getpid());
    auto_fd lock = -1;

    assert_true(g_file_set_contents(path, "something longer than what a process id takes up, much longer", -1, NULL));
    assert_true(lock_take(path, &lock, NULL));
    g_autofree char *text = fd_read_file(path, 1000, NULL, NULL);
    assert_string_equal(text, wanted);
}

static void nothing_but_a_file_of_one_name_is_a_lock(void **state)
{
    g_autofree char *target = fresh("target");
    g_autofree char *path = fresh("lock");
    g_autoptr(GError) error = NULL;
    auto_fd lock = -1;

    assert_true(g_file_set_contents(target, "precious", -1, NULL));
    assert_int_equal(symlink(target, path), 0);
    assert_false(lock_take(path, &lock, &error));
    g_clear_error(&error);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(link(target, path), 0);
    assert_false(lock_take(path, &lock, &error));
    g_autofree char *text = fd_read_file(target, 100, NULL, NULL);
    assert_string_equal(text, "precious");
}

static void garbage_is_no_process(void **state)
{
    static const char *const texts[] = {"", "x", "-5\n", "0\n", "99999999999999999999\n"};

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *path = fresh("garbage.pid");
        pid_t holder;

        assert_true(g_file_set_contents(path, texts[i], -1, NULL));
        auto_fd held = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(flock(held, LOCK_EX), 0);
        assert_false(lock_holder(path, &holder, NULL)); /* stop must not signal anybody */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_is_held_by_one),
        cmocka_unit_test(the_file_reads_like_postfix_s),
        cmocka_unit_test(nothing_but_a_file_of_one_name_is_a_lock),
        cmocka_unit_test(garbage_is_no_process),
    };
    directory = g_dir_make_tmp("lock-XXXXXX", NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    g_autofree char *remove = g_strdup_printf("rm -r '%s'", directory);
    g_free(directory);
    return failed + (system(remove) != 0);
}
