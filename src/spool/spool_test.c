/* spool_test.c - the store against failing calls, crashes at each of them, torn files, and many writers. */
#include "base/fd.h"
#include "spool/queue_notify.h"
#include "spool/spool.h"
#include "spool/spool_message.h"
#include "spool/spool_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What happens at the call number `at` (from 1) of those that are wrapped: an error, the end of the process before it,
 * or after half of it. */
static struct {
    enum { NOTHING, FAILURE, CRASH, TORN } what;
    _Atomic int calls;
    int at;
    const char *only; /* NULL: all calls count */
} fault;

static bool fault_here(const char *name)
{
    if (fault.what == NOTHING || (fault.only && strcmp(fault.only, name) != 0) || ++fault.calls != fault.at)
        return false;
    if (fault.what == CRASH)
        _exit(77);
    errno = EIO;
    return true;
}

#define WRAP(type, name, params, args)                                                                                 \
    type __real_##name params;                                                                                         \
    type __wrap_##name params;                                                                                         \
    type __wrap_##name params                                                                                          \
    {                                                                                                                  \
        return fault_here(#name) ? -1 : __real_##name args;                                                            \
    }
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, flock, (int fd, int how), (fd, how))
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, openat64, (int fd, const char *path, int flags, mode_t mode), (fd, path, flags, mode))
WRAP(int, renameat2, (int old_fd, const char *old, int new_fd, const char *new, unsigned flags),
     (old_fd, old, new_fd, new, flags))

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (!fault_here("write"))
        return __real_write(fd, data, len);
    if (fault.what != TORN)
        return -1;
    (void)!__real_write(fd, data, len / 2);
    _exit(77);
}

ssize_t __real_pwrite64(int fd, const void *data, size_t len, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off_t at)
{
    if (!fault_here("pwrite64"))
        return __real_pwrite64(fd, data, len, at);
    if (fault.what != TORN)
        return -1;
    (void)!__real_pwrite64(fd, data, len / 2, at);
    _exit(77);
}

static void set_fault(int what, int at, const char *only)
{
    fault.what = what;
    fault.at = at;
    fault.only = only;
    fault.calls = 0;
}

typedef struct {
    char *directory;
    Spool *spool;
    Envelope *envelope;
} Fixture;

static int set_up(void **state)
{
    Fixture *fixture = g_new0(Fixture, 1);
    g_autofree char *parent = g_dir_make_tmp("spool-XXXXXX", NULL);
    SpoolOptions options = {0};

    fixture->directory = g_strconcat(parent, "/gatepost", NULL);
    options.directory = fixture->directory;
    fixture->spool = spool_open(&options, NULL);
    fixture->envelope = envelope_new();
    fixture->envelope->sender = g_strdup("a@b.example");
    envelope_add(fixture->envelope, "user@virt.example");
    envelope_add(fixture->envelope, "other user@virt.example");
    *state = fixture;
    return fixture->spool ? 0 : -1;
}

