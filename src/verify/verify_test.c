/* verify_test.c - the cache of addresses as writer and readers see it, and who sends probes when. cleanup_probe() is
 * the test's own. */
#include "base/clock.h"
#include "base/log.h"
#include "spool/spool_message.h"
#include "verify/verify.h"

#include <fcntl.h>
#include <ftw.h>
#include <lmdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static Account account;

static char *directory;
static GPtrArray *configs, *main_cfs; /* live as long as a test */
static unsigned probes;               /* that were sent */
static Probe probe_kind;

char *cleanup_probe(Cleanup *cleanup, const char *sender, const char *address, Probe kind, GError **error)
{
    assert_string_equal(sender, "double-bounce@mx.example.test");
    __atomic_add_fetch(&probes, 1, __ATOMIC_RELAXED);
    probe_kind = kind;
    return g_strdup("0123456789ABC");
}

/* Without a queue manager. */
static unsigned removed;

bool spool_remove(const Spool *spool, SpoolPlace place, const char *id, GError **error)
{
    assert_string_equal(id, "0123456789ABC");
    removed++;
    return true;
}

static Config *make_config(const char *extra)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(directory, "main.cf", NULL);
    g_autofree char *text = g_strdup_printf("compatibility_level = 3.6\nmyhostname = mx.example.test\nalias_maps "
                                            "=\nlocal_recipient_maps =\ndata_directory = %s\n%s",
                                            directory, extra);

    assert_true(g_file_set_contents(path, text, -1, NULL));
    MainCf *main_cf = main_cf_read(directory, &error);
    Config *config = main_cf ? config_new(main_cf, &(ConfigScope){.process_name = "qmgr", .stress = ""}, &error) : NULL;
    if (!config)
        fail_msg("%s", error->message);
    g_ptr_array_add(main_cfs, main_cf);
    g_ptr_array_add(configs, config);
    return config;
}

static VerifyCache *open_cache(const char *extra, CacheAccess access)
{
    g_autoptr(GError) error = NULL;
    VerifyCache *cache = verify_cache_open(make_config(extra), access, &error);

    if (!cache)
        fail_msg("%s", error->message);
    return cache;
}

static gint64 now(void)
{
    return clock_wall_us() / G_USEC_PER_SEC;
}

static bool put(VerifyCache *cache, const char *address, AddressStatus status, gint64 updated)
{
    return verify_cache_put(cache, address,
                            &(CacheEntry){.status = status, .updated = updated, .text = (char *)address});
}

/* -1: none. */
static int get(VerifyCache *cache, const char *address)
{
    g_auto(CacheEntry) entry = {0};

    return verify_cache_get(cache, address, &entry) ? (int)entry.status : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

static int set_up(void **state)
{
    directory = g_dir_make_tmp("verify-XXXXXX", NULL);
    configs = g_ptr_array_new_with_free_func((GDestroyNotify)config_free);
    main_cfs = g_ptr_array_new_with_free_func((GDestroyNotify)main_cf_free);
    probes = 0;
    return directory ? 0 : -1;
}

static int tear_down(void **state)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_ptr_array_unref(configs);
    g_ptr_array_unref(main_cfs);
    g_free(directory);
    return 0;
}

static void entries_have_postfixs_form(void **state)
{
    static const char *const bad[] = {"", "0:1:2", "4:1:2:x", "-1:1:2:x", "0:x:2:x", "0:1::x", "0:-1:2:x", " 0:1:2:x"};
    const CacheEntry entry = {ADDRESS_BOUNCED, 12, 1795336928, (char *)"host x[::1] said: 550 5.1.1\nno"};
    g_autofree char *text = cache_entry_to_text(&entry);
    g_auto(CacheEntry) back = {0};

    assert_string_equal(text, "2:12:1795336928:host x[::1] said: 550 5.1.1 no");
    assert_true(cache_entry_from_text(text, &back));
    assert_int_equal(back.status, ADDRESS_BOUNCED);
    assert_int_equal(back.probed, 12);
    assert_int_equal(back.updated, 1795336928);
    assert_string_equal(back.text, "host x[::1] said: 550 5.1.1 no");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_auto(CacheEntry) none = {0};
        if (cache_entry_from_text(bad[i], &none))
            fail_msg("accepted: %s", bad[i]);
    }
    g_autofree char *long_text = g_strnfill(1000, 'x');
    g_autofree char *cut = cache_entry_to_text(&(CacheEntry){.text = long_text});
    assert_int_equal(strlen(cut), strlen("0:0:0:") + CACHE_TEXT_MAX);
}

