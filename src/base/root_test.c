#include "base/fail.h"
#include "base/log.h"
#include "base/root.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char *directory;

static int make_directory(void **state)
{
    g_autofree char *inside = NULL;

    directory = g_dir_make_tmp("root.XXXXXX", NULL);
    inside = g_build_filename(directory, "bin", NULL);
    return directory ? mkdir(inside, 0700) : -1;
}

static int remove_directory(void **state)
{
    g_autofree char *inside = g_build_filename(directory, "bin", NULL);

    rmdir(inside);
    int status = rmdir(directory);
    g_free(directory);
    return status;
}

static void nothing_changes_unless_it_will(void **state)
{
    assert_true(root_check("/etc/passwd", NULL));
    assert_true(root_check_below("/etc/passwd", NULL));
    assert_string_equal(root_path("/etc/passwd"), "/etc/passwd");
    assert_true(root_change(NULL));
    assert_int_equal(access("/etc/passwd", F_OK), 0);
}

static void what_cannot_work_is_found_before(void **state)
{
    static const struct {
        const char *path; /* "@": the directory */
        bool is_right;    /* for what is used later */
        bool is_below;    /* for what must be below */
    } rows[] = {
        {"@", true, true},         {"@/private/x", true, true},      {"@2/private", true, false},
        {"private/x", true, true}, {"/etc/passwd", false, false},    {"/bin", true, false},
        {"/", true, false},        {"/does/not/exist", true, false}, {"/etc", false, false},
    };
    g_autofree char *with_slash = g_strconcat(directory, "/", NULL);

    for (int slash = 0; slash < 2; slash++) {
        root_will_change(slash ? with_slash : directory);
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
            g_auto(GStrv) parts = g_strsplit(rows[i].path, "@", -1);
            g_autofree char *path = g_strjoinv(directory, parts);
            g_autoptr(GError) error = NULL;
            if (root_check(path, &error) != rows[i].is_right || root_check_below(path, NULL) != rows[i].is_below)
                fail_msg("%s", path);
            assert_true(rows[i].is_right ? error == NULL : error->domain == ROOT_ERROR);
            assert_string_equal(root_path(path), path);
        }
    }
    log_to_stderr();
    root_stay("as this test wants");
    assert_true(root_check("/etc/passwd", NULL));
}

static bool looks_right(void)
{
    g_autofree char *below = g_build_filename(directory, "private/x", NULL),
                    *beside = g_strconcat(directory, "2", NULL);
    time_t now = time(NULL);
    struct tm local;
    char before[64], after[64];

    tzset();
    strftime(before, sizeof before, "%Y-%m-%d %H %Z", localtime_r(&now, &local));
    root_will_change(directory);
    if (!root_change(NULL) || access("/bin", F_OK) < 0 || access("/etc/passwd", F_OK) == 0)
        return false;
    tzset();
    strftime(after, sizeof after, "%Y-%m-%d %H %Z", localtime_r(&now, &local));
    return strcmp(before, after) == 0 && strcmp(root_path(below), "/private/x") == 0 &&
           strcmp(root_path(directory), "/") == 0 && strcmp(root_path(beside), beside) == 0 &&
           strcmp(root_path("private/x"), "private/x") == 0 && strcmp(root_path("/bin"), "/bin") == 0;
}

static void paths_are_what_they_are_there(void **state)
{
    int status;

#ifdef SANITIZED
    skip();
#endif
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0)
        _exit(!looks_right());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changes_unless_it_will),
        cmocka_unit_test(what_cannot_work_is_found_before),
        cmocka_unit_test(paths_are_what_they_are_there),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