static void shards_lie_apart_where_the_file_system_can(void **state)
{
    const Fixture *fixture = *state;
    g_autofree char *path = g_strconcat(fixture->directory, "/spool", NULL);
    auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct statfs where;
    int flags = 0;

    assert_true(fd >= 0 && fstatfs(fd, &where) == 0);
    if (where.f_type != EXT4_SUPER_MAGIC || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        skip();
    assert_true(flags & FS_TOPDIR_FL);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *parent = g_path_get_dirname(fixture->directory);

    set_fault(NOTHING, 0, NULL);
    nftw(parent, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    spool_free(fixture->spool);
    envelope_free(fixture->envelope);
    g_free(fixture->directory);
    g_free(fixture);
    return 0;
}

#define CONTENT "Subject: x\n\nbody\n"

/* NULL where it failed. */
static char *store(Fixture *fixture, const char *content, size_t len, bool hold)
{
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    g_autoptr(GError) error = NULL;

    if (!writer)
        return NULL;
    char *id = g_strdup(spool_writer_id(writer));
    for (size_t done = 0; done < len; done += 7)
        spool_write(writer, content + done, MIN(7, len - done));
    if (spool_commit(writer, fixture->envelope, hold, &error))
        return id;
    assert_non_null(error);
    g_free(id);
    return NULL;
}

/* What lies in a place. */
static GPtrArray *list(Fixture *fixture, SpoolPlace place)
{
    GPtrArray *all = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(SpoolScan) scan = spool_scan_new(fixture->spool, place);
    GPtrArray *some;

    while (spool_scan_next(scan, &some, NULL))
        g_ptr_array_extend_and_steal(all, some);
    return all;
}

static void assert_whole(Fixture *fixture, SpoolPlace place, const char *id, const char *wanted, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(SpoolMessage) message = spool_message_open(fixture->spool, place, id, SPOOL_LOCK, &error);
    g_autoptr(GString) content = g_string_new(NULL);
    SpoolContent reader = {.message = message};
    char piece[1000];
    ssize_t count;

    assert_non_null(message);
    assert_int_equal(spool_message_size(message), len);
    while ((count = spool_content_read(&reader, piece, sizeof piece, &error)) > 0)
        g_string_append_len(content, piece, count);
    assert_int_equal(count, 0);
    assert_int_equal(content->len, len);
    assert_memory_equal(content->str, wanted, len);
    const Envelope *envelope = spool_message_envelope(message);
    assert_string_equal(envelope->sender, "a@b.example");
    assert_int_equal(envelope->recipients->len, 2);
    assert_string_equal(((Recipient *)g_ptr_array_index(envelope->recipients, 1))->address, "other user@virt.example");
}

static void message_comes_back(void **state)
{
    static const size_t lengths[] = {0, 1, 7, 16383, 16384, 16385, 300000};
    g_autofree char *content = g_malloc(300000);

    for (size_t i = 0; i < 300000; i++)
        content[i] = (char)(i * 7 % 251);
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autofree char *id = store(*state, content, lengths[i], false);
        assert_non_null(id);
        assert_whole(*state, SPOOL_QUEUE, id, content, lengths[i]);
    }
    g_autofree char *held = store(*state, CONTENT, strlen(CONTENT), true);
    assert_whole(*state, SPOOL_HOLD, held, CONTENT, strlen(CONTENT));
    g_autoptr(GPtrArray) queued = list(*state, SPOOL_QUEUE);
    g_autoptr(GPtrArray) in_hold = list(*state, SPOOL_HOLD);
    assert_int_equal(queued->len, G_N_ELEMENTS(lengths));
    assert_int_equal(in_hold->len, 1);
}

static void large_pieces_and_small_ones_keep_their_order(void **state)
{
    Fixture *fixture = *state;
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    g_autofree char *large = g_strnfill(50000, 'x');
    g_autofree char *id = g_strdup(spool_writer_id(writer));
    g_autofree char *wanted = g_strconcat("first", large, "last", NULL);

    assert_true(spool_write(writer, "first", 5) && spool_write(writer, large, 50000) && spool_write(writer, "last", 4));
    assert_int_equal(spool_writer_size(writer), 50009);
    assert_true(spool_commit(writer, fixture->envelope, false, NULL));
    assert_whole(fixture, SPOOL_QUEUE, id, wanted, 50009);
}

static void writer_owns_its_message_until_committed(void **state)
{
    Fixture *fixture = *state;
    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    g_autofree char *id = g_strdup(spool_writer_id(writer));
    g_autoptr(GError) error = NULL;
    SpoolError what;
    bool done;

    spool_write(writer, CONTENT, strlen(CONTENT));
    assert_null(spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, &error));
    assert_true(g_error_matches(error, SPOOL_ERROR, SPOOL_ERROR_BUSY));
    assert_true(spool_recover(fixture->spool, SPOOL_QUEUE, id, &what, &done, NULL));
    assert_false(done);
    g_clear_error(&error);
    assert_null(spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOOK, &error));
    assert_true(g_error_matches(error, SPOOL_ERROR, SPOOL_ERROR_UNFINISHED));
    spool_abort(writer);
    g_clear_error(&error);
    assert_null(spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, &error));
    assert_true(g_error_matches(error, SPOOL_ERROR, SPOOL_ERROR_GONE));
}