static void results_have_their_times(void **state)
{
    const CacheTimes times = {.good_expire = 100, .good_refresh = 50, .bad_expire = 10, .bad_refresh = 5};
    static const struct {
        AddressStatus status;
        gint64 age;
        bool stale, expired;
    } rows[] = {
        {ADDRESS_OK, 50, false, false},     {ADDRESS_OK, 51, true, false},     {ADDRESS_OK, 101, true, true},
        {ADDRESS_BOUNCED, 5, false, false}, {ADDRESS_BOUNCED, 6, true, false}, {ADDRESS_BOUNCED, 11, true, true},
        {ADDRESS_DEFERRED, 6, true, false}, {ADDRESS_OK, -50, false, false},   {ADDRESS_OK, -101, true, true},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const CacheEntry entry = {.status = rows[i].status, .updated = 1000000 - rows[i].age};
        assert_int_equal(cache_entry_is_stale(&entry, &times, 1000000), rows[i].stale);
        assert_int_equal(cache_entry_is_expired(&entry, &times, 1000000), rows[i].expired);
    }
}

static void what_is_written_survives(void **state)
{
    g_autofree char *long_one = g_strnfill(2000, 'l');
    g_autofree char *long_address = g_strconcat(long_one, "@x.test", NULL);
    g_autofree char *longer_address = g_strconcat(long_one, "l@x.test", NULL);
    VerifyCache *cache = open_cache("", CACHE_WRITE);
    g_autofree char *state_path = g_build_filename(directory, "verify_cache.lmdb.state", NULL);

    assert_int_equal(get(cache, "a@x.test"), -1);
    verify_cache_clean(cache);
    verify_cache_close(cache);
    g_autofree char *made = g_build_filename(directory, "verify_cache.lmdb", NULL);
    assert_false(g_file_test(made, G_FILE_TEST_EXISTS)); /* who sends no probes has no file */
    assert_false(g_file_test(state_path, G_FILE_TEST_EXISTS));
    cache = open_cache("", CACHE_WRITE);
    assert_true(put(cache, "a@x.test", ADDRESS_OK, now()));
    assert_true(put(cache, "b@x.test", ADDRESS_BOUNCED, now()));
    assert_true(put(cache, long_address, ADDRESS_DEFERRED, now()));
    assert_true(put(cache, "", ADDRESS_DEFERRED, now())); /* is nobody's address */
    assert_true(g_file_test(state_path, G_FILE_TEST_EXISTS));
    verify_cache_close(cache);
    assert_false(g_file_test(state_path, G_FILE_TEST_EXISTS));

    cache = open_cache("", CACHE_WRITE);
    assert_int_equal(get(cache, "a@x.test"), ADDRESS_OK);
    assert_int_equal(get(cache, "a@X.Test"), ADDRESS_OK);
    assert_int_equal(get(cache, "A@x.test"), -1);
    assert_int_equal(get(cache, "b@x.test"), ADDRESS_BOUNCED);
    assert_int_equal(get(cache, long_address), ADDRESS_DEFERRED);
    assert_int_equal(get(cache, longer_address), -1);
    assert_int_equal(get(cache, ""), -1);
    verify_cache_close(cache);
}

static void a_bad_result_does_not_replace_a_good_one(void **state)
{
    VerifyCache *cache = open_cache("address_verify_positive_expire_time = 100s\n", CACHE_WRITE);

    put(cache, "a@x.test", ADDRESS_OK, now());
    put(cache, "a@x.test", ADDRESS_BOUNCED, now());
    assert_int_equal(get(cache, "a@x.test"), ADDRESS_OK);
    put(cache, "a@x.test", ADDRESS_OK, now() - 101);
    put(cache, "a@x.test", ADDRESS_BOUNCED, now());
    assert_int_equal(get(cache, "a@x.test"), ADDRESS_BOUNCED);
    put(cache, "a@x.test", ADDRESS_DEFERRED, now());
    assert_int_equal(get(cache, "a@x.test"), ADDRESS_DEFERRED);
    put(cache, "a@x.test", ADDRESS_OK, now());
    assert_int_equal(get(cache, "a@x.test"), ADDRESS_OK);
    verify_cache_close(cache);
}

