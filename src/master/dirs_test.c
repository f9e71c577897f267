#include "config/main_cf.h"
#include "master/dirs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char *directory;

static Config *parse(const char *queue)
{
    const ConfigScope scope = {.process_name = "master", .stress = ""};
    g_autofree char *text =
        g_strdup_printf("queue_directory = %s/%s\ndata_directory = %s/deep/er/data\n", directory, queue, directory);
    g_autoptr(MainCf) main_cf = main_cf_parse("/conf", "/conf/main.cf", text, strlen(text), NULL);

    return config_new(main_cf, &scope, NULL);
}

static void missing_ones_are_made_others_stay(void **state)
{
    static const struct {
        const char *path;
        mode_t mode;
    } rows[] = {
        {"queue", 0755},
        {"queue/pid", 0755},
        {"queue/private", 0700},
        {"queue/public", 0750},
        {"queue/gatepost", 0700},
        {"deep/er/data", 0700},
        {"queue/gatepost/spool", 0700},
        {"deep/er/data/quarantine", 0700},
    };
    g_autoptr(Config) config = parse("queue");
    const Owner owner = {.root = false};
    g_autofree char *queue = g_build_filename(directory, "queue", NULL);
    g_autofree char *public = g_build_filename(queue, "public", NULL);

    assert_int_equal(mkdir(queue, 0755) + mkdir(public, 0750), 0);
    for (int again = 0; again < 2; again++) {
        assert_true(dirs_make(config, &owner, NULL));
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
            g_autofree char *path = g_build_filename(directory, rows[i].path, NULL);
            struct stat status;

            assert_int_equal(stat(path, &status), 0);
            assert_int_equal(status.st_mode & 0777, rows[i].mode);
        }
    }
}

static void a_file_in_the_way_is_an_error(void **state)
{
    g_autofree char *file = g_build_filename(directory, "file", NULL);
    g_autoptr(Config) config = parse("file/queue");
    const Owner owner = {.root = false};
    g_autoptr(GError) error = NULL;

    assert_true(g_file_set_contents(file, "", -1, NULL));
    assert_false(dirs_make(config, &owner, &error));
    assert_non_null(strstr(error->message, "/file"));
}

static void make_file(const char *path)
{
    g_autofree char *whole = g_build_filename(directory, "postfix", path, NULL);
    g_autofree char *parent = g_path_get_dirname(whole);

    g_mkdir_with_parents(parent, 0700);
    assert_true(g_file_set_contents(whole, "", -1, NULL));
}

static void messages_of_postfix_are_counted(void **state)
{
    g_autofree char *queue = g_build_filename(directory, "postfix", NULL);

    assert_int_equal(dirs_count_postfix_mail(queue), 0); /* no such directory */
    make_file("active/one");
    make_file("deferred/A/B/two");
    make_file("deferred/A/B/C/too-deep");
    make_file("deferred/A/.hidden");
    make_file("hold/three");
    make_file("bounce/no-message");
    make_file("gatepost/spool/00/ours");
    g_autofree char *link = g_build_filename(queue, "incoming", NULL);
    g_autofree char *target = g_build_filename(queue, "active", NULL);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(dirs_count_postfix_mail(queue), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_ones_are_made_others_stay),
        cmocka_unit_test(a_file_in_the_way_is_an_error),
        cmocka_unit_test(messages_of_postfix_are_counted),
    };
    umask(022);
    directory = g_dir_make_tmp("dirs-XXXXXX", NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    g_autofree char *remove = g_strdup_printf("rm -r '%s'", directory);
    failed += system(remove) != 0;
    g_free(directory);
    return failed;
}
