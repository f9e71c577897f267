/* Headers and their addresses: whatever comes, octets are neither made nor lost but by the limit, and mapping with
 * identity changes nothing. */
#include "mail/address_list.h"
#include "mail/header.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *same(void *user, const char *address)
{
    return g_strdup(address);
}

static char *other(void *user, const char *address)
{
    return g_strconcat(address, "@x", NULL);
}

static void take_header(void *user, const char *text, size_t len)
{
    g_autoptr(GString) copy = g_string_new(NULL);
    g_autoptr(GString) mapped = g_string_new(NULL);
    size_t value = 0;

    if (header_name(text, len, &value) == 0 || len > 64)
        abort();
    bool changed = address_list_map(text + value, len - value, 100, same, NULL, copy); /* source routes go */
    if (!changed && (copy->len != len - value || memcmp(copy->str, text + value, copy->len) != 0))
        abort();
    if (changed && !memchr(text + value, '@', len - value))
        abort();
    address_list_map(text + value, len - value, 100, other, NULL, mapped);
    /* No line of a header may come to stand at the start of a line of its own. */
    for (size_t i = 0; i < mapped->len; i++)
        if (mapped->str[i] == '\n' && mapped->str[i + 1] != ' ' && mapped->str[i + 1] != '\t')
            abort();
    g_string_append_len(user, text, (gssize)len);
    g_string_append_c(user, '\n');
}

static void take_end(void *user)
{
}

static void take_body(void *user, const char *data, size_t len, bool ends_line)
{
    g_string_append_len(user, data, (gssize)len);
    if (ends_line)
        g_string_append_c(user, '\n');
}

static const HeaderSink sink = {take_header, take_end, take_body};

static GString *read_all(const char *text, size_t size, size_t portion)
{
    GString *out = g_string_new(NULL);
    HeaderReader reader;

    header_reader_init(&reader, 64, &sink, out);
    for (size_t at = 0; at < size;) {
        const char *lf = memchr(text + at, '\n', size - at);
        size_t line = lf ? (size_t)(lf - text) - at : size - at;
        size_t len = MIN(line, portion);
        bool ends_line = lf && len == line;
        header_reader_add(&reader, text + at, len, ends_line);
        at += len + ends_line;
    }
    header_reader_finish(&reader);
    header_reader_clear(&reader);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    g_autoptr(GString) whole = read_all((const char *)data + 1, size - 1, size);
    g_autoptr(GString) parts = read_all((const char *)data + 1, size - 1, data[0] + 1u);
    if (!g_string_equal(whole, parts))
        abort();
    return 0;
}
