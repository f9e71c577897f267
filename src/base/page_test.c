#include "base/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define LINE 7
#define OTHER_LINE 9

static int setup(void **state)
{
    int fd;

    *state = page_create(&fd);
    close(fd);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    return munmap(*state, sizeof(Page));
}

static PageRow *take_row(Page *page, guint32 line, guint32 generation)
{
    return &page->rows[page_take_row(page, line, generation)];
}

static void clients_are_counted_over_generations(void **state)
{
    Page *page = *state;
    PageRow *old = take_row(page, LINE, 1), *new = take_row(page, LINE, 2), *other = take_row(page, OTHER_LINE, 2);

    assert_int_equal(page_client_enter(page, old, "192.0.2.1"), 1);
    assert_int_equal(page_client_enter(page, old, "192.0.2.1"), 2);
    assert_int_equal(page_client_enter(page, new, "192.0.2.1"), 3);
    assert_int_equal(page_client_enter(page, new, "192.0.2.2"), 1);
    assert_int_equal(page_client_enter(page, other, "192.0.2.1"), 1);
    page_client_leave(page, old, "192.0.2.1");
    page_client_leave(page, new, "192.0.2.1");
    page_client_leave(page, new, "192.0.2.1"); /* more than came */
    assert_int_equal(page_client_enter(page, new, "192.0.2.1"), 2);
}

static void the_dead_count_no_more(void **state)
{
    Page *page = *state;
    int dead = page_take_row(page, LINE, 1);
    PageRow *alive = take_row(page, LINE, 2);

    page_client_enter(page, &page->rows[dead], "2001:db8::");
    page_client_enter(page, alive, "2001:db8::");
    page_clear_row(page, dead);
    assert_int_equal(page_client_enter(page, alive, "2001:db8::"), 2);
    PageRow *next = take_row(page, LINE, 3);
    assert_int_equal(page_client_enter(page, next, "2001:db8::"), 3);
}

static void many_clients_have_room(void **state)
{
    Page *page = *state;
    PageRow *row = take_row(page, LINE, 1);
    char client[24];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20000; i++) {
            snprintf(client, sizeof client, "10.0.%d.%d", i / 256, i % 256);
            assert_int_equal(page_client_enter(page, row, client), 1);
            assert_int_equal(page_client_enter(page, row, client), 2);
        }
        for (int i = 0; i < 20000; i++) {
            snprintf(client, sizeof client, "10.0.%d.%d", i / 256, i % 256);
            page_client_leave(page, row, client);
            page_client_leave(page, row, client);
        }
    }
    for (int i = 0; i < PAGE_BUCKETS; i++)
        for (int j = 0; j < PAGE_BUCKET; j++)
            assert_int_equal(page->clients[i][j].key, 0);
}

static void lines_that_differ_in_a_character_have_two_numbers(void **state)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    for (unsigned port = 0; port < 65536; port++) {
        g_autofree char *identity = g_strdup_printf("inet/127.0.0.1:%u", port);
        assert_int_not_equal(page_service_id(identity), 0);
        assert_true(g_hash_table_add(seen, GUINT_TO_POINTER(page_service_id(identity))));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(clients_are_counted_over_generations, setup, teardown),
        cmocka_unit_test_setup_teardown(the_dead_count_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(many_clients_have_room, setup, teardown),
        cmocka_unit_test(lines_that_differ_in_a_character_have_two_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
