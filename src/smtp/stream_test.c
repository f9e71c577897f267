/* stream_test.c - buffers against a peer at the other end of a socketpair, whose octets lie there beforehand. */
#include "base/fd.h"
#include "smtp/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static Account account = {.limit = 1000000};

/* A stream, and its peer's descriptor with input in it. */
static Stream stream_with_peer(const char *input, int *ret_peer)
{
    Stream stream;
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    assert_true(fd_write_all(ends[1], input, strlen(input)));
    stream_init(&stream, ends[0], &account);
    *ret_peer = ends[1];
    return stream;
}

static void input_is_consumed_in_pieces(void **state)
{
    auto_fd peer = -1;
    Stream stream = stream_with_peer("one two", &peer);
    size_t len;

    assert_int_equal(stream_fill(&stream, 100), STREAM_OK);
    stream_consume(&stream, 4);
    assert_memory_equal(stream_peek(&stream, &len), "two", 3);
    assert_int_equal(len, 3);
    assert_int_equal(stream_fill(&stream, 100), STREAM_WAIT);
    stream_consume(&stream, 3);
    stream_peek(&stream, &len);
    assert_int_equal(len, 0);
    stream_clear(&stream);
}

static void a_limit_holds_up_reading(void **state)
{
    auto_fd peer = -1;
    Stream stream = stream_with_peer("0123456789", &peer);
    size_t len;

    assert_int_equal(stream_fill(&stream, 4), STREAM_OK);
    assert_int_equal(stream_fill(&stream, 4), STREAM_OK);
    assert_memory_equal(stream_peek(&stream, &len), "0123", 4);
    assert_int_equal(len, 4);
    assert_true(stream_has_more(&stream));
    stream_clear(&stream);
}

static void it_is_over_when_all_was_consumed(void **state)
{
    auto_fd peer = -1;
    Stream stream = stream_with_peer("RSET\r\nQUIT\r\n", &peer);

    assert_false(stream_is_over(&stream));
    assert_int_equal(stream_fill(&stream, 100), STREAM_OK);
    fd_clear(&peer);
    assert_false(stream_is_over(&stream));
    stream_consume(&stream, 11); /* less is left than was consumed */
    assert_false(stream_is_over(&stream));
    stream_consume(&stream, 1);
    assert_true(stream_is_over(&stream));
    stream_clear(&stream);
}

static void what_came_too_early_is_counted(void **state)
{
    auto_fd peer = -1;
    Stream stream = stream_with_peer("STARTTLS\r\nMAIL", &peer);

    assert_int_equal(stream_fill(&stream, 12), STREAM_OK);
    stream_consume(&stream, 10);
    assert_int_equal(stream_discard(&stream), 4); /* two held, two in the kernel */
    assert_false(stream_has_more(&stream));
    stream_clear(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_is_consumed_in_pieces),
        cmocka_unit_test(a_limit_holds_up_reading),
        cmocka_unit_test(it_is_over_when_all_was_consumed),
        cmocka_unit_test(what_came_too_early_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
