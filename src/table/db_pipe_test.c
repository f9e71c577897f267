/* db_pipe_test.c - what goes through, in portions, and what does not. The server is the other end of a pair of sockets.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "table/db_pipe.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int library, server;
static DbPipe between;

static int set_up(void **state)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    library = pair[0];
    server = pair[1];
    fd_set_nonblock(server, true);
    between = DB_PIPE_NONE;
    assert_true(db_pipe_insert(&between, library));
    assert_true(fcntl(library, F_GETFL) & O_NONBLOCK); /* a read that waits would wait for itself */
    db_pipe_allow(&between, 100000);
    return 0;
}

static int tear_down(void **state)
{
    fd_clear(&library);
    db_pipe_end(&between);
    fd_clear(&server);
    return 0;
}

static gint64 soon(void)
{
    return clock_ms() + 10000;
}

static void octets_go_both_ways(void **state)
{
    char octets[16];

    assert_int_equal(write(library, "question", 8), 8);
    assert_int_equal(write(server, "answer", 6), 6);
    assert_true(db_pipe_wait(&between, library, POLLIN, soon()));
    assert_int_equal(read(server, octets, sizeof octets), 8);
    assert_int_equal(read(library, octets, sizeof octets), 6);
    assert_false(db_pipe_wait(&between, library, POLLIN, clock_ms() + 10));
    assert_true(db_pipe_wait(&between, library, POLLOUT, soon()));
    assert_true(db_pipe_insert(&between, library)); /* it is there */
    assert_int_equal(write(server, "x", 1), 1);
    shutdown(server, SHUT_WR);
    assert_true(db_pipe_wait(&between, library, POLLIN, soon()));
    assert_int_equal(read(library, octets, sizeof octets), 1);
    assert_true(db_pipe_wait(&between, library, POLLIN, soon()));
    assert_int_equal(read(library, octets, sizeof octets), 0);
}

static void much_is_sent(void **state)
{
    static char octets[65536];
    size_t written = 0, came = 0;

    while (written < 1000000) {
        ssize_t count = write(library, octets, sizeof octets);
        if (count > 0)
            written += (size_t)count;
        while ((count = read(server, octets, sizeof octets)) > 0)
            came += (size_t)count;
        assert_true(db_pipe_wait(&between, library, POLLOUT, soon()));
    }
    fd_clear(&library);
    db_pipe_end(&between); /* what was said last goes out without waiting for it */
    for (ssize_t count; (count = read(server, octets, sizeof octets)) > 0;)
        came += (size_t)count;
    assert_int_equal(came, written);
}

/* The library reads as long as there is something: it never gets more than it may. */
static void a_flood(void **state)
{
    static char octets[65536];
    size_t came = 0;
    bool goes_on = true;

    while (goes_on) {
        ssize_t count;
        while (write(server, octets, sizeof octets) > 0)
            ;
        goes_on = db_pipe_wait(&between, library, POLLIN, soon());
        while ((count = read(library, octets, sizeof octets)) > 0)
            came += (size_t)count;
        assert_true(came <= 100000);
    }
    assert_true(db_pipe_is_flooded(&between));
}

static void another_descriptor_with_the_same_number(void **state)
{
    int pair[2];
    char octet = 'x';

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(dup2(pair[0], library), library);
    close(pair[0]);
    assert_true(db_pipe_insert(&between, library));
    assert_int_equal(read(server, &octet, 1), 0); /* the former one */
    assert_int_equal(write(pair[1], "y", 1), 1);
    assert_true(db_pipe_wait(&between, library, POLLIN, soon()));
    assert_int_equal(read(library, &octet, 1), 1);
    assert_int_equal(octet, 'y');
    close(pair[1]);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(octets_go_both_ways),
        TEST(much_is_sent),
        TEST(a_flood),
        TEST(another_descriptor_with_the_same_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
