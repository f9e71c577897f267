/* quarantine_test.c - what goes in, what is found, what expires; several at once; killed, or out of disk, at every
 * step. */
#include "base/clock.h"
#include "base/fd.h"
#include "quarantine/keeper.h"
#include "quarantine/private.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What happens at the call number `at` (from 1) of those that are wrapped, of our own code (not SQLite's). */
static struct {
    enum { NOTHING, FAILURE, CRASH } what;
    _Atomic int calls;
    int at;
} fault;
static int step_failure = SQLITE_FULL; /* of SQLite's */

static bool fault_here(void)
{
    if (fault.what == NOTHING || ++fault.calls != fault.at)
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
        return fault_here() ? -1 : __real_##name args;                                                                 \
    }
WRAP(int, fsync, (int fd), (fd))
WRAP(ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len))
WRAP(int, flock, (int fd, int how), (fd, how))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, openat64, (int fd, const char *path, int flags, mode_t mode), (fd, path, flags, mode))

int __real_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement)
{
    return fault_here() ? step_failure : __real_sqlite3_step(statement);
}

static void set_fault(int what, int at)
{
    fault.what = what;
    fault.at = at;
    fault.calls = 0;
}

/* ---- fixture ---- */

typedef struct {
    char *parent;
    char *directory;
    Quarantine *quarantine;
    Account account;
} Fixture;

static int set_up(void **state)
{
    Fixture *fixture = g_new0(Fixture, 1);

    fixture->parent = g_dir_make_tmp("quarantine-XXXXXX", NULL);
    fixture->directory = g_strconcat(fixture->parent, "/quarantine", NULL);
    fixture->quarantine = quarantine_open(fixture->directory, NULL);
    *state = fixture;
    return fixture->quarantine ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;

    set_fault(NOTHING, 0);
    quarantine_free(fixture->quarantine);
    nftw(fixture->parent, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_free(fixture->parent);
    g_free(fixture->directory);
    g_free(fixture);
    return 0;
}

typedef struct {
    const char *sender, *recipient, *other, *addr, *name, *reason, *trace;
    size_t size; /* of content; 0: CONTENT */
} Given;

#define CONTENT "Subject: x\n\n.dot\n\nlast"

/* Its id (caller frees); NULL: error. */
static char *store(Quarantine *quarantine, Fixture *fixture, const Given *given, GError **error)
{
    static const QuarantineVerdict verdicts[] = {{"checks", "accept", NULL, 3},
                                                 {"command:scan", "quarantine", "EICAR\x1b[2J found", 1200}};
    g_autoptr(Envelope) envelope = envelope_new();
    Content *content = content_new(fixture->parent, &fixture->account);
    XfAttrs client = {0};
    char *id = NULL;

    envelope->sender = g_strdup(given->sender ? given->sender : "a@b.example");
    envelope->arrival_us = 1795336928123456;
    envelope->body = BODY_8BITMIME;
    envelope_add(envelope, given->recipient ? given->recipient : "user@virt.example");
    if (given->other)
        envelope_add(envelope, given->other);
    xf_attrs_set(&client, XF_ADDR, given->addr ? given->addr : "192.0.2.1");
    xf_attrs_set(&client, XF_NAME, given->name ? given->name : "Client.example");
    xf_attrs_set(&client, XF_HELO, "");
    if (given->size > 0) {
        g_autofree char *line = g_strnfill(given->size - 1, 'x');
        content_add(content, line, given->size - 1, true);
    } else {
        content_add(content, CONTENT, strlen(CONTENT), false);
    }
    QuarantineMessage message = {.envelope = envelope,
                                 .client = &client,
                                 .content = content,
                                 .reason = given->reason ? given->reason : "Virus found",
                                 .nexthop = "127.0.0.1:10026",
                                 .trace = given->trace,
                                 .verdicts = verdicts,
                                 .verdict_count = G_N_ELEMENTS(verdicts)};
    if (!quarantine_store(quarantine, &message, &id, error))
        assert_null(id);
    content_free(content);
    xf_attrs_clear(&client);
    return id;
}

static char *store_fine(Fixture *fixture, const Given *given)
{
    g_autoptr(GError) error = NULL;
    char *id = store(fixture->quarantine, fixture, given, &error);

    assert_string_equal(error ? error->message : "", "");
    return id;
}

static char *content_of(Quarantine *quarantine, const char *id)
{
    g_autofree char *path = quarantine_content_path(quarantine, id);

    return fd_read_file(path, 1 << 20, NULL, NULL);
}

static guint files_in(const Fixture *fixture)
{
    g_autofree char *path = g_strconcat(fixture->directory, "/content", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint count = 0;

    while (g_dir_read_name(dir))
        count++;
    return count;
}

static char *found(Quarantine *quarantine, const QuarantineFilter *filter)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) ids = quarantine_find(quarantine, filter, &error);

    assert_non_null(ids);
    g_ptr_array_add(ids, NULL);
    return g_strjoinv(" ", (char **)ids->pdata);
}