/* What it prints, its exit status is. */
static int in_another_process(int (*function)(const char *extra), const char *extra)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(function(extra));
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static int write_good(const char *extra)
{
    VerifyCache *cache = open_cache(extra, CACHE_WRITE);

    return put(cache, "late@x.test", ADDRESS_OK, now()) ? 0 : 1; /* and is killed, so to say */
}

static void a_reader_sees_what_comes_later(void **state)
{
    g_autofree char *path = g_build_filename(directory, "verify_cache.lmdb", NULL);
    VerifyCache *reader = open_cache("", CACHE_READ);

    assert_int_equal(get(reader, "late@x.test"), -1);
    assert_int_equal(in_another_process(write_good, ""), 0);
    assert_int_equal(get(reader, "late@x.test"), ADDRESS_OK);
    assert_int_equal(unlink(path), 0); /* the administrator wants it anew */
    assert_int_equal(get(reader, "late@x.test"), -1);
    assert_int_equal(in_another_process(write_good, ""), 0);
    assert_int_equal(get(reader, "late@x.test"), ADDRESS_OK);
    verify_cache_close(reader);
}

static void a_file_that_was_removed_is_made_anew(void **state)
{
    g_autofree char *path = g_build_filename(directory, "verify_cache.lmdb", NULL);
    VerifyCache *cache = open_cache("", CACHE_WRITE);

    put(cache, "a@x.test", ADDRESS_OK, now());
    assert_int_equal(unlink(path), 0);
    assert_true(put(cache, "b@x.test", ADDRESS_OK, now()));
    assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    assert_int_equal(get(cache, "a@x.test"), -1);
    assert_int_equal(get(cache, "b@x.test"), ADDRESS_OK);
    verify_cache_close(cache);
}

static void what_a_crash_of_the_machine_left_is_not_trusted(void **state)
{
    g_autofree char *state_path = g_build_filename(directory, "verify_cache.lmdb.state", NULL);
    VerifyCache *cache;

    assert_int_equal(in_another_process(write_good, ""), 0);
    cache = open_cache("", CACHE_WRITE); /* only a process was killed */
    assert_int_equal(get(cache, "late@x.test"), ADDRESS_OK);
    verify_cache_close(cache);
    assert_int_equal(in_another_process(write_good, ""), 0);
    assert_true(g_file_set_contents(state_path, "another boot", -1, NULL));
    cache = open_cache("", CACHE_WRITE);
    assert_int_equal(get(cache, "late@x.test"), -1);
    verify_cache_close(cache);
}

static void a_file_that_is_none_is_replaced(void **state)
{
    g_autofree char *path = g_build_filename(directory, "verify_cache.lmdb", NULL);
    g_autofree char *garbage = g_strnfill(20000, 'g');

    assert_true(g_file_set_contents(path, garbage, -1, NULL));
    VerifyCache *cache = open_cache("", CACHE_WRITE);
    assert_true(put(cache, "a@x.test", ADDRESS_OK, now()));
    assert_int_equal(get(cache, "a@x.test"), ADDRESS_OK);
    verify_cache_close(cache);
}

static void without_a_map_a_start_forgets(void **state)
{
    static const char *const extras[] = {"address_verify_map =\n", "address_verify_map = memcache:/x\n"};

    for (size_t i = 0; i < G_N_ELEMENTS(extras); i++) {
        assert_int_equal(in_another_process(write_good, extras[i]), 0);
        VerifyCache *reader = open_cache(extras[i], CACHE_READ);
        assert_int_equal(get(reader, "late@x.test"), ADDRESS_OK);
        verify_cache_close(reader);
        VerifyCache *cache = open_cache(extras[i], CACHE_WRITE);
        assert_int_equal(get(cache, "late@x.test"), -1);
        verify_cache_close(cache);
    }
}