/* Recovery as the queue manager does it. */
static void recover_all(Fixture *fixture, SpoolPlace place)
{
    g_autoptr(GPtrArray) ids = list(fixture, place);

    for (guint i = 0; i < ids->len; i++) {
        SpoolError what;
        bool done;
        assert_true(spool_recover(fixture->spool, place, g_ptr_array_index(ids, i), &what, &done, NULL));
    }
}

#define NO_FAULT 3 /* stored, and there are fewer calls than fault.at */

static void store_and_exit(Fixture *fixture, bool hold)
{
    static const char large[40000];

    SpoolWriter *writer = spool_create(fixture->spool, NULL);
    if (!writer || !spool_write(writer, CONTENT, strlen(CONTENT)) || !spool_write(writer, large, sizeof large))
        _exit(1);
    if (!spool_commit(writer, fixture->envelope, hold, NULL))
        _exit(1);
    _exit(fault.calls < fault.at ? NO_FAULT : 0);
}

/* The process ends at each call in turn. Then, after recovery, either nothing is there or one whole message; and when
 * the writer had been told that it is there, it is. */
static void crash_at_each_call_leaves_all_or_nothing(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *wanted = g_malloc0(40000 + strlen(CONTENT));

    memcpy(wanted, CONTENT, strlen(CONTENT));
    for (int hold = 0; hold < 2; hold++) {
        for (int what = CRASH; what <= TORN; what++) {
            int at = 0, status = 0;
            do {
                pid_t child = fork();
                at++;
                if (child == 0) {
                    set_fault(what, at, NULL);
                    store_and_exit(fixture, hold);
                }
                assert_int_equal(waitpid(child, &status, 0), child);
                assert_true(WIFEXITED(status));
                recover_all(fixture, SPOOL_QUEUE);
                recover_all(fixture, SPOOL_HOLD);
                g_autoptr(GPtrArray) queued = list(fixture, SPOOL_QUEUE);
                g_autoptr(GPtrArray) held = list(fixture, SPOOL_HOLD);
                g_autoptr(GPtrArray) corrupt = list(fixture, SPOOL_CORRUPT);
                assert_int_equal(corrupt->len, 0);
                assert_true(queued->len + held->len <= 1);
                assert_true((WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != NO_FAULT) ||
                            queued->len + held->len == 1);
                if (hold)
                    assert_int_equal(queued->len, 0);
                for (guint i = 0; i < queued->len + held->len; i++) {
                    SpoolPlace place = hold ? SPOOL_HOLD : SPOOL_QUEUE;
                    const char *id = g_ptr_array_index(hold ? held : queued, 0);
                    assert_whole(fixture, place, id, wanted, 40000 + strlen(CONTENT));
                    assert_true(spool_remove(fixture->spool, place, id, NULL));
                }
            } while (WEXITSTATUS(status) != NO_FAULT);
            assert_true(at > 8);
        }
    }
}

