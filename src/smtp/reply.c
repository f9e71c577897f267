/* reply.c - SMTP replies. The text is kept as lines joined by '\n', as they came or were written; what a client must
 * see besides (the mark of a line that another one follows) is added by reply_write(). */
#include "smtp/reply.h"
#include "base/log.h"

#include <string.h>

struct Reply {
    GString *text; /* starts with the first line, even when that is garbage */
    int code;      /* of the first line that had one; 0: none */
    size_t stored; /* octets with two for each line end, as the wire counts */
};

/* The code of a line that is "NNN", "NNN " or "NNN-" and more; -1: it is not such a line. */
static int line_code(const char *line, size_t len)
{
    if (len < 3 || !g_ascii_isdigit(line[0]) || !g_ascii_isdigit(line[1]) || !g_ascii_isdigit(line[2]) ||
        (len > 3 && line[3] != ' ' && line[3] != '-'))
        return -1;
    return (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
}

/* Octets of an enhanced status code ("5.7.1") at the start of text; 0: none (RFC 3463). */
static size_t status_len(const char *text, size_t len)
{
    size_t at = 1;

    if (len < 5 || !strchr("245", text[0]))
        return 0;
    for (int part = 0; part < 2; part++) {
        size_t digits = 0;
        if (at >= len || text[at] != '.')
            return 0;
        for (at++; at < len && g_ascii_isdigit(text[at]); at++)
            digits++;
        if (digits < 1 || digits > 3)
            return 0;
    }
    return at == len || text[at] == ' ' ? at : 0;
}

static size_t line_len(const char *line)
{
    return strcspn(line, "\n");
}

/* "550 5.7.1 " of the first line, for lines that are added to the reply. */
static void append_prefix(const Reply *reply, GString *out)
{
    size_t len = line_len(reply->text->str);
    size_t status = len > 4 ? status_len(reply->text->str + 4, len - 4) : 0;

    g_string_append_printf(out, "%03d ", reply->code);
    if (status > 0) {
        g_string_append_len(out, reply->text->str + 4, (gssize)status);
        g_string_append_c(out, ' ');
    }
}

static void add_own_line(Reply *reply, const char *line, size_t len)
{
    if (reply->text->len > 0)
        g_string_append_c(reply->text, '\n');
    if (line_code(line, len) != reply->code)
        g_string_append_printf(reply->text, "%03d ", reply->code);
    g_string_append_len(reply->text, line, (gssize)len);
}

Reply *reply_new_empty(void)
{
    Reply *reply = g_new0(Reply, 1);

    reply->text = g_string_new(NULL);
    return reply;
}

Reply *reply_new(const char *text)
{
    Reply *reply = reply_new_empty();

    reply->code = line_code(text, line_len(text));
    g_assert(reply->code > 0);
    for (;;) {
        size_t len = line_len(text);
        add_own_line(reply, text, len);
        if (text[len] == '\0')
            return reply;
        text += len + 1;
    }
}

Reply *reply_printf(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    return reply_new(text);
}

Reply *reply_copy(const Reply *reply)
{
    Reply *copy = g_new(Reply, 1);

    *copy = *reply;
    copy->text = g_string_new_len(reply->text->str, (gssize)reply->text->len);
    return copy;
}

void reply_free(Reply *reply)
{
    if (!reply)
        return;
    g_string_free(reply->text, TRUE);
    g_free(reply);
}

void reply_add_line(Reply *reply, const char *line, size_t len, bool *ret_last, bool *ret_garbage)
{
    int code = line_code(line, len);

    *ret_garbage = code < 0;
    *ret_last = code >= 0 && (len == 3 || line[3] == ' ');
    if (reply->code == 0 && code > 0)
        reply->code = code;
    if (reply->stored >= REPLY_LINE_MAX) /* a flood of lines is read but not kept */
        return;
    g_autofree char *printable = log_quote(line, MIN(len, REPLY_LINE_MAX));
    if (reply->stored > 0) {
        g_string_append_c(reply->text, '\n');
        reply->stored += 2;
    }
    g_string_append(reply->text, printable);
    reply->stored += strlen(printable);
}

int reply_code(const Reply *reply)
{
    return reply->code;
}

bool reply_is(const Reply *reply, int class)
{
    return reply->text->str[0] == '0' + class;
}

const char *reply_text(const Reply *reply)
{
    return reply->text->str;
}

char *reply_for_log(const Reply *reply)
{
    GString *shown = g_string_new_len(reply->text->str, (gssize)reply->text->len);

    g_string_replace(shown, "\n", "??", 0);
    return g_string_free(shown, FALSE);
}

/* One line with its mark in the fourth place. A garbage line is a peer's, inside a reply that it ended properly: its
 * fourth octet becomes the mark (as smtpd(8) does it), or it gets a code if it is too short to have one. */
static void write_line(const Reply *reply, bool soft_bounce, bool is_last, const char *line, size_t len, GString *out)
{
    bool is_code = line_code(line, len) >= 0;
    size_t at = out->len;

    if ((!is_code && (len < 4 || is_last)) || (len == 3 && !is_last)) {
        g_string_append_printf(out, "%03d%c", reply->code, is_last ? ' ' : '-');
        g_string_append_len(out, is_code ? "" : line, is_code ? 0 : (gssize)len);
    } else {
        g_string_append_len(out, line, (gssize)len);
        if (len > 3)
            out->str[at + 3] = is_last ? ' ' : '-';
    }
    if (soft_bounce && out->str[at] == '5') {
        out->str[at] = '4';
        if (out->len > at + 4 && out->str[at + 4] == '5' && status_len(out->str + at + 4, out->len - at - 4) > 0)
            out->str[at + 4] = '4';
    }
    g_string_append(out, "\r\n");
}

void reply_write(const Reply *reply, bool soft_bounce, GString *out)
{
    const char *line = reply->text->str;

    for (;;) {
        size_t len = line_len(line);
        bool is_last = line[len] == '\0';
        write_line(reply, soft_bounce, is_last, line, len, out);
        if (is_last)
            return;
        line += len + 1;
    }
}

void reply_append(Reply *reply, const char *footer)
{
    if (g_str_has_prefix(footer, "\\c")) {
        size_t len = line_len(footer += 2);
        g_string_append_len(reply->text, footer, (gssize)len);
        if (footer[len] == '\0')
            return;
        footer += len + 1;
    }
    for (;;) {
        size_t len = line_len(footer);
        g_string_append_c(reply->text, '\n');
        append_prefix(reply, reply->text);
        g_string_append_len(reply->text, footer, (gssize)len);
        if (footer[len] == '\0')
            return;
        footer += len + 1;
    }
}
