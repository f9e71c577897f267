/* map_message.c - a message as keys. What is a header, and what a line of a body, is said by the walker that the
 * content filter has for the same tables. */
#include "cli/map_message.h"
#include "filter/checks_mime.h"

#include <stdio.h>
#include <stdlib.h>

/* As line_length_limit, header_size_limit, mime_boundary_length_limit and mime_nesting_limit are by default. */
static const MimeLimits limits = {2048, 102400, 2048, 100};

typedef struct {
    MapMessage wanted;
    bool (*each)(void *user, const char *key);
    void *user;
    bool in_body; /* it has begun */
} Message;

static bool take_header(void *user, const MimeHeader *header)
{
    const Message *message = user;

    return !message->wanted.headers || message->each(message->user, header->text);
}

static bool take_body(void *user, const MimeRecord *record)
{
    Message *message = user;
    bool lacks_separator = !message->in_body && !record->is_separator;

    message->in_body = true;
    if (!message->wanted.body)
        return true;
    return (!lacks_separator || message->each(message->user, "")) && message->each(message->user, record->text);
}

static bool take_line(Message *message, MimeWalker *walker, char *line, size_t len)
{
    bool ends_line = len > 0 && line[len - 1] == '\n';

    if (ends_line)
        line[--len] = '\0';
    if (message->wanted.mime || !message->in_body)
        return mime_walker_add(walker, line, len, ends_line);
    return message->wanted.body && message->each(message->user, line);
}

void map_message_keys(const MapMessage *wanted, bool (*each)(void *user, const char *key), void *user)
{
    static const MimeSink sink = {.header = take_header, .body = take_body};
    Message message = {.wanted = *wanted, .each = each, .user = user};
    g_autoptr(MimeWalker) walker = mime_walker_new(&limits, &sink, &message);
    char *line = NULL;
    size_t size = 0;

    for (;;) {
        ssize_t len = getline(&line, &size, stdin);
        if (len < 0) {
            mime_walker_finish(walker);
            break;
        }
        if (!take_line(&message, walker, line, (size_t)len))
            break;
    }
    free(line);
}
