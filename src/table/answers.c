/* answers.c - the words of two protocols. */
#include "table/answers.h"
#include "base/fail.h"
#include "base/log.h"

#include <string.h>

#define SHOWN_MAX 200 /* octets of a server's text in an error */

/* ---- socketmap: netstrings, "LENGTH:TEXT," ---- */

/* Where the text begins and how long it is: its length's end, 0 while that goes on, -1 for error. */
static gssize read_length(const char *data, size_t len, size_t *ret_length, GError **error)
{
    size_t length = 0;

    for (size_t i = 0; i < len; i++) {
        if (data[i] == ':' && i > 0) {
            *ret_length = length;
            return (gssize)i + 1;
        }
        if (!g_ascii_isdigit(data[i])) {
            fail(error, "input format error");
            return -1;
        }
        length = length * 10 + (size_t)(data[i] - '0');
        if (length > SOCKETMAP_TEXT_MAX) {
            fail(error, "input exceeds size limit");
            return -1;
        }
    }
    return 0;
}

gssize socketmap_frame(const char *data, size_t len, GError **error)
{
    size_t length = 0;
    gssize begin = read_length(data, len, &length, error);

    if (begin <= 0 || len < (size_t)begin + length + 1)
        return MIN(begin, 0);
    if (data[(size_t)begin + length] == ',')
        return begin + (gssize)length + 1;
    fail(error, "input format error");
    return -1;
}

GString *socketmap_request(const char *map, const char *key)
{
    GString *request = g_string_new(NULL);

    g_string_append_printf(request, "%zu:%s %s,", strlen(map) + 1 + strlen(key), map, key);
    return request;
}

static TableResult refuse(GError **error, const char *what, const char *text, size_t len)
{
    g_autofree char *shown = log_quote(text, MIN(len, SHOWN_MAX));

    fail(error, "%s%s%s", what, *shown ? ": " : "", shown);
    return TABLE_FAILED;
}

/* A C string, unless there is a NUL in it: who knows what the rest would have been. */
static TableResult take_value(const char *text, size_t len, char **ret_value, GError **error)
{
    if (memchr(text, '\0', len))
        return refuse(error, "malformed reply", text, len);
    *ret_value = g_strndup(text, len);
    return TABLE_FOUND;
}

TableResult socketmap_answer(const char *reply, size_t len, char **ret_value, GError **error)
{
    static const struct {
        const char *word, *meaning;
    } failures[] = {{"TEMP", "socketmap server temporary error"},
                    {"TIMEOUT", "socketmap server timeout error"},
                    {"PERM", "socketmap server permanent error"}};
    size_t length = 0;
    gssize begin = read_length(reply, len, &length, error);

    if (begin <= 0)
        return TABLE_FAILED;
    const char *text = reply + begin;
    const char *blank = memchr(text, ' ', length);
    g_autofree char *word = g_strndup(text, blank ? (size_t)(blank - text) : length);
    const char *rest = blank ? blank + 1 : text + length;
    size_t rest_len = (size_t)(text + length - rest);
    if (strcmp(word, "OK") == 0 && blank)
        return take_value(rest, rest_len, ret_value, error);
    if (strcmp(word, "NOTFOUND") == 0)
        return TABLE_ABSENT;
    for (size_t i = 0; i < G_N_ELEMENTS(failures); i++)
        if (strcmp(word, failures[i].word) == 0)
            return refuse(error, failures[i].meaning, rest, rest_len);
    return refuse(error, "socketmap server unknown error", text, length);
}

/* ---- tcp: "get KEY", and "CODE TEXT", with %XX ---- */

gssize tcp_frame(const char *data, size_t len, GError **error)
{
    const char *end = memchr(data, '\n', len);

    return end ? end - data + 1 : 0;
}

GString *tcp_request(const char *key)
{
    GString *request = g_string_new("get ");

    for (; *key; key++) {
        if (g_ascii_isgraph(*key) && *key != '%')
            g_string_append_c(request, *key);
        else
            g_string_append_printf(request, "%%%02X", (unsigned char)*key);
    }
    g_string_append_c(request, '\n');
    return request;
}

/* NULL: a percent sign without two digits. The caller frees. */
static GString *decode(const char *text, size_t len)
{
    g_autoptr(GString) decoded = g_string_new(NULL);

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            g_string_append_c(decoded, text[i]);
            continue;
        }
        if (i + 2 >= len || !g_ascii_isxdigit(text[i + 1]) || !g_ascii_isxdigit(text[i + 2]))
            return NULL;
        g_string_append_c(decoded, (char)(g_ascii_xdigit_value(text[i + 1]) << 4 | g_ascii_xdigit_value(text[i + 2])));
        i += 2;
    }
    return g_steal_pointer(&decoded);
}

TableResult tcp_answer(const char *reply, size_t len, char **ret_value, GError **error)
{
    if (len > 0 && reply[len - 1] == '\n')
        len--;
    bool well_formed = len >= 4 && g_ascii_isdigit(reply[0]) && g_ascii_isdigit(reply[1]) &&
                       g_ascii_isdigit(reply[2]) && g_ascii_isspace(reply[3]);
    g_autoptr(GString) text = well_formed ? decode(reply + 4, len - 4) : NULL;
    if (!text)
        return refuse(error, "malformed reply", reply, len);
    if (strncmp(reply, "200", 3) == 0)
        return take_value(text->str, text->len, ret_value, error);
    if (strncmp(reply, "500", 3) == 0)
        return TABLE_ABSENT;
    return refuse(error, strncmp(reply, "400", 3) == 0 ? "server error" : "bad status code", reply, len);
}
