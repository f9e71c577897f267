/* opening.c - the first line of content. */
#include "mail/opening.h"

#include <string.h>

#define QUOTES_MAX 256 /* '>' looked through for a quoted "From " */
#define MBOX_LINE "From "

typedef enum { LINE_UNKNOWN, LINE_PLAIN, LINE_MBOX, LINE_CONTINUATION } FirstLine;

static FirstLine classify(const GString *held, bool complete)
{
    size_t quotes = strspn(held->str, ">");
    size_t rest = held->len - quotes;

    if (held->len > 0 && (held->str[0] == ' ' || held->str[0] == '\t'))
        return LINE_CONTINUATION;
    if (quotes > QUOTES_MAX)
        return LINE_PLAIN;
    if (strncmp(held->str + quotes, MBOX_LINE, MIN(rest, strlen(MBOX_LINE))) != 0)
        return LINE_PLAIN;
    if (rest >= strlen(MBOX_LINE))
        return LINE_MBOX;
    return complete ? LINE_PLAIN : LINE_UNKNOWN;
}

void opening_add(Opening *opening, const char *data, size_t len, bool ends_line, OpeningEmit emit, void *user)
{
    if (opening->passed) {
        emit(user, data, len, ends_line);
        return;
    }
    if (!opening->held)
        opening->held = g_string_new(NULL);
    g_string_append_len(opening->held, data, (gssize)len);
    FirstLine kind = classify(opening->held, ends_line);
    if (kind == LINE_UNKNOWN)
        return;
    opening->passed = true;
    if (kind == LINE_MBOX)
        emit(user, "X-Mailbox-Line: ", strlen("X-Mailbox-Line: "), false);
    if (kind == LINE_CONTINUATION)
        emit(user, "", 0, true);
    emit(user, opening->held->str, opening->held->len, ends_line);
    opening_clear(opening);
}

void opening_clear(Opening *opening)
{
    if (opening->held)
        g_string_free(g_steal_pointer(&opening->held), TRUE);
}
