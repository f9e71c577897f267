/* header_append.c - a header behind all others. */
#include "mail/header_append.h"
#include "mail/header.h"

#include <string.h>

#define NAME_MAX_OCTETS 1000 /* what has no colon by then is no header */
#define VALUE_BLANKS_MAX 100 /* around the value that is looked for */

typedef enum { LINE_UNKNOWN, LINE_HEADER, LINE_OTHER } Line;

static bool is_ours(const HeaderAppend *append)
{
    const GString *held = append->held;
    size_t value;
    size_t name_len = header_name(held->str, held->len, &value);

    if (name_len != strlen(append->name) || g_ascii_strncasecmp(held->str, append->name, name_len) != 0)
        return false;
    g_autofree char *text = g_strstrip(g_strndup(held->str + value, held->len - value));
    return g_ascii_strcasecmp(text, append->value) == 0;
}

/* The name is known, and may be the one that we look for: its value is of interest, too. */
static bool waits_for_value(const HeaderAppend *append)
{
    const GString *held = append->held;

    return g_ascii_strncasecmp(held->str, append->name, MIN(held->len, strlen(append->name))) == 0 &&
           held->len <= strlen(append->name) + strlen(append->value) + VALUE_BLANKS_MAX;
}

static Line classify(HeaderAppend *append, bool complete)
{
    const GString *held = append->held;

    if (held->len > 0 && (held->str[0] == ' ' || held->str[0] == '\t'))
        return LINE_HEADER; /* goes on; opening.h has seen to the first line */
    bool has_colon = memchr(held->str, ':', held->len) != NULL;
    if (!complete && (has_colon ? waits_for_value(append) : held->len <= NAME_MAX_OCTETS))
        return LINE_UNKNOWN;
    if (!has_colon || held->len == 0 || header_name(held->str, held->len, NULL) == 0)
        return LINE_OTHER;
    append->is_there |= complete && is_ours(append);
    return LINE_HEADER;
}

static void append_now(HeaderAppend *append, OpeningEmit emit, void *user)
{
    g_autofree char *header = g_strdup_printf("%s: %s", append->name, append->value);

    append->passed = true;
    if (!append->is_there)
        emit(user, header, strlen(header), true);
}

void header_append_add(HeaderAppend *append, const char *data, size_t len, bool ends_line, OpeningEmit emit, void *user)
{
    if (append->passed || append->in_line) {
        append->in_line = !ends_line;
        emit(user, data, len, ends_line);
        return;
    }
    if (!append->held)
        append->held = g_string_new(NULL);
    g_string_append_len(append->held, data, (gssize)len);
    Line line = classify(append, ends_line);
    if (line == LINE_UNKNOWN)
        return;
    if (line == LINE_OTHER)
        append_now(append, emit, user);
    append->in_line = !ends_line;
    emit(user, append->held->str, append->held->len, ends_line);
    header_append_clear(append);
}

void header_append_finish(HeaderAppend *append, OpeningEmit emit, void *user)
{
    if (append->passed)
        return;
    if (append->held || append->in_line) /* content without a line end at its end */
        header_append_add(append, "", 0, true, emit, user);
    if (!append->passed)
        append_now(append, emit, user);
}

void header_append_clear(HeaderAppend *append)
{
    if (append->held)
        g_string_free(g_steal_pointer(&append->held), TRUE);
}
