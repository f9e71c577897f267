/* reply_fuzz.c - a peer's reply from any octets: what goes on to a client is bounded, and one reply for it, too:
 * only its last line ends it. */
#include "smtp/reply.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(Reply) reply = reply_new_empty();
    g_autoptr(GString) out = g_string_new(NULL);
    const char *at = (const char *)data, *end = at + size;
    bool last = false, garbage, whole = true;

    while (at < end && !last) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((feed ? feed : end) - at);
        reply_add_line(reply, at, len, &last, &garbage);
        whole = whole && !garbage;
        at += feed ? len + 1 : len;
    }
    if (!last)
        return 0;
    g_assert(strlen(reply_text(reply)) <= REPLY_TEXT_MAX);
    reply_append(reply, "footer\nof two lines");
    reply_write(reply, size % 2 == 0, out);
    g_assert(!memchr(out->str, '\0', out->len));
    g_assert(g_str_has_suffix(out->str, "\r\n"));
    g_autoptr(Reply) read = reply_new_empty();
    for (char *line = out->str; *line;) {
        char *cr = strchr(line, '\r');
        g_assert((size_t)(cr - line) >= 3);
        reply_add_line(read, line, (size_t)(cr - line), &last, &garbage);
        line = cr + 2;
        g_assert(last == (*line == '\0'));
    }
    int code = reply_code(reply);
    if (whole) /* what is passed on of a line that was none may look like another code */
        g_assert(reply_code(read) == (size % 2 == 0 && code / 100 == 5 ? code - 100 : code));
    for (char *c = out->str; (c = strpbrk(c, "\r\n")); c += 2)
        g_assert(c[0] == '\r' && c[1] == '\n');
    g_free(reply_for_log(reply));
    return 0;
}