/* Each call fails in turn. A commit that says no leaves nothing that could be delivered. */
static void failure_of_each_call_leaves_nothing(void **state)
{
    Fixture *fixture = *state;
    int refused = 0;

    for (int hold = 0; hold < 2; hold++) {
        for (int at = 1;; at++) {
            set_fault(FAILURE, at, NULL);
            g_autofree char *id = store(fixture, CONTENT, strlen(CONTENT), hold);
            bool was_reached = fault.calls >= at;
            set_fault(NOTHING, 0, NULL);
            recover_all(fixture, SPOOL_QUEUE);
            recover_all(fixture, SPOOL_HOLD);
            g_autoptr(GPtrArray) queued = list(fixture, SPOOL_QUEUE);
            g_autoptr(GPtrArray) held = list(fixture, SPOOL_HOLD);
            assert_int_equal(queued->len + held->len, id ? 1 : 0);
            refused += id == NULL;
            if (id)
                assert_true(spool_remove(fixture->spool, hold ? SPOOL_HOLD : SPOOL_QUEUE, id, NULL));
            if (!was_reached)
                break;
        }
    }
    assert_true(refused >= 12);
}

static void failed_sync_is_final(void **state)
{
    Fixture *fixture = *state;

    for (int at = 1; at <= 2; at++) {
        set_fault(FAILURE, at, "fsync");
        assert_null(store(fixture, CONTENT, strlen(CONTENT), false));
        set_fault(NOTHING, 0, NULL);
        g_autoptr(GPtrArray) queued = list(fixture, SPOOL_QUEUE);
        assert_int_equal(queued->len, 0);
    }
    set_fault(FAILURE, 3, "fsync");
    assert_null(store(fixture, CONTENT, strlen(CONTENT), true));
}

static char *path_of(Fixture *fixture, SpoolPlace place, const char *id)
{
    return g_strdup_printf("%s/%s/%s", fixture->directory, spool_directory(place, id).path, id);
}

static int open_reason(Fixture *fixture, const char *id)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(SpoolMessage) message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, &error);

    return message ? -1 : error->code;
}

static void add_result(Fixture *fixture, const char *id, guint recipient, ResultStatus status, const char *text)
{
    g_autoptr(SpoolMessage) message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
    Result result = {.recipient = recipient,
                     .status = status,
                     .dsn = "4.0.0",
                     .time_us = 1,
                     .relay = (char *)"none",
                     .text = (char *)text};

    assert_non_null(message);
    assert_true(spool_message_add_result(message, &result, true, NULL));
}

/* The file ends after each octet in turn. Before the end of the first line nothing was promised; before the end of the
 * envelope something was lost, and is kept to be looked at; after it, only the last result is missing. */
static void file_torn_at_every_octet(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *id = store(fixture, CONTENT, strlen(CONTENT), false);
    g_autofree char *path = path_of(fixture, SPOOL_QUEUE, id);
    g_autofree char *whole = NULL;
    gsize len, end_of_envelope;

    assert_true(g_file_get_contents(path, &whole, &end_of_envelope, NULL));
    g_clear_pointer(&whole, g_free);
    add_result(fixture, id, 1, RESULT_DEFERRED, "first");
    add_result(fixture, id, 1, RESULT_DEFERRED, "second");
    assert_true(g_file_get_contents(path, &whole, &len, NULL));
    for (gsize cut = 0; cut < len; cut++) {
        int fd = open(path, O_WRONLY | O_TRUNC);
        assert_true(fd_write_all(fd, whole, cut));
        close(fd);
        int wanted = cut < FIRST_LINE_LEN ? SPOOL_ERROR_UNFINISHED : cut < end_of_envelope ? SPOOL_ERROR_CORRUPT : -1;
        assert_int_equal(open_reason(fixture, id), wanted);
        if (wanted >= 0)
            continue;
        add_result(fixture, id, 0, RESULT_DEFERRED, "after the torn line");
        g_autoptr(SpoolMessage) message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
        assert_string_equal(spool_message_result(message, 0)->text, "after the torn line");
        const Result *other = spool_message_result(message, 1);
        assert_true(other ? g_str_equal(other->text, "first") || g_str_equal(other->text, "second")
                          : cut < end_of_envelope + 60);
    }
}