static void a_dictionary_does_not_fill_the_disk(void **state)
{
    VerifyCache *cache = open_cache("address_verify_cache_limit = 1000\n", CACHE_WRITE);
    g_autofree char *path = g_build_filename(directory, "verify_cache.lmdb", NULL);
    struct stat status;

    for (int i = 0; i < 500; i++) {
        g_autofree char *address = g_strdup_printf("good%d@x.test", i);
        assert_true(put(cache, address, ADDRESS_OK, now() - 1000));
    }
    for (int i = 0; i < 10000; i++) {
        g_autofree char *filler = g_strnfill(300, 'f');
        g_autofree char *address = g_strdup_printf("bad%d%s@x.test", i, filler);
        assert_true(put(cache, address, ADDRESS_BOUNCED, now() - 100 + i / 100));
    }
    for (int i = 0; i < 500; i++) {
        g_autofree char *address = g_strdup_printf("good%d@x.test", i);
        assert_int_equal(get(cache, address), ADDRESS_OK);
    }
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_size < 1000 * 4096);
    for (int i = 0; i < 3000; i++) { /* where all are good, the oldest go */
        g_autofree char *address = g_strdup_printf("other%d@x.test", i);
        assert_true(put(cache, address, ADDRESS_OK, now()));
    }
    assert_int_equal(get(cache, "good1@x.test"), -1);
    assert_int_equal(get(cache, "other2999@x.test"), ADDRESS_OK);
    verify_cache_close(cache);
}

static void cleaning_drops_what_has_expired(void **state)
{
    VerifyCache *cache = open_cache("address_verify_negative_expire_time = 100s\n", CACHE_WRITE);

    put(cache, "a@x.test", ADDRESS_BOUNCED, now() - 50);
    put(cache, "b@x.test", ADDRESS_BOUNCED, now() - 150);
    put(cache, "c@x.test", ADDRESS_OK, now() - 150);
    verify_cache_clean(cache);
    assert_int_equal(get(cache, "a@x.test"), ADDRESS_BOUNCED);
    assert_int_equal(get(cache, "b@x.test"), -1);
    assert_int_equal(get(cache, "c@x.test"), ADDRESS_OK);
    verify_cache_close(cache);
}

/* ---- Asking ---- */

typedef struct {
    Config *config;
    Route *route;
    QueueNotify *notify;
    Verify *verify;
    int queue_manager; /* its socket */
} Asker;

static Asker make_asker(const char *extra)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    Asker asker = {.config = make_config(extra)};
    g_autoptr(GError) error = NULL;

    g_snprintf(name.sun_path, sizeof name.sun_path, "%s/public", directory);
    mkdir(name.sun_path, 0700);
    g_strlcat(name.sun_path, "/qmgr", sizeof name.sun_path);
    asker.queue_manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(asker.queue_manager, (struct sockaddr *)&name, sizeof name), 0);

    asker.route = route_new(asker.config, &error);
    asker.notify = queue_notify_open(directory, &error);
    asker.verify =
        asker.route && asker.notify
            ? verify_new(&(VerifyOptions){.config = asker.config, .route = asker.route, .notify = asker.notify}, &error)
            : NULL;
    if (!asker.verify)
        fail_msg("%s", error->message);
    return asker;
}

static void free_asker(Asker *asker)
{
    close(asker->queue_manager);
    verify_free(asker->verify);
    route_free(asker->route);
    queue_notify_close(asker->notify);
}

static AddressStatus look(const Asker *asker, const char *address, bool wants_probe)
{
    g_autofree char *text = NULL;
    bool wanted;
    AddressStatus status = verify_look(asker->verify, address, &text, &wanted);

    assert_int_equal(wanted, wants_probe);
    assert_true(g_strcmp0(text, status == ADDRESS_UNKNOWN ? NULL : address) == 0);
    return status;
}

static int write_entry(const char *entry) /* "address status age" */
{
    g_auto(GStrv) words = g_strsplit(entry, " ", 3);
    VerifyCache *cache = open_cache("", CACHE_WRITE);

    return put(cache, words[0], (AddressStatus)atoi(words[1]), now() - atoi(words[2])) ? 0 : 1;
}