static guint rows_in(Quarantine *quarantine)
{
    g_autoptr(GPtrArray) ids = quarantine_find(quarantine, &(QuarantineFilter){0}, NULL);

    assert_non_null(ids);
    return ids->len;
}

/* ---- in and found ---- */

static void test_store_and_load(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    gint64 before = clock_wall_us();
    g_autofree char *id = store_fine(fixture, &(Given){.other = "b \"q\"@virt.example", .trace = "T1"});
    g_autofree char *typed = g_ascii_strup(id, -1);
    g_autoptr(QuarantineRecord) record = quarantine_load(fixture->quarantine, typed, &error);
    g_autofree char *content = content_of(fixture->quarantine, id);
    struct stat status;

    assert_non_null(record);
    assert_int_equal(strlen(id), 8);
    assert_string_equal(record->id, id);
    assert_true(record->stored_us >= before && record->stored_us <= clock_wall_us());
    assert_int_equal(record->size, strlen(CONTENT));
    assert_int_equal(record->state, QUARANTINE_HELD);
    assert_string_equal(record->reason, "Virus found");
    assert_string_equal(record->trace, "T1");
    assert_string_equal(record->nexthop, "127.0.0.1:10026");
    assert_string_equal(record->envelope->sender, "a@b.example");
    assert_int_equal(record->envelope->arrival_us, 1795336928123456);
    assert_int_equal(record->envelope->body, BODY_8BITMIME);
    assert_int_equal(record->envelope->recipients->len, 2);
    assert_string_equal(((Recipient *)g_ptr_array_index(record->envelope->recipients, 1))->address,
                        "b \"q\"@virt.example");
    assert_string_equal(record->client.value[XF_NAME], "Client.example");
    assert_string_equal(record->client.value[XF_HELO], "");
    assert_null(record->client.value[XF_PORT]);
    assert_int_equal(record->verdicts->len, 2);
    const QuarantineRecordVerdict *verdict = g_ptr_array_index(record->verdicts, 1);
    assert_string_equal(verdict->inspector, "command:scan");
    assert_string_equal(verdict->action, "quarantine");
    assert_string_equal(verdict->text, "EICAR\x1b[2J found");
    assert_int_equal(verdict->milliseconds, 1200);
    assert_int_equal(record->events->len, 1);
    assert_string_equal(((QuarantineEvent *)g_ptr_array_index(record->events, 0))->what, "quarantined");
    assert_string_equal(content, CONTENT);
    assert_int_equal(stat(fixture->directory, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_null(quarantine_load(fixture->quarantine, "../../etc", &error));
    assert_true(g_error_matches(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND));
    g_clear_error(&error);
    assert_null(quarantine_load(fixture->quarantine, "zzzzzzzz", &error));
    assert_true(g_error_matches(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND));
}

static void test_open_again(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *id = store_fine(fixture, &(Given){0});
    g_autoptr(GError) error = NULL;

    quarantine_free(fixture->quarantine);
    fixture->quarantine = quarantine_open(fixture->directory, &error);
    g_autofree char *all = found(fixture->quarantine, &(QuarantineFilter){0});
    assert_string_equal(all, id);
    assert_int_equal(chmod(fixture->directory, 0755), 0);
    assert_null(quarantine_open(fixture->directory, &error));
    assert_non_null(strstr(error->message, "must belong to user id"));
}

static void test_find(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *one = store_fine(fixture, &(Given){.sender = "A@B.example", .addr = "192.0.2.7", .trace = "T1"});
    g_autofree char *two =
        store_fine(fixture, &(Given){.sender = "", .recipient = "x@other.example", .name = "n.example"});
    g_autofree char *three = store_fine(fixture, &(Given){.other = "x@other.example", .reason = "Spam 100%"});
    g_autofree char *all = g_strjoin(" ", one, two, three, NULL);
    g_autofree char *last_two = g_strjoin(" ", two, three, NULL);
    g_autofree char *one_three = g_strjoin(" ", one, three, NULL);
    g_autoptr(QuarantineRecord) second = quarantine_load(fixture->quarantine, two, NULL);
    const struct {
        QuarantineFilter filter;
        const char *wanted;
    } table[] = {
        {{0}, all},
        {{.limit = 2}, last_two},
        {{.sender = "a@b.EXAMPLE"}, one_three},
        {{.sender = "@b.example"}, one_three},
        {{.sender = "@example"}, ""},
        {{.sender = ""}, two},
        {{.sender = "<>"}, two},
        {{.recipient = "x@other.example"}, last_two},
        {{.recipient = "@virt.example"}, one_three},
        {{.recipient = "'; DROP TABLE message; --"}, ""},
        {{.client = "192.0.2.7"}, one},
        {{.client = "N.EXAMPLE"}, two},
        {{.client = ""}, ""},
        {{.reason = "VIRUS"}, NULL},
        {{.reason = "100%"}, three},
        {{.reason = "%"}, three},
        {{.trace = "T1"}, one},
        {{.since_us = second->stored_us}, last_two},
        {{.until_us = second->stored_us - 1}, one},
        {{.states = 1 << QUARANTINE_HELD}, all},
        {{.states = 1 << QUARANTINE_RELEASED}, ""},
        {{.sender = "a@b.example", .recipient = "x@other.example"}, three},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *got = found(fixture->quarantine, &table[i].filter);
        if (table[i].wanted)
            assert_string_equal(got, table[i].wanted);
    }
    assert_true(quarantine_matches("@B.example", "x@b.example"));
    assert_false(quarantine_matches("@b.example", "x@ab.example"));
    assert_true(quarantine_matches("<>", ""));
}

/* ---- out ---- */

static void set_age(Fixture *fixture, const char *id, gint64 seconds)
{
    g_autoptr(GError) error = NULL;

    assert_true(db_enter(fixture->quarantine, &error));
    assert_true(db_run(fixture->quarantine, &error, "UPDATE message SET stored = ? WHERE id = ?", "it",
                       clock_wall_us() - seconds * G_USEC_PER_SEC, id));
    db_leave(fixture->quarantine);
}

static void age_file(Fixture *fixture, const char *id, gint64 seconds)
{
    g_autofree char *path = quarantine_content_path(fixture->quarantine, id);
    struct timespec times[2] = {{.tv_sec = clock_wall_us() / G_USEC_PER_SEC - seconds}};

    times[1] = times[0];
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_delete(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *one = store_fine(fixture, &(Given){0});
    g_autofree char *two = store_fine(fixture, &(Given){0});
    g_autofree char *path = quarantine_content_path(fixture->quarantine, two);
    g_autoptr(GError) error = NULL;

    auto_fd lock = quarantine_lock_content(fixture->quarantine, one, &error);
    assert_true(lock >= 0);
    assert_false(quarantine_delete(fixture->quarantine, one, &error));
    assert_true(g_error_matches(error, QUARANTINE_ERROR, QUARANTINE_ERROR_BUSY));
    g_clear_error(&error);
    fd_clear(&lock);
    assert_true(quarantine_delete(fixture->quarantine, one, &error));
    assert_int_equal(files_in(fixture), 1);
    assert_false(quarantine_delete(fixture->quarantine, one, &error));
    assert_true(g_error_matches(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NOT_FOUND));
    g_clear_error(&error);
    assert_int_equal(unlink(path), 0); /* somebody's hand: the row can be deleted all the same */
    assert_true(quarantine_delete(fixture->quarantine, two, &error));
    assert_int_equal(rows_in(fixture->quarantine), 0);
}

static void test_expire(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *old = store_fine(fixture, &(Given){.size = 1000});
    g_autofree char *used = store_fine(fixture, &(Given){.size = 1000});
    g_autofree char *middle = store_fine(fixture, &(Given){.size = 1000});
    g_autofree char *young = store_fine(fixture, &(Given){.size = 1000});
    g_autofree char *released = store_fine(fixture, &(Given){.size = 1000});
    g_autoptr(GError) error = NULL;
    QuarantineExpired expired;

    set_age(fixture, old, 200);
    set_age(fixture, used, 200);
    set_age(fixture, middle, 50);
    set_age(fixture, young, 40);
    assert_true(db_enter(fixture->quarantine, &error));
    assert_true(db_run(fixture->quarantine, &error, "UPDATE message SET state = 3 WHERE id = ?", "t", released));
    db_leave(fixture->quarantine);
    auto_fd lock = quarantine_lock_content(fixture->quarantine, used, &error);
    assert_true(lock >= 0);
    assert_true(quarantine_expire(fixture->quarantine, &(QuarantineLimits){0}, &expired, &error));
    assert_int_equal(rows_in(fixture->quarantine), 5);
    assert_true(quarantine_expire(fixture->quarantine, &(QuarantineLimits){.max_age_s = 100, .max_size = 4000},
                                  &expired, &error));
    assert_int_equal(expired.by_age, 1);
    assert_int_equal(expired.by_size, 0);
    assert_true(quarantine_expire(fixture->quarantine, &(QuarantineLimits){.max_size = 3000}, &expired, &error));
    assert_int_equal(expired.by_size, 1);
    g_autofree char *left = found(fixture->quarantine, &(QuarantineFilter){0});
    g_autofree char *wanted = g_strjoin(" ", used, middle, young, NULL);
    assert_string_equal(left, wanted); /* the released one went first */
    assert_true(quarantine_expire(fixture->quarantine, &(QuarantineLimits){.max_size = 1999}, &expired, &error));
    assert_int_equal(expired.by_size, 2);
    g_autofree char *locked = found(fixture->quarantine, &(QuarantineFilter){0});
    assert_string_equal(locked, used);
    assert_int_equal(files_in(fixture), 1);
}

static void test_garbage(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *id = store_fine(fixture, &(Given){0});
    g_autofree char *path = g_strconcat(fixture->directory, "/content/bbbbbbbb", NULL);
    QuarantineExpired expired;

    assert_true(g_file_set_contents(path, "x", 1, NULL));
    age_file(fixture, id, 100000);
    assert_true(quarantine_expire(fixture->quarantine, &(QuarantineLimits){0}, &expired, NULL));
    assert_int_equal(expired.garbage, 0);
    age_file(fixture, "bbbbbbbb", 4000);
    auto_fd lock = quarantine_lock_content(fixture->quarantine, "bbbbbbbb", NULL);
    assert_true(quarantine_expire(fixture->quarantine, &(QuarantineLimits){0}, &expired, NULL));
    assert_int_equal(expired.garbage, 0);
    fd_clear(&lock);
    assert_true(quarantine_expire(fixture->quarantine, &(QuarantineLimits){0}, &expired, NULL));
    assert_int_equal(expired.garbage, 1);
    assert_int_equal(files_in(fixture), 1);
}

static void *run_sched(void *sched)
{
    sched_run(sched);
    return NULL;
}

static void test_keeper(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *old = store_fine(fixture, &(Given){0});
    g_autofree char *young = store_fine(fixture, &(Given){0});
    gint64 deadline = clock_ms() + 10000;
    Sched *sched = sched_new(1, NULL);
    pthread_t thread;

    set_age(fixture, old, 200);
    quarantine_keeper_add(sched, fixture->quarantine, &(QuarantineLimits){.max_age_s = 100});
    assert_int_equal(pthread_create(&thread, NULL, run_sched, sched), 0);
    while (rows_in(fixture->quarantine) == 2 && clock_ms() < deadline)
        g_usleep(1000);
    sched_quit(sched);
    pthread_join(thread, NULL);
    sched_free(sched);
    g_autofree char *left = found(fixture->quarantine, &(QuarantineFilter){0});
    assert_string_equal(left, young);
}

/* ---- faults ---- */

/* Every call of ours fails once: nothing is left, and the next message is stored. */
static void test_failures(void **state)
{
    Fixture *fixture = *state;
    int failed = 0;

    for (int at = 1;; at++) {
        g_autoptr(GError) error = NULL;
        set_fault(FAILURE, at);
        g_autofree char *id = store(fixture->quarantine, fixture, &(Given){0}, &error);
        bool reached = fault.calls >= at;
        set_fault(NOTHING, 0);
        assert_true(id ? !error : error != NULL);
        assert_int_equal(rows_in(fixture->quarantine), files_in(fixture));
        if (!id)
            failed++;
        else
            assert_true(quarantine_delete(fixture->quarantine, id, NULL));
        assert_int_equal(files_in(fixture), 0);
        if (!reached)
            break;
    }
    assert_true(failed >= 12);
}

/* The last sync of all fails: what a power cut might bring back keeps its content, which is garbage otherwise. */
static void test_unsure_commit(void **state)
{
    Fixture *fixture = *state;
    guint left = 0;

    step_failure = SQLITE_IOERR;
    for (int at = 1, reached = true; reached; at++) {
        set_fault(FAILURE, at);
        g_autofree char *id = store(fixture->quarantine, fixture, &(Given){0}, NULL);
        reached = fault.calls >= at;
        set_fault(NOTHING, 0);
        if (id)
            assert_true(quarantine_delete(fixture->quarantine, id, NULL));
        assert_true(files_in(fixture) >= left);
        left = files_in(fixture);
        assert_int_equal(rows_in(fixture->quarantine), 0);
    }
    step_failure = SQLITE_FULL;
    assert_int_equal(left, 1);
}

/* The process ends before every call of ours: no row without content, and the rest is garbage. */
static void test_crashes(void **state)
{
    Fixture *fixture = *state;

    quarantine_free(g_steal_pointer(&fixture->quarantine));
    for (int at = 1;; at++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            Quarantine *quarantine = quarantine_open(fixture->directory, NULL);
            set_fault(CRASH, at);
            char *id = store(quarantine, fixture, &(Given){0}, NULL);
            _exit(id ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        fixture->quarantine = quarantine_open(fixture->directory, NULL);
        assert_non_null(fixture->quarantine);
        bool stored = WEXITSTATUS(status) == 0;
        g_autoptr(GPtrArray) ids = quarantine_find(fixture->quarantine, &(QuarantineFilter){0}, NULL);
        for (guint i = 0; i < ids->len; i++) {
            g_autofree char *content = content_of(fixture->quarantine, g_ptr_array_index(ids, i));
            assert_string_equal(content, CONTENT);
            assert_true(quarantine_delete(fixture->quarantine, g_ptr_array_index(ids, i), NULL));
        }
        assert_true(stored || WEXITSTATUS(status) == 77);
        assert_true(!stored || ids->len == 1);
        quarantine_free(g_steal_pointer(&fixture->quarantine));
        if (stored)
            break;
        assert_true(at < 100);
    }
    fixture->quarantine = quarantine_open(fixture->directory, NULL);
}

/* Stores until it is killed; says each id when it is stored. */
static void store_forever(Fixture *fixture, int out, int count)
{
    Quarantine *quarantine = quarantine_open(fixture->directory, NULL);

    for (int i = 0; quarantine && (count == 0 || i < count); i++) {
        char *id = store(quarantine, fixture, &(Given){.size = 3000}, NULL);
        if (!id)
            _exit(1);
        (void)!write(out, id, ID_LENGTH);
        g_free(id);
    }
    _exit(quarantine ? 0 : 1);
}

#define PROCESSES 4

static void check_said(Fixture *fixture, int in)
{
    char id[ID_LENGTH + 1] = "";

    while (read(in, id, ID_LENGTH) == ID_LENGTH) {
        g_autoptr(QuarantineRecord) record = quarantine_load(fixture->quarantine, id, NULL);
        assert_non_null(record);
    }
    g_autoptr(GPtrArray) ids = quarantine_find(fixture->quarantine, &(QuarantineFilter){0}, NULL);
    for (guint i = 0; i < ids->len; i++) {
        g_autofree char *content = content_of(fixture->quarantine, g_ptr_array_index(ids, i));
        assert_int_equal(strlen(content ? content : ""), 3000);
    }
}

/* Killed at any moment, SQLite's steps among them: what was said to be stored is there, and every row has content. */
static void test_kills(void **state)
{
    Fixture *fixture = *state;

    for (int round = 0; round < 8; round++) {
        pid_t children[PROCESSES];
        int said[2];
        assert_int_equal(pipe(said), 0);
        for (int i = 0; i < PROCESSES; i++)
            if ((children[i] = fork()) == 0)
                store_forever(fixture, said[1], 0);
        close(said[1]);
        g_usleep(20000 + 7000 * (gulong)round);
        for (int i = 0; i < PROCESSES; i++) {
            kill(children[i], SIGKILL);
            waitpid(children[i], NULL, 0);
        }
        check_said(fixture, said[0]);
        close(said[0]);
    }
    assert_true(rows_in(fixture->quarantine) > 0);
}

typedef struct {
    Fixture *fixture;
    int count;
    _Atomic int stored;
} Work;

static void *store_many(void *data)
{
    Work *work = data;

    for (int i = 0; i < work->count; i++) {
        g_autofree char *id = store(work->fixture->quarantine, work->fixture, &(Given){.size = 3000}, NULL);
        work->stored += id != NULL;
    }
    return NULL;
}

static void test_at_once(void **state)
{
    Fixture *fixture = *state;
    Work work = {.fixture = fixture, .count = 10};
    pthread_t threads[PROCESSES];
    pid_t children[PROCESSES];
    int said[2], status;

    assert_int_equal(pipe(said), 0);
    for (int i = 0; i < PROCESSES; i++)
        if ((children[i] = fork()) == 0)
            store_forever(fixture, said[1], 10);
    close(said[1]);
    for (int i = 0; i < PROCESSES; i++)
        pthread_create(&threads[i], NULL, store_many, &work);
    for (int i = 0; i < PROCESSES; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(work.stored, PROCESSES * 10);
    assert_int_equal(rows_in(fixture->quarantine), 2 * PROCESSES * 10);
    check_said(fixture, said[0]);
    close(said[0]);
}

/* A small disk fills up: errors, nothing is lost or left over, and it can be emptied again. */
static void test_full_disk(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    QuarantineExpired expired;
    char *id;

    quarantine_free(g_steal_pointer(&fixture->quarantine));
    if (mount("tmpfs", fixture->directory, "tmpfs", 0, "size=4m,mode=700") < 0) {
        fixture->quarantine = quarantine_open(fixture->directory, NULL);
        skip();
    }
    fixture->quarantine = quarantine_open(fixture->directory, &error);
    assert_non_null(fixture->quarantine);
    while ((id = store(fixture->quarantine, fixture, &(Given){.size = 150000}, &error))) {
        g_ptr_array_add(ids, id);
        assert_true(ids->len < 100);
    }
    assert_true(ids->len > 5);
    assert_non_null(strstr(error->message, "No space left on device"));
    assert_int_equal(files_in(fixture), ids->len);
    assert_int_equal(rows_in(fixture->quarantine), ids->len);
    for (guint i = 0; i < ids->len; i++) {
        g_autofree char *content = content_of(fixture->quarantine, g_ptr_array_index(ids, i));
        assert_int_equal(strlen(content), 150000);
    }
    g_clear_error(&error);
    /* messages so small that the database is what grows */
    while ((id = store(fixture->quarantine, fixture, &(Given){0}, &error)))
        g_free(id);
    assert_int_equal(files_in(fixture), rows_in(fixture->quarantine));
    assert_true(quarantine_expire(fixture->quarantine, &(QuarantineLimits){.max_size = 200000}, &expired, NULL));
    assert_true(expired.by_size > 5);
    g_autofree char *again = store_fine(fixture, &(Given){.size = 150000});
    assert_non_null(again);
    quarantine_free(g_steal_pointer(&fixture->quarantine));
    assert_int_equal(umount2(fixture->directory, MNT_DETACH), 0);
}

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(test_store_and_load), WITH_FIXTURE(test_open_again), WITH_FIXTURE(test_find),
        WITH_FIXTURE(test_delete),         WITH_FIXTURE(test_expire),     WITH_FIXTURE(test_garbage),
        WITH_FIXTURE(test_keeper),         WITH_FIXTURE(test_failures),   WITH_FIXTURE(test_crashes),
        WITH_FIXTURE(test_kills),          WITH_FIXTURE(test_at_once),    WITH_FIXTURE(test_full_disk),
        WITH_FIXTURE(test_unsure_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