static void damaged_message_goes_to_corrupt(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *id = store(fixture, CONTENT, strlen(CONTENT), false);
    g_autofree char *path = path_of(fixture, SPOOL_QUEUE, id);
    g_autofree char *moved = path_of(fixture, SPOOL_CORRUPT, id);
    g_autoptr(GError) error = NULL;
    SpoolError what;
    bool done;
    int fd = open(path, O_RDWR);

    /* content: seen by who reads it */
    assert_int_equal(pwrite(fd, "X", 1, FIRST_LINE_LEN + 3), 1);
    {
        g_autoptr(SpoolMessage) message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
        SpoolContent reader = {.message = message};
        char piece[100];
        assert_int_equal(spool_content_read(&reader, piece, sizeof piece, &error), strlen(CONTENT));
        assert_int_equal(spool_content_read(&reader, piece, sizeof piece, &error), -1);
        assert_true(g_error_matches(error, SPOOL_ERROR, SPOOL_ERROR_CORRUPT));
    }
    /* envelope: seen by who opens it */
    assert_int_equal(pwrite(fd, "X", 1, FIRST_LINE_LEN + (off_t)strlen(CONTENT) + 15), 1);
    close(fd);
    assert_int_equal(open_reason(fixture, id), SPOOL_ERROR_CORRUPT);
    assert_true(spool_recover(fixture->spool, SPOOL_QUEUE, id, &what, &done, NULL));
    assert_true(done && what == SPOOL_ERROR_CORRUPT);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(moved, F_OK), 0);
}

static void results_are_kept_and_final_ones_stay(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *id = store(fixture, CONTENT, strlen(CONTENT), false);

    add_result(fixture, id, 0, RESULT_DEFERRED, "one");
    add_result(fixture, id, 0, RESULT_SENT, "two");
    add_result(fixture, id, 0, RESULT_DEFERRED, "three");
    add_result(fixture, id, 7, RESULT_SENT, "nobody");
    g_autoptr(SpoolMessage) message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
    assert_int_equal(spool_message_result(message, 0)->status, RESULT_SENT);
    assert_string_equal(spool_message_result(message, 0)->text, "two");
    assert_null(spool_message_result(message, 1));
}

static void many_results_are_read(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *id = store(fixture, CONTENT, strlen(CONTENT), false);
    g_autofree char *path = path_of(fixture, SPOOL_QUEUE, id);
    g_autofree char *junk = g_strnfill(20000, 'j');

    for (int i = 0; i < 100; i++) {
        g_autofree char *text = g_strdup_printf("%d %0*d", i, i * 17, 0);
        add_result(fixture, id, 1, RESULT_DEFERRED, text);
        if (i == 50) {
            int fd = open(path, O_WRONLY | O_APPEND);
            assert_true(fd_write_all(fd, junk, 20000));
            close(fd);
        }
    }
    g_autoptr(SpoolMessage) message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
    assert_true(g_str_has_prefix(spool_message_result(message, 1)->text, "99 0"));
}

static void next_attempt_is_the_files_time(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *id = store(fixture, CONTENT, strlen(CONTENT), false);
    gint64 when;

    {
        g_autoptr(SpoolMessage) message = spool_message_open(fixture->spool, SPOOL_QUEUE, id, SPOOL_LOCK, NULL);
        assert_true(spool_message_set_next_attempt(message, 2000000000, NULL));
    }
    assert_true(spool_next_attempt(fixture->spool, SPOOL_QUEUE, id, &when));
    assert_int_equal(when, 2000000000);
}

static void names_from_outside_stay_inside(void **state)
{
    Fixture *fixture = *state;

    assert_int_equal(open_reason(fixture, "../../etc/passwd"), SPOOL_ERROR_GONE);
    assert_int_equal(open_reason(fixture, ""), SPOOL_ERROR_GONE);
}

#define THREADS 16
#define MESSAGES 20

