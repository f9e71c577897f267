/* answers_fuzz.c - hostile replies to lookups over sockets. */
#include "table/answers.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void understand(const char *data, size_t len, gssize (*frame)(const char *, size_t, GError **),
                       TableResult (*answer)(const char *, size_t, char **, GError **))
{
    g_autoptr(GError) error = NULL;
    g_autofree char *value = NULL;
    gssize end = frame(data, len, &error);

    if (end < 0 ? !error : (size_t)end > len)
        g_assert_not_reached();
    if (end <= 0)
        return;
    g_autofree char *exact = g_memdup2(data, (gsize)end);
    TableResult result = answer(exact, (size_t)end, &value, &error);
    if ((result == TABLE_FOUND) != (value != NULL) || (result == TABLE_FAILED) != (error != NULL))
        g_assert_not_reached();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_memdup2(data, MAX(size, 1));
    g_autofree char *key = g_strndup((const char *)data, size);
    g_autofree char *value = NULL;

    understand(text, size, socketmap_frame, socketmap_answer);
    understand(text, size, tcp_frame, tcp_answer);

    /* a server that gives back what it was sent */
    g_autoptr(GString) line = tcp_request(key);
    g_autofree char *echo = g_strconcat("200", line->str + 3, NULL);
    if (tcp_frame(echo, strlen(echo), NULL) != (gssize)strlen(echo) ||
        tcp_answer(echo, strlen(echo), &value, NULL) != TABLE_FOUND || strcmp(value, key) != 0)
        g_assert_not_reached();
    return 0;
}
