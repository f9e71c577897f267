/* header.c - headers out of pieces of lines. */
#include "mail/header.h"

#include <string.h>

void header_reader_init(HeaderReader *reader, size_t limit, const HeaderSink *sink, void *user)
{
    *reader = (HeaderReader){.sink = sink, .user = user, .limit = limit, .text = g_string_new(NULL)};
}

void header_reader_clear(HeaderReader *reader)
{
    if (reader->text)
        g_string_free(reader->text, TRUE);
    *reader = (HeaderReader){0};
}

size_t header_name(const char *text, size_t len, size_t *ret_value)
{
    size_t name = 0, colon;

    while (name < len && text[name] > ' ' && text[name] < 127 && text[name] != ':')
        name++;
    for (colon = name; colon < len && (text[colon] == ' ' || text[colon] == '\t'); colon++)
        ;
    if (name == 0 || colon == len || text[colon] != ':')
        return 0;
    if (ret_value)
        *ret_value = colon + 1;
    return name;
}

bool header_is(const char *text, size_t len, const char *name)
{
    size_t name_len = header_name(text, len, NULL);

    return name_len > 0 && strlen(name) == name_len && g_ascii_strncasecmp(text, name, name_len) == 0;
}

static void flush_header(HeaderReader *reader)
{
    if (reader->text->len > 0)
        reader->sink->header(reader->user, reader->text->str, reader->text->len);
    g_string_truncate(reader->text, 0);
}

static void end_headers(HeaderReader *reader)
{
    reader->in_body = true;
    reader->sink->end(reader->user);
}

/* The line in reader->text, which ends if ends_line, is no header: with it the body begins. */
static void begin_body(HeaderReader *reader, bool ends_line)
{
    end_headers(reader);
    reader->sink->body(reader->user, "", 0, true);
    reader->sink->body(reader->user, reader->text->str, reader->text->len, ends_line);
    g_string_truncate(reader->text, 0);
}

/* False: it was the empty line, and all is done. */
static bool begin_line(HeaderReader *reader, const char *data, size_t len)
{
    bool continues = len > 0 && (data[0] == ' ' || data[0] == '\t') && reader->text->len > 0;

    /* Never without an octet behind it: an empty line would end the headers. */
    if (continues && reader->text->len + 1 < reader->limit)
        g_string_append_c(reader->text, '\n');
    if (!continues)
        flush_header(reader);
    reader->in_line = true;
    reader->is_header = continues;
    if (len > 0)
        return true;
    end_headers(reader);
    reader->sink->body(reader->user, "", 0, true);
    return false;
}

void header_reader_add(HeaderReader *reader, const char *data, size_t len, bool ends_line)
{
    if (reader->in_body) {
        reader->sink->body(reader->user, data, len, ends_line);
        return;
    }
    if (len == 0 && !ends_line)
        return;
    if (!reader->in_line && !begin_line(reader, data, len))
        return;
    size_t room = reader->limit - MIN(reader->text->len, reader->limit);
    size_t kept = MIN(len, room);
    g_string_append_len(reader->text, data, (gssize)kept);
    if (!reader->is_header && (ends_line || kept < len)) {
        reader->is_header = header_name(reader->text->str, reader->text->len, NULL) > 0;
        if (!reader->is_header) {
            bool all = kept == len;
            begin_body(reader, ends_line && all);
            if (!all)
                reader->sink->body(reader->user, data + kept, len - kept, ends_line);
            return;
        }
    }
    reader->in_line = !ends_line;
}

void header_reader_finish(HeaderReader *reader)
{
    if (reader->in_body)
        return;
    if (reader->in_line && !reader->is_header && header_name(reader->text->str, reader->text->len, NULL) == 0) {
        begin_body(reader, false);
        return;
    }
    flush_header(reader);
    end_headers(reader);
}