static void *store_many(void *data)
{
    for (int i = 0; i < MESSAGES; i++) {
        g_autofree char *id = store(data, CONTENT, strlen(CONTENT), false);
        if (!id)
            return data;
    }
    return NULL;
}

/* While they write, somebody recovers what looks left over: no message may get lost by it. */
static void many_writers_and_a_recovery_at_once(void **state)
{
    Fixture *fixture = *state;
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, store_many, fixture), 0);
    for (int i = 0; i < 20; i++)
        recover_all(fixture, SPOOL_QUEUE);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    g_autoptr(GPtrArray) queued = list(fixture, SPOOL_QUEUE);
    assert_int_equal(queued->len, THREADS * MESSAGES);
    for (guint i = 0; i < queued->len; i++)
        assert_whole(fixture, SPOOL_QUEUE, g_ptr_array_index(queued, i), CONTENT, strlen(CONTENT));
}

static void directories_cannot_be_made(void **state)
{
    SpoolOptions options = {.directory = "/proc/none/gatepost"};
    g_autoptr(GError) error = NULL;

    assert_null(spool_open(&options, &error));
    assert_non_null(strstr(error->message, "/proc/none/gatepost: No such file"));
}

static void *answer_once(void *data)
{
    int fds[1];
    char text[QUEUE_NOTIFY_MAX];
    size_t count = 0;

    if (fd_receive(*(int *)data, text, sizeof text, fds, 1, &count) != 1 || count != 1 ||
        text[0] != QUEUE_NOTIFY_ACTIVE)
        return data;
    queue_answer_active(fds[0], "AAAAAA\nBBBBBB\n", 14);
    close(fds[0]);
    return NULL;
}

static void queue_manager_is_told_and_asked(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *public = g_strconcat(fixture->directory, "/public", NULL);
    g_autoptr(QueueNotify) notify = queue_notify_open(fixture->directory, NULL);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char text[QUEUE_NOTIFY_MAX];
    pthread_t thread;
    void *failed;

    assert_false(queue_notify_send(notify, QUEUE_NOTIFY_NEW, "ABCDEF"));
    assert_null(queue_ask_active(notify, 1000, NULL));
    mkdir(public, 0700);
    g_snprintf(name.sun_path, sizeof name.sun_path, "%s/qmgr", public);
    assert_int_equal(bind(listener, (struct sockaddr *)&name, sizeof name), 0);
    assert_true(queue_notify_send(notify, QUEUE_NOTIFY_NEW, "ABCDEF"));
    assert_int_equal(recv(listener, text, sizeof text, 0), 7);
    assert_memory_equal(text, "NABCDEF", 7);
    pthread_create(&thread, NULL, answer_once, &listener);
    g_autoptr(GPtrArray) active = queue_ask_active(notify, 10000, NULL);
    assert_non_null(active);
    assert_int_equal(active->len, 2);
    assert_string_equal(g_ptr_array_index(active, 1), "BBBBBB");
    pthread_join(thread, &failed);
    assert_null(failed);
    while (queue_notify_send(notify, QUEUE_NOTIFY_FLUSH, NULL)) /* until the socket is full: it does not block */
        ;
    close(listener);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(shards_lie_apart_where_the_file_system_can),
        TEST(message_comes_back),
        TEST(large_pieces_and_small_ones_keep_their_order),
        TEST(writer_owns_its_message_until_committed),
        TEST(crash_at_each_call_leaves_all_or_nothing),
        TEST(failure_of_each_call_leaves_nothing),
        TEST(failed_sync_is_final),
        TEST(file_torn_at_every_octet),
        TEST(damaged_message_goes_to_corrupt),
        TEST(results_are_kept_and_final_ones_stay),
        TEST(many_results_are_read),
        TEST(next_attempt_is_the_files_time),
        TEST(names_from_outside_stay_inside),
        TEST(many_writers_and_a_recovery_at_once),
        TEST(directories_cannot_be_made),
        TEST(queue_manager_is_told_and_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
