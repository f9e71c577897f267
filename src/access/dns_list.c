/* dns_list.c - patterns of the addresses with which a DNS list answers. */
#include "access/dns_list.h"
#include "base/fail.h"

#include <arpa/inet.h>
#include <string.h>

typedef struct {
    const char *text; /* the whole pattern */
    const char *at;
    GError **error;
} Reader;

static size_t token_length(const char *at)
{
    size_t digits = strspn(at, "0123456789");

    return digits > 0 ? digits : *at != '\0';
}

static bool complain(const Reader *reader, const char *problem, const char *at)
{
    size_t len = token_length(at);

    return fail(reader->error, "%s at \"%.*s>%.*s<%s\"", problem, (int)(at - reader->text), reader->text, (int)len, at,
                at + len);
}

/* False, and nothing read: no number from 0 to 255. */
static bool read_number(Reader *reader, unsigned *ret_number)
{
    size_t len = strspn(reader->at, "0123456789");
    guint64 number = len > 0 && len < 10 ? g_ascii_strtoull(reader->at, NULL, 10) : 256;

    if (number > 255)
        return false;
    *ret_number = (unsigned)number;
    reader->at += len;
    return true;
}

static void add_range(guint8 values[32], unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++)
        values[i / 8] |= (guint8)(1u << i % 8);
}

static bool read_range(Reader *reader, guint8 values[32])
{
    unsigned first, last;

    if (!read_number(reader, &first))
        return complain(reader, "need decimal number 0..255", reader->at);
    last = first;
    if (g_str_has_prefix(reader->at, "..")) {
        reader->at += 2;
        const char *second = reader->at;
        if (!read_number(reader, &last))
            return complain(reader, "need decimal number 0..255", reader->at);
        if (last < first)
            return complain(reader, "numeric range error", second);
    }
    add_range(values, first, last);
    return true;
}

static bool read_octet(Reader *reader, guint8 values[32])
{
    unsigned number;

    if (read_number(reader, &number)) {
        add_range(values, number, number);
        return true;
    }
    if (*reader->at != '[')
        return complain(reader, "need decimal number 0..255 or \"[\"", reader->at);
    do {
        reader->at++;
        if (!read_range(reader, values))
            return false;
    } while (*reader->at == ';');
    if (*reader->at != ']')
        return complain(reader, "need \";\" or \"]\"", reader->at);
    reader->at++;
    return true;
}

static bool read_pattern(DnsList *list, const char *text, GError **error)
{
    Reader reader = {.text = text, .at = text, .error = error};

    if (*text == '\0')
        return fail(error, "empty address pattern");
    for (int i = 0; i < 4; i++) {
        if (i > 0 && *reader.at++ != '.')
            return complain(&reader, "need \".\"", reader.at - 1);
        if (!read_octet(&reader, list->octets[i]))
            return false;
    }
    return *reader.at == '\0' || complain(&reader, "garbage after pattern", reader.at);
}

DnsList *dns_list_new(const char *text, GError **error)
{
    g_autoptr(DnsList) list = g_new0(DnsList, 1);
    const char *equals = strchr(text, '=');

    list->text = g_strdup(text);
    list->domain = equals ? g_strndup(text, (size_t)(equals - text)) : g_strdup(text);
    list->any = !equals;
    if (equals && !read_pattern(list, equals + 1, error))
        return NULL;
    return g_steal_pointer(&list);
}

void dns_list_free(DnsList *list)
{
    if (!list)
        return;
    g_free(list->text);
    g_free(list->domain);
    g_free(list);
}

bool dns_list_matches(const DnsList *list, const char *addr)
{
    guint8 octets[4];

    if (inet_pton(AF_INET, addr, octets) != 1)
        return false;
    for (int i = 0; i < 4; i++)
        if (!list->any && !(list->octets[i][octets[i] / 8] & 1u << octets[i] % 8))
            return false;
    return true;
}