static void *ask_and_probe(void *data)
{
    verify_probe(data, "many@x.test");
    return NULL;
}

static void many_askers_cause_one_probe(void **state)
{
    Asker asker = make_asker("");
    pthread_t threads[20];

    assert_int_equal(look(&asker, "many@x.test", true), ADDRESS_UNKNOWN);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_and_probe, asker.verify), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(probes, 1);
    assert_int_equal(probe_kind, PROBE_ANY);
    assert_int_equal(look(&asker, "many@x.test", false), ADDRESS_UNKNOWN);
    assert_int_equal(in_another_process(write_entry, "many@x.test 0 0"), 0);
    assert_int_equal(look(&asker, "many@x.test", false), ADDRESS_OK);
    free_asker(&asker);
}

static void without_a_queue_manager_there_are_no_probes(void **state)
{
    Asker asker = make_asker("");
    g_autofree char *path = g_build_filename(directory, "public/qmgr", NULL);

    removed = 0;
    close(asker.queue_manager);
    verify_probe(asker.verify, "a@x.test");
    look(&asker, "a@x.test", true);
    assert_int_equal(removed, 1);
    unlink(path);
    verify_probe(asker.verify, "a@x.test");
    look(&asker, "a@x.test", true);
    assert_int_equal(removed, 2);
    asker.queue_manager = -1;
    free_asker(&asker);
}

static void an_inquiry_is_answered(void **state)
{
    Asker asker = make_asker("");
    Inquiry *inquiry = inquiry_new(0, &account);

    assert_null(inquiry_answer(inquiry, &verify_inquiry, asker.verify, "probe a@x.test", "a@x.test"));
    assert_int_equal(probes, 1);
    assert_null(inquiry_answer(inquiry, &verify_inquiry, asker.verify, "probe a@x.test", "a@x.test"));
    assert_int_equal(in_another_process(write_entry, "a@x.test 2 0"), 0);
    const AddressAnswer *answer = inquiry_answer(inquiry, &verify_inquiry, asker.verify, "probe a@x.test", "a@x.test");
    assert_non_null(answer);
    assert_int_equal(answer->status, ADDRESS_BOUNCED);
    assert_string_equal(answer->text, "a@x.test");
    inquiry_settled(inquiry);
    answer = inquiry_answer(inquiry, &verify_inquiry, asker.verify, "probe a@x.test", "a@x.test");
    assert_int_equal(answer->status, ADDRESS_BOUNCED); /* at once */
    assert_null(inquiry_answer(inquiry, &verify_inquiry, asker.verify, "probe b@x.test", "b@x.test"));
    assert_int_equal(probes, 2);
    inquiry_free(inquiry); /* with a question under way */
    free_asker(&asker);
}

static void old_results_are_probed_again(void **state)
{
    static const struct {
        const char *entry;
        AddressStatus wanted;
        bool wants_probe;
    } rows[] = {
        {"u@x.test 0 604790", ADDRESS_OK, false},      {"u@x.test 0 604810", ADDRESS_OK, true},
        {"u@x.test 0 2678410", ADDRESS_UNKNOWN, true}, {"u@x.test 2 10790", ADDRESS_BOUNCED, false},
        {"u@x.test 2 10810", ADDRESS_BOUNCED, true},   {"u@x.test 1 10790", ADDRESS_DEFERRED, false},
        {"u@x.test 1 259210", ADDRESS_UNKNOWN, true},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Asker asker = make_asker("");
        assert_int_equal(in_another_process(write_entry, rows[i].entry), 0);
        assert_int_equal(look(&asker, "u@x.test", rows[i].wants_probe), rows[i].wanted);
        if (rows[i].wants_probe) {
            verify_probe(asker.verify, "u@x.test");
            assert_int_equal(look(&asker, "u@x.test", false), rows[i].wanted);
        }
        free_asker(&asker);
        nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        g_mkdir_with_parents(directory, 0700);
    }
}

