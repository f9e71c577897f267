#include "base/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void descriptor_closes_at_end_of_scope(void **state)
{
    int raw;
    {
        auto_fd fd = dup(STDERR_FILENO);
        raw = fd;
        assert_true(raw >= 0);
    }
    assert_int_equal(close(raw), -1);
    assert_int_equal(errno, EBADF);
}

static void descriptors_travel_with_a_message(void **state)
{
    int pair[2], passed[2], got[2];
    char text[16];
    size_t count;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(pipe(passed), 0);
    assert_true(fd_send(pair[0], "hello", 5, passed, 2));
    assert_int_equal(fd_receive(pair[1], text, sizeof text, got, 2, &count), 5);
    assert_int_equal(count, 2);
    assert_true(fd_write_all(got[1], "x", 1));
    assert_int_equal(read(passed[0], text, 1), 1);
    close(got[0]);
    close(got[1]);

    assert_true(fd_send(pair[0], "more than fits here", 19, passed, 2));
    assert_int_equal(fd_receive(pair[1], text, sizeof text, got, 1, &count), -1);
    assert_int_equal(errno, EMSGSIZE);

    close(pair[0]);
    assert_int_equal(fd_receive(pair[1], text, sizeof text, got, 1, &count), 0);
    close(pair[1]);
    close(passed[0]);
    close(passed[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptor_closes_at_end_of_scope),
        cmocka_unit_test(descriptors_travel_with_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
