/* lines.c - logical lines. What the text means is the readers' business: main_cf.c, master_cf.c, and the table types.
 */
#include "config/lines.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHOWN_MAX 30 /* octets of a bad line in its warning */

struct Lines {
    char *name;
    FILE *file;       /* NULL: reads from text */
    const char *text; /* what is left of it */
    size_t text_len;
    char *buffer; /* getline()'s */
    size_t buffer_size;
    int number;         /* physical lines read so far */
    GString *logical;   /* handed out by lines_next() */
    GString *pending;   /* a physical line read too far: the start of the next logical line */
    int pending_number; /* 0: none */
};

static Lines *lines_new(const char *name)
{
    Lines *lines = g_new0(Lines, 1);

    lines->name = g_strdup(name);
    lines->logical = g_string_new(NULL);
    lines->pending = g_string_new(NULL);
    return lines;
}

static Lines *lines_opened(const char *path, int fd, GError **error)
{
    if (fd >= 0)
        return lines_open_fd(path, fd);
    fail_errno(error, "open %s", path);
    return NULL;
}

Lines *lines_open(const char *path, GError **error)
{
    return lines_opened(path, open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), error);
}

Lines *lines_open_source(const char *path, GError **error)
{
    return lines_opened(path, source_open(path), error);
}

Lines *lines_open_fd(const char *name, int fd)
{
    Lines *lines = lines_new(name);

    lines->file = fdopen(fd, "r");
    g_assert(lines->file); /* a valid descriptor: only memory can lack */
    return lines;
}

Lines *lines_open_text(const char *name, const char *text, size_t len)
{
    Lines *lines = lines_new(name);

    lines->text = text;
    lines->text_len = len;
    return lines;
}

void lines_close(Lines *lines)
{
    if (!lines)
        return;
    if (lines->file)
        fclose(lines->file);
    free(lines->buffer);
    g_string_free(lines->logical, TRUE);
    g_string_free(lines->pending, TRUE);
    g_free(lines->name);
    g_free(lines);
}

typedef enum { PHYSICAL_LINE, PHYSICAL_END, PHYSICAL_ERROR } Physical;

/* The next physical line without its '\n'; *ret_line stays valid until the next call. */
static Physical next_physical(Lines *lines, const char **ret_line, size_t *ret_len, GError **error)
{
    if (lines->file) {
        errno = 0;
        ssize_t len = getline(&lines->buffer, &lines->buffer_size, lines->file);
        if (len < 0 && (ferror(lines->file) || errno == ENOMEM)) {
            fail_errno(error, "read %s", lines->name);
            return PHYSICAL_ERROR;
        }
        if (len < 0)
            return PHYSICAL_END;
        if (len > 0 && lines->buffer[len - 1] == '\n')
            len--;
        *ret_line = lines->buffer;
        *ret_len = (size_t)len;
    } else {
        if (lines->text_len == 0)
            return PHYSICAL_END;
        const char *end = memchr(lines->text, '\n', lines->text_len);
        *ret_line = lines->text;
        *ret_len = end ? (size_t)(end - lines->text) : lines->text_len;
        size_t taken = *ret_len + (end ? 1 : 0);
        lines->text += taken;
        lines->text_len -= taken;
    }
    lines->number++;
    return PHYSICAL_LINE;
}

/* g_ascii_isspace() leaves out '\v', which isspace(3) has. */
static bool is_blank(char c)
{
    return g_ascii_isspace(c) || c == '\v';
}

static bool is_dropped(const char *line, size_t len)
{
    size_t at = 0;

    while (at < len && is_blank(line[at]))
        at++;
    return at == len || line[at] == '#';
}

/* Puts the next logical line into lines->logical, and what was read beyond it into lines->pending. */
static Physical next_logical(Lines *lines, int *ret_number, GError **error)
{
    bool started = lines->pending_number != 0;
    const char *line;
    size_t len;

    if (started) {
        *ret_number = lines->pending_number;
        g_string_truncate(lines->logical, 0);
        g_string_append_len(lines->logical, lines->pending->str, (gssize)lines->pending->len);
        lines->pending_number = 0;
    }
    for (;;) {
        Physical got = next_physical(lines, &line, &len, error);
        if (got == PHYSICAL_ERROR)
            return got;
        if (got == PHYSICAL_END)
            return started ? PHYSICAL_LINE : PHYSICAL_END;
        if (is_dropped(line, len))
            continue;
        if (!started) {
            started = true;
            *ret_number = lines->number;
            g_string_truncate(lines->logical, 0);
            g_string_append_len(lines->logical, line, (gssize)len);
        } else if (is_blank(line[0])) {
            g_string_append_len(lines->logical, line, (gssize)len);
        } else {
            g_string_truncate(lines->pending, 0);
            g_string_append_len(lines->pending, line, (gssize)len);
            lines->pending_number = lines->number;
            return PHYSICAL_LINE;
        }
    }
}

const char *lines_next(Lines *lines, int *ret_line, GError **error)
{
    int number = 0;

    while (next_logical(lines, &number, error) == PHYSICAL_LINE) {
        GString *text = lines->logical;

        if (memchr(text->str, 0, text->len)) {
            log_warning("%s, line %d: text after null byte may be ignored", lines->name, number);
            g_string_truncate(text, strlen(text->str));
        }
        if (is_blank(text->str[0])) { /* can only be the first of the source */
            g_autofree char *shown = log_quote(text->str, MIN(text->len, SHOWN_MAX));
            log_warning("%s: logical line must not start with whitespace: \"%s%s\"", lines->name, shown,
                        text->len > SHOWN_MAX ? "..." : "");
            continue;
        }
        if (text->len == 0) /* it began with a NUL */
            continue;
        if (ret_line)
            *ret_line = number;
        return text->str;
    }
    return NULL;
}