static void probes_are_limited(void **state)
{
    Asker asker = make_asker("address_verify_pending_request_limit = 2\n");

    verify_probe(asker.verify, "a@x.test");
    verify_probe(asker.verify, "b@x.test");
    verify_probe(asker.verify, "c@x.test");
    assert_int_equal(probes, 2);
    look(&asker, "c@x.test", true);
    assert_int_equal(in_another_process(write_entry, "a@x.test 2 0"), 0);
    assert_int_equal(look(&asker, "a@x.test", false), ADDRESS_BOUNCED);
    verify_probe(asker.verify, "c@x.test"); /* there is room again */
    assert_int_equal(probes, 3);
    free_asker(&asker);
}

static void bad_results_need_not_be_remembered(void **state)
{
    Asker asker = make_asker("address_verify_negative_cache = no\naddress_verify_poll_count = 1\n"
                             "address_verify_poll_delay = 1s\n");

    verify_probe(asker.verify, "a@x.test");
    assert_int_equal(probe_kind, PROBE_GOOD);
    look(&asker, "a@x.test", false);
    gint64 deadline = clock_ms() + 10000;
    bool wanted = false;
    while (!wanted && clock_ms() < deadline) { /* nobody will tell how it ended */
        g_autofree char *text = NULL;
        assert_int_equal(verify_look(asker.verify, "a@x.test", &text, &wanted), ADDRESS_UNKNOWN);
        usleep(10000);
    }
    assert_true(wanted);
    free_asker(&asker);
}

/* Dies inside a transaction: with the lock of writers, or with a place in the table of readers. */
static void die_inside(unsigned flags)
{
    g_autofree char *path = g_build_filename(directory, "verify_cache.lmdb", NULL);
    pid_t pid = fork();

    if (pid == 0) {
        MDB_env *env;
        MDB_txn *txn;
        MDB_dbi dbi;
        MDB_val name = {7, (void *)"a@b.tld"}, value = {7, (void *)"0:0:0:x"};
        if (mdb_env_create(&env) == 0 && mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC, 0600) == 0 &&
            mdb_txn_begin(env, NULL, flags, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &dbi) == 0 &&
            (flags == MDB_RDONLY || mdb_put(txn, dbi, &name, &value, 0) == 0))
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Who is killed with the lock in its hands holds up nobody, and what it had not committed is not there. */
static void a_killed_process_is_in_nobodys_way(void **state)
{
    VerifyCache *writer = open_cache("", CACHE_WRITE), *reader = open_cache("", CACHE_READ);

    alarm(60); /* a lock that is held for good would hang the test */
    assert_true(put(writer, "one@b.tld", ADDRESS_OK, now()));
    die_inside(0);
    for (int i = 0; i < 20; i++)
        die_inside(MDB_RDONLY);
    assert_int_equal(get(reader, "one@b.tld"), ADDRESS_OK);
    assert_int_equal(get(reader, "a@b.tld"), -1);
    assert_true(put(writer, "two@b.tld", ADDRESS_OK, now()));
    die_inside(0);
    verify_cache_close(writer);
    writer = open_cache("", CACHE_WRITE); /* as the next queue manager does */
    assert_int_equal(get(writer, "two@b.tld"), ADDRESS_OK);
    assert_true(put(writer, "three@b.tld", ADDRESS_BOUNCED, now()));
    assert_int_equal(get(reader, "three@b.tld"), ADDRESS_BOUNCED);
    alarm(0);
    verify_cache_close(writer);
    verify_cache_close(reader);
}

int main(void)
{
    log_to_file(open("/dev/null", O_WRONLY | O_CLOEXEC), "host");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_have_postfixs_form),
        cmocka_unit_test(results_have_their_times),
        cmocka_unit_test_setup_teardown(what_is_written_survives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_result_does_not_replace_a_good_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_sees_what_comes_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_was_removed_is_made_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_crash_of_the_machine_left_is_not_trusted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_none_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_map_a_start_forgets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dictionary_does_not_fill_the_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cleaning_drops_what_has_expired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_process_is_in_nobodys_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_askers_cause_one_probe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_queue_manager_there_are_no_probes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_inquiry_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(old_results_are_probed_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(probes_are_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_results_need_not_be_remembered, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
